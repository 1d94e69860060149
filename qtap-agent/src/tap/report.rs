//! Reports on connections: after half a second, every ten seconds, and at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Tap;
use super::common::Common;
use super::conn::Conn;
use super::deadlines::Due;
use super::pair::add;
use super::session::Session;
use crate::model::conn::{Binding, Channel, Protocol, SessionId};
use crate::model::loss::Loss;
use crate::model::observation::{ConnState, ConnectionSeen, Observation};
use crate::model::time::KernelTime;

/// Age at which a connection is first reported.
pub(super) const FIRST_REPORT: Duration = Duration::from_millis(500);

/// Time between reports after that.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

impl Tap {
    /// A report was due at `due`.
    pub(super) fn on_report(&mut self, key: Channel, due: KernelTime, now: KernelTime, out: &mut Vec<Observation>) {
        let Tap { conns, sessions, common, .. } = self;
        let Some(conn) = conns.get_mut(&key).filter(|conn| conn.closed.is_none() && conn.next_report == due) else {
            return;
        };
        let state = if conn.part == 0 { ConnState::Open } else { ConnState::Active };
        conn.report(state, now, sessions, common, out);
        // Reports missed while the source stood still are not made up for.
        let missed = now.since(conn.next_report).as_nanos() / REPORT_INTERVAL.as_nanos();
        let steps = u32::try_from(missed + 1).unwrap_or(u32::MAX);
        conn.next_report = conn.next_report.plus(REPORT_INTERVAL.saturating_mul(steps));
        common.deadlines.add(conn.next_report, Due::Report(key));
        // Long waits, such as an upgrade that is never answered, are checked here.
        for session in conn.sessions.clone() {
            self.on_look(Channel::Session(session), now, out);
        }
        self.on_look(key, now, out);
    }
}

impl Conn {
    /// Reports the state of the connection.
    pub(super) fn report(
        &mut self,
        state: ConnState,
        now: KernelTime,
        sessions: &HashMap<SessionId, Session>,
        common: &mut Common,
        out: &mut Vec<Observation>,
    ) {
        if let Channel::Session(id) = self.key
            && let Some(session) = sessions.get(&id)
        {
            self.set_counts(session.own().sent, session.own().received);
        }
        if !self.is_inspected() {
            self.set_uninspected_reason(self.reason());
        }
        self.set_protocol(self.socket_protocol());
        for session in self.sessions.clone() {
            self.set_protocol(sessions.get(&session).map_or(Protocol::Unknown, Session::protocol));
        }
        let facts = self.facts(common);
        let process = self.process();
        if process.is_none() && state == ConnState::Closed {
            common.losses.add(Loss::ProcessUnknown, 0);
        }
        let (mut captured, mut losses) = self.share();
        for session in self.sessions.iter().filter_map(|id| sessions.get(id)) {
            let share = session.share();
            add(&mut captured, share.captured);
            losses.absorb(&share.losses);
        }
        let counts = self.counts();
        out.push(Observation::Connection(Box::new(ConnectionSeen {
            host: common.host.clone(),
            conn: facts,
            process,
            state,
            part: self.part,
            sent: counts.sent,
            received: counts.received,
            captured_bytes: captured,
            losses: losses.tally(),
            requests: self.requests,
            authority: self.authority.clone(),
            version: self.version,
            dns: self.dns.clone(),
            observed: self.closed.unwrap_or(now),
        })));
        self.part += 1;
    }

    /// Why no plaintext of a TLS connection was seen.
    fn reason(&self) -> &'static str {
        let in_kernel = self.facts.tls.as_ref().map(|tls| tls.in_kernel).unwrap_or_default();
        if in_kernel.by_program {
            return "kTLS: the kernel was given the keys outside of any call of a TLS library that qtap probes; what is moved since is counted, not read";
        }
        if self.sessions.is_empty() && !self.was_met() {
            "no call of a TLS library that qtap probes was seen for this connection"
        } else {
            "no plaintext of the TLS session of this connection was seen"
        }
    }

    /// True when a TLS call was seen on it. A session that ended before its connection, as most do, is no longer in the list.
    fn was_met(&self) -> bool {
        !matches!(self.facts.binding, None | Some(Binding::None))
    }

    /// It ended, and a library's handshake was seen on it, of a session that is not known.
    pub(super) fn on_shaken(&mut self) {
        if !self.was_met() && self.sessions.is_empty() {
            Arc::make_mut(&mut self.facts).binding = Some(Binding::Nested);
        }
    }
}
