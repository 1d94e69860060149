//! One memory bound for all streams of the tap: waiting bytes, bodies and heads of exchanges in progress, tables. Each stream
//! reports what it holds; when the sum exceeds the bound, the streams that hold most release all of
//! it, so that a hostile peer pays for its own load and not for its neighbours'.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Default bound, in bytes. Honest traffic holds a few KiB per connection, and bodies only while they pass.
const BOUND: usize = 128 << 20;
/// Number of bodies of the largest kept size for which there is always room, if that is more.
const BODIES: usize = 4;

/// The memory held.
#[derive(Debug)]
pub(super) struct Memory {
    held: Arc<AtomicUsize>,
    bound: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { held: Arc::default(), bound: BOUND }
    }
}

impl Memory {
    /// Starts with nothing held; `of_a_body`: the most bytes held of one body.
    pub(super) fn new(of_a_body: usize) -> Memory {
        Memory { bound: BOUND.max(of_a_body.saturating_mul(BODIES)), ..Memory::default() }
    }

    /// Lowers the bound to `bytes`.
    pub(super) fn at_most(&mut self, bytes: usize) {
        self.bound = self.bound.min(bytes);
    }

    /// Creates a stream's share, still empty.
    pub(super) fn share(&self) -> Share {
        Share { held: Arc::clone(&self.held), bytes: 0 }
    }

    /// True if more is held than the bound allows.
    pub(super) fn is_over(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.bound
    }

    /// True if enough is free again: relief is expensive, so it frees enough for a while.
    pub(super) fn is_relieved(&self) -> bool {
        self.held.load(Ordering::Relaxed) <= self.bound / 8 * 7
    }
}

/// What one stream holds; released when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Share {
    /// Sets the bytes held now.
    #[inline]
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.change(bytes);
        }
    }

    fn change(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.change(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let memory = Memory::new(0);
        let (mut one, mut two) = (memory.share(), memory.share());
        one.set(BOUND);
        assert!(!memory.is_over());
        two.set(1);
        assert!(memory.is_over());
        one.set(BOUND / 8 * 7 - 1);
        assert!(!memory.is_over() && memory.is_relieved());
        drop((one, two));
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_agents_own_limit_may_be_lower_and_never_higher() {
        let mut memory = Memory::new(0);
        let mut share = memory.share();
        memory.at_most(1000);
        memory.at_most(2000);
        share.set(1000);
        assert!(!memory.is_over());
        share.set(1001);
        assert!(memory.is_over());
    }

    #[test]
    fn large_bodies_have_room() {
        let memory = Memory::new(BOUND);
        let mut share = memory.share();
        share.set(BODIES * BOUND);
        assert!(!memory.is_over());
    }
}
