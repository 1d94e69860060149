//! Finds secrets in text that may contain URLs: values of query parameters by name, and userinfo
//! (`user:password@`, RFC 3986 §3.2.1). In: text. Out: byte ranges; their replacement is decided elsewhere.
//!
//! URLs can be nested in URLs, percent-encoded once or more (`?next=https%3A%2F%2Fhost%2F%3Ftoken%3D…`), so every character is
//! read with its *depth*: how many times it was encoded. A value that began at one depth ends at a delimiter of the same
//! depth or a lesser one. If the end of a value is uncertain, the range is too long rather than too short.

use std::ops::Range;

/// The kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// A request target or URL: white space has no meaning.
    Target,
    /// A header field's value: URLs end at white space or `>`.
    Text,
    /// A command line: like `Text`, but `name=value` may also be an argument by itself.
    Command,
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The secret itself.
    pub(super) value: Range<usize>,
    /// The secret and its name (`name=value`, `user:password@`).
    pub(super) whole: Range<usize>,
}

/// One character as written: its decoded byte, its position, and how often it was encoded.
#[derive(Debug, Clone, Copy)]
struct Char {
    byte: u8,
    start: usize,
    end: usize,
    depth: usize,
}

/// All values of parameters for which `is_key` holds, and all userinfo, in order and without overlaps.
pub(super) fn secrets(text: &[u8], within: Within, is_key: impl Fn(&[u8]) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    if !worth_a_look(text) {
        return found;
    }
    let mut name_start = (within == Within::Command).then_some(0);
    let mut before = [0, 0]; // the two previous characters, decoded; 0 at the start
    let mut at = 0;
    while let Some(char) = char_at(text, at) {
        at = char.end;
        match char.byte {
            b'?' | b'&' | b';' | b'#' => name_start = Some(char.end),
            b'=' => {
                let start = name_start.take().unwrap_or(char.start);
                if text.get(start..char.start).is_some_and(|name| names_a_key(name, &is_key)) {
                    let end = value_end(text, char.end, char.depth, within);
                    found.push(Found { value: char.end..end, whole: start..end });
                    at = end;
                }
            }
            b'/' if before[1] == b'/' && may_begin_authority(before[0]) => {
                if let Some(end) = userinfo_end(text, char.end, char.depth) {
                    found.push(Found { value: char.end..end.start, whole: char.end..end.end });
                    at = end.end;
                }
            }
            byte if within == Within::Command && byte.is_ascii_whitespace() => name_start = Some(char.end),
            _ => {}
        }
        before = [before[1], char.byte];
    }
    found
}

/// True if `before` may precede the two slashes of an authority: the colon of a scheme or, in a reference without one (RFC 3986 §4.2), whatever begins the value of a
/// field or parameter. Inside a path nothing does.
fn may_begin_authority(before: u8) -> bool {
    matches!(before, 0 | b':' | b'=' | b'<' | b'(' | b',' | b'"' | b'\'') || before.is_ascii_whitespace()
}

/// `text` decoded, and for each decoded byte its position in `text`.
pub(super) fn decoded(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut decoded, mut places, mut at) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()), 0);
    while let Some(char) = char_at(text, at) {
        decoded.push(char.byte);
        places.push(char.start);
        at = char.end;
    }
    (decoded, places)
}

/// A quick check that returns false for most texts.
fn worth_a_look(text: &[u8]) -> bool {
    memchr::memchr3(b'=', b'@', b'%', text).is_some()
}

/// The character at `at`: `%` `25`… and two digits are one character, encoded once per percent sign to undo.
fn char_at(text: &[u8], at: usize) -> Option<Char> {
    let byte = *text.get(at)?;
    let plain = Char { byte, start: at, end: at + 1, depth: 0 };
    if byte != b'%' {
        return Some(plain);
    }
    let mut digits = at + 1;
    let mut depth = 1;
    while text.get(digits..digits + 2) == Some(b"25") && is_encoded(text, digits + 2) {
        digits += 2;
        depth += 1;
    }
    let Some(byte) = encoded(text, digits) else { return Some(plain) };
    Some(Char { byte, start: at, end: digits + 2, depth })
}

fn encoded(text: &[u8], digits: usize) -> Option<u8> {
    let pair = std::str::from_utf8(text.get(digits..digits + 2)?).ok()?;
    if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(pair, 16).ok()
}

fn is_encoded(text: &[u8], digits: usize) -> bool {
    encoded(text, digits).is_some()
}

/// True when `name`, decoded, is a key: as it is, without `[]` or leading dashes, or by its last bracket (`user[password]`).
fn names_a_key(name: &[u8], is_key: &impl Fn(&[u8]) -> bool) -> bool {
    let mut decoded = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(char) = char_at(name, at) {
        decoded.push(char.byte);
        at = char.end;
    }
    let mut name = decoded.trim_ascii();
    while let Some(rest) = name.strip_prefix(b"-") {
        name = rest;
    }
    while let Some(rest) = name.strip_suffix(b"[]") {
        name = rest;
    }
    let last = name.strip_suffix(b"]").and_then(|inner| inner.rsplit(|b| *b == b'[').next());
    is_key(name) || last.is_some_and(is_key)
}

