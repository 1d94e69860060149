//! How much TLS each process carried, and how much of it was seen in plaintext. In: connection reports, and exits of processes. Out: sums by
//! process, to explain why its TLS is not seen. Pure: no clock, no IO.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::conn::{Binding, ConnectionUid, SessionId, Transport};
use crate::model::observation::{ConnState, ConnectionSeen};
use crate::model::process::Process;

/// Maximum number of processes with sums.
const PROCESSES: usize = 4096;
/// Maximum number of open connections whose last report is remembered; further ones count only at their end.
const OPEN: usize = 65_536;

/// The TLS traffic of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    /// The process.
    pub(super) process: Option<Arc<Process>>,
    /// Its TLS connections, open and closed.
    pub(super) connections: u64,
    /// Bytes of TLS connections whose plaintext was seen.
    pub(super) seen_bytes: u64,
    /// Bytes of TLS connections whose plaintext was not seen.
    pub(super) unseen_bytes: u64,
    /// The part of `unseen_bytes` on connections that the TLS library was seen to use, but that carried only the handshake.
    pub(super) mute_bytes: u64,
    /// True if there were sessions whose connection was never found.
    pub(super) unbound: bool,
}

/// What a connection added to the sums of its process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    seen: u64,
    unseen: u64,
    mute: u64,
}

/// All processes.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffics {
    table: HashMap<u32, Traffic>,
    /// What open connections have added so far.
    open: HashMap<ConnectionUid, (u32, Share)>,
    /// Open sessions whose connection is not known (yet).
    waiting: HashMap<SessionId, u32>,
    /// Processes that may have exited, the first one first, which is the first to be forgotten.
    ended: VecDeque<u32>,
}

impl Traffics {
    /// Takes a report on a connection.
    pub(super) fn report(&mut self, seen: &ConnectionSeen) {
        let conn = &seen.conn;
        let Some(tls) = &conn.tls else { return };
        // An unbound session is reported as a connection of its own; its bytes are counted at the socket.
        if conn.transport == Transport::Unknown {
            return;
        }
        let bytes = seen.sent.carried.saturating_add(seen.received.carried);
        let used = !matches!(conn.binding, None | Some(Binding::None));
        let share = match tls.inspected {
            true => Share { seen: bytes, ..Share::default() },
            false => Share { unseen: bytes, mute: if used { bytes } else { 0 }, ..Share::default() },
        };
        let before = self.open.remove(&conn.uid);
        if let Some((pid, before)) = before
            && let Some(traffic) = self.table.get_mut(&pid)
        {
            // Bytes without plaintext in the last report may have it by now.
            traffic.seen_bytes = traffic.seen_bytes.saturating_sub(before.seen);
            traffic.unseen_bytes = traffic.unseen_bytes.saturating_sub(before.unseen);
            traffic.mute_bytes = traffic.mute_bytes.saturating_sub(before.mute);
        }
        let open = seen.state != ConnState::Closed;
        if open && self.open.len() >= OPEN {
            return;
        }
        let Some(traffic) = self.of(conn.pid) else { return };
        traffic.seen_bytes = traffic.seen_bytes.saturating_add(share.seen);
        traffic.unseen_bytes = traffic.unseen_bytes.saturating_add(share.unseen);
        traffic.mute_bytes = traffic.mute_bytes.saturating_add(share.mute);
        traffic.connections += u64::from(before.is_none());
        if seen.process.is_some() {
            traffic.process.clone_from(&seen.process);
        }
        if open {
            self.open.insert(conn.uid, (conn.pid, share));
        }
    }

    /// A session was opened.
    pub(super) fn session_opened(&mut self, session: SessionId, pid: u32) {
        if self.waiting.len() < OPEN {
            self.waiting.insert(session, pid);
        }
    }

    /// The session's connection is known.
    pub(super) fn session_bound(&mut self, session: SessionId) {
        self.waiting.remove(&session);
    }

    /// The session ended.
    pub(super) fn session_closed(&mut self, session: SessionId) {
        if let Some(traffic) = self.waiting.remove(&session).and_then(|pid| self.of(pid)) {
            traffic.unbound = true;
        }
    }

    /// A process exited. Its sums are kept until their space is needed: its last connections are reported later.
    pub(super) fn gone(&mut self, pid: u32) {
        if self.table.contains_key(&pid) {
            self.ended.push_back(pid);
        }
    }

    /// A process started, or executed a program: earlier sums of the same pid belong to another process.
    pub(super) fn began(&mut self, pid: u32) {
        if let Some(at) = self.ended.iter().position(|ended| *ended == pid) {
            self.ended.remove(at);
            self.table.remove(&pid);
        }
    }

    /// The sums of each process.
    pub(super) fn by_process(&self) -> HashMap<u32, Traffic> {
        let mut all = self.table.clone();
        for pid in self.waiting.values() {
            all.entry(*pid).or_default().unbound = true;
        }
        all
    }

