//! What is known of a connection and its process → the [`Origin`] that all its records share.
//!
//! Direction is decided here: `ingress` when the process is the server; else `egress-internal` when the peer is on this host or in a
//! network that is not publicly routed, and `egress-external` otherwise. Unknown facts stay `None`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::settings::{FactTag, tags_of};
use super::step::Steps;
use crate::model::address::is_private;
use crate::model::conn::{ConnFacts, ConnectionUid, Endpoint, Protocol, Role, Transport};
use crate::model::event::Host;
use crate::model::message::Version;
use crate::model::process::Process;
use crate::model::record::{Address, Origin};
use crate::model::route::StackId;

/// Maximum number of cached origins of open connections: beyond it all are dropped and rebuilt on demand.
const KEPT: usize = 16_384;

/// The part of an observation that an origin depends on.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub(super) host: &'a Arc<Host>,
    pub(super) conn: &'a Arc<ConnFacts>,
    pub(super) process: Option<&'a Arc<Process>>,
    /// Role of the process; taken from the exchange if the connection does not know.
    pub(super) role: Role,
    /// Protocol of the exchange, else of the connection.
    pub(super) protocol: Protocol,
    /// Version of the exchange.
    pub(super) version: Option<Version>,
    /// The stack whose steps redact the origin.
    pub(super) stack: Option<StackId>,
}

/// Builds origins, and caches them as long as the facts they were built from stay the same.
#[derive(Debug)]
pub(super) struct Origins {
    tags: Vec<String>,
    fact_tags: Vec<FactTag>,
    kept: HashMap<ConnectionUid, Kept>,
}

#[derive(Debug)]
struct Kept {
    conn: Arc<ConnFacts>,
    process: Option<Arc<Process>>,
    role: Role,
    protocol: Protocol,
    version: Option<Version>,
    stack: Option<StackId>,
    origin: Arc<Origin>,
}

impl Kept {
    fn holds_for(&self, place: &Place<'_>) -> bool {
        let same_process = match (&self.process, place.process) {
            (Some(kept), Some(given)) => Arc::ptr_eq(kept, given),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        Arc::ptr_eq(&self.conn, place.conn)
            && same_process
            && (self.role, self.protocol, self.version) == (place.role, place.protocol, place.version)
            && self.stack == place.stack
    }
}

impl Origins {
    pub(super) fn new(tags: Vec<String>, fact_tags: Vec<FactTag>) -> Origins {
        Origins { tags, fact_tags, kept: HashMap::new() }
    }

    /// The tags of a process.
    pub(super) fn tags_of(&self, process: Option<&Process>) -> Cow<'_, [String]> {
        tags_of(&self.tags, &self.fact_tags, process)
    }

    /// The origin of `place`, redacted as `steps` demand.
    pub(super) fn of(&mut self, place: &Place<'_>, steps: Option<&Steps>) -> Arc<Origin> {
        if let Some(kept) = self.kept.get(&place.conn.uid).filter(|kept| kept.holds_for(place)) {
            return Arc::clone(&kept.origin);
        }
        let tags = self.tags_of(place.process.map(|process| &**process)).into_owned();
        let origin = Arc::new(make(place, steps, tags));
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        let kept = Kept {
            conn: Arc::clone(place.conn),
            process: place.process.cloned(),
            role: place.role,
            protocol: place.protocol,
            version: place.version,
            stack: place.stack,
            origin: Arc::clone(&origin),
        };
        self.kept.insert(place.conn.uid, kept);
        origin
    }

    /// Forgets a closed connection.
    pub(super) fn forget(&mut self, uid: ConnectionUid) {
        self.kept.remove(&uid);
    }
}

