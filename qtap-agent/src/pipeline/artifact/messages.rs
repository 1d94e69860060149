//! The messages that a body carries, as artifacts show them: counts at every level, contents at `full`.
//!
//! In: what was counted and kept of one direction. Out: the member `messages` of a JSON document, or readable lines. For gRPC, the
//! coding that the head names (`grpc-encoding`) is undone, within a bound.

use std::borrow::Cow;

use super::charset::whole_characters;
use super::decode::{self, MOST};
use super::escape::Json;
use super::field_text;
use super::time::rfc3339;
use crate::model::message::Fields;
use crate::model::messages::{Framing, Message, MessageKind, Messages, WebSocket};
use crate::model::time::WallClock;

/// The contents of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said<'a> {
    bytes: Cow<'a, [u8]>,
    truncated: bool,
    /// The coding that could not be undone.
    failed: Option<&'a str>,
}

impl Said<'_> {
    /// The contents as text, if they are readable: a text message, or bytes without control characters.
    fn text(&self, kind: MessageKind) -> Option<&str> {
        let bytes = if self.truncated { whole_characters(&self.bytes) } else { &self.bytes };
        let text = std::str::from_utf8(bytes).ok()?;
        let readable = match kind {
            MessageKind::Text => true,
            MessageKind::Grpc | MessageKind::Binary => {
                text.bytes().all(|byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
            }
        };
        readable.then_some(text)
    }
}

/// The contents of the kept messages. The bound on decoded bytes applies to all of them together.
fn said<'a>(fields: &'a Fields, messages: &'a Messages) -> impl Iterator<Item = (&'a Message, Said<'a>)> {
    let coding = fields.get("grpc-encoding").unwrap_or("identity").trim();
    let mut left = MOST;
    messages.kept.iter().map(move |message| {
        let carried = Said { bytes: Cow::Borrowed(&message.data), truncated: message.truncated, failed: None };
        let coded = message.kind == MessageKind::Grpc && message.compressed && !message.undone;
        let said = if coded { undone(coding, carried, left) } else { carried };
        if let Cow::Owned(decoded) = &said.bytes {
            left = left.saturating_sub(decoded.len());
        }
        (message, said)
    })
}

/// A compressed gRPC message, decoded; as carried if decoding fails. (`identity` contradicts the message's own flag.)
fn undone<'a>(coding: &'a str, carried: Said<'a>, most: usize) -> Said<'a> {
    let decoded = decode::decode_at_most(&[coding], &carried.bytes, !carried.truncated, most);
    if decoded.failed.is_some() && decoded.data.is_empty() {
        return Said { failed: Some(coding), ..carried };
    }
    let failed = decoded.failed.is_some().then_some(coding);
    Said { bytes: Cow::Owned(decoded.data), truncated: decoded.truncated, failed }
}

/// Writes the member `messages`; includes their contents only when `data` is set.
pub(super) fn write(json: &mut Json, fields: &Fields, messages: &Messages, clock: WallClock, data: bool) {
    json.name("messages");
    json.open(b'{');
    json.name("framing");
    json.plain(&[framing(messages)]);
    for (name, number) in [("count", messages.count), ("bytes", messages.bytes)] {
        json.name(name);
        json.integer(number);
    }
    for (name, number) in [("compressed", messages.compressed), ("left_out", messages.left_out)] {
        if number > 0 {
            json.name(name);
            json.integer(number);
        }
    }
    if messages.broken {
        json.name("broken");
        json.literal("true");
    }
    match &messages.framing {
        Framing::Grpc => {}
        Framing::WebSocket(websocket) => write_websocket(json, websocket, data),
    }
    if data {
        json.name("kept");
        json.open(b'[');
        said(fields, messages).for_each(|(message, said)| write_message(json, message, &said, clock));
        json.close(b']');
    }
    json.close(b'}');
}

fn framing(messages: &Messages) -> &'static str {
    match messages.framing {
        Framing::Grpc => "grpc",
        Framing::WebSocket(_) => "websocket",
    }
}

fn write_websocket(json: &mut Json, websocket: &WebSocket, data: bool) {
    let frames = &websocket.frames;
    json.name("frames");
    json.open(b'{');
    for (name, number) in [
        ("text", frames.text),
        ("binary", frames.binary),
        ("continuation", frames.continuation),
        ("ping", frames.ping),
        ("pong", frames.pong),
        ("close", frames.close),
    ] {
        json.name(name);
        json.integer(number);
    }
    json.close(b'}');
    let Some(close) = &websocket.close else { return };
    json.name("close");
    json.open(b'{');
    if let Some(code) = close.code {
        json.name("code");
        json.integer(code.into());
    }
    if data && !close.reason.is_empty() {
        json.name("reason");
        json.text(&close.reason);
    }
    json.close(b'}');
}

fn write_message(json: &mut Json, message: &Message, said: &Said<'_>, clock: WallClock) {
    json.open(b'{');
    json.name("type");
    json.plain(&[kind(message.kind)]);
    json.name("time");
    json.plain(&[rfc3339(clock.unix_ns(message.time)).as_str()]);
    json.name("size");
    json.integer(message.size);
    for (name, is) in [("compressed", message.compressed), ("truncated", said.truncated)] {
        if is {
            json.name(name);
            json.literal("true");
        }
    }
    if let Some(coding) = said.failed {
        json.name("failed");
        json.text(coding);
    }
    json.name("encoding");
    if let Some(text) = said.text(message.kind) {
        json.plain(&["text"]);
        json.name("data");
        json.text(text);
    } else {
        json.plain(&["base64"]);
        json.name("data");
        json.base64(&said.bytes);
    }
    json.close(b'}');
}

fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Grpc => "grpc",
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}

/// Passes the lines of the readable form to `line`: notes (true), to be shown in brackets, and text.
pub(super) fn lines(fields: &Fields, messages: &Messages, clock: WallClock, mut line: impl FnMut(bool, &str)) {
    for (message, said) in said(fields, messages) {
        let (kind, time) = (kind(message.kind), rfc3339(clock.unix_ns(message.time)));
        let truncated = if said.truncated { ", truncated" } else { "" };
        let failed = said.failed.map(|coding| format!(", could not be decoded: {coding}")).unwrap_or_default();
        line(true, &format!("{kind} message of {} bytes, {}{truncated}{failed}", message.size, time.as_str()));
        match said.text(message.kind) {
            Some(text) => line(false, text),
            None => line(true, &format!("{} bytes that are not text", said.bytes.len())),
        }
    }
    line(true, &format!("{} messages, {} bytes", messages.count, messages.bytes));
    if messages.left_out > 0 {
        line(true, &format!("{} messages not shown", messages.left_out));
    }
    if messages.broken {
        line(true, "messages could not be followed to the end");
    }
    match &messages.framing {
        Framing::Grpc => {}
        Framing::WebSocket(WebSocket { close: Some(close), .. }) => {
            let code = close.code.map(|code| format!(": {code}")).unwrap_or_default();
            line(true, format!("closed{code} {}", field_text(close.reason.as_bytes())).trim_end());
        }
        Framing::WebSocket(WebSocket { close: None, .. }) => {}
    }
}
