//! What the tunnel of an accepted CONNECT carries (RFC 9110 §9.3.6). In: the first bytes of both directions behind the answer. Out: HTTP that
//! the same parser, or that of HTTP/2, reads on; or bytes of anything else, such as TLS, which are the bodies of the CONNECT.

use bytes::Bytes;

use super::framing::Framing;
use super::lane::Lane;
use super::{H1, Switch};
use crate::http::Sink;
use crate::http::detect::{Verdict, first_bytes};
use crate::http::pair::Desk;

/// Bytes of either direction that are examined; a request line of an unknown method may be longer, and is then not recognised.
const AHEAD: usize = 1 << 10;

/// What a tunnel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    Http1,
    Http2,
    Other,
}

impl H1 {
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
