//! The body of a message as artifacts show it: the kept bytes, whether they are text, their digest, and the decoded form.

use std::io;

use super::charset::{self, Extent, whole_characters};
use super::decode::Decoded;
use super::escape::Json;
use super::kept::{self, Data};
use super::{Half, disk};
use crate::model::exchange::Part;
use crate::model::message::{Body, Redaction};
use crate::pipeline::digest::sha256_hex;
use crate::pipeline::spool::Bulk;

/// Which part of the body the kept bytes cover.
pub(super) fn extent(body: &Body, part: Option<Part>) -> Extent {
    match part {
        Some(_) if body.offset > 0 => Extent::Later,
        Some(_) => Extent::First,
        None if body.is_whole() => Extent::Whole,
        None => Extent::Prefix,
    }
}

/// The same for the decoded bytes.
pub(super) fn decoded_extent(body: &Body, decoded: &Decoded, part: Option<Part>) -> Extent {
    match part {
        Some(_) => extent(body, part),
        None if decoded.truncated => Extent::Prefix,
        None => Extent::Whole,
    }
}

/// Writes the member `body`; includes its data only when `data` is set.
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
    if data {
        redaction(json, body.redaction);
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
    if data && let Some(decoded) = half.decoded {
        write_decoded(json, half, decoded, decoded_extent(body, decoded, part))?;
    }
    json.close(b'}');
    Ok(())
}

/// Writes what was redacted.
fn redaction(json: &mut Json, redaction: Redaction) {
    if redaction.values > 0 {
        json.name("redacted");
        json.integer(redaction.values);
    }
    if let Some(why) = redaction.left_out {
        json.name("left_out");
        json.plain(&[why.name()]);
    }
}

/// Writes the kept bytes as data; returns their digest.
fn kept(json: &mut Json, half: &Half<'_>, part: Option<Part>) -> io::Result<String> {
    // The content type describes the decoded bytes, not the encoded ones.
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
    json.integer(half.unpacked.map_or(decoded.data.len() as u64, Bulk::len));
    if decoded.truncated {
        json.name("truncated");
        json.literal("true");
    }
    if let Some(coding) = &decoded.failed {
        json.name("failed");
        json.text(coding);
    }
    if let Some(bulk) = half.unpacked.filter(|bulk| bulk.len() > 0) {
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

/// Writes `encoding`, `charset`, `data`, and the partial characters at both ends; returns the digest of `bytes`.
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
