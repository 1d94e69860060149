//! Format `text`: for reading. Start line with the whole URL, fields, and the body as decoded where it is text; what is not
//! shown, or not there, is said in square brackets.

use std::fmt::Write;

use super::{Half, Message, Source, body, charset, field_text, line_of, messages, version_name};
use crate::model::message::Fields;

/// The document: one message, or a request and its response with an empty line between them.
pub(super) fn write(source: Source<'_>, halves: &[Half<'_>], bodies: bool) -> Vec<u8> {
    let mut out = String::with_capacity(halves.iter().map(|half| half.room(bodies)).sum());
    for (nth, half) in halves.iter().enumerate() {
        if nth > 0 {
            out.push('\n');
        }
        start_line(&mut out, source, half.message);
        fields(&mut out, half.fields());
        content(&mut out, source, half, bodies);
        fields(&mut out, half.message.trailers());
    }
    if let Some(part) = source.exchange.part {
        note(&mut out, format_args!("part {}", part.number));
    }
    if let Some(reason) = source.exchange.incomplete {
        note(&mut out, format_args!("incomplete: {}", reason.name()));
    }
    out.into_bytes()
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

fn content(out: &mut String, source: Source<'_>, half: &Half<'_>, bodies: bool) {
    let carried = half.body();
    if carried.size == 0 && carried.chunks.is_empty() && carried.messages.is_none() {
        return;
    }
    out.push('\n');
    if !bodies {
        let messages = carried.messages.as_ref().map(|messages| format!(" ({} messages)", messages.count));
        return note(out, format_args!("body of {} bytes{} not shown", carried.size, messages.unwrap_or_default()));
    }
    match &carried.messages {
        Some(messages) => messages::lines(half.fields(), messages, source.clock, |in_brackets, text| {
            if in_brackets {
                note(out, format_args!("{text}"));
            } else {
                line(out, text);
            }
        }),
        None => shown(out, source, half),
    }
    if carried.truncated {
        note(out, format_args!("truncated: {} of {} bytes kept", half.kept.len(), carried.size));
    }
    for range in &carried.missing {
        note(out, format_args!("missing: bytes {} to {}", range.start, range.end));
    }
}

/// Writes text, and ends its last line.
fn line(out: &mut String, text: &str) {
    out.push_str(text);
    if !text.is_empty() && !text.ends_with('\n') {
        out.push('\n');
    }
}

fn shown(out: &mut String, source: Source<'_>, half: &Half<'_>) {
    let carried = half.body();
    if carried.offset > 0 {
        note(out, format_args!("from byte {} on", carried.offset));
    }
    let (part, kept) = (source.exchange.part, half.kept.joined());
    let (shown, extent) = match &half.decoded {
        Some(decoded) => (&decoded.data[..], body::decoded_extent(carried, decoded, part)),
        None => (&kept[..], body::extent(carried, part)),
    };
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
    if let Some(decoded) = &half.decoded {
        if let Some(coding) = &decoded.failed {
            note(out, format_args!("could not be decoded: {}", field_text(coding.as_bytes())));
        } else {
            note(out, format_args!("{} bytes as carried, decoded here", half.kept.len()));
        }
    }
}
