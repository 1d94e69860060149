//! The body of a message as artifacts show it: the bytes that were kept, whether they are text, their digest, what they decode to.

use std::io;

use super::charset::{self, Extent, whole_characters};
use super::decode::{self, Decoded, Decoder, MOST};
use super::escape::Json;
use super::kept::{self, Data};
use super::running::Running;
use super::{Half, Message, Source, disk};
use crate::model::exchange::Part;
use crate::model::message::Body;
use crate::pipeline::digest::sha256_hex;
use crate::pipeline::spool::Bulk;

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

/// The same of a body on disk, which is decoded to the disk.
pub(super) fn decoded_on_disk(source: Source<'_>, message: Message<'_>) -> io::Result<Option<(Decoded, Bulk)>> {
    let codings = decode::codings(message.fields());
    let (Some(bulk), Some(spooled)) = (source.bulk(message), source.spooled) else { return Ok(None) };
    if codings.is_empty() {
        return Ok(None);
    }
    let (body, ended) = (message.body(), message.times().1.is_some());
    let until = body.missing.first().map_or(bulk.len(), |hole| hole.start.min(bulk.len()));
    disk::decode(&codings, bulk, until, body.is_whole() && ended, &spooled.folder).map(Some)
}

/// What of `carried`, the bytes that `body` has, comes before the first hole.
fn until_hole<'a>(body: &Body, carried: &'a [u8]) -> &'a [u8] {
    let hole = body.missing.iter().find(|hole| hole.end > body.offset);
    let until = hole.map_or(u64::MAX, |hole| hole.start.saturating_sub(body.offset));
    carried.get(..usize::try_from(until).unwrap_or(usize::MAX)).unwrap_or(carried)
}

/// What the bytes of `body` are of.
pub(super) fn extent(body: &Body, part: Option<Part>) -> Extent {
    match part {
        Some(_) if body.offset > 0 => Extent::Later,
        Some(_) => Extent::First,
        None if body.is_whole() => Extent::Whole,
        None => Extent::Prefix,
    }
}

/// The same of what they decode to.
pub(super) fn decoded_extent(body: &Body, decoded: &Decoded, part: Option<Part>) -> Extent {
    match part {
        Some(_) => extent(body, part),
        None if decoded.truncated => Extent::Prefix,
        None => Extent::Whole,
    }
}

/// Writes the member `body`; its data only when `data` is set.
pub(super) fn write(json: &mut Json, half: &Half<'_>, part: Option<Part>, data: bool) -> io::Result<()> {
    let body = half.body();
    json.name("body");
    json.open(b'{');
    json.name("size");
    json.integer(body.size);
    if part.is_some() {
        json.name("offset");
        json.integer(body.offset);
    }
    json.name("kept");
    json.integer(half.kept.len());
    if body.truncated {
        json.name("truncated");
        json.literal("true");
    }
    if !body.missing.is_empty() {
        json.name("missing");
        json.open(b'[');
        for range in &body.missing {
            json.open(b'[');
            json.integer(range.start);
            json.integer(range.end);
            json.close(b']');
        }
        json.close(b']');
    }
    if !half.kept.is_empty() {
        let sha256 = if data { kept(json, half, part)? } else { half.kept.sha256()? };
        json.name("digest");
        json.plain(&["sha256:", &sha256]);
    }
    if data && let Some(decoded) = &half.decoded {
        write_decoded(json, half, decoded, decoded_extent(body, decoded, part))?;
    }
    json.close(b'}');
    Ok(())
}

/// Writes the data of the bytes that were kept; gives their digest.
fn kept(json: &mut Json, half: &Half<'_>, part: Option<Part>) -> io::Result<String> {
    // The type tells of what coded bytes decode to, not of them.
    let content_type = if half.decoded.is_some() { "" } else { half.content_type() };
    let extent = extent(half.body(), part);
    let chunks = match half.kept.data() {
        Data::Disk(bulk) => return disk::write(json, bulk, half.kept.len(), content_type, extent),
        Data::Memory(chunks) => chunks,
    };
    let utf8 = kept::start(chunks).is_some_and(|start| charset::is_utf8(content_type, start));
    if extent == Extent::Whole && utf8 && kept::is_utf8(chunks) {
        json.name("encoding");
        json.plain(&["text"]);
        json.name("data");
        return Ok(json.text_and_digest(chunks));
    }
    Ok(bytes(json, content_type, &kept::joined(chunks), extent))
}

fn write_decoded(json: &mut Json, half: &Half<'_>, decoded: &Decoded, extent: Extent) -> io::Result<()> {
    let content_type = half.content_type();
    json.name("decoded");
    json.open(b'{');
    json.name("size");
    json.integer(half.unpacked.as_ref().map_or(decoded.data.len() as u64, Bulk::len));
    if decoded.truncated {
        json.name("truncated");
        json.literal("true");
    }
    if let Some(coding) = &decoded.failed {
        json.name("failed");
        json.text(coding);
    }
    if let Some(bulk) = half.unpacked.as_ref().filter(|bulk| bulk.len() > 0) {
        let len = if decoded.truncated { bulk.whole_characters() } else { bulk.len() };
        let sha256 = disk::write(json, bulk, len, content_type, extent)?;
        json.name("digest");
        json.plain(&["sha256:", &sha256]);
    }
    if !decoded.data.is_empty() {
        let shown = if decoded.truncated { whole_characters(&decoded.data) } else { &decoded.data };
        let sha256 = bytes(json, content_type, shown, extent);
        json.name("digest");
        json.plain(&["sha256:", &sha256]);
    }
    json.close(b'}');
    Ok(())
}

/// Writes `encoding`, `charset`, `data`, and the strays at its ends; gives the digest of `bytes`.
fn bytes(json: &mut Json, content_type: &str, bytes: &[u8], extent: Extent) -> String {
    json.name("encoding");
    let Some(text) = charset::text(content_type, bytes, extent) else {
        json.plain(&["base64"]);
        json.name("data");
        return json.base64_and_digest(bytes);
    };
    json.plain(&["text"]);
    if let Some(charset) = &text.charset {
        json.name("charset");
        json.plain(&[charset]);
    }
    json.name("data");
    if text.charset.is_none() && text.head.is_empty() && text.tail.is_empty() {
        return json.text_and_digest(&[bytes]);
    }
    json.text(&text.text);
    for (name, stray) in [("head", text.head), ("tail", text.tail)] {
        if !stray.is_empty() {
            json.name(name);
            json.base64(stray);
        }
    }
    sha256_hex(bytes)
}
