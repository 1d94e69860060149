//! Finds the connection of a session that uses memory instead of a socket: by a hello that passed on both, with the same 32 random bytes in the
//! same direction of the same process.
//!
//! The search is made when plaintext passes, not when either hello arrives: by then the handshake has gone both ways, so the hello has been seen
//! wherever it could be, and one that passed on two sockets is known to. The kernel's own binding of a session is more certain, and has priority.

use super::Tap;
use super::greetings::{Greeting, Passed};
use super::session::Session;
use crate::model::conn::{Binding, ConnId, SessionId};
use crate::model::event::SessionHello;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

impl Tap {
    /// A hello of a session passed through memory. The first one of a direction counts: a record may pass through two buffers.
    pub(super) fn on_session_hello(&mut self, hello: &SessionHello) {
        let SessionHello { session, direction, pid, random, .. } = *hello;
        if let Some(session) = self.sessions.get_mut(&session) {
            session.greetings.of_mut(direction).get_or_insert(Greeting { pid, direction, random });
        }
    }

    /// Joins a session to the connection that has its hello, if it is unbound and there is exactly one.
    pub(super) fn join(&mut self, id: SessionId, time: KernelTime, out: &mut Vec<Observation>) {
        let Some(session) = self.sessions.get(&id).filter(|session| session.home.is_none()) else { return };
        if let Some(conn) = self.found(session) {
            self.joined.push(id);
            self.on_bound(id, conn, Binding::Ciphertext, time, out);
        }
    }

    /// The connection on whose socket a session's hellos passed; `None` if there are several.
    fn found(&self, session: &Session) -> Option<ConnId> {
        let mut found = None;
        for greeting in [session.greetings.sent, session.greetings.received].into_iter().flatten() {
            match self.common.greetings.passed(&greeting) {
                Passed::Nowhere => {}
                Passed::At(conn) if found.is_none_or(|known| known == conn) => found = Some(conn),
                Passed::At(_) | Passed::Shared => return None,
            }
        }
        found
    }
}
