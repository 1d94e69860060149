//! The life cycle of connections: opened, counted, closed, over.

use super::common::Common;
use super::conn::Conn;
use super::deadlines::Due;
use super::report::FIRST_REPORT;
use super::{CONNECTIONS, IMPLIED_SILENCE, LINGER, Tap};
use crate::model::conn::Channel;
use crate::model::event::{Counts, KernelTls, Opened};
use crate::model::loss::Loss;
use crate::model::observation::{ConnState, Observation};
use crate::model::time::KernelTime;

impl Tap {
    pub(super) fn on_opened(&mut self, opened: Opened) {
        let key = Channel::Socket(opened.conn);
        if let Some(conn) = self.conns.get_mut(&key) {
            conn.explain(opened);
        } else {
            let mut conn = Conn::opened(opened, &self.common);
            conn.name_peer(&self.common);
            if !self.add_conn(conn) {
                self.common.losses.add(Loss::StreamTableFull, 0);
            }
        }
    }

    /// Adds a connection to the table; false if the table is full.
    pub(super) fn add_conn(&mut self, mut conn: Conn) -> bool {
        if self.conns.len() >= CONNECTIONS {
            return false;
        }
        conn.next_report = conn.opened_at().plus(FIRST_REPORT);
        self.common.deadlines.add(conn.next_report, Due::Report(conn.key));
        self.common.counters.connections_opened += 1;
        self.conns.insert(conn.key, conn);
        true
    }

    pub(super) fn on_progress(&mut self, counts: &Counts) {
        if let Some(conn) = self.conns.get_mut(&Channel::Socket(counts.conn)) {
            conn.set_counts(counts.sent, counts.received);
            conn.last = counts.time;
        }
    }

    /// The kernel was given the TLS keys of a connection.
    pub(super) fn on_kernel_tls(&mut self, given: KernelTls) {
        if let Some(conn) = self.conns.get_mut(&Channel::Socket(given.conn)) {
            conn.on_kernel_tls(given, &self.common);
        }
    }

    /// A connection was closed. It is over at once, unless more of it may still arrive.
    pub(super) fn on_closed(&mut self, counts: &Counts, out: &mut Vec<Observation>) {
        let key = Channel::Socket(counts.conn);
        let Some(conn) = self.conns.get_mut(&key) else { return };
        conn.set_counts(counts.sent, counts.received);
        conn.closed = Some(counts.time);
        if counts.shook {
            conn.on_shaken();
        }
        // TLS without a session: one may still be bound, if the process has an unbound session.
        let waits = conn.is_tls() && !conn.is_inspected() && conn.sessions.is_empty();
        let (lacks, pid) = (conn.lacks(), conn.pid());
        let unbound = waits && self.sessions_of(pid).any(|session| session.home.is_none());
        let waits_for_sessions = self.conns.get(&key).is_some_and(|conn| !conn.sessions.is_empty());
        if lacks || unbound || waits_for_sessions {
            self.common.deadlines.add(counts.time.plus(LINGER), Due::Finish(key));
        } else {
            self.end_conn(key, counts.time, false, out);
        }
    }

    /// A closed connection has lingered long enough, or an implied one may have fallen silent.
    pub(super) fn on_finish(&mut self, key: Channel, now: KernelTime, out: &mut Vec<Observation>) {
        let Some(conn) = self.conns.get(&key) else { return };
        let silent_at = conn.last.plus(IMPLIED_SILENCE);
        if conn.closed.is_some_and(|closed| closed.plus(LINGER) <= now) || (conn.implied && silent_at <= now) {
            self.end_conn(key, now, false, out);
        } else if conn.closed.is_none() && conn.implied {
            self.common.deadlines.add(silent_at, Due::Finish(key));
        }
    }

    /// Ends a closed connection if its last sessions have ended.
    pub(super) fn end_if_over(&mut self, key: Channel, now: KernelTime, out: &mut Vec<Observation>) {
        let over = |conn: &Conn| conn.closed.is_some() && conn.sessions.is_empty() && !conn.lacks();
        if self.conns.get(&key).is_some_and(over) {
            self.end_conn(key, now, false, out);
        }
    }

    /// Ends a connection: its sessions, its channel, its last report. `still_open`: only the agent stops watching it.
    pub(super) fn end_conn(&mut self, key: Channel, now: KernelTime, still_open: bool, out: &mut Vec<Observation>) {
        let Some(conn) = self.conns.get_mut(&key) else { return };
        for session in std::mem::take(&mut conn.sessions) {
            self.end_session(session, None, now, still_open, out);
        }
        let Some(mut conn) = self.conns.remove(&key) else { return };
        let Tap { common, sessions, .. } = self;
        for greeting in [conn.greetings.sent, conn.greetings.received].into_iter().flatten() {
            common.greetings.remove(&greeting);
        }
        conn.on_close(now, still_open, common, out);
        let state = match (still_open, conn.part) {
            (false, _) => ConnState::Closed,
            (true, 0) => ConnState::Open,
            (true, _) => ConnState::Active,
        };
        conn.report(state, now, sessions, common, out);
        end(key, common);
    }
}

fn end(key: Channel, common: &mut Common) {
    common.ended.add(key);
    common.counters.connections_closed += 1;
}
