//! Artifacts: an exchange, or a part of one, redacted before, written out as documents that are stored as objects.
//!
//! In: the exchange, and how it is to be written (`http_capture`: level, format, one document or two). Out: for each document
//! its bytes and their digest. The bytes of a body are gone through once to be escaped and once to be hashed, the document once
//! to be hashed, and nothing is done that the level does not ask for. What each member means is in `docs/records.md`.

mod body;
mod charset;
mod decode;
mod escape;
mod frame;
mod http;
mod json;
mod kept;
mod messages;
mod running;
mod text;
mod time;
mod undo;

use std::ops::Range;

use bytes::Bytes;

use super::digest::sha256_hex;
use super::settings::{Artifacts, Format, HttpCapture, Level};
use crate::model::conn::ConnectionUid;
use crate::model::exchange::{HttpExchange, Part};
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::time::{KernelTime, WallClock};
use decode::Decoded;
use kept::Kept;
pub(super) use running::Running;

/// What a document holds (`artifact.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
    Transaction,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Request => "http_request",
            Kind::Response => "http_response",
            Kind::Transaction => "http_transaction",
        }
    }
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) kind: Kind,
    /// Media type of the document itself.
    pub(super) content_type: &'static str,
    pub(super) data: Bytes,
    /// SHA-256 of `data`, hexadecimal.
    pub(super) sha256: String,
    /// True when a body in it was cut at the body limit.
    pub(super) truncated: bool,
    /// Ranges that are missing from the body in it; of the response's, where there are two.
    pub(super) missing: Vec<Range<u64>>,
}

/// What a document is written from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) exchange: &'a HttpExchange,
    /// Connection and number of the exchange: what names it from part to part.
    pub(super) name: (ConnectionUid, u64),
    /// `url.full`.
    pub(super) url: Option<&'a str>,
    pub(super) clock: WallClock,
    pub(super) duration_ms: Option<f64>,
}

/// The documents of an exchange, or of a part of one; none below level `details`. `running` has the decoders of bodies that are
/// told in parts.
pub(super) fn write(source: Source<'_>, capture: &HttpCapture, running: &mut Running) -> [Option<Artifact>; 2] {
    if capture.level < Level::Details {
        return [None, None];
    }
    // Format `http` shows what was sent.
    let undone = capture.level == Level::Full && capture.format != Format::Http;
    let mut half = |message| Half::new(source, message, undone, running);
    let request = source.exchange.request.as_ref().map(Message::Request);
    let response = source.exchange.response.as_ref().map(Message::Response);
    let part = source.exchange.part;
    match capture.artifacts {
        Artifacts::Split => [(Kind::Request, request), (Kind::Response, response)].map(|(kind, message)| {
            let message = message.filter(|message| message.is_told(part))?;
            Some(document(source, capture, kind, &[half(message)]))
        }),
        Artifacts::Transaction => {
            let both = match (request, response) {
                (Some(request), Some(response)) => &[half(request), half(response)][..],
                (Some(one), None) | (None, Some(one)) => &[half(one)],
                (None, None) => return [None, None],
            };
            [Some(document(source, capture, Kind::Transaction, both)), None]
        }
    }
}

fn document(source: Source<'_>, capture: &HttpCapture, kind: Kind, halves: &[Half<'_>]) -> Artifact {
    let bodies = capture.level == Level::Full;
    let hashed = |data: Vec<u8>| {
        let sha256 = sha256_hex(&data);
        (data, sha256)
    };
    let (content_type, (data, sha256)) = match capture.format {
        Format::Json => ("application/json", json::write(source, kind, halves, bodies)),
        Format::Http => ("message/http", hashed(http::write(halves, bodies))),
        Format::Text => ("text/plain; charset=utf-8", hashed(text::write(source, halves, bodies))),
    };
    Artifact {
        kind,
        content_type,
        data: data.into(),
        sha256,
        truncated: bodies && halves.iter().any(|half| half.body().truncated),
        missing: halves.last().filter(|_| bodies).map(|half| half.body().missing.clone()).unwrap_or_default(),
    }
}

/// A request or a response: what both have.
#[derive(Debug, Clone, Copy)]
enum Message<'a> {
    Request(&'a Request),
    Response(&'a Response),
}

impl<'a> Message<'a> {
    fn fields(self) -> &'a Fields {
        match self {
            Message::Request(request) => &request.fields,
            Message::Response(response) => &response.fields,
        }
    }

    fn trailers(self) -> &'a Fields {
        match self {
            Message::Request(request) => &request.trailers,
            Message::Response(response) => &response.trailers,
        }
    }

    fn body(self) -> &'a Body {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }

    fn version(self) -> Version {
        match self {
            Message::Request(request) => request.version,
            Message::Response(response) => response.version,
        }
    }

    fn times(self) -> (KernelTime, Option<KernelTime>) {
        match self {
            Message::Request(request) => (request.started, request.ended),
            Message::Response(response) => (response.started, response.ended),
        }
    }

    /// True when a document of its own tells of it: always the first and the last part; of those between, the ones that brought
    /// something.
    fn is_told(self, part: Option<Part>) -> bool {
        let body = self.body();
        // Bytes that were carried since the part before, kept or not.
        let brings = body.size > body.offset
            || body.messages.as_ref().is_some_and(|messages| !messages.kept.is_empty() || messages.left_out > 0);
        part.is_none_or(|part| part.number == 0 || part.last) || brings
    }
}

/// One side of an exchange, ready to be written.
#[derive(Debug)]
struct Half<'a> {
    message: Message<'a>,
    /// The bytes of its body that are shown.
    kept: Kept<'a>,
    /// Its body with content codings undone, where it has some.
    decoded: Option<Decoded>,
}

impl<'a> Half<'a> {
    fn new(source: Source<'_>, message: Message<'a>, undone: bool, running: &mut Running) -> Half<'a> {
        let decoded = if undone { body::decoded(source, message, running) } else { None };
        Half { message, kept: Kept::of(message.body()), decoded }
    }

    fn content_type(&self) -> &'a str {
        self.fields().get("content-type").unwrap_or("")
    }

    fn fields(&self) -> &'a Fields {
        self.message.fields()
    }

    fn body(&self) -> &'a Body {
        self.message.body()
    }

    /// Room for a document that holds this half: a guess that spares most of the growing.
    fn room(&self, bodies: bool) -> usize {
        let size = |text: &FieldText| text.bytes().map_or(4, Bytes::len);
        let fields = self.fields().0.iter().chain(&self.message.trailers().0);
        let head: usize = fields.map(|field| size(&field.name) + size(&field.value) + 24).sum();
        let decoded = self.decoded.as_ref().map_or(0, |decoded| decoded.data.len());
        let messages = self.body().messages.iter().flat_map(|messages| &messages.kept);
        let messages: usize = messages.map(|message| message.data.len() + 128).sum();
        let body = if bodies { self.kept.len() + decoded + messages } else { 0 };
        768 + head + body + body / 8
    }
}

/// A version as start lines have it.
fn version_name(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2",
    }
}

/// Bytes of a field as text: UTF-8, else ISO-8859-1 (RFC 9110 §5.5), which loses nothing.
fn field_text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// Name and value of a field in the `http` and `text` forms; none when either is unknown. A line break can't be in a field
/// (RFC 9110 §5.5), so that one from a hostile peer does not look like the end of it.
fn line_of(field: &Field) -> Option<(Vec<u8>, Vec<u8>)> {
    let on_one_line =
        |text: &Bytes| text.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }).collect();
    Some((field.name.bytes().map(on_one_line)?, field.value.bytes().map(on_one_line)?))
}
