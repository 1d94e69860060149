//! Redacts gRPC and WebSocket messages, each by itself. In: the messages of one direction, and the fields that name their
//! coding. Out: the redacted messages, decoded where necessary.

use bytes::Bytes;

use super::Looks;
use super::body::End;
use super::out::MASK;
use crate::model::message::{Fields, LeftOut, Redaction};
use crate::model::messages::{Framing, Message, MessageKind, Messages};
use crate::pipeline::artifact::decode::{self, MOST};

/// Redacts `messages`; returns what was done.
pub(in crate::pipeline) fn look(looks: &Looks, fields: &Fields, messages: &mut Messages) -> Redaction {
    let mut note = Redaction::default();
    let coding = fields.get("grpc-encoding").unwrap_or("identity").trim();
    let content_type = match messages.framing {
        Framing::Grpc => fields.get("content-type").unwrap_or_default(),
        Framing::WebSocket(_) => "",
    };
    let mut left = MOST;
    for message in &mut messages.kept {
        // Without a media type, the content may be anything.
        let content_type = if message.kind == MessageKind::Grpc { content_type } else { "" };
        let grpc = message.kind == MessageKind::Grpc;
        if looks.is_empty() || (grpc && looks.is_plain_grpc(content_type)) {
            continue;
        }
        if grpc && message.compressed && !undo(coding, message, &mut left) {
            message.data = Bytes::from_static(MASK.as_bytes());
            note.merge(Redaction { values: 0, left_out: Some(LeftOut::Undecoded) });
            continue;
        }
        let end = if message.truncated { End::Cut } else { End::Whole };
        let out = looks.whole(content_type, &message.data, end);
        if !out.note.is_clean() {
            message.data = out.bytes.into();
            note.merge(out.note);
        }
    }
    if let Framing::WebSocket(websocket) = &mut messages.framing
        && let Some(close) = &mut websocket.close
    {
        let out = looks.whole("", close.reason.as_bytes(), End::Whole);
        if !out.note.is_clean() {
            close.reason = String::from_utf8_lossy(&out.bytes).into_owned();
            note.merge(out.note);
        }
    }
    note
}

/// Decodes a message; returns false when that fails.
fn undo(coding: &str, message: &mut Message, left: &mut usize) -> bool {
    let decoded = decode::decode_at_most(&[coding], &message.data, !message.truncated, *left);
    if decoded.failed.is_some() {
        return false;
    }
    *left = left.saturating_sub(decoded.data.len());
    message.truncated = decoded.truncated;
    message.data = decoded.data.into();
    message.undone = true;
    true
}
