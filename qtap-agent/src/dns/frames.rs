//! Messages over TCP: each after two bytes that say how long it is (RFC 1035 §4.2.2). In: the bytes of one direction, in order. Out: messages. What is
//! out of order is not waited for: a connection to a name server is short, and asks again.

use bytes::{Buf, BytesMut};

/// The messages of one direction.
#[derive(Debug, Default)]
pub struct Frames {
    held: BytesMut,
    /// Offset of the next byte.
    next: u64,
    /// Something is missing: where the next message begins is not known.
    broken: bool,
}

impl Frames {
    /// Takes the bytes at `offset`. False: they are not read, because something before them is missing.
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

    /// The next message that is whole. At most one message, 64 KiB, is held beyond what was just taken.
    pub fn next_message(&mut self) -> Option<BytesMut> {
        let length = usize::from(u16::from_be_bytes(*self.held.first_chunk::<2>()?));
        if self.held.len() < 2 + length {
            return None;
        }
        self.held.advance(2);
        Some(self.held.split_to(length))
    }
}
