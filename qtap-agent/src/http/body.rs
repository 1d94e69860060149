//! A body as it comes in, piece by piece. In: slices of payload, and holes. Out: a [`Body`]: chunks in order up to the limit, and the
//! truth about the rest. It never copies but for small pieces, which are put together so that a body of a million one-byte
//! chunks costs a million bytes.

use bytes::{Bytes, BytesMut};

use super::{Settings, Sink};
use crate::model::loss::Loss;
use crate::model::message::Body;

/// Pieces shorter than this are copied together, but for the first: a slice keeps its whole segment alive.
const SMALL_BYTES: usize = 1024;
/// A piece is a small part of its segment when it is less than one of so many.
const SMALL_PART: usize = 4;
/// Holes that are told apart. A body with more is cut at the last of them.
const HOLES: usize = 256;

/// Most that the heads of the unfinished exchanges of one channel may hold together.
const HEADS_BYTES: usize = 16 << 20;

/// What the unfinished exchanges of one channel keep, together.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Bytes of bodies.
    used: usize,
    /// Bytes of heads.
    heads: usize,
    /// Length of the segment that is being read: what its pieces are cut from.
    segment: usize,
}

impl Budget {
    /// What follows is cut from a segment of so many bytes.
    pub(super) fn begin_segment(&mut self, bytes: usize) {
        self.segment = bytes;
    }

    /// A piece that will be kept: copied when it is a small part of its segment, all of which a slice would keep alive.
    pub(super) fn own(&self, piece: Bytes) -> Bytes {
        if piece.len().saturating_mul(SMALL_PART) < self.segment { Bytes::copy_from_slice(&piece) } else { piece }
    }

    /// An exchange holds so many more bytes of heads.
    pub(super) fn hold_head(&mut self, bytes: usize) {
        self.heads += bytes;
    }

    /// An exchange that held so many bytes of heads is gone.
    pub(super) fn release_head(&mut self, bytes: usize) {
        self.heads = self.heads.saturating_sub(bytes);
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.used + self.heads
    }

    /// True when no further exchange should be held.
    pub(super) fn is_crowded(&self) -> bool {
        self.heads > HEADS_BYTES
    }
}

/// A body under way.
#[derive(Debug, Default)]
pub(super) struct Intake {
    body: Body,
    tail: BytesMut,
    kept: usize,
}

impl Intake {
    /// Takes the next piece, counting every byte of it: captured, or beyond a limit.
    pub(super) fn push(&mut self, mut piece: Bytes, settings: &Settings, budget: &mut Budget, sink: &mut Sink) {
        let len = piece.len() as u64;
        self.body.size = self.body.size.saturating_add(len);
        if !settings.keep_bodies {
            sink.captured += len;
            return;
        }
        let shared = settings.in_flight_limit.max(settings.body_limit).saturating_sub(budget.used);
        let room = settings.body_limit.saturating_sub(self.kept).min(shared);
        let room = if self.body.truncated { 0 } else { room };
        if piece.len() > room {
            self.body.truncated = true;
            sink.losses.add(Loss::BodyLimit, (piece.len() - room) as u64);
            piece.truncate(room);
        }
        if piece.is_empty() {
            return;
        }
        sink.captured += piece.len() as u64;
        self.kept += piece.len();
        budget.used += piece.len();
        self.keep(budget.own(piece));
    }

    fn keep(&mut self, piece: Bytes) {
        if piece.len() < SMALL_BYTES && !(self.body.chunks.is_empty() && self.tail.is_empty()) {
            self.tail.extend_from_slice(&piece);
            return;
        }
        self.flush();
        self.body.chunks.push(piece);
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.body.chunks.push(self.tail.split().freeze());
        }
    }

    /// The next `len` bytes of the body were carried and lost; the caller has counted them.
    pub(super) fn hole(&mut self, len: u64) {
        let start = self.body.size;
        self.body.size = start.saturating_add(len);
        if self.body.truncated || len == 0 {
            return;
        }
        let (end, count) = (self.body.size, self.body.missing.len());
        match self.body.missing.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if count < HOLES => self.body.missing.push(start..end),
            _ => self.body.truncated = true,
        }
    }

    /// True when bytes of it were lost.
    pub(super) fn has_holes(&self) -> bool {
        !self.body.missing.is_empty()
    }

    /// The body, as far as it came.
    pub(super) fn finish(mut self, budget: &mut Budget) -> Body {
        self.flush();
        budget.used = budget.used.saturating_sub(self.kept);
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pieces: &[&'static [u8]], settings: &Settings) -> (Body, Sink) {
        let (mut intake, mut budget, mut sink) = (Intake::default(), Budget::default(), Sink::default());
        for piece in pieces {
            intake.push(Bytes::from_static(piece), settings, &mut budget, &mut sink);
        }
        let body = intake.finish(&mut budget);
        assert_eq!(budget.used, 0);
        (body, sink)
    }

    #[test]
    fn the_limit_cuts_and_counts() {
        let settings = Settings { body_limit: 5, ..Settings::default() };
        let (body, sink) = take(&[b"abc", b"def", b"g"], &settings);
        assert_eq!(body.to_bytes(), "abcde");
        assert_eq!((body.size, body.truncated), (7, true));
        assert_eq!((sink.captured, sink.losses.bytes(Loss::BodyLimit)), (5, 2));
    }

    #[test]
    fn sizes_only() {
        let settings = Settings { keep_bodies: false, ..Settings::default() };
        let (body, sink) = take(&[b"abc", b"def"], &settings);
        assert_eq!((body.chunks.len(), body.size, body.truncated), (0, 6, false));
        assert_eq!(sink.captured, 6);
    }

    #[test]
    fn small_pieces_are_put_together_and_large_ones_are_not_copied() {
        let large: &'static [u8] = &[7; 4096];
        let (body, _) = take(&[b"a", b"b", b"c", large, b"d"], &Settings::default());
        let lens: Vec<_> = body.chunks.iter().map(Bytes::len).collect();
        assert_eq!(lens, [1, 2, 4096, 1]);
        assert!(body.chunks.iter().any(|chunk| std::ptr::eq(chunk.as_ptr(), large.as_ptr())));
    }

    #[test]
    fn holes_are_ranges_and_neighbours_are_one() {
        let (mut intake, mut budget, mut sink) = (Intake::default(), Budget::default(), Sink::default());
        let settings = Settings::default();
        intake.push(Bytes::from_static(b"ab"), &settings, &mut budget, &mut sink);
        intake.hole(3);
        intake.hole(1);
        intake.push(Bytes::from_static(b"c"), &settings, &mut budget, &mut sink);
        let body = intake.finish(&mut budget);
        assert_eq!(body.missing, std::slice::from_ref(&(2..6)));
        assert_eq!((body.size, body.kept()), (7, 3));
    }

    #[test]
    fn the_bodies_of_a_channel_share_a_budget() {
        let settings = Settings { body_limit: 4, in_flight_limit: 6, ..Settings::default() };
        let (mut budget, mut sink) = (Budget::default(), Sink::default());
        let (mut one, mut two) = (Intake::default(), Intake::default());
        one.push(Bytes::from_static(b"aaaa"), &settings, &mut budget, &mut sink);
        two.push(Bytes::from_static(b"bbbb"), &settings, &mut budget, &mut sink);
        assert_eq!(two.finish(&mut budget).to_bytes(), "bb");
        assert_eq!(one.finish(&mut budget).to_bytes(), "aaaa");
        assert_eq!(sink.losses.bytes(Loss::BodyLimit), 2);
    }
}