    /// The sums of a process; `None`: the table is full.
    fn of(&mut self, pid: u32) -> Option<&mut Traffic> {
        while self.table.len() >= PROCESSES && !self.table.contains_key(&pid) {
            self.table.remove(&self.ended.pop_front()?);
        }
        Some(self.table.entry(pid).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conn::{ConnFacts, Endpoint, Protocol, Role, TlsFacts};
    use crate::model::event::{Count, Host};
    use crate::model::loss::Tally;
    use crate::model::time::KernelTime;

    fn report(number: u8, pid: u32, tls: Option<bool>, bytes: u64, state: ConnState) -> ConnectionSeen {
        let conn = ConnFacts {
            uid: ConnectionUid([number; 16]),
            opened: KernelTime(0),
            pid,
            transport: Transport::Tcp,
            local: Endpoint::Unknown,
            peer: Endpoint::Unknown,
            role: Role::Client,
            tls: tls.map(|inspected| TlsFacts { inspected, ..TlsFacts::default() }),
            protocol: Protocol::Tls,
            binding: None,
            joined_late: false,
            domain: None,
        };
        ConnectionSeen {
            host: Arc::new(Host::default()),
            conn: Arc::new(conn),
            process: None,
            state,
            part: 0,
            sent: Count { carried: bytes, ..Count::default() },
            received: Count::default(),
            captured_bytes: bytes / 2,
            losses: Tally::default(),
            requests: 0,
            authority: None,
            version: None,
            dns: None,
            observed: KernelTime(0),
        }
    }

    fn sums(all: &Traffics, pid: u32) -> (u64, u64, u64) {
        let traffic = all.table.get(&pid).cloned().unwrap_or_default();
        (traffic.connections, traffic.seen_bytes, traffic.unseen_bytes)
    }

    #[test]
    fn each_connection_counts_once_as_it_last_was() {
        let mut all = Traffics::default();
        all.report(&report(1, 7, Some(false), 100, ConnState::Open));
        all.report(&report(1, 7, Some(false), 300, ConnState::Active));
        all.report(&report(2, 7, None, 5000, ConnState::Closed));
        assert_eq!(sums(&all, 7), (1, 0, 300));
        all.report(&report(1, 7, Some(true), 400, ConnState::Active));
        assert_eq!(sums(&all, 7), (1, 400, 0), "its plaintext was seen after all");
        all.report(&report(1, 7, Some(true), 600, ConnState::Closed));
        all.report(&report(3, 7, Some(false), 10, ConnState::Closed));
        assert_eq!(sums(&all, 7), (2, 600, 10));
        assert!(all.open.is_empty());
    }

    #[test]
    fn a_connection_with_a_handshake_alone_is_known_for_it() {
        let mut all = Traffics::default();
        let with = |number: u8, bytes: u64, binding: Binding, state: ConnState| {
            let mut seen = report(number, 7, Some(false), bytes, state);
            Arc::make_mut(&mut seen.conn).binding = Some(binding);
            seen
        };
        all.report(&with(1, 100, Binding::Nested, ConnState::Active));
        all.report(&with(1, 200, Binding::Nested, ConnState::Closed));
        all.report(&with(2, 30, Binding::None, ConnState::Closed));
        let mute = all.table.get(&7).map(|traffic| (traffic.unseen_bytes, traffic.mute_bytes));
        assert_eq!(mute, Some((230, 200)));
    }

    #[test]
    fn a_session_that_never_gets_a_connection_is_told() {
        let mut all = Traffics::default();
        let unbound = |all: &Traffics| all.by_process().get(&7).is_some_and(|traffic| traffic.unbound);
        let mut seen = report(1, 7, Some(true), 100, ConnState::Closed);
        Arc::make_mut(&mut seen.conn).transport = Transport::Unknown;
        all.report(&seen);
        all.session_opened(SessionId(1), 7);
        assert!(unbound(&all));
        all.session_bound(SessionId(1));
        all.session_closed(SessionId(1));
        assert!(!unbound(&all));
        assert_eq!(sums(&all, 7), (0, 0, 0), "it is no connection");
        all.session_opened(SessionId(2), 7);
        all.session_closed(SessionId(2));
        assert!(unbound(&all));
    }

    #[test]
    fn those_that_ended_make_room_and_a_number_used_again_begins_anew() {
        let mut all = Traffics::default();
        for pid in 0..PROCESSES as u32 + 1 {
            all.report(&report(1, pid, Some(false), 1, ConnState::Closed));
        }
        assert_eq!((all.table.len(), sums(&all, PROCESSES as u32)), (PROCESSES, (0, 0, 0)), "all live");
        all.gone(5);
        all.report(&report(1, PROCESSES as u32, Some(false), 1, ConnState::Closed));
        assert_eq!((sums(&all, 5), sums(&all, PROCESSES as u32)), ((0, 0, 0), (1, 0, 1)));
        all.gone(6);
        all.began(6);
        all.began(7);
        assert_eq!((sums(&all, 6), sums(&all, 7)), ((0, 0, 0), (1, 0, 1)));
    }
}
