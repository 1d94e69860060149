//! How long one direction of an HTTP/1 connection waits for the other. In: the size of what waits, and time. Out: whether to keep
//! waiting. It does not hold what waits.

use std::time::Duration;

use crate::model::time::KernelTime;

/// Maximum bytes waiting in one direction: what a fast network delivers while a thread that has sent its request waits for a CPU.
const WAITING_BYTES: usize = 4 << 20;
/// Maximum pieces waiting in one direction.
const WAITING_PIECES: usize = 4096;

/// A direction that may wait.
#[derive(Debug, Default)]
pub(super) struct Wait {
    since: Option<KernelTime>,
    /// It must not wait any longer.
    pub(super) over: bool,
}

impl Wait {
    /// Returns true if a direction that could wait shall wait.
    pub(super) fn holds(&mut self, now: KernelTime, waiting: (usize, usize)) -> bool {
        if self.over || waiting.0 > WAITING_BYTES || waiting.1 > WAITING_PIECES {
            return false;
        }
        self.since.get_or_insert(now);
        true
    }

    /// Advances the time; returns true if the direction has waited for `limit`.
    pub(super) fn tick(&mut self, now: KernelTime, limit: Duration) -> bool {
        let due = self.since.is_some_and(|since| now.since(since) >= limit);
        self.over |= due;
        due
    }

    /// Ends the wait: what it waited for has arrived.
    pub(super) fn reset(&mut self) {
        *self = Wait::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_so_long_and_so_much() {
        let (mut wait, limit) = (Wait::default(), Duration::from_nanos(10));
        assert!(wait.holds(KernelTime(5), (WAITING_BYTES, WAITING_PIECES)));
        assert!(
            !wait.holds(KernelTime(5), (WAITING_BYTES + 1, 0)) && !wait.holds(KernelTime(5), (0, WAITING_PIECES + 1))
        );
        assert!(!wait.tick(KernelTime(14), limit) && wait.holds(KernelTime(14), (1, 1)));
        assert!(wait.tick(KernelTime(15), limit) && !wait.holds(KernelTime(15), (1, 1)));
        wait.reset();
        assert!(wait.holds(KernelTime(16), (1, 1)));
    }
}
