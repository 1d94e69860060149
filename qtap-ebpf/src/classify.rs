//! What the first bytes of a direction are. A sieve, not a parser: what it lets through is parsed, or refused, in userspace.

use qtap_common::state::{FIRST_BYTES, class};

/// Looks at the first bytes. `late`: the stream was joined somewhere in its middle, so HTTP/2 frames and TLS records of any
/// kind count too.
#[inline(never)]
pub fn first_bytes(first: &[u8; FIRST_BYTES], len: u32, late: bool) -> u8 {
    if len < 3 {
        return if could_be_token(first[0]) || first[0] == b'\r' || first[0] == 0x16 || first[0] == 0 {
            class::UNDECIDED
        } else {
            class::OTHER
        };
    }
    if is_tls(first, late) {
        return class::TLS;
    }
    if first[0] == 0 {
        return http2_frame(first, len, late);
    }
    http1_or_preface(first, len)
}

/// A TLS record header (RFC 8446 §5.1, RFC 5246 §6.2.1); at the start of a stream only a handshake record can stand.
#[inline(always)]
pub fn is_tls(first: &[u8; FIRST_BYTES], late: bool) -> bool {
    let kind = first[0];
    let starts = kind == 0x16 || (late && (0x14..=0x17).contains(&kind));
    starts && first[1] == 3 && first[2] <= 4
}

/// An HTTP/2 frame header (RFC 9113 §4.1): SETTINGS on stream 0 at the start, any known type when joined late.
#[inline(always)]
fn http2_frame(first: &[u8; FIRST_BYTES], len: u32, late: bool) -> u8 {
    if len < 9 {
        return class::UNDECIDED;
    }
    let settings = first[3] == 4 && first[4] <= 1 && (first[5] | first[6] | first[7] | first[8]) == 0;
    if settings || (late && first[3] <= 9 && first[5] & 0x80 == 0) { class::HTTP } else { class::OTHER }
}

/// A request line (`method SP target`: RFC 9112 §3, the target beginning with `/`, `*`, a scheme, or anything after CONNECT),
/// a status line, or the HTTP/2 preface, which has the form of a request line. An empty line before it is let pass (§2.2).
#[inline(always)]
fn http1_or_preface(first: &[u8; FIRST_BYTES], len: u32) -> u8 {
    let connect = first[0] == b'C' && first[1] == b'O' && first[2] == b'N';
    let status = first[0] == b'H' && first[1] == b'T' && first[2] == b'T';
    let mut seen_token = false;
    let mut ended = false;
    for index in 0..FIRST_BYTES {
        if index as u32 >= len {
            return class::UNDECIDED;
        }
        let byte = first[index];
        if ended {
            let target = byte == b'/' || byte == b'*' || byte == b'h' || byte == b'H';
            return if target || connect { class::HTTP } else { class::OTHER };
        }
        if byte == b' ' && seen_token {
            ended = true;
        } else if could_be_token(byte) {
            seen_token = true;
        } else if status && byte == b'/' && index == 4 {
            return class::HTTP;
        } else if seen_token || (byte != b'\r' && byte != b'\n') {
            return class::OTHER;
        }
    }
    class::OTHER
}

/// `tchar` of RFC 9110 §5.6.2, less the characters no registered method has.
#[inline(always)]
fn could_be_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.' || byte == b'!' || byte == b'+'
}
