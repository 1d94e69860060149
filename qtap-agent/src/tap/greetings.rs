//! Hellos that passed the sockets of connections, by what each is known by. In: hellos, ends of connections. Out: whose socket a hello passed, if that is
//! certain. Bounded by the table of connections: each is in it once for each direction, and leaves with its connection.

use std::collections::HashMap;

use crate::model::conn::{ConnId, Direction, Random};

/// A hello at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Greeting {
    /// The process: what another one sends or receives is no session's of this one.
    pub(super) pid: u32,
    /// Whether it was sent there.
    pub(super) direction: Direction,
    /// What it is known by.
    pub(super) random: Random,
}

/// Whose socket it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// No connection's that is known.
    Nowhere,
    /// This one's, and no other's.
    At(ConnId),
    /// More than one's (a proxy passes the bytes on): it tells nothing.
    Shared,
}

#[derive(Debug)]
struct Place {
    conn: ConnId,
    /// Connections that have it and live.
    conns: u32,
    shared: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Greetings(HashMap<Greeting, Place>);

impl Greetings {
    /// It passed the socket of `conn`.
    pub(super) fn add(&mut self, greeting: Greeting, conn: ConnId) {
        let place = self.0.entry(greeting).or_insert(Place { conn, conns: 0, shared: false });
        place.conns += 1;
        place.shared |= place.conn != conn;
    }

    /// A connection that has it ended.
    pub(super) fn remove(&mut self, greeting: &Greeting) {
        if let Some(place) = self.0.get_mut(greeting) {
            place.conns -= 1;
            if place.conns == 0 {
                self.0.remove(greeting);
            }
        }
    }

    /// Where it passed.
    pub(super) fn passed(&self, greeting: &Greeting) -> Passed {
        match self.0.get(greeting) {
            None => Passed::Nowhere,
            Some(place) if place.shared => Passed::Shared,
            Some(place) => Passed::At(place.conn),
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_connections_have_tells_nothing_until_both_ended() {
        let greeting = Greeting { pid: 7, direction: Direction::Sent, random: Random([1; 32]) };
        let mut greetings = Greetings::default();
        assert_eq!(greetings.passed(&greeting), Passed::Nowhere);
        greetings.add(greeting, ConnId(1));
        assert_eq!(greetings.passed(&greeting), Passed::At(ConnId(1)));
        assert_eq!(greetings.passed(&Greeting { pid: 8, ..greeting }), Passed::Nowhere);
        assert_eq!(greetings.passed(&Greeting { direction: Direction::Received, ..greeting }), Passed::Nowhere);
        greetings.add(greeting, ConnId(2));
        assert_eq!(greetings.passed(&greeting), Passed::Shared);
        greetings.remove(&greeting);
        assert_eq!(greetings.passed(&greeting), Passed::Shared);
        greetings.remove(&greeting);
        assert_eq!((greetings.passed(&greeting), greetings.len()), (Passed::Nowhere, 0));
        greetings.remove(&greeting);
    }
}
