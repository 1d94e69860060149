//! Heads of HTTP/1 messages (RFC 9112 §2 to §5). In: the bytes of one whole head. Out: a [`Request`] or [`Response`] whose names and
//! values are slices of those bytes, and what the head implies for the body's framing; or `None`, if the bytes are not a head. Lines that are
//! no fields are left out and counted (`sift`).

use std::mem::MaybeUninit;

use bytes::Bytes;
use httparse::{Header, ParserConfig, Status};

use super::framing::{self, Framing};
use super::sift::sift;
use super::token::Kind;
use crate::http::pair;
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::time::KernelTime;

/// Field lines parsed without allocating; a head with more is parsed again with space for all of its lines.
const FIELDS_USUAL: usize = 64;
/// Maximum number of field lines of a head.
const FIELDS_MAX: usize = 8192;

/// A request's head.
pub(super) struct RequestHead {
    pub(super) request: Request,
    pub(super) framing: Framing,
    /// The connection may stop being HTTP/1 after the response: the request is a CONNECT, or asks for an Upgrade.
    pub(super) may_switch: bool,
    /// Its body may wait for a response, and may not be sent at all (RFC 9110 §10.1.1).
    pub(super) expects: bool,
    /// Bytes of lines that are no fields.
    pub(super) left_out: usize,
}

/// A response's head.
pub(super) struct ResponseHead {
    pub(super) response: Response,
    pub(super) status: u16,
    /// Bytes of lines that are no fields.
    pub(super) left_out: usize,
}

/// A trailer section's fields.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    pub(super) fields: Fields,
    /// Some of it could not be read.
    pub(super) lacks: bool,
}

/// Parses a request's head.
pub(super) fn request(head: &Bytes, started: KernelTime) -> Option<RequestHead> {
    let strict = ParserConfig::default();
    let mended = |head: &[u8]| parse_request(&mend(head, true), &lenient(), room(head), started);
    parse_request(head, &strict, FIELDS_USUAL, started).or_else(|| mended(head)).or_else(|| {
        let sifted = sift(head, Some(Kind::Request))?;
        Some(RequestHead { left_out: sifted.left_out, ..mended(&sifted.text)? })
    })
}

/// Parses a response's head.
pub(super) fn response(head: &Bytes, started: KernelTime) -> Option<ResponseHead> {
    let strict = ParserConfig::default();
    let mended = |head: &[u8]| parse_response(&mend(head, true), &lenient(), room(head), started);
    parse_response(head, &strict, FIELDS_USUAL, started).or_else(|| mended(head)).or_else(|| {
        let sifted = sift(head, Some(Kind::Response))?;
        Some(ResponseHead { left_out: sifted.left_out, ..mended(&sifted.text)? })
    })
}

/// Number of field slots for `head`: at most one per line.
fn room(head: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', head).count().clamp(FIELDS_USUAL, FIELDS_MAX)
}

/// Deviations that recipients commonly accept: several spaces in the start line, a space before the colon.
fn lenient() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    config
}

