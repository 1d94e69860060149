//! Redacts a body of any kind incrementally. In: its media type, once; its bytes, content codings undone, in pieces of any size.
//! Out: the redacted body. From the first byte that does not fit the body's format, the rest is left out; so is the rest
//! if a unit of it (a value, line or event) is too large to be held until its end.

use std::borrow::Cow;

use super::json::Json;
use super::multipart::Multipart;
use super::out::Out;
use super::{Rules, form, lines, text};
use crate::model::message::LeftOut;
use crate::pipeline::artifact::charset;

/// Maximum bytes of a body that wait for their continuation: one value, line or event.
const HELD: usize = 1 << 20;

/// Whether more of a body follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum End {
    /// More follows in a later piece.
    More,
    /// The body is complete.
    Whole,
    /// The known part of the body ends here; the rest is missing.
    Cut,
}

/// One body on its way through one `redact` step.
#[derive(Debug)]
pub(in crate::pipeline) struct Stream {
    form: Form,
    /// Input that waits for its continuation.
    held: Vec<u8>,
}

/// The format of a body.
#[derive(Debug)]
enum Form {
    /// Depends on this media type, and on the first bytes.
    Undecided(String),
    /// Nothing has to be redacted.
    Plain,
    Json(Box<Json>),
    Lines,
    Events,
    /// Form fields. True once a pair was written.
    Pairs(bool),
    Parts(Box<Multipart>),
    Text,
    /// The rest is left out, for this reason; `None` once the reason was reported.
    Out(Option<LeftOut>),
}

impl Stream {
    pub(super) fn new(rules: &Rules, content_type: &str) -> Stream {
        let form = if rules.is_empty() { Form::Plain } else { Form::Undecided(content_type.to_owned()) };
        Stream { form, held: Vec::new() }
    }

    /// Leaves out everything that follows.
    pub(super) fn leave_out(&mut self, why: LeftOut) {
        if !matches!(self.form, Form::Plain | Form::Out(_)) {
            self.form = Form::Out(Some(why));
            self.held = Vec::new();
        }
    }

    /// True when the rest of it passes unchanged.
    pub(in crate::pipeline) fn is_plain(&self) -> bool {
        matches!(self.form, Form::Plain)
    }

    /// Approximate memory use in bytes.
    pub(super) fn memory(&self) -> usize {
        let form = match &self.form {
            Form::Json(json) => json.memory(),
            Form::Parts(parts) => parts.memory(),
            Form::Undecided(_)
            | Form::Plain
            | Form::Lines
            | Form::Events
            | Form::Pairs(_)
            | Form::Text
            | Form::Out(_) => 0,
        };
        size_of::<Stream>() + self.held.capacity() + form
    }

    /// Redacts the next piece.
    pub(super) fn push(&mut self, rules: &Rules, piece: &[u8], end: End, out: &mut Out) {
        let input = if self.held.is_empty() {
            Cow::Borrowed(piece)
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(piece);
            Cow::Owned(held)
        };
        let last = end == End::Whole;
        let taken = match self.look(rules, &input, last, out) {
            Ok(taken) => taken,
            Err(why) => return self.give_up(why, out),
        };
        let rest = input.get(taken..).unwrap_or_default();
        match end {
            End::More if rest.len() > HELD => self.give_up(LeftOut::TooLong, out),
            End::More => self.held = rest.to_vec(),
            End::Whole => self.end(rest, out),
            End::Cut => self.cut(rules, rest, out),
        }
    }

    fn give_up(&mut self, why: LeftOut, out: &mut Out) {
        out.leave_out(why);
        self.form = Form::Out(None);
    }

