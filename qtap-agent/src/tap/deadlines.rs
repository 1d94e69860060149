//! Actions due later, in order of time. An entry may be out of date when it comes up: whoever acts on it checks again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::conn::{Channel, SessionId};
use crate::model::time::KernelTime;

/// An action that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Check what waits in a channel: for bytes before it, or for its other half.
    Look(Channel),
    /// A session should have been bound by now.
    Unbound(SessionId),
    /// The owner of a part should have been known by now.
    Part(SessionId),
    /// The sessions of an exited process are over.
    ProcessEnd(u32),
    /// A connection that was closed, or an implied one that fell silent, is over.
    Finish(Channel),
    /// Report on a connection.
    Report(Channel),
}

/// All deadlines, earliest first; those due at the same time in the order of [`Due`], so that a replay does the same.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(KernelTime, Due)>>,
}

impl Deadlines {
    /// Adds a deadline.
    pub(super) fn add(&mut self, time: KernelTime, due: Due) {
        self.heap.push(Reverse((time, due)));
    }

    /// Number of deadlines.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes the first deadline that is due. One at the end of time never is: adding to that time gives no later one, so a
    /// repeated action would repeat for ever.
    pub(super) fn pop(&mut self, now: KernelTime) -> Option<(KernelTime, Due)> {
        match self.heap.peek() {
            Some(Reverse((time, _))) if *time <= now && *time < KernelTime(u64::MAX) => {
                self.heap.pop().map(|Reverse(entry)| entry)
            }
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_of_time() {
        let mut deadlines = Deadlines::default();
        deadlines.add(KernelTime(30), Due::ProcessEnd(3));
        deadlines.add(KernelTime(10), Due::ProcessEnd(1));
        deadlines.add(KernelTime(20), Due::ProcessEnd(2));
        assert_eq!(deadlines.pop(KernelTime(9)), None);
        assert_eq!(deadlines.pop(KernelTime(20)), Some((KernelTime(10), Due::ProcessEnd(1))));
        assert_eq!(deadlines.pop(KernelTime(20)), Some((KernelTime(20), Due::ProcessEnd(2))));
        assert_eq!(deadlines.pop(KernelTime(20)), None);
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let mut deadlines = Deadlines::default();
        deadlines.add(KernelTime(u64::MAX), Due::ProcessEnd(1));
        assert_eq!(deadlines.pop(KernelTime(u64::MAX)), None);
    }
}
