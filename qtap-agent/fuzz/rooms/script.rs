//! Scripts as a fuzzer writes them. In: any bytes. Out: a [`Script`]; there are none that don't stand for one. And back: the seeds of the corpora
//! are written here.
//!
//! ```text
//! script = flags op*                flags: 1 joined late · 2 small limits · 4 still open at the end
//! op     = code …                   code & 8: received, else sent
//!   0 len:u8 bytes                  a segment
//!   1 len:u16le bytes               a segment
//!   2 len:u8                        a hole
//!   3 len:u32le                     a hole
//!   4 n:u8                          n × 10 ms pass
//!   5 n:u8                          the last segment again, n times in one
//!   6 kind flags stream len bytes   a frame of HTTP/2, a segment of its own
//!   7 kind flags stream len bytes   the same, at the end of the last segment
//! ```
//! Lengths that are too long mean what is left.

use std::sync::Arc;

use qtap_agent::http::Settings;
use qtap_agent::model::conn::Direction;

use super::channel::{Script, Step};

/// Bytes that a script may stand for.
const MOST: usize = 1 << 20;

const LATE: u8 = 1;
const SMALL: u8 = 2;
const OPEN: u8 = 4;
const RECEIVED: u8 = 8;

/// Bytes read from the front.
pub(crate) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of `N` bytes, little-endian; what is missing is 0.
    pub(crate) fn number<const N: usize>(&mut self) -> u64 {
        let taken = self.bytes(N);
        taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Limits that a short script reaches; but for that of all bodies together: what it takes, and when parts make room for more, depends on what
/// came together.
pub(crate) fn small() -> Settings {
    Settings { body_limit: 64, head_limit: 256, max_in_flight: 4, in_flight_limit: 1 << 16, ..Settings::default() }
}

/// The script that `data` stands for, after what is said `before`.
pub(crate) fn read(data: &[u8], before: Vec<Step>) -> Script {
    let mut input = Input(data);
    let flags = input.u8().unwrap_or(0);
    let settings = Arc::new(if flags & SMALL != 0 { small() } else { Settings::default() });
    let mut steps = before;
    let mut left = MOST;
    while let Some(code) = input.u8() {
        let direction = if code & RECEIVED != 0 { Direction::Received } else { Direction::Sent };
        let bytes = match code & 7 {
            0 => segment::<1>(&mut input),
            1 => segment::<2>(&mut input),
            2 => {
                steps.push(Step::Hole(direction, input.number::<1>()));
                continue;
            }
            3 => {
                steps.push(Step::Hole(direction, input.number::<4>()));
                continue;
            }
            4 => {
                steps.push(Step::Wait(input.number::<1>() * 10));
                continue;
            }
            5 => repeated(&steps, input.number::<1>() as usize),
            6 => frame(&mut input),
            _ => {
                let bytes = frame(&mut input);
                if let Some(Step::Bytes(last, before)) = steps.last_mut()
                    && *last == direction
                {
                    before.extend_from_slice(&bytes);
                    continue;
                }
                bytes
            }
        };
        left = left.saturating_sub(bytes.len());
        if left == 0 {
            break;
        }
        steps.push(Step::Bytes(direction, bytes));
    }
    steps.retain(|step| !matches!(step, Step::Bytes(_, bytes) if bytes.is_empty()));
    Script { steps, joined_late: flags & LATE != 0, still_open: flags & OPEN != 0, settings }
}

fn segment<const N: usize>(input: &mut Input<'_>) -> Vec<u8> {
    let len = input.number::<N>() as usize;
    input.bytes(len).to_vec()
}

fn repeated(steps: &[Step], times: usize) -> Vec<u8> {
    let last = steps.iter().rev().find_map(|step| if let Step::Bytes(_, bytes) = step { Some(bytes) } else { None });
    last.filter(|bytes| bytes.len() < 4096).map(|bytes| bytes.repeat(times)).unwrap_or_default()
}

fn frame(input: &mut Input<'_>) -> Vec<u8> {
    let [kind, flags, stream, len] = [(); 4].map(|()| input.u8().unwrap_or(0));
    let payload = input.bytes(usize::from(len));
    let mut bytes = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
    bytes.extend_from_slice(payload);
    bytes
}

/// The bytes that stand for these steps; flags 0, or `LATE`.
pub(crate) fn write(steps: &[Step], joined_late: bool) -> Vec<u8> {
    let mut data = vec![u8::from(joined_late)];
    let side = |direction: &Direction| if *direction == Direction::Received { RECEIVED } else { 0 };
    for step in steps {
        match step {
            Step::Bytes(direction, bytes) => {
                for part in bytes.chunks(usize::from(u16::MAX)) {
                    match u8::try_from(part.len()) {
                        Ok(len) => data.extend([side(direction), len]),
                        Err(_) => {
                            data.push(1 | side(direction));
                            data.extend((part.len() as u16).to_le_bytes());
                        }
                    }
                    data.extend(part);
                }
            }
            Step::Hole(direction, len) => {
                data.push(3 | side(direction));
                data.extend((*len as u32).to_le_bytes());
            }
            Step::Wait(ms) => data.extend([4, (*ms / 10).min(255) as u8]),
        }
    }
    data
}
