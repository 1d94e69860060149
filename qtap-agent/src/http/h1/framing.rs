//! The length of a body (RFC 9112 §6.3), and the line before a chunk (§7.1). In: header fields, or a line. Out: the framing.
//!
//! | head | body |
//! |---|---|
//! | 1xx, 204, 304; any answer to HEAD | none |
//! | 2xx to CONNECT; 101 | a tunnel, until the connection closes |
//! | `Transfer-Encoding` ending in `chunked` | chunked, whatever `Content-Length` says |
//! | another `Transfer-Encoding` | response: until the connection closes; request: unknowable |
//! | one `Content-Length`, or several that agree | that many bytes |
//! | `Content-Length`s that disagree, or are not numbers | unknowable |
//! | neither | request: none; response: until the connection closes |

use crate::http::manner::{Manner, Media};
use crate::model::message::Fields;

/// The framing of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; 0 if there is no body.
    Fixed(u64),
    /// Chunks.
    Chunked,
    /// All bytes until the connection closes.
    ToClose,
    /// The end of the message cannot be determined.
    Unknowable,
}

impl Framing {
    /// How a body with this framing is reported.
    pub(super) fn manner(self, fields: &Fields) -> Manner {
        match self {
            Framing::Fixed(_) | Framing::Unknowable => Manner::Declared,
            Framing::Chunked | Framing::ToClose => Media::of(fields).without_length(),
        }
    }
}

/// What the fields alone declare.
enum Said {
    Nothing,
    Length(u64),
    Chunked,
    OtherCoding,
    Conflict,
}

fn said(fields: &Fields) -> Said {
    let mut coding = None;
    let mut length = None;
    for field in &fields.0 {
        let is = |name: &str| field.name.bytes().is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()));
        let value = || field.value.bytes().map_or(&b""[..], |v| v);
        match field.name.bytes().map_or(0, |n| n.len()) {
            17 if is("transfer-encoding") => coding = ends_in_chunked(value()).or(coding),
            14 if is("content-length") => length = Some(agreed(length, value())),
            _ => {}
        }
    }
    match (coding, length) {
        (Some(true), _) => Said::Chunked,
        (Some(false), _) => Said::OtherCoding,
        (None, None) => Said::Nothing,
        (None, Some(Some(length))) => Said::Length(length),
        (None, Some(None)) => Said::Conflict,
    }
}

/// Whether the last coding named in `value` is `chunked`; `None` if it names none. Several fields form one list (RFC 9110 §5.3), and
/// empty list elements are skipped (§5.6.1.2).
fn ends_in_chunked(value: &[u8]) -> Option<bool> {
    let last = elements(value).last()?;
    Some(last.eq_ignore_ascii_case(b"chunked"))
}

/// The non-empty elements of a list.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The length on which `value` (a number, or a list of equal numbers) and the fields before agree; `None` if they disagree.
fn agreed(before: Option<Option<u64>>, value: &[u8]) -> Option<u64> {
    let mut length = before;
    for element in elements(value) {
        let number = number(element)?;
        match length {
            None => length = Some(Some(number)),
            Some(known) if known == Some(number) => {}
            Some(_) => return None,
        }
    }
    length.flatten()
}

