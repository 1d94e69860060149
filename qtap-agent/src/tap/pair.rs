//! Two of a kind: one for each direction.

use crate::model::conn::Direction;

/// Something kept per direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair<T> {
    /// Of what the process sent.
    pub sent: T,
    /// Of what it received.
    pub received: T,
}

impl<T> Pair<T> {
    /// That of `direction`.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    /// That of `direction`, to change.
    pub fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }
}

/// Adds to a sum; a sum at its end stays there, since counts come from outside and may be anything.
pub(super) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
