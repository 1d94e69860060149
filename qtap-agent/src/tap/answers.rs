//! Answers of name servers: they name the peer addresses of connections, and, if configured, are themselves reported as connections.

use std::sync::Arc;

use super::common::Common;
use super::pair::add;
use super::uid::connection_uid;
use super::{Tap, conn::Conn, conn::Socket};
use crate::dns;
use crate::model::conn::{Channel, ConnFacts, ConnId, Direction, Endpoint, Protocol, Role, Transport};
use crate::model::event::{Count, Datagram};
use crate::model::loss::{Loss, Tally};
use crate::model::observation::{ConnState, ConnectionSeen, Observation};

/// The port of name servers.
const PORT: u16 = 53;

impl Tap {
    /// Handles a datagram from a name server.
    pub(super) fn on_datagram(&mut self, datagram: Datagram, out: &mut Vec<Observation>) {
        let common = &mut self.common;
        let Some(answer) = dns::answer(&datagram.payload) else {
            common.losses.add(Loss::Unparsed, datagram.payload.len() as u64);
            return;
        };
        common.names.learn(datagram.pid, &answer, datagram.time);
        if !common.audit_dns {
            return;
        }
        let process = common.processes.get(datagram.pid).cloned();
        if process.is_none() {
            common.losses.add(Loss::ProcessUnknown, 0);
        }
        let captured = datagram.payload.len() as u64;
        let mut losses = Tally::default();
        let lost = datagram.len.saturating_sub(captured);
        if lost > 0 {
            losses.add(Loss::CallLimit, lost);
            common.losses.add(Loss::CallLimit, lost);
        }
        let facts = ConnFacts {
            uid: connection_uid(&common.host, Channel::Socket(ConnId(datagram.id)), datagram.time),
            opened: datagram.time,
            pid: datagram.pid,
            transport: Transport::Udp,
            local: datagram.local,
            peer: datagram.peer,
            role: Role::Client,
            tls: None,
            protocol: Protocol::Dns,
            binding: None,
            joined_late: false,
            domain: None,
        };
        out.push(Observation::Connection(Box::new(ConnectionSeen {
            host: common.host.clone(),
            conn: Arc::new(facts),
            process,
            state: ConnState::Closed,
            part: 0,
            sent: Count::default(),
            received: Count { carried: datagram.len, copied: captured, lost, ..Count::default() },
            captured_bytes: captured,
            losses,
            requests: 1,
            authority: Some(answer.question.clone()),
            version: None,
            dns: Some(Arc::new(answer)),
            observed: datagram.time,
        })));
    }
}

impl Conn {
    /// True for a connection to a name server whose answers are parsed.
    pub(super) fn asks_names(&self, common: &Common) -> bool {
        common.reads_dns && self.facts.peer.port() == Some(PORT) && self.facts.role != Role::Server
    }

    /// Takes bytes from a name server.
    pub(super) fn on_answers(&mut self, direction: Direction, offset: u64, bytes: &[u8], common: &mut Common) {
        let Socket::Dns(frames) = &mut self.socket else { return };
        if direction != Direction::Received || !frames.take(offset, bytes) {
            self.done.losses.add(Loss::Unparsed, bytes.len() as u64);
            common.losses.add(Loss::Unparsed, bytes.len() as u64);
            return;
        }
        add(&mut self.done.captured, bytes.len() as u64);
        while let Some(message) = frames.next_message() {
            let Some(answer) = dns::answer(&message) else { continue };
            common.names.learn(self.pid, &answer, self.last);
            self.requests += 1;
            if common.audit_dns {
                self.authority = Some(answer.question.clone());
                self.dns = Some(Arc::new(answer));
            }
        }
    }

    /// Sets the name by which the connection's process knows its peer.
    pub(super) fn name_peer(&mut self, common: &Common) {
        if self.facts.role == Role::Server {
            return;
        }
        if let Endpoint::Inet(peer) = &self.facts.peer
            && let Some(name) = common.names.of(self.pid, peer.ip(), self.facts.opened)
        {
            let name = name.to_owned();
            Arc::make_mut(&mut self.facts).domain = Some(name);
        }
    }
}
