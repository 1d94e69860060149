//! Classifies the first bytes of a direction. A sieve, not a parser: what it lets through is parsed, or refused, in userspace.

use qtap_common::state::{Conn, Dir, FIRST_BYTES, FIRST_ROOM, class};

use crate::calls;
use crate::carry::user_or_zero;
use crate::globals::{self, read};
use crate::source::Source;

/// Longest header of the PROXY protocol in text.
const INTRODUCTION_TEXT: u64 = 107;

/// Classifies the first bytes. `late`: the stream was joined midway, so HTTP/2 frames and TLS records of any type count too.
#[inline(never)]
pub fn first_bytes(first: &[u8; FIRST_ROOM], len: u32, late: bool) -> u8 {
    if len < 3 {
        let possible = TCHARS[first[0] as usize] != 0 || first[0] == b'\r' || first[0] == 0x16 || first[0] == 0;
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

/// A TLS record header (RFC 8446 §5.1, RFC 5246 §6.2.1); a stream can only start with a handshake record.
#[inline(always)]
pub fn is_tls(first: &[u8; FIRST_ROOM], late: bool) -> bool {
    let kind = first[0];
    let starts = kind == 0x16 || (late && (0x14..=0x17).contains(&kind));
    starts && first[1] == 3 && first[2] <= 4
}

/// An HTTP/2 frame header (RFC 9113 §4.1): SETTINGS on stream 0 at the start, any known type when joined mid-stream.
#[inline(always)]
fn http2_frame(first: &[u8; FIRST_ROOM], len: u32, late: bool) -> u8 {
    if len < 9 {
        return class::UNDECIDED;
    }
    let settings = ((first[3] ^ 4) | (first[4] & !1) | first[5] | first[6] | first[7] | first[8]) == 0;
    if settings || (late && first[3] <= 9 && first[5] & 0x80 == 0) { class::HTTP } else { class::OTHER }
}

/// A request line (`method SP target`: RFC 9112 §3; the target begins with `/`, `*` or a common scheme, or is anything after CONNECT),
/// a status line, the line of the PROXY protocol, or the HTTP/2 preface, which has the form of a request line. A stream that begins with an
/// empty line (§2.2) is accepted.
#[inline(always)]
fn http1_or_preface(first: &[u8; FIRST_ROOM], len: u32) -> u8 {
    if first[0] == b'\r' || first[0] == b'\n' {
        return class::HTTP;
    }
    if head(first) & 0xff_ffff == u32::from_le_bytes(*b"HTT\0") {
        return if len < 5 || first[4] == b'/' { class::HTTP } else { class::OTHER };
    }
    let at = token(first);
    if at as u32 + 1 >= len {
        return class::UNDECIDED;
    }
    if first[at] == b' ' { behind_method(first, at) } else { class::OTHER }
}

/// Index of the first byte that is not a `tchar`; at most [`FIRST_BYTES`] − 1. Branch-free, so that the verifier walks it once: in a loop that
/// ended at that byte it walked every way out, which was two fifths of all its work on `sys_exit`.
#[inline(always)]
fn token(first: &[u8; FIRST_ROOM]) -> usize {
    let mut goes_on = 1;
    let mut length = 0;
    for index in 0..FIRST_BYTES - 1 {
        // Read one at a time: all at once they would take two hundred bytes of stack.
        goes_on &= read(&raw const TCHARS[read(&raw const first[index]) as usize]);
        length += goes_on as usize;
    }
    length & (FIRST_BYTES - 1)
}

/// Decides by what follows the method, whose length is `at`.
#[inline(always)]
fn behind_method(first: &[u8; FIRST_ROOM], at: usize) -> u8 {
    let target = first[at + 2] & REFUSED[first[at + 1] as usize] == 0;
    // `CONNECT`, and the first line of the PROXY protocol, which is followed by a request.
    let named = head(first) & 0xff_ffff == u32::from_le_bytes(*b"CON\0") || is_introduction_text(first);
    if (target || named) && at > 0 { class::HTTP } else { class::OTHER }
}

/// True for the text that version 1 of the PROXY protocol begins with.
#[inline(always)]
fn is_introduction_text(first: &[u8; FIRST_ROOM]) -> bool {
    head(first) == u32::from_le_bytes(*b"PROX") && first[4] == b'Y'
}

/// The first four bytes as one number, to compare them at once: the verifier walks both ways of each comparison.
#[inline(always)]
fn head(first: &[u8; FIRST_ROOM]) -> u32 {
    u32::from_le_bytes([first[0], first[1], first[2], first[3]])
}

/// Length of a PROXY protocol version 2 header, as its length field says, if `first` begins with its signature; else 0.
#[inline(always)]
fn binary_introduction(first: &[u8; FIRST_ROOM]) -> u64 {
    let signed = first[0] == b'\r' && first[3] == b'\n' && first[4] == 0 && first[7] == b'Q' && first[11] == b'\n';
    if signed { 16 + ((first[14] as u64) << 8 | first[15] as u64) } else { 0 }
}

/// A direction that carried something else may switch to TLS with this call (SOCKS, `STARTTLS`, PostgreSQL's `SSLRequest`): on a hello or, inside
/// a TLS call, on the five bytes before one. After the preamble of SOCKS, both directions may also switch to HTTP.
#[inline(never)]
pub fn turn(conn: &mut Conn, direction: usize, source: &Source, bytes: u64) {
    let dir = &mut conn.dirs[direction & 1];
    if dir.class != class::OTHER || bytes < 5 {
        return;
    }
    let base = first_buffer(source);
    let head = user_or_zero::<u32>(base).to_le_bytes();
    let is_socks = dir.first[0] == 5 || dir.first[0] == 4;
    if is_socks && asks(head) && globals::wishes().http != 0 {
        conn.dirs[0].class = class::HTTP;
        conn.dirs[1].class = class::HTTP;
        return;
    }
    if head[0] != 0x16 || head[1] != 3 || head[2] > 4 {
        return;
    }
    let hello = if bytes > 5 { user_or_zero::<u8>(base + 5) } else { 0 };
    if hello == 1 || hello == 2 || calls::in_call() {
        conn.dirs[direction & 1].class = class::TLS;
    }
}

/// True when a request begins with these bytes. (A SOCKS proxy may pass on anything.)
#[inline(always)]
fn asks(head: [u8; 4]) -> bool {
    matches!(&head, b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PATC")
}

/// True when the call ends with the PROXY protocol header that it carries: then the following bytes decide what the stream is.
#[inline(always)]
pub fn ends_introduction(dir: &Dir, source: &Source, bytes: u64) -> bool {
    if binary_introduction(&dir.first) == bytes {
        return true;
    }
    if !is_introduction_text(&dir.first) || bytes < 8 || bytes > INTRODUCTION_TEXT {
        return false;
    }
    // A request ends with an empty line, the header does not.
    let end = user_or_zero::<u32>(first_buffer(source) + bytes - 4).to_le_bytes();
    end[2] == b'\r' && end[3] == b'\n' && end[1] != b'\n'
}

/// Address of a call's first buffer.
#[inline(always)]
fn first_buffer(source: &Source) -> u64 {
    if source.len != 0 || source.is_messages() { source.base } else { user_or_zero::<u64>(source.iov) }
}

/// Indexed by the first character of a target: bits that the next one must not have. None for a path, an asterisk, `http:` and a surplus space;
/// those not in `t` or `s` for `ftp:` and `ws:`, which proxies are asked for too; else all, which passes only while the next one has not arrived.
/// One load for each position, since the verifier follows every branch.
static REFUSED: [u8; 256] = refused();

const fn refused() -> [u8; 256] {
    let mut refused = [0xFF; 256];
    refused[b'/' as usize] = 0;
    refused[b'*' as usize] = 0;
    refused[b'h' as usize] = 0;
    refused[b'H' as usize] = 0;
    refused[b' ' as usize] = 0;
    refused[b'f' as usize] = !b't';
    refused[b'w' as usize] = !b's';
    refused
}

/// 1 for each `tchar` of RFC 9110 §5.6.2, else 0.
static TCHARS: [u8; 256] = tchars();

const fn tchars() -> [u8; 256] {
    let mut tchars = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_mark = matches!(
            byte as u8,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        tchars[byte] = (is_mark || (byte as u8).is_ascii_alphanumeric()) as u8;
        byte += 1;
    }
    tchars
}
