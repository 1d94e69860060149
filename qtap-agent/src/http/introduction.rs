//! The PROXY protocol header, with which a proxy names the client it speaks for before the first byte of a connection (HAProxy's
//! `proxy-protocol.txt`, versions 1 and 2). In: the first bytes of a direction. Out: the header's length. Its contents are not parsed.

/// Maximum length of a text header (version 1), line end included.
const TEXT_LIMIT: usize = 107;
/// The bytes a binary header (version 2) starts with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the part whose length the header declares.
const BINARY_HEAD: usize = 16;

/// How a direction starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With a header of this many bytes.
    Header(usize),
    /// Perhaps with a header: too few bytes to decide.
    More,
    /// With something else.
    Other,
}

/// Measures the header at the start of a direction.
pub(super) fn measure(bytes: &[u8]) -> Begins {
    match text(bytes) {
        Begins::Other => binary(bytes),
        begins => begins,
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443` and a line end; after `UNKNOWN` the rest of the line is to be ignored.
fn text(bytes: &[u8]) -> Begins {
    let kinds: [&[u8]; 4] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN\r", b"PROXY UNKNOWN "];
    if !kinds.into_iter().any(|kind| kind.iter().zip(bytes).all(|(a, b)| a == b)) {
        return Begins::Other;
    }
    let window = bytes.get(..TEXT_LIMIT).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(end) if window.get(..end).is_some_and(|line| line.ends_with(b"\r")) => Begins::Header(end + 1),
        None if window.len() < TEXT_LIMIT => Begins::More,
        _ => Begins::Other,
    }
}

/// The signature, version 2 and a command, the family, a length, and that many bytes.
fn binary(bytes: &[u8]) -> Begins {
    if !SIGNATURE.iter().zip(bytes).all(|(a, b)| a == b) || bytes.get(12).is_some_and(|version| version >> 4 != 2) {
        return Begins::Other;
    }
    let Some(&[high, low]) = bytes.get(14..BINARY_HEAD) else { return Begins::More };
    let len = BINARY_HEAD + usize::from(u16::from_be_bytes([high, low]));
    if bytes.len() >= len { Begins::Header(len) } else { Begins::More }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification, §2.1 and §2.2.
    #[test]
    fn headers_are_measured() {
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x9c\x40\x01\xbb";
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        let headers: [&[u8]; 6] = [
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            b"PROXY TCP6 ffff::1 ffff::2 65535 65535\r\n",
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 whatever 65535 65535\r\n",
            v2,
            local,
        ];
        for header in headers {
            for end in 1..header.len() {
                assert_eq!(measure(&header[..end]), Begins::More, "{end} of {header:?}");
            }
            let followed = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(measure(header), Begins::Header(header.len()));
            assert_eq!(measure(&followed), Begins::Header(header.len()));
        }
    }

    #[test]
    fn what_is_none() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 97], b"\r\n"].concat();
        let others: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXY / HTTP/1.1\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\x16\x03\x01",
            &long,
        ];
        for other in others {
            assert_eq!(measure(other), Begins::Other, "{other:?}");
        }
    }
}