/// Rewrites a head as a recipient should understand it: line folds become spaces (RFC 9112 §5.2), and so do carriage returns that end no
/// line and other controls (§2.2, RFC 9110 §5.5); lines before the first field that begin with a space are removed (§2.2); a later minor
/// version becomes the last known one (RFC 9110 §2.5); a start line that is not UTF-8 is read as ISO-8859-1, as field values are.
fn mend(head: &[u8], has_start_line: bool) -> Bytes {
    let mut text = Vec::with_capacity(head.len());
    let mut after_start_line = false;
    for (nth, line) in head.split_inclusive(|b| *b == b'\n').enumerate() {
        let folded = nth > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if folded && after_start_line {
            continue;
        }
        after_start_line = has_start_line && nth == 0;
        if folded {
            let end = text.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            text.truncate(text.len() - end);
        }
        let from = text.len();
        let end = if line.ends_with(b"\r\n") { 2 } else { 1 };
        let (content, end) = line.split_at(line.len().saturating_sub(end));
        let of_one_octet = after_start_line && std::str::from_utf8(content).is_err();
        for octet in content.iter().map(|b| if b.is_ascii_control() && *b != b'\t' { b' ' } else { *b }) {
            if of_one_octet {
                text.extend_from_slice(char::from(octet).encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(octet);
            }
        }
        if after_start_line {
            text.get_mut(from..).into_iter().for_each(mend_version);
        }
        text.extend_from_slice(end);
    }
    text.into()
}

/// Replaces `HTTP/1.2` and later, at either end of a start line, by `HTTP/1.1`.
fn mend_version(start_line: &mut [u8]) {
    let at = if start_line.starts_with(b"HTTP/1.") { Some(7) } else { start_line.len().checked_sub(1) };
    let is_version = at.and_then(|at| start_line.get(at.checked_sub(7)?..at)) == Some(b"HTTP/1.");
    if let Some(minor) = at.filter(|_| is_version).and_then(|at| start_line.get_mut(at))
        && matches!(minor, b'2'..=b'9')
    {
        *minor = b'1';
    }
}

fn parse_request(head: &Bytes, config: &ParserConfig, room: usize, started: KernelTime) -> Option<RequestHead> {
    let mut none: [Header<'_>; 0] = [];
    let mut parsed = httparse::Request::new(&mut none);
    let mut usual = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    let mut many = if room > FIELDS_USUAL { vec![MaybeUninit::uninit(); room] } else { Vec::new() };
    let lines: &mut [MaybeUninit<Header<'_>>] = if many.is_empty() { &mut usual } else { &mut many };
    let status = config.parse_request_with_uninit_headers(&mut parsed, head, lines);
    if status != Ok(Status::Complete(head.len())) {
        return None;
    }
    let (method, target) = (parsed.method?, parsed.path?);
    let fields = fields(head, parsed.headers);
    let (scheme, authority) = split_target(method, target);
    let framing = framing::of_request(&fields);
    let may_switch = method == "CONNECT" || fields.get("upgrade").is_some();
    let expects = fields.all("expect").any(|value| value.eq_ignore_ascii_case("100-continue"));
    let mut request = Request {
        method: Some(method.to_owned()),
        target: Some(target.to_owned()),
        scheme,
        authority,
        protocol: None,
        version: version(parsed.version?),
        fields,
        body: Body::default(),
        trailers: Fields::default(),
        started,
        ended: None,
    };
    if request.authority.is_none() {
        request.authority = pair::host(&request);
    }
    Some(RequestHead { request, framing, may_switch, expects, left_out: 0 })
}

fn parse_response(head: &Bytes, config: &ParserConfig, room: usize, started: KernelTime) -> Option<ResponseHead> {
    let mut none: [Header<'_>; 0] = [];
    let mut parsed = httparse::Response::new(&mut none);
    let mut usual = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    let mut many = if room > FIELDS_USUAL { vec![MaybeUninit::uninit(); room] } else { Vec::new() };
    let lines: &mut [MaybeUninit<Header<'_>>] = if many.is_empty() { &mut usual } else { &mut many };
    let complete = config.parse_response_with_uninit_headers(&mut parsed, head, lines);
    if complete != Ok(Status::Complete(head.len())) {
        return None;
    }
    let status = parsed.code?;
    let response = Response {
        status: Some(status),
        reason: parsed.reason.map(|reason| head.slice_ref(reason.as_bytes())).unwrap_or_default(),
        informational: Vec::new(),
        version: version(parsed.version?),
        fields: fields(head, parsed.headers),
        body: Body::default(),
        trailers: Fields::default(),
        started,
        ended: None,
    };
    Some(ResponseHead { response, status, left_out: 0 })
}

/// Trailer fields (RFC 9112 §7.1.2): lines up to an empty line. Lines that are no fields are left out.
pub(super) fn trailers(section: &Bytes) -> Trailers {
    if section.len() <= 2 {
        return Trailers::default();
    }
    let mended = |section: &[u8]| trailer_lines(&mend(section, false), room(section));
    let whole = trailer_lines(section, FIELDS_USUAL).or_else(|| mended(section));
    let lacks = whole.is_none();
    let sifted = || sift(section, None).and_then(|sifted| mended(&sifted.text));
    Trailers { fields: whole.or_else(sifted).unwrap_or_default(), lacks }
}

fn trailer_lines(section: &Bytes, room: usize) -> Option<Fields> {
    let mut lines = vec![httparse::EMPTY_HEADER; room];
    match httparse::parse_headers(section, &mut lines) {
        Ok(Status::Complete((_, headers))) => Some(fields(section, headers)),
        Ok(Status::Partial) | Err(_) => None,
    }
}

fn fields(head: &Bytes, headers: &[Header<'_>]) -> Fields {
    let text = |part: &[u8]| FieldText::Known(if part.is_empty() { Bytes::new() } else { head.slice_ref(part) });
    Fields(headers.iter().map(|h| Field { name: text(h.name.as_bytes()), value: text(h.value) }).collect())
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Scheme and authority of a target in absolute form; authority of a target in authority form (RFC 9112 §3.2).
fn split_target(method: &str, target: &str) -> (Option<String>, Option<String>) {
    if method == "CONNECT" {
        return (None, Some(target.to_owned()));
    }
    if target.starts_with('/') {
        return (None, None);
    }
    let Some((scheme, rest)) = target.split_once("://") else { return (None, None) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    (Some(scheme.to_ascii_lowercase()), Some(host.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests {
    use super::*;

    fn req(text: &'static str) -> Option<RequestHead> {
        request(&Bytes::from_static(text.as_bytes()), KernelTime(7))
    }

    #[test]
    fn the_forms_of_a_target() {
        let origin = req("GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n").unwrap().request;
        assert_eq!(origin.target.as_deref(), Some("/where?q=now"));
        assert_eq!((origin.scheme, origin.authority.as_deref()), (None, Some("www.example.org")));
        let absolute = req("GET http://u@www.example.org/pub/WWW/ HTTP/1.1\r\nHost: other\r\n\r\n").unwrap().request;
        assert_eq!(
            (absolute.scheme.as_deref(), absolute.authority.as_deref()),
            (Some("http"), Some("www.example.org"))
        );
        let authority = req("CONNECT www.example.com:80 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(authority.request.authority.as_deref(), Some("www.example.com:80"));
        assert!(authority.may_switch);
        let asterisk = req("OPTIONS * HTTP/1.0\r\n\r\n").unwrap().request;
        assert_eq!((asterisk.target.as_deref(), asterisk.version), (Some("*"), Version::Http10));
    }

    #[test]
    fn names_and_values_are_slices_of_the_head() {
        let head = Bytes::from_static(b"GET / HTTP/1.1\r\nA: b\r\n\r\n");
        let parsed = request(&head, KernelTime(0)).unwrap().request;
        let value = parsed.fields.0[0].value.bytes().unwrap();
        assert!(head.as_ptr_range().contains(&value.as_ptr()));
    }

    #[test]
    fn bare_line_feeds_folds_and_spaces_are_put_up_with() {
        assert!(req("GET / HTTP/1.1\nHost: a\n\n").is_some());
        let folded = req("GET / HTTP/1.1\r\nX: a\r\n  b\r\nY: c\r\n\r\n").unwrap().request;
        assert_eq!(folded.fields.get("x").map(|v| v.replace(' ', "")), Some("ab".to_owned()));
        assert_eq!(folded.fields.get("y"), Some("c"));
        assert!(req("GET  /  HTTP/1.1\r\n\r\n").is_some());
        let bare = req("GET / HTTP/1.7\r\n\tgone: 1\r\n gone\r\nX: a\rY: b\r\n\r\n").unwrap().request;
        assert_eq!((bare.fields.0.len(), bare.fields.get("x"), bare.version), (1, Some("a Y: b"), Version::Http11));
    }

    #[test]
    fn what_is_no_head() {
        assert!(req("GET / HTTP/1.1\r\nno colon\r\n\r\n").is_none());
        assert!(req("GET / HTTP/2.0\r\n\r\n").is_none());
        assert!(req("\u{1}\u{2}\r\n\r\n").is_none());
    }

    #[test]
    fn more_fields_than_usual() {
        let mut text = String::from("HTTP/1.1 200 OK\r\n");
        for n in 0..3000 {
            text.push_str(&format!("X-{n}: {n}\r\n"));
        }
        text.push_str("\r\n");
        let parsed = response(&Bytes::from(text), KernelTime(0)).unwrap();
        assert_eq!(parsed.response.fields.0.len(), 3000);
        assert_eq!(parsed.response.reason, "OK");
    }
}
