//! Puts one direction of one channel in order.
//!
//! In: bytes at an offset, or the notice that the bytes of a range were not copied. Out, through the caller's closure: segments in order,
//! a gap for every range that will not come, and the ranges that nobody wanted. Only offsets count: overlaps and
//! duplicates are cut away, and early pieces are held in a bounded window.
//!
//! A hole is reported as a gap
//! - at once, if the probes said that they did not copy it, or if the window is full;
//! - after [`HOLE_WAIT`], if nothing filled it;
//! - at the close.
//!
//! A piece that is next in line passes through without a copy or an allocation.
//! Every offset is reported exactly once, so the sum of all output is what was carried.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::model::conn::Direction;
use crate::model::event::Skip;
use crate::model::loss::Loss;
use crate::model::segment::{Gap, Segment};
use crate::model::time::KernelTime;

/// Bytes held out of order, per direction. Threads that share a socket overtake one another by a call or two; the pieces of
/// one call total a few hundred KiB at most.
pub const WINDOW_BYTES: u64 = 1 << 20;

/// Pieces held out of order, per direction: bounds what tiny pieces cost beyond their bytes.
pub const WINDOW_PIECES: usize = 512;

/// How long a hole may stay open. All pieces come through one ring buffer, so what is a second late was lost.
pub const HOLE_WAIT: Duration = Duration::from_secs(1);

/// Memory cost of a held piece beyond its bytes.
const PIECE_BYTES: usize = 128;

/// The output, in order of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// Bytes.
    Segment(Segment),
    /// A range without its bytes.
    Gap(Gap),
    /// A range that was not wanted, or is ciphertext.
    Unwanted {
        /// True for ciphertext.
        encrypted: bool,
        /// Offset of the first byte.
        offset: u64,
        /// Length in bytes; never 0.
        len: u64,
        /// When it passed.
        time: KernelTime,
    },
}

/// One direction of one channel.
#[derive(Debug)]
pub struct Reassembly {
    direction: Direction,
    /// Offset of the first byte that counts; `None` until the first piece of a channel joined mid-stream.
    begin: Option<u64>,
    /// Offset up to which everything has been reported.
    next: u64,
    /// Pieces beyond a hole, by offset.
    early: BTreeMap<u64, Early>,
    early_bytes: u64,
    /// Since when the first hole has been open.
    hole_since: Option<KernelTime>,
}

/// A piece that arrived before its turn.
#[derive(Debug)]
enum Early {
    Bytes { payload: Bytes, time: KernelTime, pid: u32 },
    Absent { len: u64, why: Skip, time: KernelTime },
}

impl Early {
    fn len(&self) -> u64 {
        match self {
            Early::Bytes { payload, .. } => payload.len() as u64,
            Early::Absent { len, .. } => *len,
        }
    }

    /// Bytes of memory held.
    fn held(&self) -> u64 {
        match self {
            Early::Bytes { payload, .. } => payload.len() as u64,
            Early::Absent { .. } => 0,
        }
    }

    fn time(&self) -> KernelTime {
        match self {
            Early::Bytes { time, .. } | Early::Absent { time, .. } => *time,
        }
    }
}

impl Reassembly {
    /// Creates a direction whose first byte has the offset `begin`; `None`: the first piece defines it.
    #[must_use]
    pub fn new(direction: Direction, begin: Option<u64>) -> Self {
        Reassembly {
            direction,
            begin,
            next: begin.unwrap_or(0),
            early: BTreeMap::new(),
            early_bytes: 0,
            hole_since: None,
        }
    }

