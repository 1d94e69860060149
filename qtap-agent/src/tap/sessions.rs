//! The life cycle of TLS sessions: opened, bound, over; and how their exchanges reach a connection.

use super::conn::Conn;
use super::deadlines::Due;
use super::session::{HELD_EXCHANGES, Session};
use super::{BINDING_WAIT, CONNECTIONS, LINGER, Pair, Tap};
use crate::model::conn::{Binding, Channel, ConnId, SessionId};
use crate::model::event::{Count, SessionCounts, SessionOpened};
use crate::model::loss::Loss;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

impl Tap {
    pub(super) fn on_session_opened(&mut self, opened: SessionOpened) {
        if let Some(session) = self.sessions.get_mut(&opened.session) {
            session.library = opened.library.or(session.library.take());
            session.on_trial = opened.on_trial.or(session.on_trial);
        } else if !self.add_session(opened) {
            self.common.losses.add(Loss::StreamTableFull, 0);
        }
    }

    /// Adds a session to the table; false if the table is full.
    pub(super) fn add_session(&mut self, opened: SessionOpened) -> bool {
        if self.sessions.len() >= CONNECTIONS {
            return false;
        }
        self.by_pid.insert((opened.pid, opened.session));
        self.sessions.insert(opened.session, Session::new(opened));
        true
    }

