//! Decodes bodies, once, and redacts them before anything shows them. In: an exchange, or a part of one, with redacted heads. Out: the
//! same with redacted bodies, in memory or on disk, and their decoded forms.
//!
//! Only scanned bytes are shown: a byte that was not scanned is left out, and the body says why. The encoded bytes of a body are
//! shown only if all of them were decoded and nothing had to be redacted.

use std::io;

use bytes::Bytes;

use super::artifact::decode::{self, Decoded, Decoder, MOST};
use super::artifact::{self, Carry, Running};
use super::redact::body::End;
use super::redact::messages;
use super::redact::out::{MASK, Out};
use super::redact::{Looks, Streams};
use super::settings::Level;
use super::spool::{Bulk, Folder, Spooled};
use crate::model::conn::ConnectionUid;
use crate::model::exchange::{HttpExchange, Part};
use crate::model::loss::{Loss, Tally};
use crate::model::message::{Body, Field, FieldText, Fields, LeftOut, Redaction};
use crate::model::messages::Framing;

/// Bytes at the beginning of a body on disk that decide whether it must be scanned.
const BEGINNING: u64 = 4 << 10;

/// A decoded body.
#[derive(Debug, Default)]
pub(super) struct Undone {
    pub(super) decoded: Decoded,
    /// Its bytes, if they are on disk.
    pub(super) bulk: Option<Bulk>,
}

/// The decoded bodies of an exchange: that of the request, and that of the response.
pub(super) type Both = [Option<Undone>; 2];

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Levels for the request and the response.
    pub(super) levels: [Level; 2],
    /// True when the decoded bodies are shown.
    pub(super) decoded: bool,
}

/// Identifies an exchange: its connection, and its number there.
type Name = (ConnectionUid, u64);

/// Redacts the bodies of `http`, as far as they are shown. Returns `None` when the disk could not take one, which is counted: nothing
/// can be shown then.
pub(super) fn bodies(
    http: &mut HttpExchange,
    spooled: &mut Option<Spooled>,
    name: Name,
    (wanted, looks): (&Wanted, &Looks),
    running: &mut Running,
    lost: &mut Tally,
) -> Option<Both> {
    let on_disk = |spooled: &Spooled| {
        let bulks = [&spooled.request, &spooled.response];
        bulks.into_iter().flatten().map(Bulk::len).sum()
    };
    let bytes: u64 = spooled.as_ref().map_or(0, on_disk);
    let both = look_at_both(http, spooled, name, (wanted, looks), running);
    if both.is_err() {
        lost.add(Loss::SpoolFull, bytes);
    }
    both.ok()
}

fn look_at_both(
    http: &mut HttpExchange,
    spooled: &mut Option<Spooled>,
    name: Name,
    (wanted, looks): (&Wanted, &Looks),
    running: &mut Running,
) -> io::Result<Both> {
    let mut both = [None, None];
    let part = http.part;
    let request = http.request.as_mut().map(|r| (&r.fields, &mut r.body, r.ended.is_some(), r.method.is_some()));
    let response = http.response.as_mut().map(|r| (&r.fields, &mut r.body, r.ended.is_some(), r.status.is_some()));
    let levels = wanted.levels;
    for (nth, ((message, undone), level)) in [request, response].into_iter().zip(&mut both).zip(levels).enumerate() {
        let Some((fields, body, ended, headed)) = message else { continue };
        let content_type = fields.get("content-type").unwrap_or_default();
        let is_told = headed && !may_say_more(fields);
        let side = Side { fields, content_type, is_told, ended, part, looks };
        let bulk = spooled.as_mut().map(|spooled| {
            (spooled.folder.clone(), if nth == 0 { &mut spooled.request } else { &mut spooled.response })
        });
        if level < Level::Full {
            // A digest of hidden bytes would let readers verify guesses of them.
            if !looks.is_empty() {
                body.chunks.clear();
                bulk.into_iter().for_each(|(_, bulk)| *bulk = None);
            }
            continue;
        }
        if !wanted.decoded && looks.is_empty() {
            continue;
        }
        *undone = match bulk {
            Some((folder, slot)) if slot.is_some() => side.on_disk(body, slot, &folder)?,
            Some(_) | None => side.in_memory(body, (name.0, name.1, nth == 1), running),
        };
    }
    Ok(both)
}

/// One side of an exchange, without its body.
#[derive(Debug, Clone, Copy)]
struct Side<'a> {
    fields: &'a Fields,
    content_type: &'a str,
    /// Everything the head says about the body is known.
    is_told: bool,
    /// Its end was observed.
    ended: bool,
    part: Option<Part>,
    looks: &'a Looks,
}