    /// Redacts `input`; returns how much of it was consumed.
    fn look(&mut self, rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> Result<usize, LeftOut> {
        if let Form::Undecided(content_type) = &self.form {
            match decide(rules, content_type, input, last)? {
                Some(form) => self.form = form,
                None => return Ok(0),
            }
        }
        match &mut self.form {
            Form::Undecided(_) => Ok(0),
            Form::Plain => {
                out.extend(input);
                Ok(input.len())
            }
            Form::Json(json) => json.push(rules, input, last, out).map_err(|_| LeftOut::Unparsed),
            Form::Lines => Ok(lines::push(rules, input, last, out)),
            Form::Events => Ok(lines::push_events(rules, input, last, out)),
            Form::Pairs(told) => Ok(form::push(rules, told, input, last, out)),
            Form::Parts(parts) => parts.push(rules, input, last, out).map_err(|_| LeftOut::Unparsed),
            Form::Text => Ok(text::push(rules, input, last, out)),
            Form::Out(why) => match why.take().filter(|_| !input.is_empty()) {
                Some(why) => Err(why),
                None => Ok(input.len()),
            },
        }
    }

    /// Ends a body that is complete.
    fn end(&mut self, rest: &[u8], out: &mut Out) {
        let whole = match &self.form {
            Form::Json(json) => json.is_between(),
            Form::Parts(parts) => parts.is_over(),
            Form::Undecided(_)
            | Form::Plain
            | Form::Lines
            | Form::Events
            | Form::Pairs(_)
            | Form::Text
            | Form::Out(_) => true,
        };
        if !whole || !rest.is_empty() {
            self.give_up(LeftOut::Unparsed, out);
        }
    }

    /// Ends a body that was cut off.
    fn cut(&mut self, rules: &Rules, rest: &[u8], out: &mut Out) {
        let kept = match &self.form {
            Form::Text => text::without_last_word(rest),
            _ => b"",
        };
        text::push(rules, kept, true, out);
        if kept.len() < rest.len() {
            self.give_up(LeftOut::Cut, out);
        }
    }
}

/// Redacts a single value: JSON if it looks like JSON, else text.
pub(super) fn value(rules: &Rules, value: &[u8], out: &mut Out) {
    Stream::new(rules, "").push(rules, value, End::Whole, out);
}

/// The format of a body with this `content_type` that begins with `start`; `None` when more bytes are needed to decide. `all`: there
/// are no more bytes.
fn decide(rules: &Rules, content_type: &str, start: &[u8], all: bool) -> Result<Option<Form>, LeftOut> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_lines = ["ndjson", "jsonl", "jsonlines", "json-lines", "stream+json", "json-stream"];
    if is_lines.iter().any(|name| essence.contains(name)) {
        return Ok(Some(Form::Lines));
    }
    if essence.contains("json") {
        return Ok(Some(Form::Json(Box::default())));
    }
    if essence == "text/event-stream" {
        return Ok(Some(Form::Events));
    }
    if essence.starts_with("multipart/") {
        let boundary = boundary(content_type).ok_or(LeftOut::Unparsed)?;
        let parts = Multipart::new(boundary.as_bytes(), essence == "multipart/form-data");
        return Ok(Some(Form::Parts(Box::new(parts))));
    }
    // A message inside a message (RFC 9112 §10; what TRACE answers, a part of a batch): its fields are not inspected.
    if matches!(essence.as_str(), "message/http" | "application/http") {
        return Err(LeftOut::Unparsed);
    }
    if start.is_empty() && !all {
        return Ok(None);
    }
    let encoding = charset::other_than_utf8(content_type, start);
    if encoding.is_some_and(|(encoding, _)| !encoding.is_ascii_compatible()) {
        return Err(LeftOut::Charset);
    }
    // Its base64 text is not decoded, so patterns could not match.
    if essence.starts_with("application/grpc-web-text") && !rules.patterns.is_empty() {
        return Err(LeftOut::Undecoded);
    }
    match begins_json(start) {
        Some(true) if !rules.json.is_empty() || !rules.patterns.is_empty() => Ok(Some(Form::Json(Box::default()))),
        None if !all => Ok(None),
        Some(_) | None if essence == "application/x-www-form-urlencoded" => Ok(Some(Form::Pairs(false))),
        Some(_) | None if rules.patterns.is_empty() => Ok(Some(Form::Plain)),
        Some(_) | None => Ok(Some(Form::Text)),
    }
}

/// Whether text begins as an object, or as an array of strings, objects or arrays; `None` when there is too little of it.
fn begins_json(start: &[u8]) -> Option<bool> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let mut bytes = start.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (bytes.next()?, bytes.next()) {
        (b'{' | b'[', None) => None,
        (b'{', Some(next)) => Some(matches!(next, b'"' | b'}')),
        (b'[', Some(next)) => Some(matches!(next, b'"' | b'{' | b'[')),
        _ => Some(false),
    }
}

/// The `boundary` parameter (RFC 2046 §5.1.1): 1 to 70 characters.
fn boundary(content_type: &str) -> Option<&str> {
    let boundary = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}
