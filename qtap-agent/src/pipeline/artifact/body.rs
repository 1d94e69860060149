//! The body of a message as artifacts show it: the bytes that were kept, whether they are text, their digest, what they decode to.

use bytes::Bytes;

use super::decode::{self, Decoded};
use super::escape::Json;
use crate::model::message::{Body, Fields};
use crate::pipeline::digest::sha256_hex;

/// The bytes of `body` that were kept. Where the end was cut off in the middle of a character, the rest of the character is
/// cut off too: so that text stays text.
pub(super) fn kept(body: &Body) -> Bytes {
    let bytes = body.to_bytes();
    if body.is_whole() {
        return bytes;
    }
    match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() => bytes.slice(..error.valid_up_to()),
        Ok(_) | Err(_) => bytes,
    }
}

/// `body` with its content codings undone; none when it has none. What comes after a hole can't be decoded.
pub(super) fn decoded(fields: &Fields, body: &Body, kept: &[u8]) -> Option<Decoded> {
    let codings = decode::codings(fields);
    if codings.is_empty() || kept.is_empty() {
        return None;
    }
    let until_hole = body.missing.first().map_or(usize::MAX, |hole| usize::try_from(hole.start).unwrap_or(usize::MAX));
    Some(decode::decode(&codings, kept.get(..until_hole).unwrap_or(kept), body.is_whole()))
}

/// Writes the member `body`; its data only when `data` is set.
pub(super) fn write(json: &mut Json, fields: &Fields, body: &Body, data: bool) {
    json.name("body");
    json.open(b'{');
    json.name("size");
    json.number(body.size);
    let kept = kept(body);
    json.name("kept");
    json.number(kept.len());
    if body.truncated {
        json.name("truncated");
        json.literal("true");
    }
    if !body.missing.is_empty() {
        json.name("missing");
        json.open(b'[');
        for range in &body.missing {
            json.open(b'[');
            json.number(range.start);
            json.number(range.end);
            json.close(b']');
        }
        json.close(b']');
    }
    if !kept.is_empty() {
        bytes(json, &kept, data);
        if data && let Some(decoded) = decoded(fields, body, &kept) {
            write_decoded(json, &decoded);
        }
    }
    json.close(b'}');
}

fn write_decoded(json: &mut Json, decoded: &Decoded) {
    json.name("decoded");
    json.open(b'{');
    json.name("size");
    json.number(decoded.data.len());
    if decoded.truncated {
        json.name("truncated");
        json.literal("true");
    }
    if let Some(coding) = &decoded.failed {
        json.name("failed");
        json.text(coding);
    }
    if !decoded.data.is_empty() {
        let end = match std::str::from_utf8(&decoded.data) {
            Err(error) if decoded.truncated && error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => decoded.data.len(),
        };
        bytes(json, decoded.data.get(..end).unwrap_or(&decoded.data), true);
    }
    json.close(b'}');
}

/// `digest`, and `encoding` and `data` when wanted.
fn bytes(json: &mut Json, bytes: &[u8], data: bool) {
    json.name("digest");
    json.plain(&["sha256:", &sha256_hex(bytes)]);
    if !data {
        return;
    }
    json.name("encoding");
    if let Ok(text) = std::str::from_utf8(bytes) {
        json.plain(&["text"]);
        json.name("data");
        json.text(text);
    } else {
        json.plain(&["base64"]);
        json.name("data");
        json.base64(bytes);
    }
}
