//! Artifacts: writes an already redacted exchange, or a part of one, as documents that are stored as objects.
//!
//! In: the exchange, and how to write it (`http_capture`: level, format, one document or two). Out: the bytes and the digest of each
//! document. The bytes of a body are read once for escaping and once for hashing, the document once for hashing; only the work that
//! the level requires is done. `docs/records.md` explains each member.

mod body;
pub(super) mod charset;
pub(super) mod decode;
mod disk;
mod escape;
mod frame;
mod http;
mod json;
mod kept;
mod messages;
mod out;
mod running;
mod text;
mod time;
mod undo;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::look::{Both, Undone};
use super::settings::{Artifacts, Format, HttpCapture, Level};
use super::spool::{Bulk, Spooled};
use crate::model::exchange::{HttpExchange, Part};
use crate::model::loss::{Loss, Tally};
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::spool::SpoolFile;
use crate::model::time::{KernelTime, WallClock};
use decode::Decoded;
pub(super) use disk::decode as decode_on_disk;
use kept::Kept;
use out::Out;
pub(super) use running::{Carry, Key, Running};
pub(super) use time::rfc3339;

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
    /// Empty when the document is on disk.
    pub(super) data: Bytes,
    pub(super) spooled: Option<Arc<SpoolFile>>,
    /// SHA-256 of the document, hexadecimal.
    pub(super) sha256: String,
    /// True when a body in it was truncated at the body limit.
    pub(super) truncated: bool,
    /// Ranges that are missing from the body in it; from the response's body if there are two.
    pub(super) missing: Vec<Range<u64>>,
}

impl Artifact {
    /// Bytes of the document.
    pub(super) fn size(&self) -> u64 {
        self.spooled.as_ref().map_or(self.data.len() as u64, |file| file.bytes())
    }
}

/// The source of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) exchange: &'a HttpExchange,
    /// `url.full`.
    pub(super) url: Option<&'a str>,
    pub(super) clock: WallClock,
    pub(super) duration_ms: Option<f64>,
    /// Bodies that are on disk.
    pub(super) spooled: Option<&'a Spooled>,
    /// The decoded bodies.
    pub(super) undone: &'a Both,
}

impl<'a> Source<'a> {
    /// Size in bytes of the bodies on disk.
    fn on_disk(self) -> u64 {
        let bulks = self.spooled.iter().flat_map(|spooled| [&spooled.request, &spooled.response]);
        bulks.flatten().map(Bulk::len).sum()
    }

    /// The body of `message`, if it is on disk.
    fn bulk(self, message: Message<'_>) -> Option<&'a Bulk> {
        let spooled = self.spooled?;
        match message {
            Message::Request(_) => spooled.request.as_ref(),
            Message::Response(_) => spooled.response.as_ref(),
        }
    }

    /// The decoded body of `message`.
    fn undone(self, message: Message<'_>) -> Option<&'a Undone> {
        let [request, response] = self.undone;
        match message {
            Message::Request(_) => request.as_ref(),
            Message::Response(_) => response.as_ref(),
        }
    }
}

/// The documents of an exchange, or of a part of one; none below level `details`. A document that the disk could not take is left out
/// and counted.
pub(super) fn write(source: Source<'_>, capture: &HttpCapture, lost: &mut Tally) -> [Option<Artifact>; 2] {
    if capture.level < Level::Details {
        return [None, None];
    }
    // Format `http` shows the bytes as sent.
    let undone = capture.level == Level::Full && capture.format != Format::Http;
    let half = |message| Half::new(source, message, undone);
    let mut written = |kind, halves: Vec<Half<'_>>| match document(source, capture, kind, &halves) {
        Ok(artifact) => Some(artifact),
        Err(_) => {
            lost.add(Loss::SpoolFull, source.on_disk());
            None
        }
    };
    let request = source.exchange.request.as_ref().map(Message::Request);
    let response = source.exchange.response.as_ref().map(Message::Response);
    let part = source.exchange.part;
    match capture.artifacts {
        Artifacts::Split => [(Kind::Request, request), (Kind::Response, response)].map(|(kind, message)| {
            let message = message.filter(|message| message.is_told(part))?;
            written(kind, vec![half(message)])
        }),
        Artifacts::Transaction => {
            let both = match (request, response) {
                (Some(request), Some(response)) => vec![half(request), half(response)],
                (Some(one), None) | (None, Some(one)) => vec![half(one)],
                (None, None) => return [None, None],
            };
            [written(Kind::Transaction, both), None]
        }
    }
}

/// The first bytes of a body with its content codings undone, at most `most`, for inspection; `bulk`: the body is on disk. Empty for
/// a later part of a body that has a coding, because its decoder is not available here.
pub(super) fn beginning<'a>(fields: &Fields, body: &'a Body, bulk: Option<&Bulk>, most: usize) -> Cow<'a, [u8]> {
    let carried = match (bulk, body.chunks.as_slice()) {
        (Some(bulk), _) => {
            let mut bytes = Vec::new();
            // Bytes that could not be read are treated as absent.
            let _ = bulk.each(most as u64, |block| {
                bytes.extend_from_slice(block);
                Ok(())
            });
            Cow::Owned(bytes)
        }
        (None, [one]) => Cow::Borrowed(&one[..]),
        (None, _) => Cow::Owned(body.to_bytes().to_vec()),
    };
    let codings = decode::codings(fields);
    if !codings.is_empty() {
        let decoded =
            if body.offset == 0 { decode::decode_at_most(&codings, &carried, false, most).data } else { Vec::new() };
        return Cow::Owned(decoded);
    }
    match carried {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(..most).unwrap_or(bytes)),
        Cow::Owned(mut bytes) => {
            bytes.truncate(most);
            Cow::Owned(bytes)
        }
    }
}

