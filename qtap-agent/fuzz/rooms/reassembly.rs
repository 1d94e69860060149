//! One direction put in order. In: pieces and absences at offsets, and time. Out: nothing, or the promise that was broken: every offset is
//! told exactly once and in order, with its own byte; what came is not told as missing; what is held is bounded.
//!
//! ```text
//! script = flags op*         flags: 1 begins anywhere · 2 offsets count from the end of the number line
//! op     = code …
//!   0 at:u16le len:u8        bytes
//!   1 at:u16le len:u16le     bytes
//!   2 by:i8 len:u8           bytes, by so much beside the end of the last
//!   3 at:u16le len:u16le     not copied; code & 8: not wanted, else lost
//!   4 n:u8                   n × 10 ms pass
//!   5 at:u64le len:u8        bytes, anywhere
//!   6 at:u64le len:u64le     not copied, anywhere
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use qtap_agent::model::conn::Direction;
use qtap_agent::model::event::Skip;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::time::KernelTime;
use qtap_agent::stream::reassembly::{Ordered, Reassembly, WINDOW_BYTES, WINDOW_PIECES};

use super::Gauge;
use super::script::Input;

/// Memory for a held piece besides its bytes: a node of a tree, an allocation.
const PIECE_COST: usize = 400;

/// What is at an offset, so that a byte that is told where another should be is noticed.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// What was told.
struct Told {
    next: Option<u64>,
    total: u64,
    /// Offsets whose bytes came before they were told, as far as they are few.
    came: BTreeSet<u64>,
}

impl Told {
    fn take(&mut self, ordered: Ordered) {
        let (offset, len) = match &ordered {
            Ordered::Segment(segment) => (segment.offset, segment.payload.len() as u64),
            Ordered::Gap(gap) => (gap.offset, gap.len),
            Ordered::Unwanted { offset, len, .. } => (*offset, *len),
        };
        assert!(len > 0, "nothing is told");
        assert_eq!(offset, self.next.unwrap_or(offset), "in order, each offset once");
        self.next = Some(offset.saturating_add(len));
        self.total = self.total.saturating_add(len);
        match ordered {
            Ordered::Segment(segment) => {
                let own = segment.payload.iter().zip(offset..).all(|(byte, at)| *byte == byte_at(at));
                assert!(own, "a byte stands where another should");
            }
            Ordered::Gap(gap) if gap.reason == Loss::ReorderWindow => {
                let came = self.came.range(offset..offset.saturating_add(len)).next();
                assert_eq!(came, None, "what came is told as missing");
            }
            Ordered::Gap(_) | Ordered::Unwanted { .. } => {}
        }
    }
}

/// Plays the script that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let mut input = Input(data);
    let flags = input.u8().unwrap_or(0);
    let start = if flags & 2 != 0 { u64::MAX - 0xffff } else { 0 };
    let begin = (flags & 1 == 0).then_some(start);
    let base = gauge();
    let mut reassembly = Reassembly::new(Direction::Received, begin);
    let mut told = Told { next: begin, total: 0, came: BTreeSet::new() };
    let (mut now, mut end, mut noted) = (1u64, start, 0usize);
    while let Some(code) = input.u8() {
        let time = KernelTime(now);
        let (at, len, absent) = match code & 7 {
            0 => (start + input.number::<2>(), input.number::<1>(), false),
            1 => (start + input.number::<2>(), input.number::<2>(), false),
            2 => {
                let by = input.number::<1>() as u8 as i8;
                (end.saturating_add_signed(i64::from(by)), input.number::<1>(), false)
            }
            3 => (start + input.number::<2>(), input.number::<2>(), true),
            5 => (input.number::<8>(), input.number::<1>(), false),
            6 => (input.number::<8>(), input.number::<8>(), true),
            _ => {
                now += input.number::<1>() * 10_000_000;
                reassembly.on_tick(KernelTime(now), Loss::ReorderWindow, &mut |o| told.take(o));
                continue;
            }
        };
        // No stream is longer than the number line: a call that ends beyond it does not exist.
        let len = len.min(u64::MAX - at);
        end = at + len;
        if absent {
            let why = if code & 8 != 0 { Skip::Unwanted } else { Skip::Lost(Loss::RingFull) };
            reassembly.on_absent(at, len, why, time, &mut |o| told.take(o));
        } else {
            let payload: Bytes = (at..end).map(byte_at).collect();
            if noted < 4096 && told.next.is_none_or(|next| at >= next) {
                noted += payload.len();
                told.came.extend(at..end);
            }
            reassembly.on_bytes(at, payload, time, 1, &mut |o| told.take(o));
        }
        if noted == 0 {
            let bound = WINDOW_BYTES as usize + (WINDOW_PIECES + 2) * PIECE_COST + (1 << 16);
            assert!(gauge().saturating_sub(base) <= bound, "the window is larger than it may be");
        }
    }
    reassembly.on_close(None, Loss::ReorderWindow, KernelTime(now), &mut |o| told.take(o));
    assert!(reassembly.hole_since().is_none());
    assert_eq!(reassembly.told(), told.total, "what was told is what was counted");
}
