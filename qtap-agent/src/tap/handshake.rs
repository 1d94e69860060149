//! The two hellos at the start of a TLS connection.

use super::pair::Pair;
use crate::model::conn::Direction;
use crate::stream::hello::{Hello, HelloReader, Reading};

/// Both directions, until each was read or given up.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    halves: Pair<Half>,
}

/// One direction.
#[derive(Debug)]
enum Half {
    /// Bytes up to the offset were read; none came when it is none.
    Reading(Option<u64>, HelloReader),
    Over,
}

impl Default for Half {
    fn default() -> Self {
        Half::Reading(None, HelloReader::default())
    }
}

impl Handshake {
    /// Takes the bytes of a call; gives the hello once it is whole. A hello that comes out of order is not read.
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

    /// No more of this direction will be copied; gives what can be read of a hello that was cut.
    pub(super) fn give_up(&mut self, direction: Direction) -> Option<Hello> {
        match std::mem::replace(self.halves.of_mut(direction), Half::Over) {
            Half::Reading(_, reader) => reader.cut(),
            Half::Over => None,
        }
    }

    /// True when nothing more can be learnt of a direction.
    pub(super) fn is_over_for(&self, direction: Direction) -> bool {
        matches!(self.halves.of(direction), Half::Over)
    }

    /// True when nothing more can be learnt.
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