fn document(source: Source<'_>, capture: &HttpCapture, kind: Kind, halves: &[Half<'_>]) -> io::Result<Artifact> {
    let bodies = capture.level == Level::Full;
    let large = bodies && halves.iter().any(Half::is_on_disk);
    let file = match source.spooled.filter(|_| large) {
        Some(spooled) => Some(spooled.folder.document()?),
        None => None,
    };
    let out = Out::new(halves.iter().map(|half| half.room(bodies)).sum(), file);
    let (content_type, out) = match capture.format {
        Format::Json => ("application/json", json::write(source, kind, halves, bodies, out)?),
        Format::Http => ("message/http", http::write(halves, bodies, out)?),
        Format::Text => ("text/plain; charset=utf-8", text::write(source, halves, bodies, out)?),
    };
    let finished = out.finish()?;
    Ok(Artifact {
        kind,
        content_type,
        data: finished.data.into(),
        spooled: finished.file.map(Arc::new),
        sha256: finished.sha256,
        truncated: bodies && halves.iter().any(|half| half.body().truncated),
        missing: halves.last().filter(|_| bodies).map(|half| half.body().missing.clone()).unwrap_or_default(),
    })
}

/// A request or a response: what both have in common.
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

    /// True when it gets a document of its own: always in the first and the last part; in a part between, only if it brought
    /// something new.
    fn is_told(self, part: Option<Part>) -> bool {
        let body = self.body();
        // Bytes carried since the previous part, kept or not.
        let brings = body.size > body.offset
            || body.messages.as_ref().is_some_and(|messages| !messages.kept.is_empty() || messages.left_out > 0);
        part.is_none_or(|part| part.number == 0 || part.last) || brings
    }
}

/// One side of an exchange, ready to be written.
#[derive(Debug)]
struct Half<'a> {
    message: Message<'a>,
    /// Its method or status says where it ends, whatever its fields say (RFC 9112 §6.3): no body, or a tunnel.
    ends_itself: bool,
    /// The bytes of its body that are shown.
    kept: Kept<'a>,
    /// Its body with content codings undone, if it has any.
    decoded: Option<&'a Decoded>,
    /// The decoded body, if that is on disk.
    unpacked: Option<&'a Bulk>,
}

impl<'a> Half<'a> {
    fn new(source: Source<'a>, message: Message<'a>, undone: bool) -> Half<'a> {
        let kept = Kept::of(message.body(), source.bulk(message));
        let undone = source.undone(message).filter(|_| undone);
        let decoded = undone.map(|undone| &undone.decoded);
        let ends_itself = ends_itself(source.exchange, message);
        Half { message, ends_itself, kept, decoded, unpacked: undone.and_then(|undone| undone.bulk.as_ref()) }
    }

    fn is_on_disk(&self) -> bool {
        matches!(self.kept.data(), kept::Data::Disk(_))
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

    /// The estimated size of a document that holds this half; avoids most reallocations.
    fn room(&self, bodies: bool) -> usize {
        let size = |text: &FieldText| text.bytes().map_or(4, Bytes::len);
        let fields = self.fields().0.iter().chain(&self.message.trailers().0);
        let head: usize = fields.map(|field| size(&field.name) + size(&field.value) + 24).sum();
        let decoded = self.decoded.map_or(0, |decoded| decoded.data.len());
        let messages = self.body().messages.iter().flat_map(|messages| &messages.kept);
        let messages: usize = messages.map(|message| message.data.len() + 128).sum();
        let body = if bodies { self.kept.held() + decoded + messages } else { 0 };
        768 + head + body + body / 8
    }
}

fn ends_itself(exchange: &HttpExchange, message: Message<'_>) -> bool {
    let Message::Response(response) = message else { return false };
    let method = exchange.request.as_ref().and_then(|request| request.method.as_deref());
    method == Some("HEAD")
        || matches!(response.status, Some(100..200 | 204 | 304))
        || (method == Some("CONNECT") && matches!(response.status, Some(200..300)))
}

/// A version as it is written in start lines.
fn version_name(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2",
    }
}

/// The bytes of a field as text: UTF-8, else ISO-8859-1 (RFC 9110 §5.5), which is lossless.
fn field_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// Name and value of a field in the `http` and `text` formats; `None` when either is unknown. Line breaks, which a field must not
/// contain (RFC 9110 §5.5), become spaces, so that one from a hostile peer does not look like the end of the field.
fn line_of(field: &Field) -> Option<(Vec<u8>, Vec<u8>)> {
    let on_one_line =
        |text: &Bytes| text.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { *b }).collect();
    Some((field.name.bytes().map(on_one_line)?, field.value.bytes().map(on_one_line)?))
}
