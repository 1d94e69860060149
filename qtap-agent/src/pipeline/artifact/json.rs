//! Format `json`: one object for a request, one for a response, or one that holds both.

use std::io;

use super::escape::Json;
use super::out::Out;
use super::time::rfc3339;
use super::{Half, Kind, Message, Source, body, field_text, messages, version_name};
use crate::model::message::{FieldText, Fields, Request, Response};

/// Writes the document.
pub(super) fn write(source: Source<'_>, kind: Kind, halves: &[Half<'_>], bodies: bool, out: Out) -> io::Result<Out> {
    let mut json = Json::new(out);
    json.open(b'{');
    match kind {
        Kind::Request | Kind::Response => {
            halves.iter().try_for_each(|half| message(&mut json, source, half, bodies))?;
        }
        Kind::Transaction => {
            for half in halves {
                json.name(match half.message {
                    Message::Request(_) => "request",
                    Message::Response(_) => "response",
                });
                json.open(b'{');
                message(&mut json, source, half, bodies)?;
                json.close(b'}');
            }
            if let Some(duration_ms) = source.duration_ms {
                json.name("duration_ms");
                json.number(duration_ms);
            }
            incomplete(&mut json, source);
        }
    }
    part(&mut json, source);
    json.close(b'}');
    Ok(json.into_out())
}

fn incomplete(json: &mut Json, source: Source<'_>) {
    if let Some(reason) = source.exchange.incomplete {
        json.name("incomplete");
        json.plain(&[reason.name()]);
    }
}

fn part(json: &mut Json, source: Source<'_>) {
    if let Some(part) = source.exchange.part {
        json.name("part");
        json.integer(part.number.into());
    }
}

fn message(json: &mut Json, source: Source<'_>, half: &Half<'_>, bodies: bool) -> io::Result<()> {
    match half.message {
        Message::Request(request) => request_line(json, request, source.url),
        Message::Response(response) => status_line(json, response),
    }
    json.name("protocol");
    json.plain(&[version_name(half.message.version())]);
    fields(json, "headers", half.fields());
    if !half.message.trailers().0.is_empty() {
        fields(json, "trailers", half.message.trailers());
    }
    body::write(json, half, source.exchange.part, bodies)?;
    if let Some(messages) = &half.body().messages {
        messages::write(json, half.fields(), messages, source.clock, bodies);
    }
    let (started, ended) = half.message.times();
    json.name("started_at");
    json.plain(&[rfc3339(source.clock.unix_ns(started)).as_str()]);
    json.name("ended_at");
    match ended {
        Some(ended) => json.plain(&[rfc3339(source.clock.unix_ns(ended)).as_str()]),
        None => json.literal("null"),
    }
    Ok(())
}

fn request_line(json: &mut Json, request: &Request, url: Option<&str>) {
    for (name, text) in [("method", request.method.as_deref()), ("url", url), ("target", request.target.as_deref())] {
        json.name(name);
        match text {
            Some(text) => json.text(text),
            None => json.literal("null"),
        }
    }
}

fn status_line(json: &mut Json, response: &Response) {
    json.name("status");
    match response.status {
        Some(status) => json.integer(status.into()),
        None => json.literal("null"),
    }
    if !response.reason.is_empty() {
        json.name("reason");
        json.text(&field_text(&response.reason));
    }
    if !response.informational.is_empty() {
        json.name("informational");
        json.open(b'[');
        response.informational.iter().for_each(|status| json.integer((*status).into()));
        json.close(b']');
    }
}

fn fields(json: &mut Json, member: &'static str, fields: &Fields) {
    json.name(member);
    json.open(b'[');
    for (nth, field) in fields.0.iter().enumerate() {
        json.between(if nth == 0 { "{\"name\":" } else { ",{\"name\":" });
        text_or_null(json, &field.name);
        json.between(",\"value\":");
        text_or_null(json, &field.value);
        json.close(b'}');
    }
    json.close(b']');
}

fn text_or_null(json: &mut Json, text: &FieldText) {
    match text {
        FieldText::Known(bytes) => json.text(&field_text(bytes)),
        FieldText::Unknown => json.literal("null"),
    }
}
