//! A session that is given memory instead of a socket finds its connection: by a hello that passed both, the same 32 random bytes in the same direction of the
//! same process.
//!
//! It is looked for when plaintext passes, not when either hello comes: by then the handshake has gone both ways, so that the hello was seen wherever it
//! was to be seen, and one that passed two sockets is known to have. What the kernel says of a session's socket is more certain, and comes first.

use super::Tap;
use super::greetings::{Greeting, Passed};
use super::session::Session;
use crate::model::conn::{Binding, ConnId, SessionId};
use crate::model::event::SessionHello;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

impl Tap {
    /// A hello of a session passed through memory. The first of a direction counts: a record may pass through two buffers.
    pub(super) fn on_session_hello(&mut self, hello: &SessionHello) {
        let SessionHello { session, direction, pid, random, .. } = *hello;
        if let Some(session) = self.sessions.get_mut(&session) {
            session.greetings.of_mut(direction).get_or_insert(Greeting { pid, direction, random });
        }
    }

    /// Joins a session to the connection that has its hello, if it has none yet and there is exactly one.
    pub(super) fn join(&mut self, id: SessionId, time: KernelTime, out: &mut Vec<Observation>) {
        let Some(session) = self.sessions.get(&id).filter(|session| session.home.is_none()) else { return };
        if let Some(conn) = self.found(session) {
            self.joined.push(id);
            self.on_bound(id, conn, Binding::Ciphertext, time, out);
        }
    }

    /// The connection whose socket a session's hellos passed; none when they passed more than one.
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