fn make(place: &Place<'_>, steps: Option<&Steps>, tags: Vec<String>) -> Origin {
    let conn = place.conn;
    let (local, peer) = (address(&conn.local), address(&conn.peer));
    let (client, server) = match place.role {
        Role::Client => (local.clone(), peer.clone()),
        Role::Server => (peer.clone(), local.clone()),
        Role::Unknown => (None, None),
    };
    let process =
        place.process.map(|process| steps.map_or_else(|| Arc::clone(process), |steps| steps.process(process)));
    Origin {
        host: Arc::clone(place.host),
        connection_id: conn.uid.to_string(),
        direction: direction(place.role, &conn.peer),
        transport: transport(conn.transport),
        network_type: network_type(peer.as_ref().or(local.as_ref())),
        protocol_name: protocol_name(place.protocol),
        protocol_version: protocol_version(place),
        protocol: protocol(place),
        client,
        server,
        peer,
        local,
        process,
        tags,
    }
}

/// `network.type`.
fn network_type(address: Option<&Address>) -> Option<&'static str> {
    match address {
        Some(Address::Inet(IpAddr::V4(_), _)) => Some("ipv4"),
        Some(Address::Inet(IpAddr::V6(_), _)) => Some("ipv6"),
        Some(Address::Unix(_)) | None => None,
    }
}

/// `connection.direction`.
pub(super) fn direction(role: Role, peer: &Endpoint) -> Option<&'static str> {
    match (role, peer) {
        (Role::Server, _) => Some("ingress"),
        (Role::Client, Endpoint::Inet(peer)) if is_private(peer.ip()) => Some("egress-internal"),
        (Role::Client, Endpoint::Inet(_)) => Some("egress-external"),
        (Role::Client, Endpoint::Unix(_)) => Some("egress-internal"),
        (Role::Client, Endpoint::Unknown) | (Role::Unknown, _) => None,
    }
}

/// An endpoint as records show it: a v4-mapped address becomes the IPv4 address.
pub(super) fn address(endpoint: &Endpoint) -> Option<Address> {
    match endpoint {
        Endpoint::Inet(addr) => Some(Address::Inet(addr.ip().to_canonical(), addr.port())),
        Endpoint::Unix(path) if !path.is_empty() => Some(Address::Unix(path.clone())),
        Endpoint::Unix(_) | Endpoint::Unknown => None,
    }
}

fn transport(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Tcp => Some("tcp"),
        Transport::Udp => Some("udp"),
        Transport::Unix => Some("unix"),
        Transport::Unknown => None,
    }
}

fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Dns => Some("dns"),
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => Some("http"),
        Protocol::Tls | Protocol::Unknown => None,
    }
}

fn protocol_version(place: &Place<'_>) -> Option<&'static str> {
    match place.protocol {
        Protocol::Http2 | Protocol::Grpc => Some(place.version.unwrap_or(Version::Http2).number()),
        Protocol::Http1 => place.version.map(Version::number),
        Protocol::Tls | Protocol::Dns | Protocol::Unknown => None,
    }
}

/// `connection.protocol`: the innermost known protocol.
fn protocol(place: &Place<'_>) -> Option<&'static str> {
    match place.protocol {
        Protocol::Http1 => Some("http1"),
        Protocol::Http2 => Some("http2"),
        Protocol::Grpc => Some("grpc"),
        Protocol::Tls => Some("tls"),
        Protocol::Dns => Some("dns"),
        Protocol::Unknown if place.conn.tls.is_some() => Some("tls"),
        Protocol::Unknown => transport(place.conn.transport),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // literals in tests always parse
mod tests {
    use super::*;

    #[test]
    fn private_ranges_end_where_their_rfcs_say() {
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "fc00::",
            "fdff:ffff::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "8.8.8.8",
            "2001:db8::1",
            "fbff::1",
            "fe00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn the_server_is_ingress_whoever_calls() {
        let public = Endpoint::Inet("93.184.216.34:443".parse().unwrap());
        let private = Endpoint::Inet("10.1.2.3:80".parse().unwrap());
        assert_eq!(direction(Role::Server, &public), Some("ingress"));
        assert_eq!(direction(Role::Client, &public), Some("egress-external"));
        assert_eq!(direction(Role::Client, &private), Some("egress-internal"));
        assert_eq!(direction(Role::Client, &Endpoint::Unix(String::new())), Some("egress-internal"));
        assert_eq!(direction(Role::Client, &Endpoint::Unknown), None);
        assert_eq!(direction(Role::Unknown, &public), None);
    }
}
