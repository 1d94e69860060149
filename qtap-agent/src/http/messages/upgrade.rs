//! What becomes a WebSocket connection: by an Upgrade of HTTP/1.1 (RFC 6455 §4), or by an extended CONNECT of HTTP/2 (RFC 8441 §5).
//! In: the heads of a request and its answer. Out: the readers of both directions, with what was negotiated. It keeps nothing.

use super::WebSocket;
use super::deflate::Inflate;
use crate::model::message::{Fields, Request, Response};

/// Characters of a `Sec-WebSocket-Key`: 16 octets in base64 (RFC 6455 §4.1).
const KEY: usize = 24;
/// Characters of a `Sec-WebSocket-Accept`: 20 octets in base64 (RFC 6455 §4.2.2).
const ACCEPT: usize = 28;

/// True when a request asks for a WebSocket connection on a stream of HTTP/2 (RFC 8441 §5).
fn is_extended_connect(request: &Request) -> bool {
    let says = |text: &Option<String>, what: &str| text.as_deref().is_some_and(|text| text == what);
    says(&request.method, "CONNECT") && request.protocol.as_deref().is_some_and(|p| p.eq_ignore_ascii_case("websocket"))
}

/// The readers of the request's and of the response's direction, when the answer makes it a WebSocket connection.
pub(in crate::http) fn websockets(request: &Request, response: &Response) -> Option<(WebSocket, WebSocket)> {
    let agreed = match response.status {
        Some(101) => upgrades(&request.fields, &response.fields),
        Some(200..300) => is_extended_connect(request),
        Some(_) | None => false,
    };
    agreed.then(|| {
        let (client, server) = deflate(&response.fields);
        (WebSocket::new(true, client), WebSocket::new(false, server))
    })
}

fn upgrades(asked: &Fields, answered: &Fields) -> bool {
    let base64 = |text: Option<&str>, len: usize| text.is_some_and(|text| text.len() == len && text.ends_with('='));
    lists(asked, "upgrade", "websocket")
        && lists(asked, "connection", "upgrade")
        && base64(asked.get("sec-websocket-key"), KEY)
        && lists(answered, "upgrade", "websocket")
        && lists(answered, "connection", "upgrade")
        && base64(answered.get("sec-websocket-accept"), ACCEPT)
}

fn lists(fields: &Fields, name: &str, token: &str) -> bool {
    fields.all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// What the client's and what the server's messages are compressed with (RFC 7692 §7.1): the answer says what was agreed. The size of
/// a window does not matter to who reads: the largest does for all.
fn deflate(answered: &Fields) -> (Option<Inflate>, Option<Inflate>) {
    let extensions = answered.all("sec-websocket-extensions").flat_map(|value| value.split(','));
    let mut agreed = extensions.map(|extension| extension.split(';').map(str::trim));
    let Some(parameters) = agreed.find_map(|mut parts| {
        let name = parts.next()?;
        name.eq_ignore_ascii_case("permessage-deflate").then(|| parts.collect::<Vec<_>>())
    }) else {
        return (None, None);
    };
    let says = |what: &str| parameters.iter().any(|parameter| parameter.eq_ignore_ascii_case(what));
    (Some(Inflate::new(!says("client_no_context_takeover"))), Some(Inflate::new(!says("server_no_context_takeover"))))
}
