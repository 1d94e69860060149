//! Bodies of several parts looked through as they come (RFC 2046 §5.1, RFC 7578): parts of a form by name, what is in the others by its own
//! media type. In: the bytes, in pieces of any size. Out: the same, looked through. What is not built as it should be ends it.

use memchr::memmem;

use super::body::{End, Stream};
use super::form::is_hidden;
use super::out::{MASK, Out, hashed};
use super::{Rules, text};
use crate::model::message::LeftOut;
use crate::pipeline::digest::Keyed;
use crate::pipeline::settings::RedactAction;

/// Most bytes of the fields of one part.
const HEAD: usize = 16 << 10;

/// Where a body is.
#[derive(Debug)]
pub(super) struct Multipart {
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    form: bool,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Before the first part.
    Start,
    /// Behind a delimiter.
    Delimiter,
    /// In the fields of a part. What is left of the delimiter's line goes out with them.
    Head(Vec<u8>),
    /// In a part that is taken out; the hash of its bytes so far, where they are hashed.
    Hidden(Option<Keyed>),
    /// In one that is looked through.
    Part(Box<Stream>),
    /// Behind the last part.
    Over,
}

/// It is no body of several parts from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Multipart {
    /// `form`: its parts are fields of a form.
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

    /// Looks `input` through; how much of it was taken.
    pub(super) fn push(&mut self, rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> Result<usize, Broken> {
        let mut at = 0;
        while let Some(taken) = self.step(rules, input.get(at..).unwrap_or_default(), last, out)? {
            at += taken;
        }
        Ok(at)
    }

    /// One step; how much it took, or none when more is needed.
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
                // Nothing has to stand there (RFC 2046: an epilogue is ignored).
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
        // Up to the end of the line only white space may stand.
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
        // What may be the beginning of a delimiter waits.
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
        // Of one that is dropped the delimiter before it stands for the one behind it.
        if !dropped {
            out.extend(&delimiter);
        }
        self.at = At::Delimiter;
        Some(safe + delimiter.len())
    }
}

/// What the fields of a part say.
#[derive(Debug, Default)]
struct Head {
    name: Option<Vec<u8>>,
    content_type: String,
    /// Its bytes stand for others.
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

/// The semicolon behind a parameter; what stands in quotes (RFC 9110 §5.6.4) is none.
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

/// The parameter `name` of a `Content-Disposition`; none where there is none, or it is written in a way that is not followed.
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
