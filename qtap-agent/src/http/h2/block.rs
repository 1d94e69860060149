//! Assembly of header blocks (RFC 9113 §4.3, §6.2, §6.6, §6.10). In: the payloads of HEADERS, PUSH_PROMISE and CONTINUATION frames in the
//! order of their direction. Out: blocks without padding and priority: whole, or, beyond the limit, in pieces; or the fact that one was
//! lost. At most one block is held, and no more of it than the limit.

use bytes::{Buf, Bytes, BytesMut};
use h2::frame::Kind;

use super::shape::{END_HEADERS, END_STREAM, FrameHead, PADDED, PRIORITY};
use crate::http::pair::Stamp;

/// Octets of the priority fields of HEADERS.
const PRIORITY_LEN: usize = 5;

/// A header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The stream it arrived on.
    pub(super) stream: u32,
    /// The stream it promises (PUSH_PROMISE).
    pub(super) promised: Option<u32>,
    /// It ends its direction of the stream.
    pub(super) ends: bool,
    /// Its octets; if it came in pieces, the last ones.
    pub(super) octets: Bytes,
    /// When its first octet arrived.
    pub(super) stamp: Stamp,
}

/// The effect of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// A block began or continued.
    Part,
    /// A block is whole.
    Whole(Block),
    /// The next octets of a block too long to be held.
    Piece(Bytes),
    /// The frame is malformed for its kind.
    Malformed,
}

/// A block that needs more CONTINUATION frames.
#[derive(Debug)]
struct Partial {
    block: Block,
    /// Its octets that have not been passed on.
    octets: BytesMut,
    /// Octets received.
    len: usize,
}

/// The block in progress in one direction.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partial: Option<Partial>,
}

impl Assembly {
    /// True if a frame with this head may come now: CONTINUATION only continues a block.
    pub(super) fn admits(&self, head: FrameHead) -> bool {
        head.kind != Kind::Continuation || self.partial.is_some()
    }

    /// Gives up the block in progress if the next frame of the direction does not continue it.
    pub(super) fn interrupt(&mut self, next: FrameHead) -> Option<Block> {
        let continues = next.kind == Kind::Continuation;
        let broken = self.partial.take_if(|partial| !continues || partial.block.stream != next.stream);
        broken.map(|partial| partial.block)
    }

    /// Bytes of memory held by an incomplete block.
    pub(super) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.octets.capacity())
    }

    /// The direction lost its place in the stream of frames.
    pub(super) fn clear(&mut self) {
        self.partial = None;
    }

    /// Processes the payload of a frame of one of the three kinds.
    pub(super) fn read(&mut self, head: FrameHead, payload: Bytes, stamp: Stamp, limit: usize) -> Assembled {
        if head.kind == Kind::Continuation {
            let went_on = self.go_on(payload, limit);
            return if head.has(END_HEADERS) { self.end(went_on) } else { went_on };
        }
        match strip_padding(head, payload).and_then(|payload| begin(head, payload, stamp)) {
            None => Assembled::Malformed,
            Some(block) if head.has(END_HEADERS) => Assembled::Whole(block),
            Some(block) => {
                self.begin(block);
                Assembled::Part
            }
        }
    }

    fn begin(&mut self, mut block: Block) {
        let octets = BytesMut::from(std::mem::take(&mut block.octets));
        self.partial = Some(Partial { block, len: octets.len(), octets });
    }

    /// Begins a block whose first frame is longer than the limit, from the frame's [`opening`]. Returns the octets of padding at the frame's
    /// end, or `None` if it is malformed.
    pub(super) fn begin_long(&mut self, head: FrameHead, mut opening: Bytes, stamp: Stamp) -> Option<usize> {
        if head.kind == Kind::Continuation {
            return Some(0);
        }
        let padding = if head.has(PADDED) { usize::from(opening.try_get_u8().ok()?) } else { 0 };
        self.begin(begin(head, opening, stamp)?);
        Some(padding)
    }

    /// How many of the next `more` octets of the block in progress exceed the limit.
    pub(super) fn beyond(&self, more: usize, limit: usize) -> usize {
        let len = self.partial.as_ref().map_or(0, |partial| partial.len);
        (len + more).saturating_sub(len.max(limit))
    }

    /// Adds octets to the block in progress.
    pub(super) fn go_on(&mut self, octets: Bytes, limit: usize) -> Assembled {
        let Some(partial) = &mut self.partial else { return Assembled::Malformed };
        partial.len += octets.len();
        if partial.len <= limit {
            partial.octets.extend_from_slice(&octets);
            return Assembled::Part;
        }
        if partial.octets.is_empty() {
            return Assembled::Piece(octets);
        }
        partial.octets.extend_from_slice(&octets);
        Assembled::Piece(std::mem::take(&mut partial.octets).freeze())
    }

    /// Ends the block in progress; `last` is the result of adding its last octets.
    pub(super) fn end(&mut self, last: Assembled) -> Assembled {
        match (self.partial.take(), last) {
            (Some(partial), Assembled::Piece(octets)) => Assembled::Whole(Block { octets, ..partial.block }),
            (Some(partial), _) => Assembled::Whole(Block { octets: partial.octets.freeze(), ..partial.block }),
            (None, _) => Assembled::Malformed,
        }
    }
}

