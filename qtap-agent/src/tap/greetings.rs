//! Hellos that passed on the sockets of connections, by their random. In: hellos, ends of connections. Out: the connection on whose socket a
//! hello passed, if that is certain. Bounded by the connection table: each connection has one entry per direction, removed at its end.

use std::collections::HashMap;

use crate::model::conn::{ConnId, Direction, Random};

/// A hello on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Greeting {
    /// The process: a session only matches hellos of its own process.
    pub(super) pid: u32,
    /// Whether it was sent or received.
    pub(super) direction: Direction,
    /// What identifies it.
    pub(super) random: Random,
}

/// The socket on which it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// That of no known connection.
    Nowhere,
    /// That of this connection, and no other.
    At(ConnId),
    /// Those of several connections (a proxy forwards the bytes): it identifies none.
    Shared,
}

#[derive(Debug)]
struct Place {
    conn: ConnId,
    /// Live connections that have it.
    conns: u32,
    shared: bool,
}

/// All hellos.
#[derive(Debug, Default)]
pub(super) struct Greetings(HashMap<Greeting, Place>);

impl Greetings {
    /// The hello passed on the socket of `conn`.
    pub(super) fn add(&mut self, greeting: Greeting, conn: ConnId) {
        let place = self.0.entry(greeting).or_insert(Place { conn, conns: 0, shared: false });
        place.conns += 1;
        place.shared |= place.conn != conn;
    }

    /// A connection that has the hello ended.
    pub(super) fn remove(&mut self, greeting: &Greeting) {
        if let Some(place) = self.0.get_mut(greeting) {
            place.conns -= 1;
            if place.conns == 0 {
                self.0.remove(greeting);
            }
        }
    }

    /// Where the hello passed.
    pub(super) fn passed(&self, greeting: &Greeting) -> Passed {
        match self.0.get(greeting) {
            None => Passed::Nowhere,
            Some(place) if place.shared => Passed::Shared,
            Some(place) => Passed::At(place.conn),
        }
    }

    /// Number of hellos.
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
