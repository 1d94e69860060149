//! TLS records in a process's memory: nothing at an address is trusted until it fits.

use crate::carry::user;
use crate::source::Source;

/// A record's ciphertext.
pub struct Sealed {
    /// Where it is.
    pub text: u64,
    pub len: u64,
}

/// The first octets of a record's ciphertext.
pub type Text = [u64; 2];

/// Octets of a record's header.
pub const HEADER: u64 = 5;
/// The longest ciphertext (RFC 5246 §6.2.3; that of TLS 1.3 is shorter).
pub const LONGEST: u64 = (1 << 14) + 2048;
/// Content types.
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
/// A Finished of TLS 1.2, and its length with its header (RFC 5246 §7.4.9).
const FINISHED: u8 = 20;
const FINISHED_BYTES: u64 = 4 + 12;
/// Octets by which ciphertext is longer: the tag; in TLS 1.3 also the content type; in TLS 1.2 with AES-GCM also the nonce in front.
pub const TAG: u64 = 16;
const NONCE: u64 = 8;
/// Upper bound on the size of a buffer that records are read into.
pub const NEAR: u64 = 64 << 10;
/// Maximum records of one system call that are examined.
const RECORDS: u32 = 6;

/// Content type and length of the record at `base`.
#[inline(always)]
fn record(base: u64) -> Option<(u8, u64)> {
    let [is, major, _, high, low] = user::<[u8; 5]>(base)?;
    if major == 3 { Some((is, u64::from(high) << 8 | u64::from(low))) } else { None }
}

/// Ciphertext of the first application data record (as protected ones of TLS 1.3 are called) in `len` octets at `base`, where one begins.
#[inline(never)]
pub fn protected(base: u64, len: u64) -> Option<Text> {
    let mut at = 0;
    for _ in 0..RECORDS {
        if at + HEADER + TAG > len {
            return None;
        }
        let (is, size) = record(base + at)?;
        if is == APPLICATION_DATA {
            return user(base + at + HEADER);
        }
        at += HEADER + size;
    }
    None
}

/// True when `text` is the ciphertext of one of the records that begin in `len` octets at `base`.
#[inline(never)]
pub fn leaves(text: &Text, base: u64, len: u64) -> bool {
    let mut at = 0;
    for _ in 0..RECORDS {
        if at + HEADER + TAG > len {
            return false;
        }
        let Some((is, size)) = record(base + at) else { return false };
        let Some(there) = user::<Text>(base + at + HEADER) else { return false };
        if is >= ALERT && there[0] == text[0] && there[1] == text[1] {
            return true;
        }
        at += HEADER + size;
    }
    false
}

/// True when a record's plaintext can be the `bytes` octets at `plain`.
#[inline(always)]
pub fn is_plaintext(of: &Sealed, plain: u64, bytes: u64) -> bool {
    let before = plain.wrapping_sub(of.text);
    if bytes > of.len {
        return false;
    }
    let around = of.len - bytes;
    (before == 0 && around >= TAG) || (before == NONCE && around == NONCE + TAG)
}

/// True when a record's plaintext is application data. (AES-GCM of TLS 1.2 moves the plaintext to where the nonce was, or leaves it.)
#[inline(always)]
pub fn is_application_data(of: &Sealed, plain: u64, bytes: u64) -> bool {
    let around = of.len - bytes;
    if plain == of.text && around > TAG {
        // TLS 1.3: the content type follows, then zeros up to the tag. If longer by exactly a nonce more, it may also be TLS 1.2.
        let Some(behind) = user::<u64>(plain + bytes) else { return false };
        if around != NONCE + TAG || (behind >> 8 == 0 && behind >= u64::from(ALERT)) {
            return behind as u8 == APPLICATION_DATA;
        }
    }
    // TLS 1.2: the record's header says so, if it is still there. Else: the first record is a Finished, an alert has two octets.
    if let Some((is, size)) = record(of.text - HEADER)
        && (ALERT..=APPLICATION_DATA).contains(&is)
        && size == of.len
    {
        return is == APPLICATION_DATA;
    }
    match user::<[u8; 2]>(plain) {
        Some([level, _]) if bytes == 2 => level > 2,
        Some([is, high]) => !(is == FINISHED && high == 0 && bytes == FINISHED_BYTES),
        None => true,
    }
}

