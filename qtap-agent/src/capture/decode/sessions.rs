//! Records of TLS sessions.

use std::collections::HashMap;
use std::mem::offset_of;

use qtap_common::record::{self as wire, Bound, Hello, Joined, binding, flag};

use super::{DecodeError, Record};
use crate::model::conn::{Binding, ConnId, Random, SessionId};
use crate::model::event::{Event, SessionCounts, SessionHello, SessionJoined, SessionOpened};

impl Record<'_> {
    pub(super) fn session_opened(&self, libraries: &HashMap<u32, String>) -> Result<SessionOpened, DecodeError> {
        let library = self.u32(offset_of!(wire::SessionOpened, library))?;
        Ok(SessionOpened {
            session: SessionId(self.id),
            time: self.time,
            pid: self.pid,
            library: libraries.get(&library).cloned(),
            joined_late: self.flags & flag::LATE != 0,
            is_part: self.flags & flag::PART != 0,
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
