//! The body of a message as artifacts show it: the bytes that were kept, whether they are text, their digest, what they decode to.

use bytes::Bytes;

use super::decode::{self, Decoded, Decoder, MOST};
use super::escape::Json;
use super::running::Running;
use super::{Half, Message, Source, charset};
use crate::model::exchange::Part;
use crate::model::message::Body;
use crate::pipeline::digest::sha256_hex;

/// The bytes of `body` that were kept. Where the end was cut off in the middle of a character, the rest of the character is
/// cut off too: so that text stays text.
pub(super) fn kept(body: &Body) -> Bytes {
    let bytes = body.to_bytes();
    if body.is_whole() {
        return bytes;
    }
    let whole = whole_characters(&bytes).len();
    bytes.slice(..whole)
}

/// `bytes` without what is left at their end of a UTF-8 character that was cut off; all of them when they are something else.
pub(super) fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        Ok(_) | Err(_) => bytes,
    }
}

/// The body of `message` with its content codings undone; none when it has none, or nothing came. What comes after a hole can't
/// be decoded.
pub(super) fn decoded(source: Source<'_>, message: Message<'_>, running: &mut Running) -> Option<Decoded> {
    let codings = decode::codings(message.fields());
    let (body, ended) = (message.body(), message.times().1.is_some());
    if codings.is_empty() || (body.chunks.is_empty() && body.offset == 0) {
        return None;
    }
    let carried = body.to_bytes();
    match source.exchange.part {
        None => Some(decode::decode(&codings, until_hole(body, &carried), body.is_whole() && ended)),
        Some(part) => {
            let (connection, number) = source.name;
            let key = (connection, number, matches!(message, Message::Response(_)));
            let decoder = if body.offset == 0 {
                Decoder::new(&codings)
            } else {
                running.take(key, body.offset).ok_or_else(|| codings.last().copied().unwrap_or_default().to_owned())
            };
            match decoder {
                Ok(decoder) => {
                    let (decoded, decoder) = go_on(decoder, body, &carried, part, ended);
                    if let Some(decoder) = decoder {
                        running.put(key, decoder, body.offset + carried.len() as u64);
                    }
                    decoded
                }
                Err(_) if carried.is_empty() => None,
                Err(coding) => Some(Decoded { truncated: true, failed: Some(coding), ..Decoded::default() }),
            }
        }
    }
}

/// Decodes the next part of a body, and gives the decoder back when more can come.
fn go_on(
    mut decoder: Decoder,
    body: &Body,
    carried: &[u8],
    part: Part,
    ended: bool,
) -> (Option<Decoded>, Option<Decoder>) {
    let mut decoded = Decoded::default();
    let joined = until_hole(body, carried);
    decoder.push(joined, MOST, &mut decoded);
    let cut = body.truncated || joined.len() < carried.len() || body.missing.iter().any(|hole| hole.end > body.offset);
    decoded.truncated |= cut || (part.last && !ended);
    if part.last {
        decoder.end(&mut decoded);
    }
    let more = !part.last && !decoded.truncated;
    let told = !carried.is_empty() || decoded.failed.is_some();
    (told.then_some(decoded), more.then_some(decoder))
}

/// What of `carried`, the bytes that `body` has, comes before the first hole.
fn until_hole<'a>(body: &Body, carried: &'a [u8]) -> &'a [u8] {
    let hole = body.missing.iter().find(|hole| hole.end > body.offset);
    let until = hole.map_or(u64::MAX, |hole| hole.start.saturating_sub(body.offset));
    carried.get(..usize::try_from(until).unwrap_or(usize::MAX)).unwrap_or(carried)
}

/// Writes the member `body`; its data only when `data` is set. `part`: it is one part of a body.
pub(super) fn write(json: &mut Json, half: &Half<'_>, part: bool, data: bool) {
    let body = half.body();
    json.name("body");
    json.open(b'{');
    json.name("size");
    json.number(body.size);
    if part {
        json.name("offset");
        json.number(body.offset);
    }
    json.name("kept");
    json.number(half.kept.len());
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
    if !half.kept.is_empty() {
        digest(json, &half.kept);
        if data {
            // The type tells of what coded bytes decode to, not of them.
            let content_type = if half.decoded.is_some() { "" } else { half.content_type() };
            bytes(json, content_type, &half.kept, !body.is_whole());
        }
    }
    if data && let Some(decoded) = &half.decoded {
        write_decoded(json, half.content_type(), decoded);
    }
    json.close(b'}');
}

fn write_decoded(json: &mut Json, content_type: &str, decoded: &Decoded) {
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
        let shown = if decoded.truncated { whole_characters(&decoded.data) } else { &decoded.data };
        digest(json, shown);
        bytes(json, content_type, shown, decoded.truncated);
    }
    json.close(b'}');
}

fn digest(json: &mut Json, bytes: &[u8]) {
    json.name("digest");
    json.plain(&["sha256:", &sha256_hex(bytes)]);
}

/// `encoding`, `charset` and `data`.
fn bytes(json: &mut Json, content_type: &str, bytes: &[u8], cut: bool) {
    json.name("encoding");
    let Some(text) = charset::text(content_type, bytes, cut) else {
        json.plain(&["base64"]);
        json.name("data");
        return json.base64(bytes);
    };
    json.plain(&["text"]);
    if let Some(charset) = &text.charset {
        json.name("charset");
        json.plain(&[charset]);
    }
    json.name("data");
    json.text(&text.text);
}
