//! Format `json`: one object for a request, one for a response, or one that holds both.

use super::escape::Json;
use super::time::rfc3339;
use super::{Half, Kind, Source, body, field_text, version_name};
use crate::model::message::{FieldText, Fields, Request, Response};

/// The document.
pub(super) fn write(source: Source<'_>, kind: Kind, halves: &[Half<'_>], bodies: bool) -> Vec<u8> {
    let mut json = Json::with_capacity(halves.iter().map(|half| half.room(bodies)).sum());
    match kind {
        Kind::Request | Kind::Response => halves.iter().for_each(|half| message(&mut json, source, *half, bodies)),
        Kind::Transaction => {
            json.open(b'{');
            for half in halves {
                json.name(match half {
                    Half::Request(_) => "request",
                    Half::Response(_) => "response",
                });
                message(&mut json, source, *half, bodies);
            }
            if let Some(duration_ms) = source.duration_ms {
                json.name("duration_ms");
                json.number(duration_ms);
            }
            incomplete(&mut json, source);
            json.close(b'}');
        }
    }
    json.finish()
}

fn incomplete(json: &mut Json, source: Source<'_>) {
    if let Some(reason) = source.exchange.incomplete {
        json.name("incomplete");
        json.plain(&[reason.name()]);
    }
}

fn message(json: &mut Json, source: Source<'_>, half: Half<'_>, bodies: bool) {
    json.open(b'{');
    match half {
        Half::Request(request) => request_line(json, request, source.url),
        Half::Response(response) => status_line(json, response),
    }
    json.name("protocol");
    json.plain(&[version_name(half.version())]);
    fields(json, "headers", half.fields());
    if !half.trailers().0.is_empty() {
        fields(json, "trailers", half.trailers());
    }
    body::write(json, half.fields(), half.body(), bodies);
    let (started, ended) = half.times();
    json.name("started_at");
    json.plain(&[&rfc3339(source.clock.unix_ns(started))]);
    json.name("ended_at");
    match ended {
        Some(ended) => json.plain(&[&rfc3339(source.clock.unix_ns(ended))]),
        None => json.literal("null"),
    }
    json.close(b'}');
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
        Some(status) => json.number(status),
        None => json.literal("null"),
    }
    if !response.reason.is_empty() {
        json.name("reason");
        json.text(&field_text(&response.reason));
    }
    if !response.informational.is_empty() {
        json.name("informational");
        json.open(b'[');
        response.informational.iter().for_each(|status| json.number(status));
        json.close(b']');
    }
}

fn fields(json: &mut Json, member: &'static str, fields: &Fields) {
    json.name(member);
    json.open(b'[');
    for field in &fields.0 {
        json.open(b'{');
        for (member, text) in [("name", &field.name), ("value", &field.value)] {
            json.name(member);
            match text {
                FieldText::Known(bytes) => json.text(&field_text(bytes)),
                FieldText::Unknown => json.literal("null"),
            }
        }
        json.close(b'}');
    }
    json.close(b']');
}
