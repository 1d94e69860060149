//! Redacts forms pair by pair (`application/x-www-form-urlencoded`, WHATWG URL §5): fields by name, also as `name[]` or by the last
//! bracket (`user[password]`), and text and JSON in the other fields. In: the bytes of whole pairs. Out: the redacted bytes.

use super::names::Names;
use super::out::Out;
use super::{Rules, body, text};

/// Redacts whole pairs; returns how much of `input` they are. `told`: true once a pair was written. `last`: nothing follows.
pub(super) fn push(rules: &Rules, told: &mut bool, input: &[u8], last: bool, out: &mut Out) -> usize {
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'&', input.get(at..).unwrap_or_default()) {
        pair(rules, told, input.get(at..at + len).unwrap_or_default(), out);
        at += len + 1;
    }
    if last {
        pair(rules, told, input.get(at..).unwrap_or_default(), out);
        at = input.len();
    }
    at
}

fn pair(rules: &Rules, told: &mut bool, pair: &[u8], out: &mut Out) {
    let (name, value) = match memchr::memchr(b'=', pair) {
        Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..)),
        None => (pair, None),
    };
    let hidden = value.filter(|_| is_hidden(&rules.form, &text::form_decoded(name)));
    let instead = hidden.map(|value| rules.instead.of(&text::form_decoded(value)));
    if hidden.is_some() {
        out.note.values += 1;
    }
    if instead == Some(None) {
        return;
    }
    if std::mem::replace(told, true) {
        out.extend(b"&");
    }
    shown(rules, name, out);
    match (instead.flatten(), value) {
        (Some(instead), _) => {
            out.extend(b"=");
            out.extend(instead.as_bytes());
        }
        (None, Some(value)) => {
            out.extend(b"=");
            shown(rules, value, out);
        }
        (None, None) => {}
    }
}

/// True for a field whose value is redacted.
pub(super) fn is_hidden(names: &Names, name: &[u8]) -> bool {
    let mut plain = name.trim_ascii();
    while let Some(rest) = plain.strip_suffix(b"[]") {
        plain = rest;
    }
    let last = plain.strip_suffix(b"]").and_then(|inner| inner.rsplit(|b| *b == b'[').next());
    names.has(plain) || last.is_some_and(|last| names.has(last))
}

/// Writes a name, or the value of a field that is not hidden, after scanning it.
fn shown(rules: &Rules, raw: &[u8], out: &mut Out) {
    let mut seen = Out::default();
    body::value(rules, &text::form_decoded(raw), &mut seen);
    if seen.note.is_clean() {
        return out.extend(raw);
    }
    out.extend(&text::form_encoded(&seen.bytes));
    out.note.merge(seen.note);
}
