//! Functions that were found by what their code says alone, in a file without names, are on trial until a connection confirms them: a
//! session of theirs that moves plaintext, and the socket that it is bound to, by a system call inside its calls or by ciphertext, carries
//! TLS. What was taken for `SSL_write` and is none meets no such socket. Until then nothing of the file's sessions is told: it waits as
//! what has no connection does, and what waits in vain is counted.

use std::collections::BTreeSet;

use super::Tap;
use super::session::Session;
use crate::model::conn::{Binding, SessionId};
use crate::model::loss::Loss;

/// Libraries, by their numbers in the probes' records.
#[derive(Debug, Default)]
pub(super) struct Trials {
    passed: BTreeSet<u32>,
    /// Those that passed, not yet asked for.
    news: Vec<u32>,
}

impl Trials {
    /// True when what a session says can't be told yet.
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
    /// Libraries that were confirmed since this was asked last.
    pub fn take_confirmed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.trials.news)
    }

    /// Confirms the library of a session, if the session does.
    pub(super) fn try_library(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id).filter(|session| self.trials.has(session)) else { return };
        let by_ciphertext = session.how == Binding::Ciphertext;
        let home = session.home.and_then(|home| self.conns.get(&home));
        let on_tls = home.is_some_and(|conn| by_ciphertext || conn.carries_tls());
        if let Some(library) = session.on_trial.filter(|_| on_tls && session.is_inspected()) {
            self.trials.pass(library);
        }
    }

    /// What a session of an unconfirmed library waited with is given up.
    pub(super) fn give_up_unproven(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let exchanges = session.take_held().len();
        self.common.losses.add_many(Loss::Unproven, exchanges as u64, 0);
    }
}
