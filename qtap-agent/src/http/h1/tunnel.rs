//! What follows a CONNECT or an Upgrade that was accepted. In: the answer, the end of the request, and the first bytes of both directions behind them.
//! Out: a tunnel, whose bytes are the bodies of the exchange; for an accepted CONNECT (RFC 9110 §9.3.6), HTTP in the clear that the same parser, or that
//! of HTTP/2, reads on; for an Upgrade to h2c, HTTP/2.
//!
//! In the client's direction the switch takes effect behind the request (RFC 9110 §7.8), however early the answer comes.

use bytes::Bytes;

use super::framing::Framing;
use super::lane::Lane;
use super::order::Turn;
use super::{H1, Switch};
use crate::http::Sink;
use crate::http::detect::{Verdict, first_bytes};
use crate::http::manner::Manner;
use crate::http::messages::websockets;
use crate::http::pair::{Desk, Open};
use crate::model::message::Fields;

/// Bytes of either direction that are examined; a request line of an unknown method may be longer, and is then not recognised.
const AHEAD: usize = 1 << 10;

/// What a tunnel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    Http1,
    Http2,
    Other,
}

/// What an answer accepted before its request had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    Tunnel,
    Http2,
}

impl H1 {
    /// The answer accepted an upgrade to HTTP/2 (RFC 7540 §3.2), whose first stream the request is.
    pub(super) fn upgrade(&mut self) {
        if self.order.is_asking() {
            self.accepted = Some(Accepted::Http2);
        } else {
            self.switch = self.order.take_answering().map(|open| Switch::Upgraded(Box::new(open)));
        }
    }

    /// The bytes behind the request belong to its body.
    pub(super) fn become_tunnel(&mut self, desk: &mut Desk, sink: &mut Sink) {
        if self.order.is_asking() {
            self.accepted = Some(Accepted::Tunnel);
        }
        let Some(open) = self.enter_tunnel() else { return };
        let halves = open.exchange.request.as_ref().zip(open.exchange.response.as_ref());
        if let Some(ends) = halves.and_then(|(request, response)| websockets(request, response)) {
            open.become_websocket(ends, false, desk, sink);
        }
    }

    fn enter_tunnel(&mut self) -> Option<&mut Open> {
        if !self.up.is_between() {
            return None;
        }
        let open = self.order.reopen_request()?;
        self.up.begin(Framing::ToClose);
        open.request_body.manner = Manner::Undeclared;
        Some(open)
    }

    /// The request is over (`whole`: to its end): what its answer accepted takes effect.
    pub(super) fn follow_request(&mut self, whole: bool) {
        match self.accepted.take() {
            Some(Accepted::Http2) => {
                self.switch = self.order.take_answering().map(|open| Switch::Upgraded(Box::new(open)))
            }
            // Its body precedes what the tunnel carries, so no messages are looked for.
            Some(Accepted::Tunnel) if whole => drop(self.enter_tunnel()),
            Some(Accepted::Tunnel) | None => {}
        }
    }

    /// Decides what the tunnel carries; false while that is unknown. When the connection closes (`at_close`) it carries nothing that is HTTP.
    pub(super) fn open_tunnel(&mut self, at_close: bool, desk: &mut Desk, sink: &mut Sink) -> bool {
        let carried = carried(&self.up, &self.down).or(at_close.then_some(Carried::Other));
        let Some(carried) = carried else { return false };
        self.opening = false;
        match carried {
            Carried::Other => {
                self.down.begin(Framing::ToClose);
                self.become_tunnel(desk, sink);
            }
            Carried::Http1 => self.end_response(Bytes::new(), desk, sink),
            Carried::Http2 => {
                self.end_response(Bytes::new(), desk, sink);
                self.switch = Some(Switch::InTunnel);
            }
        }
        true
    }
}

fn carried(up: &Lane, down: &Lane) -> Option<Carried> {
    let (client, server) = (up.ahead(AHEAD), down.ahead(AHEAD));
    match first_bytes(&client.bytes) {
        Verdict::Request => return Some(Carried::Http1),
        Verdict::Preface => return Some(Carried::Http2),
        Verdict::Response | Verdict::ServerSettings | Verdict::Other => return Some(Carried::Other),
        Verdict::More => {}
    }
    match first_bytes(&server.bytes) {
        // The record of the request may arrive after that of the answer.
        Verdict::Response => Some(Carried::Http1),
        Verdict::ServerSettings => Some(Carried::Http2),
        Verdict::Request | Verdict::Preface | Verdict::Other => Some(Carried::Other),
        Verdict::More => (client.is_all || server.is_all).then_some(Carried::Other),
    }
}

/// True if the request is a CONNECT.
pub(super) fn is_connect(turn: &Turn) -> bool {
    turn.open.exchange.request.as_ref().is_some_and(|request| request.method.as_deref() == Some("CONNECT"))
}

/// True if a response accepts the upgrade to HTTP/2 (RFC 7540 §3.2).
pub(super) fn names_h2c(fields: &Fields) -> bool {
    let names = |value: &[u8]| value.eq_ignore_ascii_case(b"h2c");
    fields.0.iter().any(|field| field.is_named("upgrade") && field.value.bytes().is_some_and(|value| names(value)))
}
