//! Artifacts: an exchange, redacted before, written out as documents that are stored as objects.
//!
//! In: the exchange, and how it is to be written (`http_capture`: level, format, one document or two). Out: for each document
//! its bytes and their digest. The bytes of a body are gone through once to be escaped and once to be hashed, the document once
//! to be hashed, and nothing is done that the level does not ask for. What each member means is in `docs/records.md`.

mod body;
mod decode;
mod escape;
mod http;
mod json;
mod text;
mod time;

use std::ops::Range;

use bytes::Bytes;

use super::digest::sha256_hex;
use super::settings::{Artifacts, Format, HttpCapture, Level};
use crate::model::exchange::HttpExchange;
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::time::{KernelTime, WallClock};

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
    /// `url.full`.
    pub(super) url: Option<&'a str>,
    pub(super) clock: WallClock,
    pub(super) duration_ms: Option<f64>,
}

/// The documents of an exchange; none below level `details`.
pub(super) fn write(source: Source<'_>, capture: &HttpCapture) -> Vec<Artifact> {
    if capture.level < Level::Details {
        return Vec::new();
    }
    let request = source.exchange.request.as_ref().map(Half::Request);
    let response = source.exchange.response.as_ref().map(Half::Response);
    let documents = match capture.artifacts {
        Artifacts::Split => vec![(Kind::Request, vec![request]), (Kind::Response, vec![response])],
        Artifacts::Transaction => vec![(Kind::Transaction, vec![request, response])],
    };
    let halves = documents.into_iter().map(|(kind, halves)| (kind, halves.into_iter().flatten().collect::<Vec<_>>()));
    halves
        .filter(|(_, halves)| !halves.is_empty())
        .map(|(kind, halves)| document(source, capture, kind, &halves))
        .collect()
}

fn document(source: Source<'_>, capture: &HttpCapture, kind: Kind, halves: &[Half<'_>]) -> Artifact {
    let bodies = capture.level == Level::Full;
    let (content_type, data) = match capture.format {
        Format::Json => ("application/json", json::write(source, kind, halves, bodies)),
        Format::Http => ("message/http", http::write(halves, bodies)),
        Format::Text => ("text/plain; charset=utf-8", text::write(source, halves, bodies)),
    };
    let sha256 = sha256_hex(&data);
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
enum Half<'a> {
    Request(&'a Request),
    Response(&'a Response),
}

impl<'a> Half<'a> {
    fn fields(self) -> &'a Fields {
        match self {
            Half::Request(request) => &request.fields,
            Half::Response(response) => &response.fields,
        }
    }

    fn trailers(self) -> &'a Fields {
        match self {
            Half::Request(request) => &request.trailers,
            Half::Response(response) => &response.trailers,
        }
    }

    fn body(self) -> &'a Body {
        match self {
            Half::Request(request) => &request.body,
            Half::Response(response) => &response.body,
        }
    }

    fn version(self) -> Version {
        match self {
            Half::Request(request) => request.version,
            Half::Response(response) => response.version,
        }
    }

    fn times(self) -> (KernelTime, Option<KernelTime>) {
        match self {
            Half::Request(request) => (request.started, request.ended),
            Half::Response(response) => (response.started, response.ended),
        }
    }

    /// Room for a document that holds this half: a guess that spares most of the growing.
    fn room(self, bodies: bool) -> usize {
        let size = |text: &FieldText| text.bytes().map_or(4, Bytes::len);
        let fields = self.fields().0.iter().chain(&self.trailers().0);
        let head: usize = fields.map(|field| size(&field.name) + size(&field.value) + 24).sum();
        let body = if bodies { usize::try_from(self.body().kept()).unwrap_or(0) } else { 0 };
        512 + head + body + body / 8
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
