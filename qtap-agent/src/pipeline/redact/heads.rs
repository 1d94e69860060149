//! Redacts heads, URLs and command lines. In: an exchange, an authority, a command line. Out: the same, without the named values and
//! without pattern matches, percent-encoded or not.

use std::ops::Range;

use bytes::Bytes;

use super::json::{Broken, Json};
use super::names::{is_credential, len_bit};
use super::out::Out;
use super::{Found, Redactor, Within, scan};
use crate::model::exchange::HttpExchange;
use crate::model::message::{Field, FieldText, Fields, LeftOut};
use crate::pipeline::settings::RedactAction;

/// Options that pass the value of an `Authorization` or `Proxy-Authorization` field to a program, as curl and wget name them; true: the
/// option counts only with a pair `name:password` (in other programs it has other meanings).
const CREDENTIALS: [(&str, bool); 8] = [
    ("-u", true),
    ("-U", true),
    ("--user", true),
    ("--proxy-user", true),
    ("--oauth2-bearer", false),
    ("--password", false),
    ("--http-password", false),
    ("--proxy-password", false),
];

/// The option of [`CREDENTIALS`] that a word is or begins with, and the first word of its value: the rest of the word, or the next word.
fn credentials<'c>(word: &'c str, next: Option<&'c str>) -> Option<(&'static str, &'c str)> {
    CREDENTIALS.iter().find_map(|(option, pair)| {
        let value = match word.strip_prefix(option)? {
            "" => next?,
            behind if option.starts_with("--") => behind.strip_prefix('=')?,
            behind => behind,
        };
        (!pair || value.contains(':')).then_some((*option, value))
    })
}

impl Redactor {
    /// Redacts `exchange`.
    pub(in crate::pipeline) fn exchange(&self, exchange: &mut HttpExchange) {
        if let Some(request) = &mut exchange.request {
            let replace = |text: &mut String, seen: Option<String>| seen.into_iter().for_each(|seen| *text = seen);
            if let Some(target) = &mut request.target {
                // RFC 9112 §3.2: a target that is neither a path nor a URL is an authority, or `*`.
                let url = target.starts_with('/') || target.contains("://");
                let seen = if url { self.text(target.as_bytes(), Within::Target) } else { self.authority(target) };
                replace(target, seen);
            }
            if let Some(authority) = &mut request.authority {
                let seen = self.authority(authority);
                replace(authority, seen);
            }
            self.fields(&mut request.fields);
            self.fields(&mut request.trailers);
        }
        if let Some(response) = &mut exchange.response {
            if let Some(seen) = self.found_by_form(&response.reason) {
                response.reason = seen.into();
            }
            self.fields(&mut response.fields);
            self.fields(&mut response.trailers);
        }
    }

    /// `authority` without its userinfo and other secrets; `None` when nothing has to be redacted.
    pub(in crate::pipeline) fn authority(&self, authority: &str) -> Option<String> {
        let seen =
            authority.rsplit_once('@').map(|(userinfo, host)| match self.rules.instead.of(userinfo.as_bytes()) {
                Some(instead) => format!("{instead}@{host}"),
                None => host.to_owned(),
            });
        // It may not be an authority at all, e.g. a `Host` field that contains a whole URL.
        let text = seen.as_deref().unwrap_or(authority);
        self.text(text.as_bytes(), Within::Target).or(seen)
    }

    /// A redacted command line; `None` when nothing has to be redacted.
    pub(in crate::pipeline) fn command(&self, command: &str) -> Option<String> {
        let scanned = self.text(command.as_bytes(), Within::Command);
        let mut seen = scanned.clone().unwrap_or_else(|| command.to_owned());
        let mut changed = scanned.is_some();
        for name in &self.headers {
            changed |= self.command_field(&mut seen, name);
        }
        if let Some(json) = self.command_json(&seen) {
            (seen, changed) = (json, true);
        }
        if let Some(less) = self.command_credentials(&seen) {
            (seen, changed) = (less, true);
        }
        changed.then_some(seen)
    }

