//! A connection report → its `qtap.connection` record. Written at every level, because the fact that a connection existed is not payload.

use std::net::SocketAddr;

use super::digest::{self, UidKind};
use super::origin::{Origins, Place};
use super::router::Chosen;
use super::step::Steps;
use crate::model::conn::{Binding, Protocol};
use crate::model::event::Count;
use crate::model::loss::Loss;
use crate::model::message::host_of;
use crate::model::observation::{ConnState, ConnectionSeen};
use crate::model::record::{Address, ConnectionRecord, Origin, Record, RecordKind, Severity};

/// The record of `seen`, redacted as its stack demands; `sampled_out`: how many of its exchanges sampling left out.
pub(super) fn record(
    seen: &ConnectionSeen,
    sampled_out: Option<u64>,
    origins: &mut Origins,
    stack: Option<Chosen<'_>>,
) -> Record {
    let steps = stack.map(|stack| stack.steps);
    let conn = &seen.conn;
    let place = Place {
        host: &seen.host,
        conn,
        process: seen.process.as_ref(),
        role: conn.role,
        protocol: conn.protocol,
        // The first exchange of an upgraded connection used the previous version.
        version: seen.version.filter(|_| conn.protocol == Protocol::Http1),
        stack: stack.map(|stack| stack.id),
    };
    let origin = origins.of(&place, steps);
    if seen.state == ConnState::Closed {
        origins.forget(conn.uid);
    }
    let about = ConnectionRecord { sampled_out, ..about(seen, &origin, steps) };
    let unix_ns = seen.host.clock.unix_ns(seen.observed);
    Record {
        uid: digest::record_uid(conn.uid, None, UidKind::Connection, seen.part),
        time_unix_ns: unix_ns,
        observed_unix_ns: unix_ns,
        severity: Severity::Info,
        line: line(&about, &origin),
        trace: None,
        origin,
        request_id: None,
        kind: RecordKind::Connection(Box::new(about)),
    }
}

fn about(seen: &ConnectionSeen, origin: &Origin, steps: Option<&Steps>) -> ConnectionRecord {
    ConnectionRecord {
        state: match seen.state {
            ConnState::Open => "open",
            ConnState::Active => "active",
            ConnState::Closed => "closed",
        },
        part: seen.part,
        finalized: seen.state == ConnState::Closed,
        bytes_sent: carried(&seen.sent),
        bytes_received: carried(&seen.received),
        captured_bytes: seen.captured_bytes,
        lost_bytes: seen.losses.total_bytes(),
        losses: seen.losses.iter().map(|(loss, _, bytes)| (loss.name(), bytes)).collect(),
        duration_ms: seen.observed.millis_since(seen.conn.opened),
        requests: seen.requests,
        sampled_out: None,
        endpoint_id: endpoint_id(seen, origin, steps),
        tls: seen.conn.tls.clone(),
        binding: seen.conn.binding.map(Binding::name),
        dns: seen.dns.clone(),
    }
}

/// The kernel's byte count; if there is none, the count that the probed calls reported.
fn carried(count: &Count) -> u64 {
    count.kernel.unwrap_or(count.carried)
}

/// `connection.endpoint_id`: the requested host of the first request, else the TLS server name, else the DNS name, else the server's address.
fn endpoint_id(seen: &ConnectionSeen, origin: &Origin, steps: Option<&Steps>) -> Option<String> {
    let authority = seen.authority.as_deref().filter(|authority| !authority.is_empty());
    let named =
        authority.map(|authority| steps.map_or_else(|| authority.to_owned(), |steps| steps.authority(authority)));
    let host = named.map(|authority| host_of(&authority).to_ascii_lowercase());
    let sni = || seen.conn.tls.as_ref().and_then(|tls| tls.sni.clone());
    let server = || match origin.server.as_ref()? {
        Address::Inet(ip, _) => Some(ip.to_string()),
        Address::Unix(path) => Some(path.clone()),
    };
    let domain = || seen.conn.domain.clone();
    host.or_else(sni).or_else(domain).or_else(server)
}

/// E.g. `connection closed: curl → example.com (http1 over TLS), 78 B sent, 1256 B received, 1 request, 12.3 ms`.
fn line(about: &ConnectionRecord, origin: &Origin) -> String {
    let process = origin.process.as_ref().map_or("unknown process", |process| process.executable_name());
    let arrow = if origin.direction == Some("ingress") { "←" } else { "→" };
    let far = match (&origin.peer, origin.direction) {
        (Some(peer), Some("ingress")) => address_text(peer),
        (peer, _) => far_end(about, peer.as_ref()),
    };
    let tls = if about.tls.is_some() && origin.protocol != Some("tls") { " over TLS" } else { "" };
    let protocol = origin.protocol.unwrap_or("unknown protocol");
    let plural = if about.requests == 1 { "" } else { "s" };
    let left_alone =
        about.losses.iter().find(|(name, _)| *name == Loss::NotWanted.name()).map_or(0, |(_, bytes)| *bytes);
    let told = |bytes: u64, word: &str| if bytes > 0 { format!(", {bytes} B {word}") } else { String::new() };
    let (lost, left_alone) =
        (told(about.lost_bytes.saturating_sub(left_alone), "lost"), told(left_alone, "not wanted"));
    format!(
        "connection {}: {process} {arrow} {far} ({protocol}{tls}), {} B sent, {} B received, {} request{plural}, {:.1} ms{lost}{left_alone}",
        about.state, about.bytes_sent, about.bytes_received, about.requests, about.duration_ms,
    )
}

fn far_end(about: &ConnectionRecord, peer: Option<&Address>) -> String {
    about.endpoint_id.clone().or_else(|| peer.map(address_text)).unwrap_or_else(|| "unknown peer".to_owned())
}

fn address_text(address: &Address) -> String {
    match address {
        Address::Inet(ip, port) => SocketAddr::new(*ip, *port).to_string(),
        Address::Unix(path) => path.clone(),
    }
}
