//! What a frame may look like (RFC 9113 §4.1, §6), and where frames begin in bytes joined mid-stream. In: bytes. Out: a frame's head,
//! or an offset. It keeps no state.

use h2::frame::{HEADER_LEN, Head, Kind};

/// END_STREAM (RFC 9113 §6.1, §6.2), ACK (§6.5, §6.7).
pub(super) const END_STREAM: u8 = 0x1;
/// END_HEADERS (RFC 9113 §6.2).
pub(super) const END_HEADERS: u8 = 0x4;
/// PADDED (RFC 9113 §6.1).
pub(super) const PADDED: u8 = 0x8;
/// PRIORITY (RFC 9113 §6.2).
pub(super) const PRIORITY: u8 = 0x20;

/// Largest payload accepted for a frame recognised by its shape: the default of SETTINGS_MAX_FRAME_SIZE.
const USUAL_PAYLOAD: usize = 16_384;
/// Consecutive frames that prove one another.
const CHAIN: usize = 3;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) len: usize,
}

impl FrameHead {
    /// Parses nine octets.
    pub(super) fn parse(octets: [u8; HEADER_LEN]) -> FrameHead {
        let head = Head::parse(&octets);
        let [a, b, c, ..] = octets;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        FrameHead { kind: head.kind(), flags: head.flag(), stream: u32::from(head.stream_id()), len }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// False if the frame breaks a rule whose violation is a connection error: then these bytes are not frames, or no longer.
    pub(super) fn is_valid(self) -> bool {
        let least = match (self.has(PADDED), self.has(PRIORITY) && self.kind == Kind::Headers) {
            (false, false) => 0,
            (true, false) => 1,
            (false, true) => 5,
            (true, true) => 6,
        };
        let (on_stream, on_connection) = (self.stream != 0, self.stream == 0);
        match self.kind {
            Kind::Data | Kind::Headers => on_stream && self.len >= least,
            // Of another length than five it is an error of its stream alone (§6.3).
            Kind::Priority => on_stream,
            Kind::Reset => on_stream && self.len == 4,
            Kind::Settings => on_connection && self.len.is_multiple_of(6) && (!self.has(END_STREAM) || self.len == 0),
            Kind::PushPromise => on_stream && self.len >= 4,
            Kind::Ping => on_connection && self.len == 8,
            Kind::GoAway => on_connection && self.len >= 8,
            Kind::WindowUpdate => self.len == 4,
            Kind::Continuation => on_stream,
            Kind::Unknown => true,
        }
    }

    /// True if it also looks like what is really sent: no unknown kind, no undefined flag, no unusual size.
    fn is_usual(self, octets: [u8; HEADER_LEN]) -> bool {
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::Settings | Kind::Ping => END_STREAM,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Priority | Kind::Reset | Kind::GoAway | Kind::WindowUpdate => 0,
            Kind::Unknown => return false,
        };
        let reserved = octets.get(5).is_some_and(|b| b & 0x80 != 0);
        let fits = self.len <= USUAL_PAYLOAD && (self.kind != Kind::Priority || self.len == 5);
        self.is_valid() && self.flags & !flags == 0 && !reserved && fits
    }
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A frame begins here.
    Frame(usize),
    /// A frame may begin here, if more bytes prove it; none begins before.
    Maybe(usize),
    /// No frame; this many bytes can be skipped.
    Nothing(usize),
}

/// Searches for a frame that is followed by others, or by the end of `bytes`, which is the end of what one call carried.
pub(super) fn find(bytes: &[u8]) -> Found {
    let mut maybe = None;
    for at in 0..bytes.len() {
        match chain(bytes.get(at..).unwrap_or_default()) {
            Some(true) => return Found::Frame(at),
            Some(false) => maybe = maybe.or(Some(at)),
            None => {}
        }
    }
    maybe.map_or(Found::Nothing(bytes.len()), Found::Maybe)
}

/// `Some(true)`: frames. `Some(false)`: perhaps. `None`: not frames.
fn chain(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    for proven in 0..CHAIN {
        if rest.is_empty() {
            return Some(proven > 0);
        }
        let Some((octets, payload)) = rest.split_first_chunk::<HEADER_LEN>() else { return Some(false) };
        let head = FrameHead::parse(*octets);
        if !head.is_usual(*octets) {
            return None;
        }
        rest = match payload.get(head.len..) {
            Some(rest) => rest,
            None => return Some(false),
        };
    }
    Some(true)
}

/// True if `bytes`, what one call carried, consist of whole frames.
pub(in crate::http) fn looks_like_frames(bytes: &[u8]) -> bool {
    chain(bytes) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = *b"\0\0\x08\x06\0\0\0\0\0abcdefgh";

    #[test]
    fn heads() {
        let head = FrameHead::parse([0, 1, 2, 1, 0x25, 0x80, 0, 0, 3]);
        assert_eq!((head.kind, head.len, head.stream), (Kind::Headers, 258, 3));
        assert!(head.has(PRIORITY) && head.has(END_HEADERS) && !head.has(PADDED) && head.is_valid());
        assert!(!FrameHead::parse([0, 0, 7, 6, 0, 0, 0, 0, 0]).is_valid(), "PING of seven octets");
        assert!(!FrameHead::parse([0, 0, 0, 0, 0, 0, 0, 0, 0]).is_valid(), "DATA on stream 0");
        assert!(FrameHead::parse([0, 0, 0, 0x99, 0, 0, 0, 0, 0]).is_valid(), "an extension");
    }

    #[test]
    fn frames_are_found_in_the_middle_of_others() {
        let mut bytes = b"rest of a body".to_vec();
        for _ in 0..3 {
            bytes.extend(PING);
        }
        assert_eq!(find(&bytes), Found::Frame(14));
        assert_eq!(find(&PING), Found::Frame(0));
        assert_eq!(find(&PING[..12]), Found::Maybe(0));
        assert_eq!(find(b"nothing of the kind at all"), Found::Maybe(18), "the last octets may be a beginning");
        assert!(looks_like_frames(&PING) && !looks_like_frames(&PING[..16]));
    }
}
