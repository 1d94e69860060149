//! Redacts multipart bodies incrementally (RFC 2046 §5.1, RFC 7578): form fields by name, the content of other parts by their own
//! media type. In: the bytes, in pieces of any size. Out: the redacted bytes. A malformed body stops the scanner.

use memchr::memmem;

use super::body::{End, Stream};
use super::form::is_hidden;
use super::out::{MASK, Out, hashed};
use super::{Rules, text};
use crate::model::message::LeftOut;
use crate::pipeline::digest::Keyed;
use crate::pipeline::settings::RedactAction;

/// Maximum bytes of the header of one part.
const HEAD: usize = 16 << 10;

/// The position in a body.
#[derive(Debug)]
pub(super) struct Multipart {
    /// `--` followed by the boundary.
    delimiter: Vec<u8>,
    form: bool,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Before the first part.
    Start,
    /// After a delimiter.
    Delimiter,
    /// In the header of a part. The rest of the delimiter's line, which is written together with the header.
    Head(Vec<u8>),
    /// In a part that is redacted; the hash of its bytes so far, if secrets are hashed.
    Hidden(Option<Keyed>),
    /// In a part that is scanned.
    Part(Box<Stream>),
    /// After the last part.
    Over,
}

/// The body is malformed from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Multipart {
    /// `form`: its parts are form fields.
    pub(super) fn new(boundary: &[u8], form: bool) -> Multipart {
        Multipart { delimiter: [b"--", boundary].concat(), form, at: At::Start }
    }

    /// True when its last part has ended.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    pub(super) fn memory(&self) -> usize {
        match &self.at {
            At::Part(stream) => stream.memory(),
            At::Start | At::Delimiter | At::Head(_) | At::Hidden(_) | At::Over => 0,
        }
    }

    /// Redacts `input`; returns how much was consumed.
    pub(super) fn push(&mut self, rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> Result<usize, Broken> {
        let mut at = 0;
        while let Some(taken) = self.step(rules, input.get(at..).unwrap_or_default(), last, out)? {
            at += taken;
        }
        Ok(at)
    }

    /// Takes one step; returns how much it consumed, or `None` when it needs more input.
    fn step(&mut self, rules: &Rules, rest: &[u8], last: bool, out: &mut Out) -> Result<Option<usize>, Broken> {
        match &self.at {
            At::Start => self.start(rest, out),
            At::Delimiter => self.behind_delimiter(rest, last, out),
            At::Head(line) => {
                let line = line.clone();
                self.head(rules, &line, rest, out)
            }
            At::Hidden(_) | At::Part(_) => Ok(self.content(rules, rest, out)),
            At::Over if rest.is_empty() => Ok(None),
            At::Over => {
                // There should be nothing here (RFC 2046: an epilogue is ignored).
                if rest.iter().all(u8::is_ascii_whitespace) {
                    out.extend(rest)
                } else {
                    out.leave_out(LeftOut::Unparsed)
                }
                Ok(Some(rest.len()))
            }
        }
    }

    fn start(&mut self, rest: &[u8], out: &mut Out) -> Result<Option<usize>, Broken> {
        if rest.starts_with(b"\r\n") {
            out.extend(b"\r\n");
            return Ok(Some(2));
        }
        if rest.len() < self.delimiter.len() {
            return if self.delimiter.starts_with(rest) || rest == b"\r" { Ok(None) } else { Err(Broken) };
        }
        if !rest.starts_with(&self.delimiter) {
            return Err(Broken);
        }
        out.extend(&self.delimiter);
        self.at = At::Delimiter;
        Ok(Some(self.delimiter.len()))
    }

    fn behind_delimiter(&mut self, rest: &[u8], last: bool, out: &mut Out) -> Result<Option<usize>, Broken> {
        if rest.starts_with(b"--") {
            out.extend(b"--");
            self.at = At::Over;
            return Ok(Some(2));
        }
        // Only white space is allowed up to the end of the line.
        let Some(end) = memchr::memchr(b'\n', rest) else {
            let fits = rest.len() < 128 && !last && rest.iter().all(|b| b.is_ascii_whitespace() || *b == b'-');
            return if fits { Ok(None) } else { Err(Broken) };
        };
        let line = rest.get(..=end).unwrap_or_default();
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Err(Broken);
        }
        self.at = At::Head(line.to_vec());
        Ok(Some(line.len()))
    }

    fn head(&mut self, rules: &Rules, line: &[u8], rest: &[u8], out: &mut Out) -> Result<Option<usize>, Broken> {
        let len = if rest.starts_with(b"\r\n") {
            2
        } else {
            match memmem::find(rest, b"\r\n\r\n") {
                Some(end) if end <= HEAD => end + 4,
                None if rest.len() <= HEAD => return Ok(None),
                Some(_) | None => return Err(Broken),
            }
        };
        let head = rest.get(..len).unwrap_or_default();
        let fields = Head::of(head);
        let hidden =
            self.form && !rules.form.is_empty() && fields.name.is_none_or(|name| is_hidden(&rules.form, &name));
        if !hidden || rules.instead.action != RedactAction::Drop {
            out.extend(line);
        }
        if hidden {
            out.note.values += 1;
            match rules.instead.action {
                RedactAction::Mask => {
                    out.extend(head);
                    out.extend(MASK.as_bytes());
                }
                RedactAction::Hash => out.extend(head),
                RedactAction::Drop => {}
            }
            self.at = At::Hidden(rules.instead.keyed());
        } else {
            text::push(rules, head, true, out);
            let mut stream = Stream::new(rules, &fields.content_type);
            if fields.is_coded {
                stream.leave_out(LeftOut::Undecoded);
            }
            self.at = At::Part(Box::new(stream));
        }
        Ok(Some(len))
    }

    fn content(&mut self, rules: &Rules, rest: &[u8], out: &mut Out) -> Option<usize> {
        if rest.is_empty() {
            return None;
        }
        let delimiter = [b"\r\n", self.delimiter.as_slice()].concat();
        let end = memmem::find(rest, &delimiter);
        // The possible beginning of a delimiter waits.
        let begins = |n: &usize| rest.ends_with(delimiter.get(..*n).unwrap_or_default());
        let begun = (1..delimiter.len().min(rest.len() + 1)).rev().find(begins).unwrap_or(0);
        let safe = end.unwrap_or(rest.len() - begun);
        let (content, how) = (rest.get(..safe).unwrap_or_default(), if end.is_some() { End::Whole } else { End::More });
        let mut dropped = false;
        match &mut self.at {
            At::Part(stream) => stream.push(rules, content, how, out),
            At::Hidden(Some(hash)) => {
                hash.update(content);
                if end.is_some() {
                    out.extend(hashed(&hash.clone().hex()).as_bytes());
                }
            }
            At::Hidden(None) => dropped = rules.instead.action == RedactAction::Drop,
            At::Start | At::Delimiter | At::Head(_) | At::Over => {}
        }
        if end.is_none() {
            return (safe > 0).then_some(safe);
        }
        // If the part was dropped, the delimiter before it takes the place of this one.
        if !dropped {
            out.extend(&delimiter);
        }
        self.at = At::Delimiter;
        Some(safe + delimiter.len())
    }
}

