//! Where a call's bytes are in the process's memory: one buffer, an `iovec`, or several messages.

use crate::carry::{user, user_or_zero};

/// Flag in [`Source::iov_left`]: the entries are messages, each with an `iovec` of its own.
pub const MESSAGES: u64 = 1 << 63;
/// Size of a `struct mmsghdr`, and the offsets in it of the buffers and of the length of its message (64-bit ABI).
pub const MESSAGE: u64 = 64;
pub const MESSAGE_BUFFERS: u64 = 16;
pub const MESSAGE_LEN: u64 = 56;

/// Where a call's bytes are in the process's memory.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Source {
    /// Current buffer.
    pub base: u64,
    /// Bytes in it that are not yet taken.
    pub len: u64,
    /// Next `iovec` entry.
    pub iov: u64,
    /// How many there still are.
    pub iov_left: u64,
}

impl Source {
    /// One buffer. (Unused fields are not zeroed: zeroing several in a row would become a loop over their bytes.)
    #[inline(always)]
    pub fn buffer(base: u64, len: u64) -> Source {
        Source { base, len, iov: base, iov_left: 0 }
    }

    /// `count` buffers of an `iovec`.
    #[inline(always)]
    pub fn vector(iov: u64, count: u64) -> Source {
        Source { base: iov, len: 0, iov, iov_left: count }
    }

    /// `count` messages of an array of `struct mmsghdr`. Only the length of each message counts: a received one may not fill its buffers.
    #[inline(always)]
    pub fn messages(array: u64, count: u64) -> Source {
        Source::vector(array, count | MESSAGES)
    }

    /// True for several messages, whose entries must not be taken for buffers.
    #[inline(always)]
    pub fn is_messages(&self) -> bool {
        self.iov_left & MESSAGES != 0
    }

    /// Turns several messages into the buffers of the first one, and returns that one's length in bytes.
    #[inline(always)]
    pub fn enter_message(&mut self) -> u64 {
        let array = self.iov;
        let [iov, count] = user_or_zero::<[u64; 2]>(array + MESSAGE_BUFFERS);
        *self = Source::vector(iov, count);
        user::<u32>(array + MESSAGE_LEN).map_or(0, u64::from)
    }
}