/// Address and length of the ciphertext that `words` name: a `Vec`, with its address, length and capacity in an order that the compiler chooses.
/// Space for the record's header, still blank, may come first.
#[inline(always)]
pub fn ciphertext(words: &[u64; 6]) -> Option<(u64, u64)> {
    let is_length = |at: usize| words[at] > TAG && words[at] <= LONGEST + HEADER;
    for at in 0..5 {
        let before = at > 0 && is_length(at - 1);
        if !is_length(at + 1) || !(before || (at < 4 && is_length(at + 2))) {
            continue;
        }
        let (address, len) = (words[at], if before { words[at + 1] } else { words[at + 2] });
        let Some(first) = user::<u64>(address) else { continue };
        let blank = first << 24 == 0;
        return Some(if blank { (address + HEADER, len.wrapping_sub(HEADER)) } else { (address, len) });
    }
    None
}

/// Types of handshake messages (RFC 8446 §4, RFC 8879 §4): those with one of which each handshake key begins, and those that come later.
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const NEW_SESSION_TICKET: u8 = 4;
const END_OF_EARLY_DATA: u8 = 5;
const KEY_UPDATE: u8 = 24;
const COMPRESSED_CERTIFICATE: u8 = 25;
/// Maximum chunks that are searched for the beginning of a record.
const CHUNKS: u32 = 16;

/// Address and length of the payload of a message that begins with `words`, if it is one piece: a slice, either at the beginning or behind a word
/// of 0, which is not 0 if there are several pieces.
#[inline(always)]
fn piece(words: &[u64; 4]) -> (u64, u64) {
    if words[0] == 0 { (words[1], words[2]) } else { (words[0], words[1]) }
}

/// True when the first message under a key shows that it is a handshake key of TLS 1.3.
#[inline(always)]
pub fn is_of_handshake(words: &[u64; 4]) -> bool {
    let (address, bytes) = piece(words);
    let Some([is, high, middle, low]) = user::<[u8; 4]>(address) else { return false };
    let says = u64::from(high) << 16 | u64::from(middle) << 8 | u64::from(low);
    match is {
        FINISHED => bytes != FINISHED_BYTES && says + 4 == bytes,
        ENCRYPTED_EXTENSIONS | CERTIFICATE | COMPRESSED_CERTIFICATE => high == 0 && bytes > 4,
        _ => false,
    }
}

/// Application data of a message that begins with `words`, whose ciphertext has `len` octets: how many, and where. 0: none, or it is uncertain where.
#[inline(never)]
pub fn outbound(words: &[u64; 4], len: u64, source: &mut Source) -> u64 {
    let fits = |bytes: u64| {
        let around = len.wrapping_sub(bytes);
        around == TAG || around == TAG + 1 || around == NONCE + TAG
    };
    // Chunks: address, number, and the range of octets in all of them together.
    let [mut iov, mut left, mut skip, end] = *words;
    let all = end.wrapping_sub(skip);
    if iov == 0 || all == 0 || !fits(all) {
        let (address, bytes) = piece(words);
        if bytes == 0 || !fits(bytes) || says_otherwise(address, bytes) {
            return 0;
        }
        *source = Source::buffer(address, bytes);
        return bytes;
    }
    for _ in 0..CHUNKS {
        let Some([base, size]) = user::<[u64; 2]>(iov) else { return 0 };
        if left == 0 {
            return 0;
        }
        iov += 16;
        left -= 1;
        if skip < size {
            *source = Source { base: base + skip, len: size - skip, iov, iov_left: left };
            return all;
        }
        skip -= size;
    }
    0
}

/// True for an alert, tickets, the end of early data, a key update and the Finished of TLS 1.2: not application data, though under its key.
#[inline(always)]
fn says_otherwise(address: u64, bytes: u64) -> bool {
    let mut at = 0;
    for _ in 0..4 {
        let Some([is, high, middle, low]) = user::<[u8; 4]>(address + at) else { return false };
        if bytes == 2 {
            return is == 1 || is == 2;
        }
        if is != NEW_SESSION_TICKET && is != END_OF_EARLY_DATA && is != KEY_UPDATE && is != FINISHED {
            return false;
        }
        at += 4 + (u64::from(high) << 16 | u64::from(middle) << 8 | u64::from(low));
        if at >= bytes {
            return at == bytes;
        }
    }
    true
}
