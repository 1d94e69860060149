//! A pair of values, one for each direction.

use crate::model::conn::Direction;

/// A value per direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair<T> {
    /// For what the process sent.
    pub sent: T,
    /// For what it received.
    pub received: T,
}

impl<T> Pair<T> {
    /// The value for `direction`.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    /// The value for `direction`, to be changed.
    pub fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }
}

/// Adds to a sum, which saturates, since counts come from outside and may be anything.
pub(super) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
