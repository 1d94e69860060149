//! Where strings of JSON end (RFC 8259 §7). In: bytes, from behind the first quote on. Out: the quote that ends them, or that it is not
//! here.

/// Bytes of a string after which the search for its end is worth its price.
const SHORT: usize = 32;
/// One in each byte.
const EACH: u64 = u64::MAX / 255;

/// Where a string ends.
pub(super) enum Quote {
    /// At this quote; true: it has escapes.
    At(usize, bool),
    /// Not here; true: the last byte is a backslash.
    Open(bool),
}

/// The quote that ends the string whose text begins at `from`.
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

/// Where the first of the two stands. Names and most values are short: their end is looked for a word at a time, for what it costs
/// to begin a search that is fast once it runs.
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

/// The highest bit of the lowest byte that is zero, and of none below it; those above it don't count.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (EACH << 7)
}
