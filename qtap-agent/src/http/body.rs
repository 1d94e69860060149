//! A body as it arrives, piece by piece. In: slices of payload, and holes. Out: a [`Body`]: its chunks in order up to the limit, and
//! how much was cut or missing; or, for a body reported in parts, what arrived since the last part. Nothing is copied except small
//! pieces, which are merged so that a body of a million one-byte chunks costs a million bytes.

use bytes::{Bytes, BytesMut};

use super::manner::Manner;
use super::messages::{Env, Grpc, Reader, WebSocket};
use super::{Settings, Sink};
use crate::model::loss::Loss;
use crate::model::message::Body;

/// Pieces shorter than this, except the first, are merged by copying: a slice would keep its whole segment alive.
const SMALL_BYTES: usize = 1024;
/// A piece is a small part of its segment when it is shorter than the segment's length divided by this.
const SMALL_PART: usize = 4;
/// Maximum number of separate holes recorded. A body with more is cut at the last of them.
const HOLES: usize = 256;

/// Limit in bytes on the heads of all unfinished exchanges of one channel together.
const HEADS_BYTES: usize = 16 << 20;

/// What the unfinished exchanges of one channel hold in total.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Budget {
    /// Bytes of bodies, and of the messages in them.
    used: usize,
    /// Bytes of heads.
    heads: usize,
    /// Length of the segment being read, from which the pieces are sliced.
    segment: usize,
}

impl Budget {
    /// Starts a segment of `bytes` bytes; the pieces that follow are slices of it.
    pub(super) fn begin_segment(&mut self, bytes: usize) {
        self.segment = bytes;
    }

    /// Returns a piece fit to be kept: a copy if it is a small part of its segment, because a slice would keep all of it alive.
    pub(super) fn own(&self, piece: Bytes) -> Bytes {
        if piece.len().saturating_mul(SMALL_PART) < self.segment { Bytes::copy_from_slice(&piece) } else { piece }
    }

    /// Bytes that bodies may still take.
    pub(super) fn room(&self, settings: &Settings) -> usize {
        settings.in_flight_limit.max(settings.held_of_a_body()).saturating_sub(self.used)
    }

    /// Adds bytes held for bodies.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.used += bytes;
    }

    /// Removes bytes held for bodies.
    pub(super) fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Adds bytes of heads held for an exchange.
    pub(super) fn hold_head(&mut self, bytes: usize) {
        self.heads += bytes;
    }

    /// Removes the bytes of heads of an exchange that is gone.
    pub(super) fn release_head(&mut self, bytes: usize) {
        self.heads = self.heads.saturating_sub(bytes);
    }

    /// Total bytes held.
    pub(super) fn held(&self) -> usize {
        self.used + self.heads
    }

    /// True if no further exchange should be held.
    pub(super) fn is_crowded(&self) -> bool {
        self.heads > HEADS_BYTES
    }
}

/// A body in progress, from its start or from the last reported part on.
#[derive(Debug, Default)]
pub(super) struct Intake {
    body: Body,
    tail: BytesMut,
    kept: usize,
    /// Bytes kept, and holes recorded, in the pieces of a large body that were already passed on.
    before: usize,
    holes_before: usize,
    /// How the body is reported.
    pub(super) manner: Manner,
    /// Parser of the messages in the body.
    reader: Option<Reader>,
}

impl Intake {
    /// From here on the body is parsed as gRPC messages. Has no effect once bytes have arrived.
    pub(super) fn read_grpc(&mut self) {
        if self.reader.is_none() && self.body.size == 0 {
            self.reader = Some(Reader::Grpc(Box::new(Grpc::new())));
        }
    }

    /// From here on this is one direction of a WebSocket connection.
    pub(super) fn read_websocket(&mut self, reader: WebSocket) {
        self.reader = Some(Reader::WebSocket(Box::new(reader)));
    }

    /// Bytes not reported yet.
    pub(super) fn waiting(&self) -> usize {
        match &self.reader {
            Some(Reader::WebSocket(websocket)) => websocket.waiting(),
            Some(Reader::Grpc(_)) | None => self.kept,
        }
    }

    /// Takes the next piece and counts every byte of it, as captured or as over a limit.
    pub(super) fn push(&mut self, piece: Bytes, env: &mut Env<'_>) {
        if let Some(Reader::Grpc(grpc)) = &mut self.reader {
            grpc.read(&piece, self.body.size, env.time, env.keep, false);
            grpc.account(env.budget);
        }
        self.put(piece, env);
    }