    /// Redacts credentials in a command line if `authorization` is hidden: the value of [`CREDENTIALS`], up to the next option or
    /// URL, because the boundaries of arguments are no longer known.
    fn command_credentials(&self, command: &str) -> Option<String> {
        if !self.headers.iter().any(|name| name == "authorization") {
            return None;
        }
        let (mut seen, mut changed) = (Vec::new(), false);
        let mut words = command.split(' ').peekable();
        while let Some(word) = words.next() {
            let Some((option, first)) = credentials(word, words.peek().copied()) else {
                seen.push(word.to_owned());
                continue;
            };
            if word == option {
                words.next();
            }
            let mut value = first.to_owned();
            while let Some(more) = words.next_if(|word| !word.starts_with('-') && !word.contains("://")) {
                value.push(' ');
                value.push_str(more);
            }
            seen.push(format!("{option} {}", self.rules.instead.of(value.as_bytes()).unwrap_or_default()));
            changed = true;
        }
        changed.then(|| seen.join(" "))
    }

    /// Redacts the value of every `name: value` in a command line. The boundaries of arguments are no longer known, so the value
    /// extends to the next option or URL.
    fn command_field(&self, command: &mut String, name: &str) -> bool {
        let lower = command.to_ascii_lowercase();
        let mut seen = String::new();
        let mut copied = 0;
        for (at, _) in lower.match_indices(name) {
            let colon = at + name.len();
            let inside_a_word = lower.get(..at).is_some_and(|b| b.ends_with(['-', '_']) && !b.ends_with(" -"));
            if at < copied || inside_a_word || !lower.get(colon..).is_some_and(|rest| rest.starts_with([':', ';'])) {
                continue;
            }
            let rest = lower.get(colon + 1..).unwrap_or("");
            let len =
                [" -", " http://", " https://"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
            let value = command.get(colon + 1..colon + 1 + len).unwrap_or("").trim();
            seen.push_str(command.get(copied..=colon).unwrap_or(""));
            seen.push(' ');
            seen.push_str(&self.rules.instead.of(value.as_bytes()).unwrap_or_default());
            copied = colon + 1 + len;
        }
        if copied == 0 {
            return false;
        }
        seen.push_str(command.get(copied..).unwrap_or(""));
        *command = seen;
        true
    }

    /// Redacts JSON in a command line. If something begins like JSON but is not valid, everything from there on is removed.
    fn command_json(&self, command: &str) -> Option<String> {
        if self.rules.json.is_empty() {
            return None;
        }
        let (mut out, mut rest) = (Out::default(), command.as_bytes());
        while let Some(at) = memchr::memchr2(b'{', b'[', rest) {
            let (before, json) = rest.split_at(at);
            out.extend(before);
            let mut next = json.iter().skip(1).filter(|byte| !byte.is_ascii_whitespace());
            if !matches!((json.first(), next.next()), (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{'))) {
                out.extend(json.get(..1).unwrap_or_default());
                rest = json.get(1..).unwrap_or_default();
                continue;
            }
            let mut document = Json::default();
            let end = document.push(&self.rules, json, true, &mut out);
            let taken = match end {
                Ok(taken) | Err(Broken(taken)) if document.is_between() => taken,
                Ok(_) | Err(_) => {
                    out.leave_out(LeftOut::Unparsed);
                    json.len()
                }
            };
            rest = json.get(taken..).unwrap_or_default();
        }
        out.extend(rest);
        (!out.note.is_clean()).then(|| String::from_utf8_lossy(&out.bytes).into_owned())
    }

    pub(super) fn fields(&self, fields: &mut Fields) {
        fields.0.retain_mut(|field| {
            if self.hides(field) {
                return match field.value.bytes().map(|value| self.rules.instead.of(value)) {
                    Some(Some(instead)) => {
                        field.value = FieldText::Known(instead.into());
                        true
                    }
                    Some(None) => false,
                    None => true,
                };
            }
            if let Some(seen) = field.value.bytes().and_then(|value| self.cookies(field, value)) {
                field.value = FieldText::Known(seen);
            }
            if let Some(seen) = field.value.bytes().and_then(|value| self.field_value(field, value)) {
                field.value = FieldText::Known(seen);
            }
            // Remove a cookie field that has become empty.
            !field.value.bytes().is_some_and(|value| value.is_empty() && self.drops_from(field))
        });
    }

    /// True for the named fields, and for a field with an unknown name (HPACK), which might be any of them.
    fn hides(&self, field: &Field) -> bool {
        match field.name.bytes() {
            Some(name) => {
                let name = name.trim_ascii();
                let is_listed = || self.headers.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()));
                (self.header_lens & len_bit(name.len()) != 0 && is_listed())
                    || (self.credential_headers && is_credential(bare(name)))
            }
            None => !self.headers.is_empty() || self.credential_headers,
        }
    }

    fn drops_from(&self, field: &Field) -> bool {
        let drops = self.rules.instead.action == RedactAction::Drop && !self.cookies.is_empty();
        drops && (field.is_named("cookie") || field.is_named("set-cookie"))
    }

    /// The value of a cookie field without the named cookies; `None` when it has none of them.
    fn cookies(&self, field: &Field, value: &Bytes) -> Option<Bytes> {
        if self.cookies.is_empty() {
            return None;
        }
        let found = if field.is_named("cookie") {
            self.cookies.of_request(value)
        } else if field.is_named("set-cookie") {
            let found = self.cookies.of_response(value);
            // Without the cookie, its attributes are dropped too.
            if !found.is_empty() && self.drops_from(field) {
                return Some(Bytes::new());
            }
            found
        } else {
            return None;
        };
        (!found.is_empty()).then(|| self.replace(value, &found).trim_ascii().to_vec().into())
    }

    /// The value of a field that is not hidden, without the secrets in the URLs it contains.
    fn field_value(&self, field: &Field, value: &Bytes) -> Option<Bytes> {
        let seen = if field.is_named("host") {
            std::str::from_utf8(value).ok().and_then(|host| self.authority(host)).map(Bytes::from)
        } else {
            None
        };
        self.bytes(seen.as_ref().unwrap_or(value), Within::Text).map(Bytes::from).or(seen)
    }

    pub(super) fn text(&self, text: &[u8], within: Within) -> Option<String> {
        self.bytes(text, within).map(|seen| String::from_utf8_lossy(&seen).into_owned())
    }

    fn bytes(&self, text: &[u8], within: Within) -> Option<Vec<u8>> {
        let is_key = |name: &[u8]| {
            let named = |key: &String| name.eq_ignore_ascii_case(key.as_bytes());
            // The meaning of a command's argument is unknown: it may be a form field or a cookie.
            let argument = || within == Within::Command && (self.cookies.is_named(name) || self.rules.form.has(name));
            let credential = || self.credential_query_keys && is_credential(name);
            self.query_keys.iter().any(named) || credential() || argument()
        };
        let found = scan::secrets(text, within, is_key);
        let seen = (!found.is_empty()).then(|| self.replace(text, &found));
        self.found_by_form(seen.as_deref().unwrap_or(text)).or(seen)
    }

    /// `text` without pattern matches, raw or percent-decoded; `None` when there are none.
    fn found_by_form(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.rules.patterns.is_empty() {
            return None;
        }
        let mut found = self.rules.patterns.find(text);
        if text.contains(&b'%') {
            let (decoded, places) = scan::decoded(text);
            let place = |at: usize| places.get(at).copied().unwrap_or(text.len());
            let encoded =
                self.rules.patterns.find(&decoded).into_iter().map(|range| place(range.start)..place(range.end));
            found.extend(encoded.collect::<Vec<Range<usize>>>());
            super::patterns::merge(&mut found);
        }
        if found.is_empty() {
            return None;
        }
        let mut out = Out::default();
        out.replaced(text, &found, &self.rules.instead);
        Some(out.bytes)
    }

    fn replace(&self, text: &[u8], found: &[Found]) -> Vec<u8> {
        let mut seen = Vec::with_capacity(text.len());
        let mut copied = 0;
        for Found { value, whole } in found {
            let instead = self.rules.instead.of(text.get(value.clone()).unwrap_or_default());
            let cut = if instead.is_some() { value } else { whole };
            seen.extend_from_slice(text.get(copied..cut.start.max(copied)).unwrap_or_default());
            seen.extend_from_slice(instead.unwrap_or_default().as_bytes());
            copied = cut.end;
        }
        seen.extend_from_slice(text.get(copied..).unwrap_or_default());
        seen
    }
}

/// A field's name without the `X-` that RFC 6648 advises against.
fn bare(name: &[u8]) -> &[u8] {
    name.split_at_checked(2).filter(|(x, _)| x.eq_ignore_ascii_case(b"x-")).map_or(name, |(_, bare)| bare)
}
