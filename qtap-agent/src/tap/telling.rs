//! The facts of a connection, and the export of exchanges together with them.

use std::sync::Arc;

use super::common::Common;
use super::conn::Conn;
use crate::model::conn::{Binding, ConnFacts, Direction, Protocol, Role, SessionId, TlsFacts};
use crate::model::event::KernelTls;
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::loss::Loss;
use crate::model::observation::{ExchangeSeen, Observation};
use crate::model::process::Process;
use crate::model::time::KernelTime;

/// Bits of an exchange's number that hold its ordinal on its channel; the number of the channel is above them.
const ORDINAL_BITS: u32 = 40;

impl Conn {
    /// Binds a session to the connection.
    pub(super) fn bind(&mut self, session: SessionId, how: Binding) {
        if !self.sessions.contains(&session) {
            self.sessions.push(session);
        }
        let facts = Arc::make_mut(&mut self.facts);
        let tls = facts.tls.get_or_insert_default();
        self.tunnel.iter().for_each(|tunnel| tunnel.tell(tls));
        if matches!(facts.binding, None | Some(Binding::None)) {
            facts.binding = Some(how);
        }
    }

    /// Plaintext of one of its sessions was seen.
    pub(super) fn inspect(&mut self, library: Option<&str>) {
        let tls = self.tls();
        tls.inspected = true;
        tls.uninspected_reason = None;
        if tls.library.is_none() {
            tls.library = library.map(str::to_owned);
        }
    }

    /// Sets the reason why no plaintext was seen.
    pub(super) fn set_uninspected_reason(&mut self, reason: &str) {
        let same = |tls: &TlsFacts| tls.uninspected_reason.as_deref() == Some(reason);
        if self.facts.tls.as_ref().is_some_and(|tls| !tls.inspected && !same(tls)) {
            self.tls().uninspected_reason = Some(reason.to_owned());
        }
    }

    /// The kernel handles its TLS.
    pub(super) fn on_kernel_tls(&mut self, given: KernelTls, common: &Common) {
        // If that was so before the connection was seen, no TLS record will ever be seen.
        self.decide(true, common);
        let tls = self.tls();
        match given.direction {
            Some(Direction::Sent) => tls.in_kernel.sent = true,
            Some(Direction::Received) => tls.in_kernel.received = true,
            None => tls.in_kernel.unknown = true,
        }
        tls.in_kernel.by_program |= !given.by_library && given.direction.is_some();
    }

    /// Exports an exchange. `slot`: number of its channel on this connection.
    pub(super) fn export(
        &mut self,
        exchange: HttpExchange,
        slot: u64,
        observed: KernelTime,
        common: &mut Common,
        out: &mut Vec<Observation>,
    ) {
        self.learn(&exchange);
        let conn = self.facts(common);
        let process = match common.processes.get(exchange.pid) {
            Some(process) => Some(process.clone()),
            None if exchange.pid == self.pid => self.process.clone(),
            None => None,
        };
        if process.is_none() {
            common.losses.add(Loss::ProcessUnknown, 0);
        }
        self.note_want(&exchange, process.as_deref(), common);
        let ordinal = exchange.ordinal & ((1 << ORDINAL_BITS) - 1);
        if exchange.part.is_none_or(|part| part.last) {
            self.requests += 1;
            common.counters.exchanges += 1;
        }
        out.push(Observation::Exchange(Box::new(ExchangeSeen {
            host: common.host.clone(),
            conn,
            process,
            number: slot << ORDINAL_BITS | ordinal,
            exchange: Exchange::Http(Box::new(exchange)),
            observed,
        })));
    }

    /// Updates the connection's facts from an exchange.
    fn learn(&mut self, exchange: &HttpExchange) {
        if self.authority.is_none() {
            self.authority = exchange.request.as_ref().and_then(|request| request.authority.clone());
        }
        self.version = exchange.version().or(self.version);
        if self.facts.role == Role::Unknown {
            let role = if exchange.outgoing { Role::Client } else { Role::Server };
            Arc::make_mut(&mut self.facts).role = role;
        }
    }

    /// Sets the protocol, as far as its parser knows it.
    pub(super) fn set_protocol(&mut self, protocol: Protocol) {
        if protocol == Protocol::Unknown {
            return;
        }
        if self.facts.protocol != protocol {
            Arc::make_mut(&mut self.facts).protocol = protocol;
        }
        let alpn = match protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 | Protocol::Grpc => "h2",
            Protocol::Unknown | Protocol::Tls | Protocol::Dns => return,
        };
        if self.facts.tls.as_ref().is_some_and(|tls| tls.alpn.is_none()) {
            self.tls().alpn = Some(alpn.to_owned());
        }
    }

    /// Its facts, updated for export.
    pub(super) fn facts(&mut self, common: &Common) -> Arc<ConnFacts> {
        if self.facts.pid != self.pid {
            Arc::make_mut(&mut self.facts).pid = self.pid;
            self.process = None;
        }
        if let Some(process) = common.processes.get(self.pid) {
            self.process = Some(process.clone());
        }
        self.facts.clone()
    }

    /// Its process, as known when the facts were last exported.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.process.clone()
    }
}
