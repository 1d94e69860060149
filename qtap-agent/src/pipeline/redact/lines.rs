//! Redacts streams of JSON unit by unit: NDJSON by line, server-sent events by event (HTML, "Server-sent events"). In: the
//! bytes of whole units. Out: the redacted bytes. A line that is not valid JSON is left out, and scanning continues with the next one.

use std::ops::Range;

use super::json::Json;
use super::out::Out;
use super::{Rules, body, text};
use crate::model::message::LeftOut;

/// Redacts whole lines; returns how much of `input` they are. `last`: nothing follows.
pub(super) fn push(rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> usize {
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', input.get(at..).unwrap_or_default()) {
        line(rules, input.get(at..=at + end).unwrap_or_default(), out);
        at += end + 1;
    }
    if last {
        line(rules, input.get(at..).unwrap_or_default(), out);
        at = input.len();
    }
    at
}

fn line(rules: &Rules, line: &[u8], out: &mut Out) {
    let mut json = Json::default();
    let whole = json.push(rules, line, true, out).is_ok_and(|taken| taken == line.len()) && json.is_between();
    if !whole {
        out.leave_out(LeftOut::Unparsed);
        if line.ends_with(b"\n") {
            out.extend(b"\n");
        }
    }
}

/// One line of an event stream.
#[derive(Debug, Clone)]
struct Line {
    /// Without its line end.
    text: Range<usize>,
    /// With its line end.
    whole: Range<usize>,
}

impl Line {
    /// The value of its `data` field, if it is one.
    fn data<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        let text = input.get(self.text.clone())?;
        // A stream may begin with a mark (HTML, "Parsing an event stream"). Anywhere else it makes another name of it, which is looked at all the same.
        let value = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).strip_prefix(b"data")?;
        if value.is_empty() {
            return Some(value);
        }
        let value = value.strip_prefix(b":")?;
        Some(value.strip_prefix(b" ").unwrap_or(value))
    }
}

/// Redacts whole events; returns how much of `input` they are. `last`: nothing follows.
pub(super) fn push_events(rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> usize {
    let (mut at, mut taken, mut event) = (0, 0, Vec::new());
    while let Some(line) = next_line(input, at, last) {
        at = line.whole.end;
        let ends = line.text.is_empty();
        event.push(line);
        if ends {
            self::event(rules, input, &event, out);
            event.clear();
            taken = at;
        }
    }
    if last {
        self::event(rules, input, &event, out);
        taken = input.len();
    }
    taken
}

/// The line at `at`, which ends with a line feed, a carriage return, or both.
fn next_line(input: &[u8], at: usize, last: bool) -> Option<Line> {
    let rest = input.get(at..).filter(|rest| !rest.is_empty())?;
    let (text, end) = match memchr::memchr2(b'\n', b'\r', rest) {
        Some(end) if rest.get(end..end + 2) == Some(b"\r\n") => (end, end + 2),
        // A line feed may still follow the carriage return.
        Some(end) if end + 1 == rest.len() && rest.last() == Some(&b'\r') && !last => return None,
        Some(end) => (end, end + 1),
        None if last => (rest.len(), rest.len()),
        None => return None,
    };
    Some(Line { text: at..at + text, whole: at..at + end })
}

fn event(rules: &Rules, input: &[u8], lines: &[Line], out: &mut Out) {
    let data: Vec<&[u8]> = lines.iter().filter_map(|line| line.data(input)).collect();
    let mut seen = Out::default();
    body::value(rules, &data.join(&b'\n'), &mut seen);
    let mut told = false;
    for line in lines {
        if line.data(input).is_none() {
            text::push(rules, input.get(line.text.clone()).unwrap_or_default(), true, out);
            out.extend(input.get(line.text.end..line.whole.end).unwrap_or_default());
        } else if seen.note.is_clean() {
            out.extend(input.get(line.whole.clone()).unwrap_or_default());
        } else if !told {
            told = true;
            for piece in seen.bytes.split(|byte| *byte == b'\n') {
                out.extend(b"data: ");
                out.extend(piece);
                out.extend(b"\n");
            }
            out.note.merge(seen.note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;
    use super::*;
    use crate::pipeline::RedactionKey;
    use crate::pipeline::settings::Redact;

    #[test]
    fn a_byte_order_mark_hides_no_event() {
        let redactor = Redactor::new(&Redact::default(), &RedactionKey([1; 32]));
        let mut out = Out::default();
        let events = "\u{feff}data: {\"token\":\"c4n4ry\"}\n\ndata: end\n\n";
        let taken = push_events(&redactor.rules, events.as_bytes(), true, &mut out);
        assert_eq!(taken, events.len());
        assert_eq!(String::from_utf8_lossy(&out.bytes), "data: {\"token\":\"[redacted]\"}\n\ndata: end\n\n");
    }
}
