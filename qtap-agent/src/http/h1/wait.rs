//! How long one direction of an HTTP/1 connection waits for the other. In: what waits, and time. Out: whether it shall go on waiting. It holds
//! nothing of what waits.

use std::time::Duration;

use crate::model::time::KernelTime;

/// Bytes that wait in one direction: what a fast network brings while a thread that has sent its request waits for a processor.
const WAITING_BYTES: usize = 4 << 20;
/// Pieces that wait in one direction.
const WAITING_PIECES: usize = 4096;

/// A direction that may wait.
#[derive(Debug, Default)]
pub(super) struct Wait {
    since: Option<KernelTime>,
    /// It shall not wait any more.
    pub(super) over: bool,
}

impl Wait {
    /// Judges a direction that could wait: true when it shall.
    pub(super) fn holds(&mut self, now: KernelTime, waiting: (usize, usize)) -> bool {
        if self.over || waiting.0 > WAITING_BYTES || waiting.1 > WAITING_PIECES {
            return false;
        }
        self.since.get_or_insert(now);
        true
    }

    /// Time passed; true when it has waited for as long as it may.
    pub(super) fn tick(&mut self, now: KernelTime, limit: Duration) -> bool {
        let due = self.since.is_some_and(|since| now.since(since) >= limit);
        self.over |= due;
        due
    }

    /// What it waited for came.
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