impl Side<'_> {
    /// Redacts a body in memory, or a part of one.
    fn in_memory(&self, body: &mut Body, key: artifact::Key, running: &mut Running) -> Option<Undone> {
        if let Some(messages) = &mut body.messages {
            let framed = matches!(messages.framing, Framing::Grpc);
            body.redaction = messages::look(self.looks, self.fields, messages);
            if framed && body.kept() > 0 && !self.looks.is_plain_grpc(self.content_type) {
                hide(body, LeftOut::Messages);
            }
            return None;
        }
        let codings = decode::codings(self.fields);
        if (body.chunks.is_empty() && body.offset == 0) || (codings.is_empty() && self.looks.is_empty()) {
            return None;
        }
        let carried = body.to_bytes();
        let joined = until_hole(body, &carried);
        let mut carry = if body.offset == 0 {
            self.begin(&codings, joined)
        } else {
            running.take(key, body.offset).unwrap_or_else(|| self.lost(&codings))
        };
        let goes_on = self.part.is_some_and(|part| !part.last);
        let hole = joined.len() < carried.len();
        let missing = body.missing.iter().any(|hole| hole.end > body.offset);
        let broken = body.truncated || hole || (self.part.is_some() && missing);
        let whole = if self.part.is_some() { !broken && self.ended } else { body.is_whole() && self.ended };
        let decoded = match (codings.is_empty(), self.part) {
            (true, _) => None,
            (false, None) => Some(decode::decode(&codings, joined, whole)),
            (false, Some(part)) => {
                decoded_part(&mut carry, joined, carried.is_empty(), broken || (part.last && !self.ended), part.last)
            }
        };
        let end = match &decoded {
            Some(decoded) if decoded.truncated => End::Cut,
            _ if goes_on && !broken && !(self.ended && codings.is_empty()) => End::More,
            _ if whole => End::Whole,
            _ => End::Cut,
        };
        let undone = self.look(body, &mut carry, (joined, decoded), end, hole);
        if end == End::More {
            running.put(key, carry, body.offset + carried.len() as u64);
        }
        undone
    }

    /// The media type by which a body that begins with `start` is scanned. If the type or a coding may be among the unknown fields of the head, the body is
    /// scanned as JSON, which proves itself byte by byte, unless its type is known and it is text, which no coding produces.
    fn media_type(&self, start: &[u8]) -> &str {
        let is_text = || !std::str::from_utf8(start).is_err_and(|error| error.error_len().is_some());
        let is_known = || !self.content_type.is_empty() && (!decode::codings(self.fields).is_empty() || is_text());
        if self.is_told || is_known() { self.content_type } else { "application/json" }
    }

    /// The initial state of a body that begins with `start`.
    fn begin(&self, codings: &[&str], start: &[u8]) -> Carry {
        let streams = Streams::new(self.looks, self.media_type(start));
        match Decoder::new(codings) {
            _ if codings.is_empty() => Carry { decoder: None, failed: None, streams },
            Ok(decoder) => Carry { decoder: Some(decoder), failed: None, streams },
            Err(coding) => Carry { decoder: None, failed: Some(coding), streams },
        }
    }

    /// The state for a body whose earlier parts are no longer known.
    fn lost(&self, codings: &[&str]) -> Carry {
        let mut streams = Streams::new(self.looks, self.content_type);
        streams.leave_out(LeftOut::Untracked);
        Carry { decoder: None, failed: codings.last().map(|coding| (*coding).to_owned()), streams }
    }

    /// Redacts `joined`, or its `decoded` form. `hole`: the body also has bytes after a hole.
    fn look(
        &self,
        body: &mut Body,
        carry: &mut Carry,
        (joined, mut decoded): (&[u8], Option<Decoded>),
        end: End,
        hole: bool,
    ) -> Option<Undone> {
        if self.looks.is_empty() {
            return decoded.map(|decoded| Undone { decoded, bulk: None });
        }
        let coded = !decode::codings(self.fields).is_empty();
        let mut out = Out::default();
        match &decoded {
            Some(decoded) => {
                carry.streams.push(self.looks, &decoded.data, end, &mut out);
                if decoded.failed.is_some() && !carry.streams.is_plain() {
                    out.leave_out(LeftOut::Undecoded);
                }
            }
            None if coded => {
                if end != End::More {
                    carry.streams.push(self.looks, &[], end, &mut out);
                }
            }
            None => {
                carry.streams.push(self.looks, joined, end, &mut out);
                if hole && !carry.streams.is_plain() {
                    out.leave_out(LeftOut::Hole);
                }
            }
        }
        if carry.streams.is_plain() {
            return decoded.map(|decoded| Undone { decoded, bulk: None });
        }
        body.redaction = out.note;
        let same = self.part.is_none() && out.note.is_clean();
        if !coded {
            // Held bytes go out with a later part, so a part always consists of the scanner's output, changed or not.
            if !same {
                body.chunks = vec![out.bytes.into()];
            }
            return None;
        }
        let whole = same && end == End::Whole;
        if !whole && !body.chunks.is_empty() {
            hide(body, LeftOut::Coded);
        }
        if decoded.is_none() && !out.bytes.is_empty() {
            decoded = Some(Decoded::default());
        }
        if let Some(decoded) = &mut decoded {
            decoded.data = out.bytes;
        }
        decoded.map(|decoded| Undone { decoded, bulk: None })
    }

    /// Redacts a complete body on disk.
    fn on_disk(&self, body: &mut Body, slot: &mut Option<Bulk>, folder: &Folder) -> io::Result<Option<Undone>> {
        let Some(bulk) = slot.as_ref() else { return Ok(None) };
        let codings = decode::codings(self.fields);
        let until = body.missing.first().map_or(bulk.len(), |hole| hole.start.min(bulk.len()));
        let whole = body.is_whole() && self.ended;
        if codings.is_empty() {
            if let Seen::Other(seen, note) =
                self.seen_on_disk(bulk, until, whole, (until < bulk.len()).then_some(LeftOut::Hole), folder)?
            {
                body.redaction = note;
                *slot = Some(seen);
            }
            return Ok(None);
        }
        let (decoded, unpacked) = artifact::decode_on_disk(&codings, bulk, until, whole, folder)?;
        let (failed, whole) = (decoded.failed.is_some(), !decoded.truncated);
        let seen = self.seen_on_disk(&unpacked, unpacked.len(), whole, failed.then_some(LeftOut::Undecoded), folder)?;
        let shown = matches!(seen, Seen::All) || (whole && matches!(seen, Seen::Same));
        let bulk = match seen {
            Seen::Other(seen, note) => {
                body.redaction = note;
                seen
            }
            Seen::All | Seen::Same => unpacked,
        };
        if !shown {
            *slot = None;
            hide(body, LeftOut::Coded);
        }
        Ok(Some(Undone { decoded, bulk: Some(bulk) }))
    }

    /// Redacts the first `len` bytes of `bulk`. `more`: why any bytes after them can't be scanned.
    fn seen_on_disk(
        &self,
        bulk: &Bulk,
        len: u64,
        whole: bool,
        more: Option<LeftOut>,
        folder: &Folder,
    ) -> io::Result<Seen> {
        let mut start = Vec::new();
        bulk.each(len.min(BEGINNING), |block| {
            start.extend_from_slice(block);
            Ok(())
        })?;
        let content_type = self.media_type(&start);
        if self.looks.is_empty() || self.looks.passes(content_type, &start) {
            return Ok(Seen::All);
        }
        let mut streams = Streams::new(self.looks, content_type);
        let (mut seen, mut note) = (Bulk::new(folder.unnamed()?), Redaction::default());
        let mut take = |piece: &[u8], end: End, leave_out: Option<LeftOut>| {
            let mut out = Out::default();
            streams.push(self.looks, piece, end, &mut out);
            leave_out.into_iter().for_each(|why| out.leave_out(why));
            note.merge(out.note);
            seen.append(&[&out.bytes])
        };
        bulk.each(len, |block| take(block, End::More, None))?;
        take(&[], if whole { End::Whole } else { End::Cut }, more)?;
        Ok(if note.is_clean() { Seen::Same } else { Seen::Other(seen, note) })
    }
}

