//! What is kept of programs of rustls: values of maps, and what is told by way of the work area.

use super::record::Text;
use crate::carry::Source;
use crate::session::Moved;

/// A key's object is known by its address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Key {
    /// The connection; 0: not known yet; or [`NOT_WANTED`].
    pub conn: u64,
    /// Number of the next record.
    pub next: u64,
    /// Number of the first that was seen.
    pub first: u64,
    /// Which word of a message says where its ciphertext is.
    pub word: u32,
    /// 1: of the handshake of TLS 1.3, under which nothing else is encrypted.
    pub shakes: u32,
}

/// What goes on on a thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    /// The write under way.
    pub write: Write,
    /// The record that is being decrypted.
    pub unsealing: Unsealing,
    /// The record that is being encrypted.
    pub sealing: Sealing,
    /// A key of which ciphertext is about to leave: the first that did not yet.
    pub leaving: u64,
    /// What leaves.
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
    /// Its length; or how many buffers there are.
    pub count: u64,
    /// Key of the records that were encrypted inside.
    pub key: u64,
    pub library: u32,
    /// One of [`call`].
    pub call: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sealing {
    /// Key; 0: nothing is wanted of it.
    pub key: u64,
    pub conn: u64,
    /// What the message begins with.
    pub message: [u64; 4],
    pub began: u64,
    pub library: u32,
    /// 1: records before it were missed.
    pub late: u16,
    /// 1: it tells its plaintext.
    pub speaks: u8,
    /// 1: its ciphertext is to be found where it leaves.
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
    /// Of the first protected record that begins in it.
    pub text: Text,
    /// 1: a record was decrypted that came with it.
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

/// Plaintext, and whose it is. In the work area, not on the stack, of which what copies it takes all that there is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Said {
    pub source: Source,
    pub moved: Moved,
    pub conn: u64,
    /// Where that is not known: the key.
    pub part: u64,
    pub library: u32,
    pub flags: u32,
}
