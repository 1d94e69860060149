//! Format `http`: the message as it was sent, as `message/http` (RFC 9112 §10.1).
//!
//! HTTP/2 messages are written as an intermediary would forward them (RFC 9113 §8.3, §8.2.2): pseudo-header fields become the start
//! line and `Host`. The body is the content. If the message was sent chunked, or HTTP/2 sent trailers, the body is written as one
//! chunk, without the last chunk when its end is missing. Unknown fields are left out; an unknown word of the start
//! line is written as `?`. What has no body by its method or status (an answer to HEAD, 304) has no last chunk either. WebSocket
//! messages follow as frames: the client's after the request, the server's after the handshake response.

use std::io;

use super::out::Out;
use super::{Half, Message, frame, line_of, version_name};
use crate::model::message::{Fields, Request, Response, Version};

/// The document: one message, or a request and its response.
pub(super) fn write(halves: &[Half<'_>], bodies: bool, mut out: Out) -> io::Result<Out> {
    for half in halves {
        message(&mut out, half, bodies)?;
    }
    Ok(out)
}

fn message(to: &mut Out, half: &Half<'_>, bodies: bool) -> io::Result<()> {
    let out = &mut to.bytes;
    let host = match half.message {
        Message::Request(request) => request_line(out, request),
        Message::Response(response) => {
            status_line(out, response);
            None
        }
    };
    out.extend_from_slice(b"\r\n");
    if let Some(host) = host {
        line(out, b"Host", host.replace(['\r', '\n', '\0'], " ").as_bytes());
    }
    let forwarded_chunked = half.message.version() == Version::Http2 && !half.message.trailers().0.is_empty();
    let mut cookies = (half.message.version() == Version::Http2).then(|| joined_cookies(half.fields()));
    for field in &half.fields().0 {
        let Some((name, mut value)) = line_of(field) else { continue };
        if forwarded_chunked && field.is_named("content-length") {
            continue;
        }
        if let Some(joined) = cookies.as_mut().filter(|_| field.is_named("cookie")) {
            if joined.is_empty() {
                continue;
            }
            value = std::mem::take(joined);
        }
        line(out, &name, &value);
    }
    if forwarded_chunked {
        line(out, b"Transfer-Encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    if bodies {
        content(to, half, forwarded_chunked || (is_chunked(half.fields()) && !half.ends_itself))?;
    }
    Ok(())
}

/// Joins the pieces into which HTTP/2 splits a cookie field (RFC 9113 §8.2.3).
fn joined_cookies(fields: &Fields) -> Vec<u8> {
    let pieces = fields.0.iter().filter(|field| field.is_named("cookie")).filter_map(line_of);
    pieces.map(|(_, value)| value).collect::<Vec<_>>().join(&b"; "[..])
}

/// Writes the request line, and returns the `Host` that the fields lack.
fn request_line<'a>(out: &mut Vec<u8>, request: &'a Request) -> Option<&'a str> {
    let parts = [request.method.as_deref(), request.target.as_deref(), Some(on_the_wire(request.version))];
    for (nth, part) in parts.into_iter().enumerate() {
        if nth > 0 {
            out.push(b' ');
        }
        out.extend(part.unwrap_or("?").bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
    }
    let lacks_host = request.version == Version::Http2 && !request.fields.0.iter().any(|field| field.is_named("host"));
    request.authority.as_deref().filter(|_| lacks_host)
}

fn status_line(out: &mut Vec<u8>, response: &Response) {
    out.extend_from_slice(on_the_wire(response.version).as_bytes());
    match response.status {
        Some(status) => out.extend_from_slice(format!(" {status} ").as_bytes()),
        None => out.extend_from_slice(b" ? "),
    }
    out.extend(response.reason.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
}

fn on_the_wire(version: Version) -> &'static str {
    match version {
        Version::Http10 | Version::Http11 => version_name(version),
        Version::Http2 => "HTTP/1.1",
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// RFC 9112 §7: the final transfer coding is chunked.
fn is_chunked(fields: &Fields) -> bool {
    let last = fields.all("transfer-encoding").last().and_then(|value| value.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

fn content(out: &mut Out, half: &Half<'_>, chunked: bool) -> io::Result<()> {
    if let Some(messages) = &half.body().messages {
        frame::write(&mut out.bytes, messages);
    }
    let kept = &half.kept;
    if !chunked {
        return kept.each(|piece| out.extend(piece));
    }
    if !kept.is_empty() {
        out.extend(format!("{:x}\r\n", kept.len()).as_bytes());
        kept.each(|piece| out.extend(piece))?;
        out.extend(b"\r\n");
    }
    if half.body().is_whole() && half.message.times().1.is_some() {
        out.extend(b"0\r\n");
        for (name, value) in half.message.trailers().0.iter().filter_map(line_of) {
            line(&mut out.bytes, &name, &value);
        }
        out.extend(b"\r\n");
    }
    Ok(())
}
