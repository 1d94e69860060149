//! Recognises WebSocket connections: by an Upgrade of HTTP/1.1 (RFC 6455 §4), or by an extended CONNECT of HTTP/2 (RFC 8441 §5).
//! In: the heads of a request and its response. Out: parsers for both directions, with what was negotiated. It keeps no state.

use super::WebSocket;
use super::deflate::Inflate;
use crate::model::message::{Fields, Request, Response};

/// Length of a `Sec-WebSocket-Key`: 16 octets in base64 (RFC 6455 §4.1).
const KEY: usize = 24;
/// Length of a `Sec-WebSocket-Accept`: 20 octets in base64 (RFC 6455 §4.2.2).
const ACCEPT: usize = 28;

/// True if a request asks for a WebSocket connection on an HTTP/2 stream (RFC 8441 §5).
fn is_extended_connect(request: &Request) -> bool {
    let says = |text: &Option<String>, what: &str| text.as_deref().is_some_and(|text| text == what);
    says(&request.method, "CONNECT") && request.protocol.as_deref().is_some_and(|p| p.eq_ignore_ascii_case("websocket"))
}

/// The parsers of the request's and the response's direction, if the response makes it a WebSocket connection.
pub(in crate::http) fn websockets(request: &Request, response: &Response) -> Option<(WebSocket, WebSocket)> {
    let agreed = match response.status {
        Some(101) => upgrades(&request.fields, &response.fields),
        Some(200..300) => is_extended_connect(request),
        Some(_) | None => false,
    };
    agreed.then(|| parsers(response))
}

/// The same for a response whose request was not seen: its own fields prove the handshake (RFC 6455 §4.2.2).
pub(in crate::http) fn websockets_answered(response: &Response) -> Option<(WebSocket, WebSocket)> {
    (response.status == Some(101) && accepts(&response.fields)).then(|| parsers(response))
}

fn parsers(response: &Response) -> (WebSocket, WebSocket) {
    let (client, server) = deflate(&response.fields);
    (WebSocket::new(true, client), WebSocket::new(false, server))
}

fn upgrades(asked: &Fields, answered: &Fields) -> bool {
    lists(asked, "upgrade", "websocket")
        && lists(asked, "connection", "upgrade")
        && is_base64(asked.get("sec-websocket-key"), KEY)
        && accepts(answered)
}

fn accepts(answered: &Fields) -> bool {
    lists(answered, "upgrade", "websocket")
        && lists(answered, "connection", "upgrade")
        && is_base64(answered.get("sec-websocket-accept"), ACCEPT)
}

fn is_base64(text: Option<&str>, len: usize) -> bool {
    text.is_some_and(|text| text.len() == len && text.ends_with('='))
}

fn lists(fields: &Fields, name: &str, token: &str) -> bool {
    fields.all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// The decompressors of the client's and the server's messages (RFC 7692 §7.1): the response states what was agreed. A decompressor
/// may ignore the window size: the largest works for all.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::message::{Body, Field, FieldText, Version};
    use crate::model::time::KernelTime;

    fn fields(list: &[(&'static str, &'static str)]) -> Fields {
        let text = |t: &'static str| FieldText::Known(Bytes::from_static(t.as_bytes()));
        Fields(list.iter().map(|(n, v)| Field { name: text(n), value: text(v) }).collect())
    }

    fn request(method: &str, protocol: Option<&str>, list: &[(&'static str, &'static str)]) -> Request {
        Request {
            method: Some(method.to_owned()),
            target: Some("/chat".to_owned()),
            scheme: None,
            authority: None,
            protocol: protocol.map(str::to_owned),
            version: Version::Http11,
            fields: fields(list),
            body: Body::default(),
            trailers: Fields::default(),
            started: KernelTime(0),
            ended: None,
        }
    }

    fn response(status: u16, list: &[(&'static str, &'static str)]) -> Response {
        Response {
            status: Some(status),
            reason: Bytes::new(),
            informational: Vec::new(),
            version: Version::Http11,
            fields: fields(list),
            body: Body::default(),
            trailers: Fields::default(),
            started: KernelTime(0),
            ended: None,
        }
    }

    /// RFC 6455 §1.3.
    const ASKED: [(&str, &str); 3] = [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    const ANSWERED: [(&str, &str); 3] =
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];

    #[test]
    fn an_upgrade_needs_all_of_it() {
        let asked = request("GET", None, &ASKED);
        assert!(websockets(&asked, &response(101, &ANSWERED)).is_some());
        assert!(websockets(&asked, &response(200, &ANSWERED)).is_none());
        for without in 0..3 {
            let rest = |list: &[(&'static str, &'static str); 3]| {
                list.iter().enumerate().filter(|(n, _)| *n != without).map(|(_, field)| *field).collect::<Vec<_>>()
            };
            assert!(websockets(&asked, &response(101, &rest(&ANSWERED))).is_none());
            assert!(websockets(&request("GET", None, &rest(&ASKED)), &response(101, &ANSWERED)).is_none());
        }
    }

    #[test]
    fn an_extended_connect_is_accepted_by_any_2xx() {
        let asked = request("CONNECT", Some("websocket"), &[]);
        assert!(websockets(&asked, &response(200, &[])).is_some());
        assert!(websockets(&asked, &response(299, &[])).is_some());
        assert!(websockets(&asked, &response(403, &[])).is_none());
        assert!(websockets(&request("CONNECT", Some("connect-udp"), &[]), &response(200, &[])).is_none());
        assert!(websockets(&request("CONNECT", None, &[]), &response(200, &[])).is_none());
    }

    /// RFC 7692 §5.1 and §7.1.
    #[test]
    fn what_the_answer_agrees_to() {
        let of = |value: &'static str| {
            let (client, server) = deflate(&fields(&[("Sec-WebSocket-Extensions", value)]));
            (client.map(|inflate| inflate.takes_over()), server.map(|inflate| inflate.takes_over()))
        };
        assert_eq!(of("permessage-deflate"), (Some(true), Some(true)));
        assert_eq!(of("permessage-deflate; server_no_context_takeover"), (Some(true), Some(false)));
        let both = "x-other, Permessage-Deflate;client_no_context_takeover; server_max_window_bits=10";
        assert_eq!(of(both), (Some(false), Some(true)));
        assert_eq!(of("permessage-bzip2"), (None, None));
    }
}
