//! The head of a WebSocket frame (RFC 6455 §5.2). In: bytes, as they arrive. Out: the head, or that it violates a rule.
//!
//! ```text
//!   FIN RSV1-3 opcode │ MASK length-7 │ length-16 or -64, if length-7 is 126 or 127 │ masking key, if MASK
//! ```

use bytes::{Buf, Bytes};

/// Longest head: two octets, a length of eight octets, a key of four.
const HEAD_LIMIT: usize = 14;
/// Longest payload of a control frame (RFC 6455 §5.5).
pub(super) const CONTROL_LIMIT: u64 = 125;

/// The kind of a frame (RFC 6455 §5.2, opcode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(number: u8) -> Option<Opcode> {
        match number {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) fin: bool,
    /// The frame begins a compressed message (RFC 7692 §6).
    pub(super) rsv1: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<[u8; 4]>,
    pub(super) len: u64,
}

/// The result of reading octets of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// More octets are needed.
    Part,
    /// The head is complete, with this many octets.
    Whole(Frame, usize),
    /// These octets, this many, are not a head.
    Broken(usize),
}

/// A head being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    octets: [u8; HEAD_LIMIT],
    have: usize,
}

impl Head {
    /// Takes what it needs from the front of `piece`.
    pub(super) fn read(&mut self, piece: &mut Bytes) -> Read {
        while let Some(octet) = piece.first() {
            if let Some(place) = self.octets.get_mut(self.have) {
                *place = *octet;
            }
            self.have += 1;
            piece.advance(1);
            let octets = self.octets.get(..self.have).unwrap_or(&self.octets);
            match parse(octets) {
                Some(None) => return Read::Broken(std::mem::take(&mut self.have)),
                Some(Some(frame)) => return Read::Whole(frame, std::mem::take(&mut self.have)),
                None => {}
            }
        }
        Read::Part
    }

    /// Drops the incomplete head; returns its length in octets.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.have)
    }
}

/// `None`: too few octets to decide. `Some(None)`: no frame begins like this.
fn parse(octets: &[u8]) -> Option<Option<Frame>> {
    let [first, second, rest @ ..] = octets else { return None };
    let (fin, rsv1, reserved) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x30);
    let Some(opcode) = Opcode::of(first & 0x0f).filter(|_| reserved == 0) else { return Some(None) };
    let (masked, short) = (second & 0x80 != 0, u64::from(second & 0x7f));
    let (len, rest) = match short {
        126 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*len), rest)
        }
        short => (short, rest),
    };
    // "the minimal number of bytes MUST be used to encode the length", and the most significant bit of eight must be 0.
    let minimal = match short {
        126 => len > 125,
        127 => len > 0xffff && len >> 63 == 0,
        _ => true,
    };
    let whole = if opcode.is_control() { fin && !rsv1 && len <= CONTROL_LIMIT } else { true };
    if !minimal || !whole {
        return Some(None);
    }
    let key = if masked { Some(*rest.first_chunk::<4>()?) } else { None };
    Some(Some(Frame { fin, rsv1, opcode, key, len }))
}

/// Unmasks payload octets; the first one has offset `at` in its frame (RFC 6455 §5.3).
pub(super) fn unmask(octets: &mut [u8], key: [u8; 4], at: u64) {
    let mut key = key;
    key.rotate_left((at % 4) as usize);
    let mut words = octets.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
    }
    words.into_remainder().iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Read {
        let mut head = Head::default();
        let whole = head.read(&mut Bytes::copy_from_slice(octets));
        let mut head = Head::default();
        let by_one = octets.iter().map(|o| head.read(&mut Bytes::copy_from_slice(&[*o]))).find(|r| *r != Read::Part);
        assert_eq!(by_one.unwrap_or(Read::Part), whole);
        whole
    }

    fn frame(fin: bool, opcode: Opcode, key: Option<[u8; 4]>, len: u64) -> Frame {
        Frame { fin, rsv1: false, opcode, key, len }
    }

    /// RFC 6455 §5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(read(&[0x81, 0x05, 0x48]), Read::Whole(frame(true, Opcode::Text, None, 5), 2));
        assert_eq!(
            read(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f]),
            Read::Whole(frame(true, Opcode::Text, Some(key), 5), 6)
        );
        assert_eq!(read(&[0x01, 0x03]), Read::Whole(frame(false, Opcode::Text, None, 3), 2));
        assert_eq!(read(&[0x80, 0x02]), Read::Whole(frame(true, Opcode::Continuation, None, 2), 2));
        assert_eq!(read(&[0x89, 0x05]), Read::Whole(frame(true, Opcode::Ping, None, 5), 2));
        assert_eq!(
            read(&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d]),
            Read::Whole(frame(true, Opcode::Pong, Some(key), 5), 6)
        );
        assert_eq!(read(&[0x82, 0x7e, 0x01, 0x00]), Read::Whole(frame(true, Opcode::Binary, None, 256), 4));
        let long = read(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(long, Read::Whole(frame(true, Opcode::Binary, None, 65_536), 10));
        let mut masked = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut masked, key, 0);
        assert_eq!(&masked, b"Hello");
        let mut tail = [0x4d, 0x51, 0x58];
        unmask(&mut tail, key, 2);
        assert_eq!(&tail, b"llo");
    }

    #[test]
    fn what_is_no_frame() {
        for octets in [
            &[0x91, 0x00][..],         // RSV3
            &[0x83, 0x00],             // an opcode that is reserved
            &[0x8b, 0x00],             // the same, of a control frame
            &[0x09, 0x00],             // a control frame in fragments
            &[0xc9, 0x00],             // RSV1 on a control frame
            &[0x88, 0x7e, 0x00, 0x80], // a control frame of more than 125
            &[0x82, 0x7e, 0x00, 0x7d], // 125 in two octets
            &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x82, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0],
        ] {
            assert_eq!(read(octets), Read::Broken(octets.len()), "{octets:x?}");
        }
    }
}