/// The relevant header fields of a part.
#[derive(Debug, Default)]
struct Head {
    name: Option<Vec<u8>>,
    content_type: String,
    /// It has a transfer encoding that changes its bytes.
    is_coded: bool,
}

impl Head {
    fn of(head: &[u8]) -> Head {
        let mut said = Head::default();
        for line in head.split(|byte| *byte == b'\n') {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (field, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
            let (field, value) = (field.trim_ascii(), value.trim_ascii());
            if field.eq_ignore_ascii_case(b"content-disposition") {
                said.name = name_of(value);
            } else if field.eq_ignore_ascii_case(b"content-type") {
                said.content_type = String::from_utf8_lossy(value).into_owned();
            } else if field.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let plain = [&b"7bit"[..], b"8bit", b"binary"];
                said.is_coded = !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain));
            }
        }
        said
    }
}

/// The position of the semicolon after a parameter; one inside a quoted string (RFC 9110 §5.6.4) does not count.
fn parameter_end(rest: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    rest.iter().position(|byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte => return *byte == b';' && !quoted,
        }
        false
    })
}

/// The `name` parameter of a `Content-Disposition`; `None` when it is missing or in an unsupported syntax.
fn name_of(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value;
    while let Some(at) = parameter_end(rest) {
        rest = rest.get(at + 1..)?.trim_ascii_start();
        let Some(after) =
            rest.get(..5).filter(|start| start.eq_ignore_ascii_case(b"name=")).and_then(|_| rest.get(5..))
        else {
            continue;
        };
        let Some(quoted) = after.strip_prefix(b"\"") else {
            return Some(after.split(|byte| *byte == b';').next()?.trim_ascii().to_vec());
        };
        let (mut name, mut escaped) = (Vec::new(), false);
        for byte in quoted {
            match byte {
                b'\\' if !escaped => escaped = true,
                b'"' if !escaped => return Some(text::form_decoded(&name)),
                byte => {
                    name.push(*byte);
                    escaped = false;
                }
            }
        }
        return None;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_looked_for_in_quotes() {
        for (value, wanted) in [
            (r#"form-data; name="a"; filename="b""#, Some("a")),
            (r#"form-data; filename="b;name=x"; name="password""#, Some("password")),
            (r#"form-data; filename="b\";name=x"; name=password"#, Some("password")),
            (r#"form-data; filename="b;name=x""#, None),
            (r#"form-data; filename="C:\"; name="password""#, None),
        ] {
            assert_eq!(name_of(value.as_bytes()).as_deref(), wanted.map(str::as_bytes), "{value}");
        }
    }
}
