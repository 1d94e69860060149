//! DNS messages over TCP, each preceded by two bytes with its length (RFC 1035 §4.2.2). In: the bytes of one direction, in order. Out: messages. Bytes
//! out of order are not waited for: a connection to a name server is short, and the client asks again.

use bytes::{Buf, BytesMut};

/// The messages of one direction.
#[derive(Debug, Default)]
pub struct Frames {
    held: BytesMut,
    /// Offset of the next byte.
    next: u64,
    /// Bytes are missing: the start of the next message is unknown.
    broken: bool,
}

impl Frames {
    /// Takes the bytes at `offset`. False: they are ignored, because bytes before them are missing.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> bool {
        self.broken |= offset != self.next;
        if self.broken {
            self.held = BytesMut::new();
            return false;
        }
        self.next = offset.saturating_add(bytes.len() as u64);
        self.held.extend_from_slice(bytes);
        true
    }

    /// The next complete message. At most one message, 64 KiB, is held beyond what was just taken.
    pub fn next_message(&mut self) -> Option<BytesMut> {
        let length = usize::from(u16::from_be_bytes(*self.held.first_chunk::<2>()?));
        if self.held.len() < 2 + length {
            return None;
        }
        self.held.advance(2);
        Some(self.held.split_to(length))
    }
}
