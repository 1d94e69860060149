//! The two hellos at the start of a TLS connection.

use super::pair::Pair;
use crate::model::conn::Direction;
use crate::stream::hello::{Hello, HelloReader, Reading};

/// Both directions, until each is parsed or given up.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    halves: Pair<Half>,
}

/// One direction.
#[derive(Debug)]
enum Half {
    /// Bytes up to the offset were read; `None` before the first.
    Reading(Option<u64>, HelloReader),
    Over,
}

impl Default for Half {
    fn default() -> Self {
        Half::Reading(None, HelloReader::default())
    }
}

impl Handshake {
    /// Takes the bytes of a call; returns the hello once it is whole. A hello that arrives out of order is not parsed.
    pub(super) fn read(&mut self, direction: Direction, offset: u64, bytes: &[u8]) -> Option<Hello> {
        let half = self.halves.of_mut(direction);
        let Half::Reading(expected, reader) = half else { return None };
        if expected.is_some_and(|expected| expected != offset) {
            *half = Half::Over;
            return None;
        }
        *expected = Some(offset.saturating_add(bytes.len() as u64));
        match reader.read(bytes) {
            Reading::More => None,
            Reading::Nothing => {
                *half = Half::Over;
                None
            }
            Reading::Done(hello) => {
                *half = Half::Over;
                Some(hello)
            }
        }
    }

    /// No more of this direction will be copied; returns what can be parsed of a cut hello.
    pub(super) fn give_up(&mut self, direction: Direction) -> Option<Hello> {
        match std::mem::replace(self.halves.of_mut(direction), Half::Over) {
            Half::Reading(_, reader) => reader.cut(),
            Half::Over => None,
        }
    }

    /// True if nothing more can be learned of a direction.
    pub(super) fn is_over_for(&self, direction: Direction) -> bool {
        matches!(self.halves.of(direction), Half::Over)
    }

    /// True if nothing more can be learned.
    pub(super) fn is_over(&self) -> bool {
        matches!((&self.halves.sent, &self.halves.received), (Half::Over, Half::Over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_that_breaks_off_is_over() {
        let mut handshake = Handshake::default();
        assert_eq!(handshake.read(Direction::Sent, 0, &[22, 3, 1, 0, 9]), None);
        assert_eq!(handshake.read(Direction::Sent, 9, &[1]), None, "a hole");
        assert!(!handshake.is_over());
        assert_eq!(handshake.give_up(Direction::Received), None);
        assert!(handshake.is_over());
    }
}
