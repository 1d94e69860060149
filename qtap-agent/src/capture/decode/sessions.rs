//! Records of TLS sessions.

use std::collections::HashMap;
use std::mem::offset_of;

use qtap_common::record::{self as wire, Bound, Hello, Joined, binding, flag, given};

use super::{DecodeError, Record};
use crate::model::conn::{Binding, ConnId, Random, SessionId};
use crate::model::event::{Event, KernelTls, SessionCounts, SessionHello, SessionJoined, SessionOpened};

/// The library behind a number in the probes' records.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LibraryName {
    /// Number.
    pub number: u32,
    /// Name.
    pub name: String,
    /// True if its functions were identified by their code alone.
    #[serde(default)]
    pub by_code: bool,
}

impl Record<'_> {
    pub(super) fn session_opened(&self, libraries: &HashMap<u32, LibraryName>) -> Result<SessionOpened, DecodeError> {
        let library = libraries.get(&self.u32(offset_of!(wire::SessionOpened, library))?);
        Ok(SessionOpened {
            session: SessionId(self.id),
            time: self.time,
            pid: self.pid,
            library: library.map(|library| library.name.clone()),
            joined_late: self.flags & flag::LATE != 0,
            is_part: self.flags & flag::PART != 0,
            on_trial: library.filter(|library| library.by_code).map(|library| library.number),
        })
    }

    pub(super) fn session_counts(&self) -> Result<SessionCounts, DecodeError> {
        let [sent, received] = self.both()?;
        Ok(SessionCounts { session: SessionId(self.id), time: self.time, sent, received })
    }

    pub(super) fn hello(&self) -> Result<SessionHello, DecodeError> {
        Ok(SessionHello {
            session: SessionId(self.id),
            time: self.time,
            pid: self.pid,
            direction: self.direction(),
            random: Random(self.array(offset_of!(Hello, random))?),
        })
    }

    pub(super) fn bound(&self) -> Result<Event, DecodeError> {
        let how = match self.detail {
            binding::NESTED => Binding::Nested,
            binding::SET_FD => Binding::SetFd,
            binding::CIPHERTEXT => Binding::Ciphertext,
            other => return Err(self.unknown(other)),
        };
        let conn = ConnId(self.u64(offset_of!(Bound, conn))?);
        Ok(Event::Bound { session: SessionId(self.id), conn, how, time: self.time })
    }

    pub(super) fn kernel_tls(&self) -> KernelTls {
        let by_library = self.detail & given::BY_LIBRARY != 0;
        let direction = (self.detail & given::BEFORE == 0).then(|| self.direction());
        KernelTls { conn: ConnId(self.id), direction, by_library, time: self.time }
    }

    pub(super) fn joined(&self) -> Result<SessionJoined, DecodeError> {
        let session = self.u64(offset_of!(Joined, session))?;
        Ok(SessionJoined {
            part: SessionId(self.id),
            session: (session != 0).then_some(SessionId(session)),
            offset: self.u64(offset_of!(Joined, offset))?,
            time: self.time,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use qtap_common::record::kind;

    use super::*;
    use crate::capture::decode::Decoder;
    use crate::capture::decode::tests::{event, record};
    use crate::model::conn::Direction;
    use crate::model::time::KernelTime;

    #[test]
    fn keys_given_to_the_kernel_are_of_a_connection_and_a_direction() {
        let given = |flags, detail| match event(&record(kind::KERNEL_TLS, flags, detail, &[])) {
            Event::KernelTls(given) => (given.conn, given.direction, given.by_library),
            other => panic!("{other:?}"),
        };
        assert_eq!(given(0, 1), (ConnId(5), Some(Direction::Sent), true));
        assert_eq!(given(flag::RECEIVED, 0), (ConnId(5), Some(Direction::Received), false));
        assert_eq!(given(0, 2), (ConnId(5), None, false));
    }

    #[test]
    fn a_hello_has_its_session_its_direction_and_its_random() {
        let bytes = record(kind::HELLO, flag::SESSION | flag::RECEIVED, 2, &[7; 32]);
        let Event::SessionHello(hello) = event(&bytes) else { panic!() };
        assert_eq!((hello.session, hello.pid, hello.time), (SessionId(5), 100, KernelTime(77)));
        assert_eq!((hello.direction, hello.random), (Direction::Received, Random([7; 32])));
        let Event::SessionHello(hello) = event(&record(kind::HELLO, flag::SESSION, 1, &[8; 32])) else { panic!() };
        assert_eq!((hello.direction, hello.random), (Direction::Sent, Random([8; 32])));
        assert!(Decoder::default().decode(&record(kind::HELLO, flag::SESSION, 1, &[8; 31])).is_err());
    }

    #[test]
    fn a_part_says_that_it_is_one_and_is_joined() {
        let body = [9u64.to_ne_bytes().to_vec(), vec![0; 8]].concat();
        for (flags, late, part) in [(0, false, false), (flag::LATE, true, false), (flag::PART, false, true)] {
            let Event::SessionOpened(opened) = event(&record(kind::SESSION_OPENED, flags, 0, &body)) else { panic!() };
            assert_eq!((opened.session, opened.joined_late, opened.is_part), (SessionId(5), late, part));
        }
        let joined = |session: u64, offset: u64| {
            let body = [session.to_ne_bytes(), offset.to_ne_bytes()].concat();
            let Event::SessionJoined(joined) = event(&record(kind::JOINED, 0, 0, &body)) else { panic!() };
            (joined.part, joined.session, joined.offset)
        };
        assert_eq!(joined(6, 70), (SessionId(5), Some(SessionId(6)), 70));
        assert_eq!(joined(0, 0), (SessionId(5), None, 0), "of a connection that nobody asked for");
        assert!(Decoder::default().decode(&record(kind::JOINED, 0, 0, &[0; 15])).is_err());
    }

    #[test]
    fn a_binding_says_how() {
        let bound = |detail| Decoder::default().decode(&record(kind::BOUND, 0, detail, &8u64.to_ne_bytes()));
        assert!([binding::SET_FD, binding::NESTED, binding::CIPHERTEXT].into_iter().all(|how| bound(how).is_ok()));
        assert!(bound(binding::NONE).is_err() && bound(9).is_err());
    }
}