/// True if `fields` may describe the body in a field that is unknown: an entry of the HPACK table that was sent before the probes were attached.
fn may_say_more(fields: &Fields) -> bool {
    let says = |field: &Field| field.is_named("content-type") || field.is_named("content-encoding");
    fields.0.iter().any(|field| match field.name {
        FieldText::Unknown => true,
        FieldText::Known(_) => field.value == FieldText::Unknown && says(field),
    })
}

/// The redacted form of a body on disk.
enum Seen {
    /// All of it; it needs no scan.
    All,
    /// All of it: nothing was found.
    Same,
    /// These bytes instead.
    Other(Bulk, Redaction),
}

/// Decodes the next part of a body. Keeps the decoder if more can follow.
fn decoded_part(carry: &mut Carry, joined: &[u8], empty: bool, cut: bool, last: bool) -> Option<Decoded> {
    let Some(mut decoder) = carry.decoder.take() else {
        let failed = carry.failed.take();
        return (!empty).then(|| Decoded { truncated: true, failed, ..Decoded::default() });
    };
    let mut decoded = Decoded::default();
    decoder.push(joined, MOST, &mut decoded);
    decoded.truncated |= cut;
    if last {
        decoder.end(&mut decoded);
    }
    let told = !empty || decoded.failed.is_some();
    if !last && !decoded.truncated {
        carry.decoder = Some(decoder);
    }
    told.then_some(decoded)
}

/// Replaces the encoded bytes of `body` with the mask.
fn hide(body: &mut Body, why: LeftOut) {
    body.chunks = vec![Bytes::from_static(MASK.as_bytes())];
    body.redaction.left_out.get_or_insert(why);
}

/// The bytes of `carried` (the kept bytes of `body`) before the first hole.
pub(super) fn until_hole<'a>(body: &Body, carried: &'a [u8]) -> &'a [u8] {
    let hole = body.missing.iter().find(|hole| hole.end > body.offset);
    let until = hole.map_or(u64::MAX, |hole| hole.start.saturating_sub(body.offset));
    carried.get(..usize::try_from(until).unwrap_or(usize::MAX)).unwrap_or(carried)
}