    /// Sessions opened by process `pid`.
    pub(super) fn sessions_of(&self, pid: u32) -> impl Iterator<Item = &Session> + '_ {
        let range = (pid, SessionId(0))..=(pid, SessionId(u64::MAX));
        self.by_pid.range(range).filter_map(|(_, session)| self.sessions.get(session))
    }

    /// A session was bound to its connection.
    pub(super) fn on_bound(
        &mut self,
        id: SessionId,
        conn: ConnId,
        how: Binding,
        time: KernelTime,
        out: &mut Vec<Observation>,
    ) {
        let key = Channel::Socket(conn);
        if !self.sessions.contains_key(&id) && !self.take_up(id, key, time) {
            return;
        }
        let pid = self.sessions.get(&id).map_or(0, |session| session.pid);
        if !self.conns.contains_key(&key) && !self.imply(key, pid, time) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let comes = session.home != Some(key);
        let old = session.home.replace(key).filter(|old| *old != key);
        session.how = how;
        if let Some(old) = old {
            self.leave(id, old, time, out);
        }
        if let (Some(session), Some(conn)) = (self.sessions.get_mut(&id), self.conns.get_mut(&key)) {
            session.joined_late |= conn.joined_late();
            if session.begun_before {
                conn.tls().joined_late = true;
            }
            session.told = false;
            if comes {
                session.inside = conn.sessions.iter().any(|other| *other != id);
            }
            conn.bind(id, how);
            session.on_appetite(conn.appetite(&self.common));
            if conn.is_unwanted_by_name(&self.common) && session.leave_alone(time, &mut self.common) {
                self.common.unwanted.push(Channel::Session(id));
            }
        }
        self.deliver(id, time, out);
    }

    /// Adds a session that ended with its connection and is reused, or whose opening was never reported.
    fn take_up(&mut self, id: SessionId, key: Channel, time: KernelTime) -> bool {
        let pid = self.conns.get(&key).map_or(0, Conn::pid);
        let used_once_more = self.common.ended.remove(Channel::Session(id));
        let added = self.add_session(SessionOpened {
            session: id,
            time,
            pid,
            library: None,
            joined_late: true,
            is_part: false,
            on_trial: None,
        });
        if let Some(session) = self.sessions.get_mut(&id) {
            // Its handshake need not have been missed: it is only known that the session was reported before.
            session.begun_before = false;
            if used_once_more {
                session.restart();
            } else {
                session.implied = true;
            }
        }
        added
    }

    /// A session leaves its connection. If that was one of its own, or was closed, it is over now.
    fn leave(&mut self, id: SessionId, old: Channel, time: KernelTime, out: &mut Vec<Observation>) {
        let Some(conn) = self.conns.get_mut(&old) else { return };
        conn.sessions.retain(|session| *session != id);
        let own = matches!(old, Channel::Session(_));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if own || conn.closed.is_some() {
            session.on_close(time, None, false, &mut self.common);
            session.drain(conn, time, &mut self.common, out);
            conn.done.absorb(&session.share());
            if own {
                conn.set_counts(session.own().sent, session.own().received);
            }
            session.restart();
        } else {
            session.leave();
        }
        if own {
            conn.closed = Some(time);
        }
        self.end_if_over(old, time, out);
    }

    /// Exports the exchanges of a session on its connection, or holds them until it has one.
    pub(super) fn deliver(&mut self, id: SessionId, time: KernelTime, out: &mut Vec<Observation>) {
        self.try_library(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(home) = session.home.filter(|_| !self.trials.has(session)) else {
            if !self.common.sink.exchanges.is_empty() {
                if session.held.is_empty() {
                    self.common.deadlines.add(time.plus(BINDING_WAIT), Due::Unbound(id));
                }
                session.hold(&mut self.common.sink.exchanges, &self.common.memory);
                if session.held.len() > HELD_EXCHANGES {
                    self.on_unbound(id, time, out);
                }
            }
            return;
        };
        if session.told && session.held.is_empty() && self.common.sink.exchanges.is_empty() {
            return;
        }
        if let Some(conn) = self.conns.get_mut(&home) {
            session.drain(conn, time, &mut self.common, out);
        } else {
            // The table had no room for a connection of its own.
            let exchanges = session.take_held().into_iter().chain(self.common.sink.exchanges.drain(..)).count();
            self.common.losses.add_many(Loss::StreamTableFull, exchanges as u64, 0);
        }
    }

    /// A session was not bound in time: it gets a connection of its own, unless its library is still unconfirmed.
    pub(super) fn on_unbound(&mut self, id: SessionId, now: KernelTime, out: &mut Vec<Observation>) {
        self.join(id, now, out);
        self.try_library(id);
        let Some(session) = self.sessions.get_mut(&id).filter(|session| !session.held.is_empty()) else { return };
        if self.trials.has(session) {
            return self.give_up_unproven(id);
        }
        if session.home.is_none() {
            let key = Channel::Session(id);
            session.home = Some(key);
            let mut conn = Conn::implied(key, session.pid, session.opened, &self.common);
            conn.bind(id, Binding::None);
            self.add_conn(conn);
        }
        self.deliver(id, now, out);
    }

    pub(super) fn on_session_closed(&mut self, counts: &SessionCounts, out: &mut Vec<Observation>) {
        let sums = Pair { sent: counts.sent, received: counts.received };
        self.end_session(counts.session, Some(&sums), counts.time, false, out);
    }

    /// Ends a session: its exchanges are exported, and its sums go to its connection.
    pub(super) fn end_session(
        &mut self,
        id: SessionId,
        counts: Option<&Pair<Count>>,
        time: KernelTime,
        still_open: bool,
        out: &mut Vec<Observation>,
    ) {
        // Even a session without plaintext has a connection.
        self.join(id, time, out);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.on_close(time, counts, still_open, &mut self.common);
        self.deliver(id, time, out);
        self.on_unbound(id, time, out);
        let Some(session) = self.sessions.remove(&id) else { return };
        self.by_pid.remove(&(session.opener, id));
        self.common.ended.add(Channel::Session(id));
        let Some(home) = session.home else { return };
        let Some(conn) = self.conns.get_mut(&home) else { return };
        conn.done.absorb(&session.share());
        conn.sessions.retain(|session| *session != id);
        if matches!(home, Channel::Session(_)) {
            let own = session.own();
            conn.set_counts(own.sent, own.received);
            conn.closed = (!still_open).then_some(time);
        }
        self.end_if_over(home, time, out);
    }

    pub(super) fn on_process_gone(&mut self, pid: u32, time: KernelTime) {
        self.common.processes.gone(pid, time);
        if self.sessions_of(pid).next().is_some() {
            self.common.deadlines.add(time.plus(LINGER), Due::ProcessEnd(pid));
        }
    }

    /// Ends the sessions of a process that exited a while ago, but not those of the next process with the same pid.
    pub(super) fn on_process_end(&mut self, pid: u32, due: KernelTime, now: KernelTime, out: &mut Vec<Observation>) {
        let over = |session: &&Session| session.opened.plus(LINGER) <= due;
        let sessions: Vec<_> = self.sessions_of(pid).filter(over).map(|session| session.id).collect();
        for session in sessions {
            self.end_session(session, None, now, false, out);
        }
    }
}