    /// Bytes reported so far, as segments, gaps or unwanted ranges.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.next.saturating_sub(self.begin.unwrap_or(self.next))
    }

    /// Offset of the first reported byte; 0 until there is one.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.begin.unwrap_or(0)
    }

    /// Bytes of memory held by early pieces.
    #[must_use]
    pub fn held(&self) -> usize {
        usize::try_from(self.early_bytes).unwrap_or(usize::MAX).saturating_add(self.early.len() * PIECE_BYTES)
    }

    /// Since when there is a hole; `None` if there is none. It is given up [`HOLE_WAIT`] later.
    #[must_use]
    pub fn hole_since(&self) -> Option<KernelTime> {
        self.hole_since
    }

    /// Takes the bytes of a call.
    #[inline]
    pub fn on_bytes(&mut self, offset: u64, payload: Bytes, time: KernelTime, pid: u32, out: &mut impl FnMut(Ordered)) {
        if payload.is_empty() {
            return;
        }
        if offset == self.next && self.early.is_empty() && self.begin.is_some() {
            self.next = self.next.saturating_add(payload.len() as u64);
            out(Ordered::Segment(Segment { direction: self.direction, offset, time, pid, payload }));
            return;
        }
        self.take(offset, Early::Bytes { payload, time, pid }, out);
    }

    /// Takes the notice that `len` bytes from `offset` on were not copied.
    pub fn on_absent(&mut self, offset: u64, len: u64, why: Skip, time: KernelTime, out: &mut impl FnMut(Ordered)) {
        if len > 0 {
            self.take(offset, Early::Absent { len, why, time }, out);
        }
    }

    /// Gives up a hole that has been open for [`HOLE_WAIT`], with the reason `why`.
    pub fn on_tick(&mut self, now: KernelTime, why: Loss, out: &mut impl FnMut(Ordered)) {
        while self.hole_since.is_some_and(|since| now.since(since) >= HOLE_WAIT) {
            self.give_up_hole(why, now, out);
        }
    }

    /// Nothing more will come: gives up all holes, and, if the stream's `end` is known, what is missing up to it.
    pub fn on_close(&mut self, end: Option<u64>, why: Loss, time: KernelTime, out: &mut impl FnMut(Ordered)) {
        while self.hole_since.is_some() {
            self.give_up_hole(why, time, out);
        }
        if let (Some(end), Some(_)) = (end, self.begin) {
            self.gap(end.saturating_sub(self.next), why, time, out);
        }
    }

    /// Everything but the fast path: pieces while others are held, overlapping pieces, early pieces.
    #[cold]
    fn take(&mut self, offset: u64, piece: Early, out: &mut impl FnMut(Ordered)) {
        if self.begin.is_none() {
            self.begin = Some(offset);
            self.next = offset;
        }
        if offset > self.next {
            self.hold(offset, piece, out);
        } else {
            self.tell(offset, piece, out);
            self.drain(out);
        }
    }

    /// Reports the part of `piece` that has not been reported.
    fn tell(&mut self, offset: u64, piece: Early, out: &mut impl FnMut(Ordered)) {
        let known = self.next.saturating_sub(offset);
        let fresh = piece.len().saturating_sub(known);
        if fresh == 0 {
            return;
        }
        match piece {
            Early::Bytes { mut payload, time, pid } => {
                let payload = payload.split_off(known as usize);
                let offset = self.next;
                self.next = self.next.saturating_add(fresh);
                out(Ordered::Segment(Segment { direction: self.direction, offset, time, pid, payload }));
            }
            Early::Absent { why: Skip::Lost(reason), time, .. } => self.gap(fresh, reason, time, out),
            Early::Absent { why: why @ (Skip::Unwanted | Skip::Encrypted), time, .. } => {
                let offset = self.next;
                self.next = self.next.saturating_add(fresh);
                out(Ordered::Unwanted { encrypted: why == Skip::Encrypted, offset, len: fresh, time });
            }
        }
    }

    fn gap(&mut self, len: u64, reason: Loss, time: KernelTime, out: &mut impl FnMut(Ordered)) {
        if len > 0 {
            let offset = self.next;
            self.next = self.next.saturating_add(len);
            out(Ordered::Gap(Gap { direction: self.direction, offset, len, reason, time }));
        }
    }

    /// Reports held pieces that are now in line.
    fn drain(&mut self, out: &mut impl FnMut(Ordered)) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.next {
                break;
            }
            let (offset, piece) = entry.remove_entry();
            self.early_bytes -= piece.held();
            self.tell(offset, piece, out);
        }
        self.hole_since = self.early.first_key_value().map(|(_, piece)| piece.time());
    }

    /// Holds a piece beyond a hole. If that fills the window, the first hole is given up.
    fn hold(&mut self, offset: u64, piece: Early, out: &mut impl FnMut(Ordered)) {
        let time = piece.time();
        self.insert(offset, piece);
        self.hole_since.get_or_insert(time);
        while self.early_bytes > WINDOW_BYTES || self.early.len() > WINDOW_PIECES {
            self.give_up_hole(Loss::ReorderWindow, time, out);
        }
    }

    /// Puts a piece into the window. Of two pieces at one offset the longer stays; bytes are preferred to the notice that there are
    /// none, which then keeps only the range beyond them.
    fn insert(&mut self, offset: u64, piece: Early) {
        let Some(other) = self.early.remove(&offset) else {
            self.put(offset, piece);
            return;
        };
        self.early_bytes -= other.held();
        let (bytes, absent) = match (&piece, &other) {
            (Early::Bytes { .. }, Early::Absent { .. }) => (piece, other),
            (Early::Absent { .. }, Early::Bytes { .. }) => (other, piece),
            _ => {
                self.put(offset, if piece.len() > other.len() { piece } else { other });
                return;
            }
        };
        let beyond = offset.saturating_add(bytes.len());
        if let Early::Absent { len, why, time } = absent
            && len > bytes.len()
            && !self.early.contains_key(&beyond)
        {
            self.put(beyond, Early::Absent { len: len - bytes.len(), why, time });
        }
        self.put(offset, bytes);
    }

    fn put(&mut self, offset: u64, piece: Early) {
        self.early_bytes += piece.held();
        self.early.insert(offset, piece);
    }

    /// Reports the first hole as a gap, and then what follows it.
    fn give_up_hole(&mut self, why: Loss, time: KernelTime, out: &mut impl FnMut(Ordered)) {
        if let Some((&beyond, _)) = self.early.first_key_value() {
            self.gap(beyond.saturating_sub(self.next), why, time, out);
        }
        self.drain(out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const T: KernelTime = KernelTime(1_000);

    /// The output: text for segments, a range and its reason for gaps.
    #[derive(Debug, PartialEq)]
    enum Seen {
        Text(u64, &'static str),
        Hole(u64, u64, Loss),
        Aside(u64, u64),
    }
    use Seen::{Aside, Hole, Text};

    struct Bench {
        reassembly: Reassembly,
        seen: Vec<Seen>,
    }

    impl Bench {
        fn new(begin: Option<u64>) -> Bench {
            Bench { reassembly: Reassembly::new(Direction::Sent, begin), seen: Vec::new() }
        }

        fn note(seen: &mut Vec<Seen>) -> impl FnMut(Ordered) {
            |ordered| {
                seen.push(match ordered {
                    Ordered::Segment(s) => Text(s.offset, String::from_utf8(s.payload.to_vec()).unwrap().leak()),
                    Ordered::Gap(g) => Hole(g.offset, g.len, g.reason),
                    Ordered::Unwanted { offset, len, .. } => Aside(offset, len),
                });
            }
        }

        fn bytes(&mut self, offset: u64, text: &'static str) -> &mut Self {
            self.reassembly.on_bytes(
                offset,
                Bytes::from_static(text.as_bytes()),
                T,
                1,
                &mut Self::note(&mut self.seen),
            );
            self
        }

        fn absent(&mut self, offset: u64, len: u64) -> &mut Self {
            self.reassembly.on_absent(offset, len, Skip::Lost(Loss::RingFull), T, &mut Self::note(&mut self.seen));
            self
        }

        fn tick(&mut self, now: u64) -> &mut Self {
            self.reassembly.on_tick(KernelTime(now), Loss::ReorderWindow, &mut Self::note(&mut self.seen));
            self
        }

        fn close(&mut self, end: Option<u64>) -> &mut Self {
            self.reassembly.on_close(end, Loss::Unaccounted, T, &mut Self::note(&mut self.seen));
            self
        }
    }

    #[test]
    fn in_order_passes_through() {
        let mut bench = Bench::new(Some(0));
        bench.bytes(0, "abc").bytes(3, "").bytes(3, "def");
        assert_eq!(bench.seen, [Text(0, "abc"), Text(3, "def")]);
        assert_eq!(bench.reassembly.told(), 6);
        assert_eq!(bench.reassembly.hole_since(), None);
    }

    #[test]
    fn the_payload_is_not_copied() {
        let payload = Bytes::from_static(b"abc");
        let at = payload.as_ptr();
        let mut reassembly = Reassembly::new(Direction::Received, Some(0));
        reassembly.on_bytes(0, payload, T, 7, &mut |ordered| match ordered {
            Ordered::Segment(s) => {
                assert_eq!((s.payload.as_ptr(), s.pid, s.time, s.direction), (at, 7, T, Direction::Received));
            }
            Ordered::Gap(_) | Ordered::Unwanted { .. } => panic!("bytes went in"),
        });
    }

    #[test]
    fn early_pieces_wait_for_their_turn() {
        let mut bench = Bench::new(Some(0));
        bench.bytes(6, "ghi").bytes(3, "def");
        assert_eq!(bench.seen, []);
        assert_eq!(bench.reassembly.hole_since(), Some(T));
        bench.bytes(0, "abc");
        assert_eq!(bench.seen, [Text(0, "abc"), Text(3, "def"), Text(6, "ghi")]);
        assert_eq!(bench.reassembly.hole_since(), None);
    }

    #[test]
    fn overlaps_and_duplicates_are_cut_away() {
        let mut bench = Bench::new(Some(0));
        bench
            .bytes(0, "abcd")
            .bytes(0, "abcd")
            .bytes(2, "cdef")
            .bytes(8, "ij")
            .bytes(8, "i")
            .bytes(7, "hijk")
            .bytes(6, "g");
        assert_eq!(bench.seen, [Text(0, "abcd"), Text(4, "ef"), Text(6, "g"), Text(7, "hijk")]);
        assert_eq!(bench.reassembly.told(), 11);
    }

    #[test]
    fn what_was_not_copied_is_a_gap_at_once() {
        let mut bench = Bench::new(Some(0));
        bench.bytes(0, "abc").absent(3, 4).bytes(7, "hi");
        assert_eq!(bench.seen, [Text(0, "abc"), Hole(3, 4, Loss::RingFull), Text(7, "hi")]);
    }

    #[test]
    fn what_nobody_wanted_is_passed_over() {
        let mut bench = Bench::new(Some(0));
        bench.reassembly.on_absent(0, 5, Skip::Unwanted, T, &mut Bench::note(&mut bench.seen));
        bench.bytes(5, "fg");
        assert_eq!(bench.seen, [Aside(0, 5), Text(5, "fg")]);
    }

    #[test]
    fn a_hole_is_given_up_after_the_wait() {
        let mut bench = Bench::new(Some(0));
        bench.bytes(0, "abc").bytes(5, "fg").bytes(9, "j").tick(1_000_000_999);
        assert_eq!(bench.seen, [Text(0, "abc")]);
        bench.tick(1_000_001_000);
        let all = [Text(0, "abc"), Hole(3, 2, Loss::ReorderWindow), Text(5, "fg"), Hole(7, 2, Loss::ReorderWindow)];
        assert_eq!(bench.seen[..4], all);
        assert_eq!(bench.seen[4], Text(9, "j"));
        bench.bytes(3, "de").bytes(10, "k");
        assert_eq!(bench.seen[5..], [Text(10, "k")], "what comes after its gap was told is not told again");
    }

    #[test]
    fn a_full_window_gives_up_the_first_hole() {
        let mut bench = Bench::new(Some(0));
        for index in 0..=WINDOW_PIECES as u64 {
            bench.bytes(10 + 2 * index, "x");
        }
        assert_eq!(bench.seen, [Hole(0, 10, Loss::ReorderWindow), Text(10, "x")]);
        assert_eq!(bench.reassembly.early.len(), WINDOW_PIECES);

        let mut bench = Bench::new(Some(0));
        let big = "y".repeat(WINDOW_BYTES as usize).leak();
        bench.bytes(1, big);
        assert_eq!(bench.seen, []);
        bench.bytes(5 + WINDOW_BYTES, "z");
        assert_eq!(bench.seen.len(), 2, "the hole and the piece after it");
        assert_eq!(bench.reassembly.early_bytes, 1);
    }

    #[test]
    fn the_close_gives_up_holes_and_the_missing_end() {
        let mut bench = Bench::new(Some(0));
        bench.bytes(0, "ab").bytes(4, "ef").close(Some(9));
        let all = [Text(0, "ab"), Hole(2, 2, Loss::Unaccounted), Text(4, "ef"), Hole(6, 3, Loss::Unaccounted)];
        assert_eq!(bench.seen, all);
        assert_eq!(bench.reassembly.told(), 9);
    }

    #[test]
    fn a_channel_joined_late_begins_where_the_first_piece_is() {
        let mut bench = Bench::new(None);
        bench.bytes(100, "abc").bytes(103, "d").bytes(50, "old");
        assert_eq!(bench.seen, [Text(100, "abc"), Text(103, "d")]);
        assert_eq!((bench.reassembly.begin(), bench.reassembly.told()), (100, 4));
        let mut bench = Bench::new(None);
        bench.close(Some(10));
        assert_eq!(bench.seen, [], "without a first piece there is no stream to miss a part of");
    }

    #[test]
    fn bytes_are_preferred_to_their_absence() {
        let mut bench = Bench::new(Some(0));
        bench.absent(2, 4).bytes(2, "cd").bytes(0, "ab");
        assert_eq!(bench.seen, [Text(0, "ab"), Text(2, "cd"), Hole(4, 2, Loss::RingFull)]);
        let mut bench = Bench::new(Some(0));
        bench.bytes(2, "cd").absent(2, 1).bytes(0, "ab");
        assert_eq!(bench.seen, [Text(0, "ab"), Text(2, "cd")]);
    }

    #[test]
    fn offsets_at_the_end_of_the_number_line_are_safe() {
        let mut bench = Bench::new(Some(0));
        bench.absent(u64::MAX, u64::MAX).bytes(u64::MAX - 1, "abc").close(Some(u64::MAX));
        assert_eq!(bench.reassembly.told(), u64::MAX);
        bench.bytes(u64::MAX, "x").absent(u64::MAX, 1);
        assert_eq!(bench.reassembly.told(), u64::MAX);
    }
}
