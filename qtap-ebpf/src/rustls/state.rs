//! State kept for programs that use rustls: values of maps, and what is passed on through the work area.

use super::record::Text;
use crate::session::Moved;
use crate::source::Source;

/// A key, identified by the address of its object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    /// The connection; 0: not known yet; or [`NOT_WANTED`].
    pub conn: u64,
    /// Number of the next record.
    pub next: u64,
    /// Number of the first that was seen.
    pub first: u64,
    /// Index of the word of a message that holds the address of its ciphertext.
    pub word: u32,
    /// 1: a handshake key of TLS 1.3, under which only handshake messages are encrypted.
    pub shakes: u32,
}

/// The state of one thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    /// The write under way.
    pub write: Write,
    /// The record that is being decrypted.
    pub unsealing: Unsealing,
    /// The record that is being encrypted.
    pub sealing: Sealing,
    /// Key of which ciphertext is about to leave; 0: none.
    pub leaving: u64,
    /// First octets of that ciphertext.
    pub leaving_text: Text,
    /// What was received last.
    pub received: Received,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Write {
    /// When it began; 0: there is none.
    pub began: u64,
    pub buffer: u64,
    /// Its length; or the number of buffers.
    pub count: u64,
    /// Key of the records that were encrypted inside; 0: none were.
    pub key: u64,
    pub library: u32,
    /// One of [`call`].
    pub call: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sealing {
    /// Key; 0: nothing of the record is needed.
    pub key: u64,
    pub conn: u64,
    /// First words of the message.
    pub message: [u64; 4],
    pub began: u64,
    pub library: u32,
    /// 1: records before it were missed.
    pub late: u16,
    /// 1: its plaintext is taken from this record, not from a write.
    pub speaks: u8,
    /// 1: its ciphertext is to be matched when it leaves.
    pub proves: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Unsealing {
    /// The connection; 0: not known, or there is none.
    pub conn: u64,
    /// Where the ciphertext is.
    pub text: u64,
    pub len: u64,
    pub library: u32,
    /// 1: records before it were missed.
    pub late: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Received {
    /// The connection; 0: nothing yet.
    pub conn: u64,
    pub base: u64,
    pub len: u64,
    /// First octets of the ciphertext of the first protected record that begins in it.
    pub text: Text,
    /// 1: a record that came with it was decrypted.
    pub proven: u64,
}

pub const NEW: Thread = Thread {
    write: Write { began: 0, buffer: 0, count: 0, key: 0, library: 0, call: 0 },
    unsealing: Unsealing { conn: 0, text: 0, len: 0, library: 0, late: 0 },
    sealing: Sealing { key: 0, conn: 0, message: [0; 4], began: 0, library: 0, late: 0, speaks: 0, proves: 0 },
    leaving: 0,
    leaving_text: [0; 2],
    received: Received { conn: 0, base: 0, len: 0, text: [0; 2], proven: 0 },
};

/// Plaintext, and the session it belongs to. In the work area, not on the stack, which the copying functions use up.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Said {
    pub source: Source,
    pub moved: Moved,
    pub conn: u64,
    /// The key, if the connection is not known.
    pub part: u64,
    pub library: u32,
    pub flags: u32,
}
