//! Records of TLS in a process's memory: what stands at an address is taken for nothing before it fits.

use crate::carry::user;

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
/// Octets by which ciphertext is longer: the tag; in TLS 1.3 the content type too; before it, of AES-GCM, the nonce that stands in front.
pub const TAG: u64 = 16;
const NONCE: u64 = 8;
/// Records of one system call that are looked at.
const RECORDS: u32 = 6;

/// Content type and length of the record at `base`.
#[inline(always)]
fn record(base: u64) -> Option<(u8, u64)> {
    let [is, major, _, high, low] = user::<[u8; 5]>(base)?;
    if major == 3 { Some((is, u64::from(high) << 8 | u64::from(low))) } else { None }
}

/// Ciphertext of the first record of application data, which protected ones of TLS 1.3 are called, that begins in `len` octets at `base`, where a record begins.
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

/// True when a record's plaintext can lie there.
#[inline(always)]
pub fn is_plaintext(of: &Sealed, plain: u64, bytes: u64) -> bool {
    let before = plain.wrapping_sub(of.text);
    if bytes > of.len {
        return false;
    }
    let around = of.len - bytes;
    (before == 0 && around >= TAG) || (before == NONCE && around == NONCE + TAG)
}

/// (AES-GCM of TLS 1.2 moves the plaintext to where the nonce stood, or leaves it.)
#[inline(always)]
pub fn is_application_data(of: &Sealed, plain: u64, bytes: u64) -> bool {
    let around = of.len - bytes;
    if plain == of.text && around > TAG {
        // TLS 1.3: behind it stands what it is, and before the tag zeros, as many as there are. As much as a nonce longer, it may be of TLS 1.2.
        let Some(behind) = user::<u64>(plain + bytes) else { return false };
        if around != NONCE + TAG || (behind >> 8 == 0 && behind >= u64::from(ALERT)) {
            return behind as u8 == APPLICATION_DATA;
        }
    }
    // TLS 1.2: the record's header says, where it still stands there. Else the first record is a Finished, and an alert two octets.
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