/// Octets of a frame before those of the header block.
pub(super) fn opening(head: FrameHead) -> usize {
    let fields = match head.kind {
        Kind::PushPromise => 4,
        Kind::Headers if head.has(PRIORITY) => PRIORITY_LEN,
        _ => 0,
    };
    fields + usize::from(head.has(PADDED) && head.kind != Kind::Continuation)
}

/// The start of a block: HEADERS, or PUSH_PROMISE.
fn begin(head: FrameHead, mut octets: Bytes, stamp: Stamp) -> Option<Block> {
    let mut promised = None;
    if head.kind == Kind::PushPromise {
        promised = Some(octets.try_get_u32().ok()? & 0x7fff_ffff);
    } else if head.has(PRIORITY) {
        if octets.len() < PRIORITY_LEN {
            return None;
        }
        octets.advance(PRIORITY_LEN);
    }
    let ends = head.has(END_STREAM) && promised.is_none();
    Some(Block { stream: head.stream, promised, ends, octets, stamp })
}

/// Strips padding (RFC 9113 §6.2); `None` if it is longer than the payload.
fn strip_padding(head: FrameHead, mut payload: Bytes) -> Option<Bytes> {
    if head.has(PADDED) {
        let padding = usize::from(payload.try_get_u8().ok()?);
        payload.truncate(payload.len().checked_sub(padding)?);
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: Kind, flags: u8, len: usize) -> FrameHead {
        FrameHead { kind, flags, stream: 5, len }
    }

    fn read(assembly: &mut Assembly, kind: Kind, flags: u8, payload: &'static [u8]) -> Assembled {
        assembly.read(head(kind, flags, payload.len()), Bytes::from_static(payload), Stamp::default(), 8)
    }

    fn block(promised: Option<u32>, ends: bool, octets: &'static [u8]) -> Block {
        Block { stream: 5, promised, ends, octets: Bytes::from_static(octets), stamp: Stamp::default() }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let mut assembly = Assembly::default();
        let all = END_HEADERS | END_STREAM | PADDED | PRIORITY;
        let whole = read(&mut assembly, Kind::Headers, all, b"\x02\0\0\0\0\x10ab\0\0");
        assert_eq!(whole, Assembled::Whole(block(None, true, b"ab")));
        let promise = read(&mut assembly, Kind::PushPromise, END_HEADERS, b"\x80\0\0\x02ab");
        assert_eq!(promise, Assembled::Whole(block(Some(2), false, b"ab")));
        assert_eq!(read(&mut assembly, Kind::Headers, END_HEADERS | PADDED, b"\x02a"), Assembled::Malformed);
        assert_eq!(read(&mut assembly, Kind::Headers, END_HEADERS | PRIORITY, b"\0\0\0\0"), Assembled::Malformed);
    }

    #[test]
    fn continuation_continues_up_to_the_limit() {
        let mut assembly = Assembly::default();
        assert!(!assembly.admits(head(Kind::Continuation, 0, 0)));
        assert_eq!(read(&mut assembly, Kind::Headers, END_STREAM, b"ab"), Assembled::Part);
        assert_eq!(read(&mut assembly, Kind::Continuation, 0, b""), Assembled::Part);
        assert_eq!(
            read(&mut assembly, Kind::Continuation, END_HEADERS, b"cd"),
            Assembled::Whole(block(None, true, b"abcd"))
        );
        assert_eq!(read(&mut assembly, Kind::Headers, 0, b"abcd"), Assembled::Part);
        assert_eq!(assembly.beyond(6, 8), 2);
        assert_eq!(
            read(&mut assembly, Kind::Continuation, 0, b"efghi"),
            Assembled::Piece(Bytes::from_static(b"abcdefghi"))
        );
        assert_eq!((assembly.held(), assembly.beyond(6, 8)), (0, 6));
        assert_eq!(read(&mut assembly, Kind::Continuation, 0, b"j"), Assembled::Piece(Bytes::from_static(b"j")));
        let last = Assembled::Whole(block(None, false, b"kl"));
        assert_eq!(read(&mut assembly, Kind::Continuation, END_HEADERS, b"kl"), last);
    }

    #[test]
    fn what_is_not_continued_is_given_up() {
        let mut assembly = Assembly::default();
        assert_eq!(read(&mut assembly, Kind::Headers, 0, b"ab"), Assembled::Part);
        assert_eq!(assembly.interrupt(head(Kind::Continuation, 0, 0)), None);
        assert_eq!(assembly.interrupt(head(Kind::Ping, 0, 8)), Some(block(None, false, b"")));
        assert_eq!(assembly.interrupt(head(Kind::Ping, 0, 8)), None);
    }
}