fn number(digits: &[u8]) -> Option<u64> {
    let significant = without_zeros(digits);
    if digits.is_empty() || significant.len() > 19 {
        return None;
    }
    significant.iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

/// Strips leading zeros: a number may begin with any count of them (RFC 9110 §8.6, RFC 9112 §7.1).
fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

/// The length of a request's content, if its fields declare it.
pub(in crate::http) fn length_of_request(fields: &Fields) -> Option<u64> {
    match said(fields) {
        Said::Length(length) => Some(length),
        Said::Nothing | Said::Chunked | Said::OtherCoding | Said::Conflict => None,
    }
}

/// The length of a response's content, if its fields, its status or the request's method determine it (RFC 9110 §6.4.1).
pub(in crate::http) fn length_of_response(fields: &Fields, status: u16, method: Option<&str>) -> Option<u64> {
    match of_response(fields, status, method) {
        Framing::Fixed(length) => Some(length),
        Framing::Chunked | Framing::ToClose | Framing::Unknowable => None,
    }
}

/// Framing of a request's body.
pub(super) fn of_request(fields: &Fields) -> Framing {
    match said(fields) {
        Said::Nothing => Framing::Fixed(0),
        Said::Length(length) => Framing::Fixed(length),
        Said::Chunked => Framing::Chunked,
        Said::OtherCoding | Said::Conflict => Framing::Unknowable,
    }
}

/// Framing of a final response's body; `method` is the request's, if known.
pub(super) fn of_response(fields: &Fields, status: u16, method: Option<&str>) -> Framing {
    let tunnel = method == Some("CONNECT") && (200..300).contains(&status);
    if status == 101 || tunnel {
        return Framing::ToClose;
    }
    if method == Some("HEAD") || matches!(status, 100..200 | 204 | 304) {
        return Framing::Fixed(0);
    }
    match said(fields) {
        Said::Length(length) => Framing::Fixed(length),
        Said::Chunked => Framing::Chunked,
        Said::OtherCoding | Said::Nothing => Framing::ToClose,
        Said::Conflict => Framing::Unknowable,
    }
}

/// The length of the content that a response declares although it ends with its head; 0 where it does not.
pub(super) fn unasked(fields: &Fields, framing: Framing) -> u64 {
    match (framing, said(fields)) {
        (Framing::Fixed(0), Said::Length(length)) => length,
        _ => 0,
    }
}

/// The size in a chunk line (RFC 9112 §7.1), which includes its line end; extensions are ignored.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| matches!(b, b';' | b'\r' | b'\n' | b' ' | b'\t')).next()?;
    let rest = line.get(digits.len()..)?.trim_ascii();
    let significant = without_zeros(digits);
    let bounded = !digits.is_empty() && significant.len() <= 15 && (rest.is_empty() || rest.first() == Some(&b';'));
    if !bounded {
        return None;
    }
    significant.iter().try_fold(0u64, |n, d| char::from(*d).to_digit(16).map(|d| n * 16 + u64::from(d)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::message::{Field, FieldText};

    fn fields(list: &[(&'static str, &'static str)]) -> Fields {
        let text = |t: &'static str| FieldText::Known(Bytes::from_static(t.as_bytes()));
        Fields(list.iter().map(|(n, v)| Field { name: text(n), value: text(v) }).collect())
    }

    #[test]
    fn requests() {
        let of = |list: &[(&'static str, &'static str)]| of_request(&fields(list));
        assert_eq!(of(&[]), Framing::Fixed(0));
        assert_eq!(of(&[("Content-Length", "12")]), Framing::Fixed(12));
        assert_eq!(of(&[("Content-Length", "12, 12"), ("content-length", "12")]), Framing::Fixed(12));
        assert_eq!(of(&[("Content-Length", "12"), ("content-length", "13")]), Framing::Unknowable);
        assert_eq!(of(&[("Content-Length", "x"), ("content-length", "13")]), Framing::Unknowable);
        assert_eq!(of(&[("Content-Length", "+1")]), Framing::Unknowable);
        assert_eq!(of(&[("Content-Length", "99999999999999999999")]), Framing::Unknowable);
        assert_eq!(of(&[("Content-Length", "3"), ("Transfer-Encoding", "gzip, Chunked")]), Framing::Chunked);
        assert_eq!(of(&[("Transfer-Encoding", "chunked, gzip")]), Framing::Unknowable);
        assert_eq!(of(&[("Transfer-Encoding", "chunked,"), ("Transfer-Encoding", "")]), Framing::Chunked);
        assert_eq!(of(&[("Content-Length", "0000000000000000000000000000012,")]), Framing::Fixed(12));
        assert_eq!(of(&[("Content-Length", ",")]), Framing::Unknowable);
    }

    #[test]
    fn responses() {
        let of = |status, method, list: &[(&'static str, &'static str)]| of_response(&fields(list), status, method);
        let ten = &[("Content-Length", "10")];
        assert_eq!(of(200, Some("GET"), ten), Framing::Fixed(10));
        assert_eq!(of(200, Some("HEAD"), ten), Framing::Fixed(0));
        assert_eq!(of(304, Some("GET"), ten), Framing::Fixed(0));
        assert_eq!(of(204, Some("GET"), &[("Transfer-Encoding", "chunked")]), Framing::Fixed(0));
        assert_eq!(of(200, Some("CONNECT"), ten), Framing::ToClose);
        assert_eq!(of(407, Some("CONNECT"), ten), Framing::Fixed(10));
        assert_eq!(of(101, Some("GET"), &[]), Framing::ToClose);
        assert_eq!(of(200, None, &[]), Framing::ToClose);
        assert_eq!(of(200, None, &[("Transfer-Encoding", "gzip")]), Framing::ToClose);
        assert_eq!(of(200, None, &[("Content-Length", "1"), ("Content-Length", "2")]), Framing::Unknowable);
    }

    #[test]
    fn chunk_lines() {
        assert_eq!(chunk_size(b"1a\r\n"), Some(26));
        assert_eq!(chunk_size(b"0\n"), Some(0));
        assert_eq!(chunk_size(b"4 ;name=\"va;lue\"\r\n"), Some(4));
        assert_eq!(chunk_size(b"4;a\r\n"), Some(4));
        assert_eq!(chunk_size(b"00000000000000000000004\r\n"), Some(4));
        assert_eq!(chunk_size(b"\r\n"), None);
        assert_eq!(chunk_size(b"4 5\r\n"), None);
        assert_eq!(chunk_size(b"-1\r\n"), None);
        assert_eq!(chunk_size(b"1000000000000000\r\n"), None, "more than any body");
    }
}