/// The end of the value that begins at `from`.
fn value_end(text: &[u8], from: usize, depth: usize, within: Within) -> usize {
    let mut at = from;
    while let Some(char) = char_at(text, at) {
        let ends = match char.byte {
            b'&' | b'#' => char.depth <= depth,
            b'>' => char.depth == 0 && within != Within::Target,
            byte => char.depth == 0 && within != Within::Target && byte.is_ascii_whitespace(),
        };
        if ends {
            return char.start;
        }
        at = char.end;
    }
    text.len()
}

/// The `@` that ends userinfo, if the authority that begins at `from` has userinfo.
fn userinfo_end(text: &[u8], from: usize, depth: usize) -> Option<Range<usize>> {
    let mut sign = None;
    let mut at = from;
    while let Some(char) = char_at(text, at) {
        at = char.end;
        match char.byte {
            b'/' | b'?' | b'#' | b' ' | b'"' | b'<' | b'>' if char.depth <= depth => break,
            b'@' if char.depth <= depth => sign = Some(char.start..char.end),
            _ => {}
        }
    }
    sign
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, within: Within) -> Vec<&str> {
        let found = secrets(text.as_bytes(), within, |name| name.eq_ignore_ascii_case(b"token"));
        found.into_iter().map(|found| text.get(found.value).unwrap_or("?")).collect()
    }

    #[test]
    fn parameters_are_found_by_name() {
        for (text, wanted) in [
            ("/", &[][..]),
            ("/a?token=x", &["x"]),
            ("/a?a=1&token=x&b=2", &["x"]),
            ("/a?TOKEN=x&Token=y", &["x", "y"]),
            ("/a?tokens=x&atoken=y&token", &[]),
            ("/a?token=", &[""]),
            ("/a?token=x=y==", &["x=y=="]),
            ("/a?a=1;token=x;y", &["x;y"]),
            ("/a;token=x?b=1", &["x?b=1"]),
            ("/cb#token=x&a=1", &["x"]),
            ("/a?%74oken=x", &["x"]),
            ("/a?%2574oken=x", &["x"]),
            ("/a?token[]=x&u[token]=y", &["x", "y"]),
            ("/a?token=a%26b&c=1", &["a%26b"]),
            ("/a?b=%", &[]),
            ("/a?%=1&token=%zz", &["%zz"]),
            ("/a?token=a b", &["a b"]),
        ] {
            assert_eq!(values(text, Within::Target), wanted, "{text}");
        }
    }

    #[test]
    fn a_url_inside_a_url_is_looked_into() {
        for (text, wanted) in [
            ("/login?next=/a?token=x", &["x"][..]),
            ("/login?next=https%3A%2F%2Fh%2F%3Ftoken%3Dx%26a%3D1&b=2", &["x"]),
            ("/login?next=%2F%3Ftoken%3Dx%2526y&b=2", &["x%2526y"]),
            ("/login?next=%252F%253Ftoken%253Dx%26b", &["x"]),
            ("/go/https%3A%2F%2Fu%3Ap%40h%2F%3Ftoken%3Dx", &["u%3Ap", "x"]),
        ] {
            assert_eq!(values(text, Within::Target), wanted, "{text}");
        }
    }

    #[test]
    fn userinfo_is_found() {
        for (text, wanted) in [
            ("http://u:p@h/", &["u:p"][..]),
            ("http://u:p@x@h:80/a@b", &["u:p@x"]),
            ("http://h/a@b?c=d@e", &[]),
            ("//u:p@h/a", &["u:p"]),
            ("/go?next=//u:p@h/", &["u:p"]),
            ("/go?next=%2F%2Fu%3Ap%40h%2F", &["u%3Ap"]),
            ("</a>; rel=next, <//u:p@h/>", &["u:p"]),
            ("0; url=\"//u:p@h/\"", &["u:p"]),
            ("/a//b@c", &[]),
            ("mailto:a@b", &[]),
        ] {
            assert_eq!(values(text, Within::Text), wanted, "{text}");
        }
    }

    #[test]
    fn in_text_a_url_ends_at_white_space() {
        assert_eq!(values("<https://h/?token=x>; rel=next, </?token=y>", Within::Text), ["x", "y"]);
        assert_eq!(values("0; url=/a?token=x y", Within::Text), ["x"]);
        assert_eq!(values("token=x", Within::Text), [""; 0], "a field's value is not a query");
    }

    #[test]
    fn a_command_line_is_looked_through_argument_by_argument() {
        let line = "curl -d token=x --token=y https://u:p@h/?a=1&token=z -o token";
        assert_eq!(values(line, Within::Command), ["x", "y", "u:p", "z"]);
    }
}