    /// Takes bytes from the front of the next piece of a possibly endless body. Returns true if a part has to be reported before more is
    /// taken: `room` bytes are waiting, or the budget is used up.
    pub(super) fn stream(&mut self, piece: &mut Bytes, room: usize, env: &mut Env<'_>) -> bool {
        let keep = env.keep;
        let fits = if keep { room.saturating_sub(self.kept).min(piece.len()) } else { piece.len() };
        let (at, mut full) = (self.body.size, false);
        let took = match &mut self.reader {
            Some(Reader::WebSocket(websocket)) => {
                let before = piece.len();
                let full = websocket.read(piece, room, env);
                self.body.size = self.body.size.saturating_add((before - piece.len()) as u64);
                return full;
            }
            _ if self.kept > 0 && env.budget.room(env.settings) < fits => return true,
            Some(Reader::Grpc(grpc)) => {
                let took = grpc.read(piece.get(..fits).unwrap_or_default(), at, env.time, keep, true);
                grpc.account(env.budget);
                full = grpc.is_full();
                took
            }
            None => fits,
        };
        self.put(piece.split_to(took), env);
        full || (keep && self.kept >= room)
    }

    fn put(&mut self, mut piece: Bytes, env: &mut Env<'_>) {
        let len = piece.len() as u64;
        self.body.size = self.body.size.saturating_add(len);
        if !env.keep {
            env.sink.captured += len;
            env.sink.unwanted += len;
            self.body.unwanted |= len > 0;
            return;
        }
        let room = env.settings.body_limit.saturating_sub(self.before + self.kept).min(env.budget.room(env.settings));
        let room = if self.body.truncated { 0 } else { room };
        if piece.len() > room {
            self.body.truncated = true;
            env.sink.losses.add(Loss::BodyLimit, (piece.len() - room) as u64);
            piece.truncate(room);
        }
        if piece.is_empty() {
            return;
        }
        env.sink.captured += piece.len() as u64;
        self.kept += piece.len();
        env.budget.hold(piece.len());
        self.keep(env.budget.own(piece));
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

    /// Records that the next `len` bytes of the body were lost; the caller has counted them. Returns true if a part has to be reported.
    pub(super) fn hole(&mut self, len: u64, env: &mut Env<'_>) -> bool {
        let start = self.body.size;
        self.body.size = start.saturating_add(len);
        if len == 0 {
            return false;
        }
        let full = match &mut self.reader {
            Some(Reader::Grpc(grpc)) => {
                grpc.hole(len, env.time, env.keep);
                false
            }
            Some(Reader::WebSocket(websocket)) => websocket.hole(len, env),
            None => false,
        };
        // A hole beyond the limit is not recorded: those bytes would have been cut anyway. The same holds for a body that is not
        // kept, since a probe copies little more of one call than the limit.
        let is_beyond = !env.keep && self.reader.is_none() && start >= env.settings.body_limit as u64;
        if self.body.truncated || is_beyond {
            return full;
        }
        let (end, count) = (self.body.size, self.body.missing.len());
        match self.body.missing.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if self.holes_before + count < HOLES => self.body.missing.push(start..end),
            _ => self.body.truncated = true,
        }
        full
    }

    /// An unknown number of bytes was lost, and more may follow.
    pub(super) fn lose_thread(&mut self, env: &mut Env<'_>) {
        match &mut self.reader {
            Some(Reader::Grpc(grpc)) => grpc.lose_thread(),
            Some(Reader::WebSocket(websocket)) => websocket.lose_thread(env),
            None => {}
        }
    }

    /// True if bytes of the body were lost.
    pub(super) fn has_holes(&self) -> bool {
        !self.body.missing.is_empty()
    }

    /// Releases what is kept of the body, because nobody wants it. (WebSocket data is kept in its messages; whether those are wanted is
    /// decided before the first one.)
    pub(super) fn let_go(&mut self, budget: &mut Budget, sink: &mut Sink) {
        self.body.chunks.clear();
        self.tail = BytesMut::new();
        self.body.unwanted |= self.kept > 0;
        sink.unwanted += self.kept as u64;
        budget.release(std::mem::take(&mut self.kept));
        if let Some(Reader::Grpc(grpc)) = &mut self.reader {
            grpc.let_go(budget);
        }
    }

    /// Gives back the whole body, to be read again; `None` if part of it is missing.
    pub(super) fn take_back(&mut self, budget: &mut Budget) -> Option<Vec<Bytes>> {
        self.flush();
        if self.body.offset > 0 || self.body.size != self.kept as u64 {
            return None;
        }
        budget.release(std::mem::take(&mut self.kept));
        Some(std::mem::take(&mut self.body).chunks)
    }

    /// Bytes that were given back and not reported yet have been counted before: they must not be counted again.
    pub(super) fn forget_uncounted(&mut self) {
        if let Some(Reader::WebSocket(websocket)) = &mut self.reader {
            websocket.forget_uncounted();
        }
    }

    /// True if messages are parsed in the body.
    pub(super) fn has_reader(&self) -> bool {
        self.reader.is_some()
    }

