//! Recognises the first bytes of a direction, and finds where an HTTP/1 message may begin in a stream of arbitrary bytes. In: bytes.
//! Out: a verdict. It keeps no state.

/// Longest start line searched for while HTTP/1 is not proved.
pub(super) const LINE_LIMIT: usize = 16 << 10;
/// Longest unknown method token that is accepted.
const METHOD_LIMIT: usize = 32;
/// What an HTTP/2 client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of ` HTTP/1.x`, the end of a request line with the space before it.
const VERSION_LEN: usize = 9;

/// Methods recognised in the middle of other bytes (IANA's registry, and a few in use without registration).
const METHODS: [&str; 37] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "QUERY",
    "PURGE",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKWORKSPACE",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "SUBSCRIBE",
    "NOTIFY",
];

/// What the first bytes of a direction are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An HTTP/1 request.
    Request,
    /// An HTTP/1 response.
    Response,
    /// The HTTP/2 client preface.
    Preface,
    /// SETTINGS, the HTTP/2 server's first frame.
    ServerSettings,
    /// Too few bytes to decide.
    More,
    /// Something else.
    Other,
}

/// Classifies the first bytes of a direction.
pub(super) fn first_bytes(bytes: &[u8]) -> Verdict {
    if bytes.first() == Some(&0) {
        return settings(bytes);
    }
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let text = bytes.get(blank..).unwrap_or_default();
    if text.is_empty() {
        return if blank > LINE_LIMIT { Verdict::Other } else { Verdict::More };
    }
    if shares_start(text, PREFACE) && (text.len() > 4 || text.len() < 4) {
        return if text.len() >= PREFACE.len() { Verdict::Preface } else { Verdict::More };
    }
    if shares_start(text, b"HTTP/1.") {
        return if text.len() >= 7 { status_line(text) } else { Verdict::More };
    }
    request_line(text)
}

fn shares_start(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// The head of a SETTINGS frame (RFC 9113 §6.5) on stream 0, with a length that is a multiple of six, and not an acknowledgement.
fn settings(bytes: &[u8]) -> Verdict {
    let Some(head) = bytes.get(..9) else {
        let so_far = [(1, 0), (3, 4), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)];
        let fits = so_far.into_iter().all(|(at, want)| bytes.get(at).is_none_or(|b| *b == want));
        return if fits { Verdict::More } else { Verdict::Other };
    };
    match head {
        [0, 0, len, 4, 0, 0, 0, 0, 0] if len % 6 == 0 => Verdict::ServerSettings,
        _ => Verdict::Other,
    }
}

fn status_line(text: &[u8]) -> Verdict {
    let shape = |at: usize, b: u8| match at {
        7 => b.is_ascii_digit(),
        8 => b == b' ',
        9..=11 => b.is_ascii_digit() || b == b' ',
        _ => true,
    };
    match text.iter().take(12).enumerate().all(|(at, b)| shape(at, *b)) {
        false => Verdict::Other,
        true if text.len() >= 12 => Verdict::Response,
        true => Verdict::More,
    }
}

fn request_line(text: &[u8]) -> Verdict {
    let token = text.iter().take_while(|b| is_token(**b)).count();
    if token == 0 || token > METHOD_LIMIT {
        return Verdict::Other;
    }
    match (text.get(token), text.get(token + 1)) {
        (None, _) | (Some(b' '), None) => Verdict::More,
        (Some(b' '), Some(next)) if next.is_ascii_graphic() || *next >= 0x80 || *next == b' ' => {
            let method = text.get(..token).unwrap_or_default();
            let known = is_known(method);
            let target = text.get(token + 1..).unwrap_or_default();
            if known && (*next == b'/' || target.starts_with(b"http")) {
                return Verdict::Request;
            }
            whole_request_line(text, known)
        }
        _ => Verdict::Other,
    }
}

/// A request line with a known method may also be proved by its length, one with an unknown method only by its version.
fn whole_request_line(text: &[u8], known: bool) -> Verdict {
    let window = text.get(..LINE_LIMIT).unwrap_or(text);
    let end = memchr::memchr(b'\n', window);
    let line = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
    // Checked first, so that the verdict does not depend on how much of the line has arrived.
    if line.iter().any(|b| *b < 0x20 && *b != b'\r') {
        return Verdict::Other;
    }
    match end {
        Some(_) if version_starts(line).is_some() => Verdict::Request,
        Some(_) => Verdict::Other,
        None if window.len() == LINE_LIMIT && known => Verdict::Request,
        None if window.len() == LINE_LIMIT => Verdict::Other,
        None => Verdict::More,
    }
}

/// Where ` HTTP/1.x` begins at the end of a line (without its line feed).
fn version_starts(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let at = line.len().checked_sub(VERSION_LEN)?;
    match line.get(at..)? {
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => Some(at),
        _ => None,
    }
}

/// Where in `line` (ended by a line feed) a request line begins that ends with it. `whole` means that the line's first byte follows
/// a line feed or a hole: then any method token is accepted, otherwise only a known one.
pub(super) fn request_start(line: &[u8], whole: bool) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let before = line.get(..version_starts(line)?)?;
    let space = memchr::memrchr(b' ', before)?;
    if space + 1 == before.len() {
        return None;
    }
    let method_end = before.get(..space)?;
    let run = method_end.iter().rev().take_while(|b| is_token(**b)).count();
    let start = method_end.len() - run;
    let token = method_end.get(start..)?;
    if token.is_empty() {
        return None;
    }
    if is_known(token) {
        return Some(start);
    }
    let known = METHODS.iter().filter(|m| token.ends_with(m.as_bytes())).map(|m| m.len()).max();
    match known {
        Some(len) => Some(method_end.len() - len),
        None => (start == 0 && whole && run <= METHOD_LIMIT).then_some(0),
    }
}

