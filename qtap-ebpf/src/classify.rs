//! What the first bytes of a direction are. A sieve, not a parser: what it lets through is parsed, or refused, in userspace.

use qtap_common::state::{FIRST_BYTES, FIRST_ROOM, class};

/// Looks at the first bytes. `late`: the stream was joined somewhere in its middle, so HTTP/2 frames and TLS records of any
/// kind count too.
#[inline(never)]
pub fn first_bytes(first: &[u8; FIRST_ROOM], len: u32, late: bool) -> u8 {
    if len < 3 {
        let possible = KINDS[first[0] as usize] == TOKEN || first[0] == b'\r' || first[0] == 0x16 || first[0] == 0;
        return if possible { class::UNDECIDED } else { class::OTHER };
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
pub fn is_tls(first: &[u8; FIRST_ROOM], late: bool) -> bool {
    let kind = first[0];
    let starts = kind == 0x16 || (late && (0x14..=0x17).contains(&kind));
    starts && first[1] == 3 && first[2] <= 4
}

/// An HTTP/2 frame header (RFC 9113 §4.1): SETTINGS on stream 0 at the start, any known type when joined late.
#[inline(always)]
fn http2_frame(first: &[u8; FIRST_ROOM], len: u32, late: bool) -> u8 {
    if len < 9 {
        return class::UNDECIDED;
    }
    let settings = first[3] == 4 && first[4] <= 1 && (first[5] | first[6] | first[7] | first[8]) == 0;
    if settings || (late && first[3] <= 9 && first[5] & 0x80 == 0) { class::HTTP } else { class::OTHER }
}

/// A request line (`method SP target`: RFC 9112 §3, the target beginning with `/`, `*`, a scheme, or anything after CONNECT),
/// a status line, or the HTTP/2 preface, which has the form of a request line. A stream that begins with an empty line (§2.2)
/// is let pass.
#[inline(always)]
fn http1_or_preface(first: &[u8; FIRST_ROOM], len: u32) -> u8 {
    if first[0] == b'\r' || first[0] == b'\n' {
        return class::HTTP;
    }
    if first[0] == b'H' && first[1] == b'T' && first[2] == b'T' {
        return if len < 5 || first[4] == b'/' { class::HTTP } else { class::OTHER };
    }
    let connect = first[0] == b'C' && first[1] == b'O' && first[2] == b'N';
    for index in 0..FIRST_BYTES {
        if index as u32 + 1 >= len {
            return class::UNDECIDED;
        }
        let kind = KINDS[first[index] as usize];
        if kind == SPACE {
            let next = first[index + 1];
            let target = next == b'/' || next == b'*' || next | 0x20 == b'h';
            return if (target || connect) && index > 0 { class::HTTP } else { class::OTHER };
        }
        if kind == NEITHER {
            return class::OTHER;
        }
    }
    class::OTHER
}

const NEITHER: u8 = 0;
const TOKEN: u8 = 1;
const SPACE: u8 = 2;

/// What each byte can be in front of a request target. A table, so that the verifier follows one path a byte.
static KINDS: [u8; 256] = kinds();

/// `tchar` of RFC 9110 §5.6.2.
const fn kinds() -> [u8; 256] {
    let mut kinds = [NEITHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_mark = matches!(
            byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if is_mark || (byte as u8).is_ascii_alphanumeric() {
            kinds[byte] = TOKEN;
        }
        byte += 1;
    }
    kinds[b' ' as usize] = SPACE;
    kinds
}