    /// Takes out what arrived since the last part. `large`: it is a piece of a large body, and the limits apply to the whole body.
    pub(super) fn cut(&mut self, large: bool, settings: &Settings, budget: &mut Budget) -> Body {
        self.flush();
        let kept = std::mem::take(&mut self.kept);
        budget.release(kept);
        let (size, truncated) = (self.body.size, large && self.body.truncated);
        if large {
            self.before += kept;
            self.holes_before += self.body.missing.len();
        }
        let next = Body { offset: size, size, truncated, unwanted: self.body.unwanted, ..Body::default() };
        let mut body = std::mem::replace(&mut self.body, next);
        let messages = match &mut self.reader {
            Some(Reader::Grpc(grpc)) => grpc.cut(&body, settings.body_limit, budget),
            Some(Reader::WebSocket(websocket)) => websocket.cut(budget),
            None => return body,
        };
        body.messages = Some(Box::new(messages));
        body
    }

    /// Takes out what arrived since the last part; the body has ended.
    pub(super) fn finish(mut self, settings: &Settings, budget: &mut Budget, sink: &mut Sink) -> Body {
        if self.reader.is_none() {
            self.flush();
            budget.release(self.kept);
            return self.body;
        }
        let body = self.cut(false, settings, budget);
        match &mut self.reader {
            Some(Reader::Grpc(grpc)) => grpc.close(budget),
            Some(Reader::WebSocket(websocket)) => websocket.close(sink, budget),
            None => {}
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::KernelTime;

    fn push(intake: &mut Intake, piece: &'static [u8], settings: &Settings, budget: &mut Budget, sink: &mut Sink) {
        intake.push(
            Bytes::from_static(piece),
            &mut Env { time: KernelTime(0), settings, keep: settings.keep_bodies, budget, sink },
        );
    }

    fn take(pieces: &[&'static [u8]], settings: &Settings) -> (Body, Sink) {
        let (mut intake, mut budget, mut sink) = (Intake::default(), Budget::default(), Sink::default());
        for piece in pieces {
            push(&mut intake, piece, settings, &mut budget, &mut sink);
        }
        let body = intake.finish(settings, &mut budget, &mut sink);
        assert_eq!(budget, Budget::default());
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
        push(&mut intake, b"ab", &settings, &mut budget, &mut sink);
        for len in [3, 1] {
            let mut env = Env {
                time: KernelTime(0),
                settings: &settings,
                keep: settings.keep_bodies,
                budget: &mut budget,
                sink: &mut sink,
            };
            intake.hole(len, &mut env);
        }
        push(&mut intake, b"c", &settings, &mut budget, &mut sink);
        let body = intake.finish(&settings, &mut budget, &mut sink);
        assert_eq!(body.missing, std::slice::from_ref(&(2..6)));
        assert_eq!((body.size, body.kept()), (7, 3));
    }

    #[test]
    fn beyond_the_limit_nothing_is_missed() {
        let missing = |keep: bool, before: &'static [u8]| {
            let settings = Settings { body_limit: 4, keep_bodies: keep, ..Settings::default() };
            let (mut intake, mut budget, mut sink) = (Intake::default(), Budget::default(), Sink::default());
            push(&mut intake, before, &settings, &mut budget, &mut sink);
            let (settings, budget, sink) = (&settings, &mut budget, &mut sink);
            intake.hole(100, &mut Env { time: KernelTime(0), settings, keep, budget, sink });
            push(&mut intake, b"z", settings, budget, sink);
            let holes = intake.has_holes();
            let body = intake.finish(settings, budget, sink);
            (body.size, holes, body.missing)
        };
        for keep in [true, false] {
            assert_eq!(missing(keep, b"abcde"), (106, false, vec![]), "{keep}");
            let (size, holes, ranges) = missing(keep, b"ab");
            assert_eq!((size, holes, ranges.as_slice()), (103, true, std::slice::from_ref(&(2..102))), "{keep}");
        }
    }

    #[test]
    fn the_bodies_of_a_channel_share_a_budget() {
        let settings = Settings { body_limit: 4, in_flight_limit: 6, ..Settings::default() };
        let (mut budget, mut sink) = (Budget::default(), Sink::default());
        let (mut one, mut two) = (Intake::default(), Intake::default());
        push(&mut one, b"aaaa", &settings, &mut budget, &mut sink);
        push(&mut two, b"bbbb", &settings, &mut budget, &mut sink);
        assert_eq!(two.finish(&settings, &mut budget, &mut sink).to_bytes(), "bb");
        assert_eq!(one.finish(&settings, &mut budget, &mut sink).to_bytes(), "aaaa");
        assert_eq!(sink.losses.bytes(Loss::BodyLimit), 2);
    }
}
