//! Format `text`: for human readers. Start line with the whole URL, fields, and the decoded body if it is text; notes in square
//! brackets say what is not shown or missing.

use std::fmt::Write;
use std::io;

use super::charset::{self, Extent};
use super::disk::{self, Form};
use super::kept::{self, Data};
use super::out::Out;
use super::{Half, Message, Source, body, field_text, line_of, messages, version_name};
use crate::model::message::Fields;
use crate::pipeline::spool::Bulk;

/// The document: one message, or a request and its response with an empty line between them.
pub(super) fn write(source: Source<'_>, halves: &[Half<'_>], bodies: bool, mut to: Out) -> io::Result<Out> {
    let mut out = String::new();
    for (nth, half) in halves.iter().enumerate() {
        if nth > 0 {
            out.push('\n');
        }
        start_line(&mut out, source, half.message);
        fields(&mut out, half.fields());
        to.extend(std::mem::take(&mut out).as_bytes());
        content(&mut to, source, half, bodies)?;
        fields(&mut out, half.message.trailers());
    }
    if let Some(part) = source.exchange.part {
        note(&mut out, format_args!("part {}", part.number));
    }
    if let Some(reason) = source.exchange.incomplete {
        note(&mut out, format_args!("incomplete: {}", reason.name()));
    }
    to.extend(out.as_bytes());
    Ok(to)
}

/// Writing to a `String` can't fail.
fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what);
}

fn note(out: &mut String, what: std::fmt::Arguments<'_>) {
    put(out, format_args!("[{what}]\n"));
}

fn start_line(out: &mut String, source: Source<'_>, message: Message<'_>) {
    let version = version_name(message.version());
    match message {
        Message::Request(request) => {
            let method = request.method.as_deref().unwrap_or("?");
            let url = source.url.or(request.target.as_deref()).unwrap_or("?");
            put(out, format_args!("{method} {url} {version}\n"));
        }
        Message::Response(response) => {
            let status = response.status.map_or_else(|| "?".to_owned(), |status| status.to_string());
            let reason = field_text(&response.reason);
            put(out, format_args!("{version} {status} {reason}"));
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
    }
}

fn fields(out: &mut String, fields: &Fields) {
    for (name, value) in fields.0.iter().filter_map(line_of) {
        put(out, format_args!("{}: {}\n", field_text(&name), field_text(&value)));
    }
    let unknown = fields.0.iter().filter(|field| line_of(field).is_none()).count();
    if unknown > 0 {
        note(out, format_args!("{unknown} fields unknown"));
    }
}

fn content(to: &mut Out, source: Source<'_>, half: &Half<'_>, bodies: bool) -> io::Result<()> {
    let carried = half.body();
    if carried.size == 0 && half.kept.is_empty() && carried.messages.is_none() {
        return Ok(());
    }
    let mut out = String::from("\n");
    if !bodies {
        let messages = carried.messages.as_ref().map(|messages| format!(" ({} messages)", messages.count));
        note(&mut out, format_args!("body of {} bytes{} not shown", carried.size, messages.unwrap_or_default()));
        to.extend(out.as_bytes());
        return Ok(());
    }
    match &carried.messages {
        Some(messages) => messages::lines(half.fields(), messages, source.clock, |in_brackets, text| {
            if in_brackets {
                note(&mut out, format_args!("{text}"));
            } else {
                line(&mut out, text);
            }
        }),
        None => shown(to, &mut out, source, half)?,
    }
    if carried.redaction.values > 0 {
        note(&mut out, format_args!("redacted: {} values", carried.redaction.values));
    }
    if let Some(why) = carried.redaction.left_out {
        note(&mut out, format_args!("left out: {}", why.name()));
    }
    if carried.truncated {
        note(&mut out, format_args!("truncated: {} of {} bytes kept", half.kept.len(), carried.size));
    }
    for range in &carried.missing {
        note(&mut out, format_args!("missing: bytes {} to {}", range.start, range.end));
    }
    to.extend(out.as_bytes());
    Ok(())
}

/// Writes text, and ends its last line.
fn line(out: &mut String, text: &str) {
    out.push_str(text);
    if !text.is_empty() && !text.ends_with('\n') {
        out.push('\n');
    }
}

fn shown(to: &mut Out, out: &mut String, source: Source<'_>, half: &Half<'_>) -> io::Result<()> {
    let (carried, part) = (half.body(), source.exchange.part);
    if carried.offset > 0 {
        note(out, format_args!("from byte {} on", carried.offset));
    }
    let extent = match half.decoded {
        Some(decoded) => body::decoded_extent(carried, decoded, part),
        None => body::extent(carried, part),
    };
    match (half.unpacked, half.decoded, half.kept.data()) {
        (Some(bulk), _, _) => on_disk(to, out, half, bulk, bulk.len(), extent)?,
        (None, Some(decoded), _) => in_memory(out, half, &decoded.data, extent),
        (None, None, Data::Disk(bulk)) => on_disk(to, out, half, bulk, half.kept.len(), extent)?,
        (None, None, Data::Memory(chunks)) => in_memory(out, half, &kept::joined(chunks), extent),
    }
    if let Some(decoded) = half.decoded {
        if let Some(coding) = &decoded.failed {
            note(out, format_args!("could not be decoded: {}", field_text(coding.as_bytes())));
        } else {
            note(out, format_args!("{} bytes as carried, decoded here", half.kept.len()));
        }
    }
    Ok(())
}

fn in_memory(out: &mut String, half: &Half<'_>, shown: &[u8], extent: Extent) {
    match charset::text(half.content_type(), shown, extent) {
        Some(text) => {
            line(out, &text.text);
            let strays = text.head.len() + text.tail.len();
            if strays > 0 {
                note(out, format_args!("{strays} bytes of characters that were cut"));
            }
        }
        None => note(out, format_args!("{} bytes that are not text", shown.len())),
    }
}

/// The same for the first `len` bytes of a body on disk. Writes `out` before them.
fn on_disk(to: &mut Out, out: &mut String, half: &Half<'_>, bulk: &Bulk, len: u64, extent: Extent) -> io::Result<()> {
    to.extend(std::mem::take(out).as_bytes());
    let mut last = b'\n';
    let mut take = |piece: &[u8]| {
        last = piece.last().copied().unwrap_or(last);
        to.extend(piece);
    };
    match disk::form(bulk, len, half.content_type(), extent)? {
        Form::Utf8 => bulk.each(len, |block| {
            take(block);
            Ok(())
        })?,
        Form::Other(encoding, mark) => {
            disk::text(bulk, len, encoding, mark, extent, |piece| take(piece.as_bytes()))?;
        }
        Form::Bytes => note(out, format_args!("{len} bytes that are not text")),
    }
    if last != b'\n' {
        to.extend(b"\n");
    }
    Ok(())
}
