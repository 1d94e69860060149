//! permessage-deflate (RFC 7692), the decompressing side of one direction. In: the payloads of compressed messages, in order. Out: the
//! plain data, up to a limit. Each direction has its own window, which outlives a message unless negotiated otherwise; if
//! something of it is lost, what follows cannot be known, and is not guessed.

use bytes::BytesMut;
use flate2::{Decompress, FlushDecompress, Status};

/// What ends each message and is not transmitted (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Approximate memory cost in bytes of a window and its state.
const WINDOW_COST: usize = 48 << 10;
/// Output bytes produced per step.
const STEP: usize = 8 << 10;
/// Output bytes accepted per input byte once a message exceeds the limit on what is kept: real text compresses no better.
const EXPANSION: u64 = 128;

/// The decompressor of one direction.
#[derive(Debug)]
pub(super) struct Inflate {
    /// `None` before the first message, and once its place in the data is lost.
    inflater: Option<Decompress>,
    /// The window outlives a message.
    takeover: bool,
    /// The contents of the window are unknown.
    void: bool,
    /// Input bytes of the message so far, and output bytes produced from them.
    took: u64,
    made: u64,
}

impl Inflate {
    pub(super) fn new(takeover: bool) -> Inflate {
        Inflate { inflater: None, takeover, void: false, took: 0, made: 0 }
    }

    /// Gives up if there is no window yet and `room` is too small for one.
    pub(super) fn fit(&mut self, room: usize) {
        if self.inflater.is_none() && room < WINDOW_COST {
            self.lose_thread();
        }
    }

    /// True if what follows cannot be decompressed.
    pub(super) fn is_void(&self) -> bool {
        self.void
    }

    /// Bytes of memory held.
    pub(super) fn cost(&self) -> usize {
        if self.inflater.is_some() { WINDOW_COST } else { 0 }
    }

    /// Part of the data was lost.
    pub(super) fn lose_thread(&mut self) {
        self.void = true;
        self.inflater = None;
    }

    /// Decompresses a piece of a message and appends the result to `out`, which may reach `room` bytes. True if all of it was appended.
    pub(super) fn run(&mut self, input: &[u8], out: &mut BytesMut, room: usize) -> bool {
        if self.void {
            return false;
        }
        self.took += input.len() as u64;
        let whole = self.steps(input, out, room);
        if whole.is_none() {
            self.lose_thread();
        }
        whole == Some(true)
    }

    /// Ends the message. True if all of it was appended.
    pub(super) fn end(&mut self, out: &mut BytesMut, room: usize) -> bool {
        let whole = self.run(&TAIL, out, room);
        (self.took, self.made) = (0, 0);
        if !self.takeover {
            self.void = false;
            if let Some(inflater) = &mut self.inflater {
                inflater.reset(false);
            }
        }
        whole
    }

    /// `None` if the input is not deflate data, or expands too much.
    fn steps(&mut self, mut input: &[u8], out: &mut BytesMut, room: usize) -> Option<bool> {
        let inflater = self.inflater.get_or_insert_with(|| Decompress::new(false));
        let mut step = [0; STEP];
        let mut whole = true;
        loop {
            let (was_in, was_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, &mut step, FlushDecompress::Sync).ok()?;
            let (took, made) = ((inflater.total_in() - was_in) as usize, (inflater.total_out() - was_out) as usize);
            input = input.get(took..)?;
            let fits = made.min(room.saturating_sub(out.len()));
            out.extend_from_slice(step.get(..fits)?);
            whole &= fits == made;
            self.made += made as u64;
            if !whole && self.made > self.took.saturating_mul(EXPANSION) {
                return None;
            }
            match status {
                // RFC 7692 §7.2.3.4: a block may be marked as the last, and others follow nevertheless.
                Status::StreamEnd => inflater.reset(false),
                Status::Ok | Status::BufError if took == 0 && made == 0 => return Some(whole),
                Status::Ok | Status::BufError => {}
            }
            if input.is_empty() && made < STEP {
                return Some(whole);
            }
        }
    }
}

#[cfg(test)]
impl Inflate {
    pub(super) fn takes_over(&self) -> bool {
        self.takeover
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn inflate(inflate: &mut Inflate, payload: &[u8], room: usize) -> (Vec<u8>, bool) {
        let mut out = BytesMut::new();
        let mut whole = true;
        for octet in payload {
            whole &= inflate.run(&[*octet], &mut out, room);
        }
        whole &= inflate.end(&mut out, room);
        (out.to_vec(), whole)
    }

    fn hello() -> (Vec<u8>, bool) {
        (b"Hello".to_vec(), true)
    }

    /// RFC 7692 §7.2.3.
    #[test]
    fn the_examples_of_the_rfc() {
        let compressed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let shared = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let mut window = Inflate::new(true);
        assert_eq!(inflate(&mut window, &compressed, 99), hello());
        assert_eq!(inflate(&mut window, &shared, 99), hello(), "by the window of the message before");
        assert_eq!(inflate(&mut Inflate::new(false), &compressed, 99), hello());
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflate(&mut Inflate::new(true), &stored, 99), hello(), "a block without compression");
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflate(&mut Inflate::new(true), &last, 99), hello(), "a block that says it is the last");
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&mut Inflate::new(true), &two, 99), hello(), "two blocks");
    }

    #[test]
    fn without_takeover_each_message_stands_alone() {
        let compressed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut fresh = Inflate::new(false);
        assert_eq!(inflate(&mut fresh, &compressed, 99), hello());
        assert!(!inflate(&mut fresh, &[0xf2, 0x00, 0x11, 0x00, 0x00], 99).1, "there is no window to refer to");
        assert_eq!(inflate(&mut fresh, &compressed, 99), hello());
        fresh.lose_thread();
        assert!(!inflate(&mut fresh, &compressed, 99).1);
        assert_eq!(inflate(&mut fresh, &compressed, 99), hello());
    }

    #[test]
    fn what_is_lost_stays_lost_with_takeover() {
        let compressed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut window = Inflate::new(true);
        window.lose_thread();
        assert_eq!(inflate(&mut window, &compressed, 99), (Vec::new(), false));
        assert_eq!(window.cost(), 0);
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1000);
        let mut compress = Compress::new(Compression::best(), false);
        assert!(compress.compress_vec(text, &mut out, FlushCompress::Sync).is_ok());
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn there_must_be_room_for_a_window() {
        let mut window = Inflate::new(true);
        window.fit(WINDOW_COST);
        assert_eq!(inflate(&mut window, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 99), hello());
        window.fit(0);
        assert!(!window.is_void(), "it has one");
        let mut none = Inflate::new(true);
        none.fit(WINDOW_COST - 1);
        assert!(none.is_void());
    }

    #[test]
    fn what_does_not_fit_is_cut_and_the_window_goes_on() {
        let text: Vec<u8> = (0..200u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let mut window = Inflate::new(true);
        let (out, whole) = inflate(&mut window, &deflate(&text), 100);
        assert_eq!((out.as_slice(), whole), (text.get(..100).unwrap_or_default(), false));
        assert_eq!(window.cost(), WINDOW_COST);
        let mut again = BytesMut::new();
        assert!(window.run(&deflate(b"after"), &mut again, 99) && window.end(&mut again, 99));
        assert_eq!(again, "after");
    }

    #[test]
    fn a_bomb_is_given_up() {
        let bomb = deflate(&vec![0; 10 << 20]);
        let mut window = Inflate::new(true);
        let mut out = BytesMut::new();
        assert!(!window.run(&bomb, &mut out, 1000));
        assert_eq!(out.len(), 1000);
        assert_eq!(window.cost(), 0);
    }
}
