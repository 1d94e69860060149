//! Functions found only by their machine code, in a file without symbols, are on trial until a connection confirms them: one of their
//! sessions moves plaintext, and the socket bound to it, by a system call nested in its calls or by ciphertext, carries TLS. A function
//! mistaken for `SSL_write` meets no such socket. Until then nothing of the file's sessions is reported: it waits like the data of an
//! unbound session, and what waits in vain is counted.

use std::collections::BTreeSet;

use super::Tap;
use super::session::Session;
use crate::model::conn::{Binding, SessionId};
use crate::model::loss::Loss;

/// Libraries, by their numbers in the probes' records.
#[derive(Debug, Default)]
pub(super) struct Trials {
    passed: BTreeSet<u32>,
    /// Confirmed libraries not yet returned by [`Tap::take_confirmed`].
    news: Vec<u32>,
}

impl Trials {
    /// True if the data of a session must not be reported yet.
    pub(super) fn has(&self, session: &Session) -> bool {
        session.on_trial.is_some_and(|library| !self.passed.contains(&library))
    }

    fn pass(&mut self, library: u32) {
        if self.passed.insert(library) {
            self.news.push(library);
        }
    }
}

impl Tap {
    /// Libraries confirmed since the last call.
    pub fn take_confirmed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.trials.news)
    }

    /// Confirms the library of a session, if the session proves it.
    pub(super) fn try_library(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id).filter(|session| self.trials.has(session)) else { return };
        let by_ciphertext = session.how == Binding::Ciphertext;
        let home = session.home.and_then(|home| self.conns.get(&home));
        let on_tls = home.is_some_and(|conn| by_ciphertext || conn.carries_tls());
        if let Some(library) = session.on_trial.filter(|_| on_tls && session.is_inspected()) {
            self.trials.pass(library);
        }
    }

    /// Drops and counts the exchanges that a session of an unconfirmed library held.
    pub(super) fn give_up_unproven(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let exchanges = session.take_held().len();
        self.common.losses.add_many(Loss::Unproven, exchanges as u64, 0);
    }
}
