//! Reduces a record for a store that takes less than all of it: which attributes matter most, and the attributes that say what is
//! missing, or that a record is one chunk of several. In: an entry. Out: the same entry, reduced. The caller decides how much is too
//! much.

use std::borrow::Cow;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::{Attribute, Attributes, DATA, Entry, TRUNCATED, UID, Value};

/// Reduces the entry of an object to one chunk of its data: `range`, the `index`th of `count`. Each chunk has its own id.
pub(in crate::export::otlp) fn chunk<'a>(
    entry: &mut Entry<'a>,
    data: &'a [u8],
    range: Range<usize>,
    index: usize,
    count: usize,
) {
    let piece = data.get(range.clone()).unwrap_or_default();
    for (key, value) in &mut entry.attributes {
        match (key.as_ref(), &*value) {
            (UID, Value::Text(uid)) if index > 0 => *value = Value::Text(Cow::Owned(chunk_uid(uid, index))),
            // Text stays text: it is split between characters.
            (DATA, Value::Text(_)) => {
                *value = std::str::from_utf8(piece).map_or(Value::Bytes(piece), |text| Value::Text(text.into()));
            }
            (DATA, _) => *value = Value::Bytes(piece),
            _ => {}
        }
    }
    let mut out = Attributes(std::mem::take(&mut entry.attributes));
    out.int("artifact.chunk", index as u64);
    out.int("artifact.chunks", count as u64);
    out.int("artifact.chunk_offset", range.start as u64);
    entry.attributes = out.0;
}

/// The entry as it would be for an object without data.
pub(in crate::export::otlp) fn without_data<'a>(entry: &Entry<'a>) -> Entry<'a> {
    let mut out = entry.clone();
    for (_, value) in out.attributes.iter_mut().filter(|(key, _)| key == DATA) {
        *value = Value::Bytes(&[]);
    }
    out
}

/// The id of a chunk after the first; like the record's id, it is the same on every resend.
fn chunk_uid(uid: &str, index: usize) -> String {
    let digest = Sha256::digest(format!("{uid}/{index}"));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Number of attributes that [`chunk`] adds.
pub(in crate::export::otlp) const CHUNK_ATTRIBUTES: usize = 3;

/// Adds the attribute that lists the truncated attributes.
pub(in crate::export::otlp) fn truncated(list: &mut Vec<Attribute<'_>>, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let names = Value::Texts(names.into_iter().map(Cow::Owned).collect());
    match list.iter_mut().find(|(key, _)| key == TRUNCATED) {
        Some((_, value)) => *value = names,
        None => list.push((Cow::Borrowed(TRUNCATED), names)),
    }
}

/// Rank of an attribute, for stores that take fewer: lower is more important. First come the ids that distinguish and link records, then the
/// artifact itself, then what happened, then where; last what other attributes or records say too.
pub(in crate::export::otlp) fn importance(key: &str) -> u8 {
    match key {
        UID | "event.type" | "connection.id" | "connection.request_id" => 0,
        DATA | TRUNCATED | "artifact.digest" | "artifact.type" | "artifact.content_type" | "artifact.truncated" => 1,
        "artifact.chunk" | "artifact.chunks" | "artifact.chunk_offset" | "artifact.part" | "artifact.missing" => 1,
        "http.request.method" | "url.full" | "http.response.status_code" | "error.type" | "qtap.incomplete" => 2,
        "artifact.request.url" | "artifact.request.digest" | "artifact.response.url" | "artifact.response.digest" => 2,
        "connection.state" | "connection.bytes_sent" | "connection.bytes_received" | "connection.lost_bytes" => 2,
        "request.auth.type" | "request.auth.digest" | "request.method" | "request.host" | "request.path" => 2,
        "issue.name" | "issue.category" | "issue.reasons" | "issue.url" | "issue.status_code" => 2,
        "server.address" | "server.port" | "client.address" | "process.pid" | "process.executable.name" => 3,
        "network.peer.address" | "network.peer.port" | "network.local.address" | "network.local.port" => 6,
        key if key.starts_with("artifact.summary.") => 7,
        key if key.starts_with("connection.loss.") => 6,
        key if key.starts_with("process.") || key.starts_with("container.") || key.starts_with("k8s.") => 5,
        _ => 4,
    }
}
