//! Finds the ends of JSON strings (RFC 8259 §7). In: bytes after the opening quote. Out: the closing quote, or that it is not in
//! the input.

/// Length from which a vectorized search for the end of a string pays off.
const SHORT: usize = 32;
/// The value 1 in each byte.
const EACH: u64 = u64::MAX / 255;

/// Where a string ends.
pub(super) enum Quote {
    /// At this quote; true: the string has escapes.
    At(usize, bool),
    /// Not in the input; true: the last byte is a backslash.
    Open(bool),
}

/// The closing quote of the string whose text begins at `from`.
#[inline]
pub(super) fn string_end(input: &[u8], from: usize) -> Quote {
    let (mut at, mut escaped) = (from, false);
    loop {
        let rest = input.get(at..).unwrap_or_default();
        match quote_or_backslash(rest).map(|n| (n, rest.get(n))) {
            Some((n, Some(b'"'))) => return Quote::At(at + n, escaped),
            Some((n, _)) => {
                escaped = true;
                at += n + 2;
                if at > input.len() {
                    return Quote::Open(true);
                }
            }
            None => return Quote::Open(false),
        }
    }
}

/// Position of the first quote or backslash. Names and most values are short, so the search starts one word at a time, which avoids the
/// setup cost of the vectorized search.
#[inline]
pub(super) fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes) {
        let found = zero_bytes(word ^ (EACH * u64::from(b'"'))) | zero_bytes(word ^ (EACH * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of::<u64>();
        if at >= SHORT {
            break;
        }
    }
    memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()).map(|n| at + n)
}

/// Sets the highest bit of the lowest zero byte, and no bit below it; the bits above it are meaningless.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (EACH << 7)
}