/// Where in `line` a status line begins that ends with it.
pub(super) fn response_start(line: &[u8]) -> Option<usize> {
    let at = memchr::memmem::rfind(line, b"HTTP/1.")?;
    match line.get(at + 7..at + 13)? {
        [minor, b' ', a, b, c, b' ' | b'\r' | b'\n']
            if [minor, a, b, c].into_iter().all(u8::is_ascii_digit) && *a != b'0' =>
        {
            Some(at)
        }
        _ => None,
    }
}

/// True if a line (ended by a line feed) may be part of a head: a field, or the continuation of one.
pub(super) fn is_field_line(line: &[u8]) -> bool {
    let name = line.iter().take_while(|b| is_token(**b)).count();
    match line.get(name) {
        Some(b':') => name > 0,
        Some(b' ' | b'\t') => name == 0,
        _ => false,
    }
}

/// True when `bytes` begin as what stands behind a start line: with a field's name and its colon, or an empty line.
pub(super) fn may_follow_start(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(b'\n') => true,
        Some(b'\r') => bytes.get(1) == Some(&b'\n'),
        Some(b' ' | b'\t') | None => false,
        Some(_) => is_field_line(bytes),
    }
}

fn is_known(method: &[u8]) -> bool {
    METHODS.iter().any(|m| m.as_bytes() == method)
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        let cases: [(&[u8], Verdict); 26] = [
            (b"", Verdict::More),
            (b"G", Verdict::More),
            (b"GET / HT", Verdict::Request),
            (b"GET / HTTP/1.1\r\n", Verdict::Request),
            (b"\r\nGET / HTTP/1.1\r\n", Verdict::Request),
            (b"X-CUSTOM!TOKEN * HTTP/1.0\n", Verdict::Request),
            (b"PRI", Verdict::More),
            (b"PRINT /x HTTP/1.1\r\n", Verdict::Request),
            (b"PRI /x HTTP/1.1\r\n", Verdict::Request),
            (PREFACE, Verdict::Preface),
            (b"EHLO mail.example.com\r\n", Verdict::Other),
            (b"GET key\r\n", Verdict::Other),
            (b"GET h\x17t HTTP/1.1\r\n", Verdict::Other),
            (b"GET h\x17t", Verdict::Other),
            (b"HTTP/1.1 200 OK", Verdict::Response),
            (b"HTTP/1.1 2", Verdict::More),
            (b"HTTP/2 200", Verdict::Other),
            (b"HTTP/1.1;200 OK", Verdict::Other),
            (b"220 smtp\r\n", Verdict::Other),
            (b"\x16\x03\x01\x02\x00", Verdict::Other),
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03", Verdict::ServerSettings),
            (b"\0\0", Verdict::More),
            (b"\0\0\x13\x04\0\0\0\0\0", Verdict::Other),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Verdict::Other),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Verdict::Other),
            (b"*1\r\n$4\r\nPING\r\n", Verdict::Other),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(first_bytes(bytes), verdict, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_prefix_of_a_start_is_undecided_or_right() {
        let starts: [(&[u8], Verdict); 4] = [
            (b"GET /a HTTP/1.1\r\n", Verdict::Request),
            (b"HTTP/1.1 200 OK\r\n", Verdict::Response),
            (PREFACE, Verdict::Preface),
            (b"\0\0\x06\x04\0\0\0\0\0", Verdict::ServerSettings),
        ];
        for (start, verdict) in starts {
            for end in 0..start.len() {
                let early = first_bytes(&start[..end]);
                assert!(early == Verdict::More || early == verdict, "{} {early:?}", start[..end].escape_ascii());
            }
            assert_eq!(first_bytes(start), verdict);
        }
    }

    #[test]
    fn starts_in_the_middle_of_other_bytes() {
        assert_eq!(request_start(b"GET / HTTP/1.1\r\n", true), Some(0));
        assert_eq!(request_start(b"xyz}GET /a HTTP/1.1\r\n", true), Some(4));
        assert_eq!(request_start(b"xyzGET /a HTTP/1.1\r\n", true), Some(3));
        assert_eq!(request_start(b"FROB /a HTTP/1.1\n", true), Some(0));
        assert_eq!(request_start(b"FROB /a HTTP/1.1\n", false), None);
        assert_eq!(request_start(b"see GET / HTTP/1.1 in the book\n", true), None);
        assert_eq!(response_start(b"{}HTTP/1.1 200 OK\r\n"), Some(2));
        assert_eq!(response_start(b"HTTP/1.1 200\r\n"), Some(0));
        assert_eq!(response_start(b"HTTP/1.1 20\r\n"), None);
        assert!(is_field_line(b"Host: a\r\n") && is_field_line(b" fold\r\n"));
        assert!(!is_field_line(b"GET / HTTP/1.1\r\n") && !is_field_line(b": x\r\n"));
    }
}
