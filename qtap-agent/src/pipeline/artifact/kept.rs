//! The bytes of a body that are shown, in the pieces that they came in: a large body is not copied to be looked at.

use std::borrow::Cow;

use bytes::Bytes;

use super::charset::whole_characters;
use crate::model::message::Body;
use crate::pipeline::digest::Sha;

/// Bytes of a body that were kept, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept<'a> {
    chunks: Cow<'a, [Bytes]>,
    len: usize,
}

impl<'a> Kept<'a> {
    /// The bytes of `body` that were kept. Where the end was cut off in the middle of a character, the rest of the character is
    /// cut off too: so that text stays text.
    pub(super) fn of(body: &'a Body) -> Kept<'a> {
        let chunks = if body.is_whole() {
            Cow::Borrowed(body.chunks.as_slice())
        } else {
            let bytes = body.to_bytes();
            let whole = whole_characters(&bytes).len();
            Cow::Owned(vec![bytes.slice(..whole)])
        };
        Kept { len: chunks.iter().map(Bytes::len).sum(), chunks }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Its first bytes: three or more, or all there are; none where they are spread over pieces.
    pub(super) fn start(&self) -> Option<&[u8]> {
        let first = self.chunks.first()?;
        (first.len() >= 3 || first.len() == self.len).then_some(&first[..])
    }

    /// In one piece; copied when there are several.
    pub(super) fn joined(&self) -> Bytes {
        match &*self.chunks {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    /// SHA-256, as hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        let mut sha = Sha::default();
        self.chunks.iter().for_each(|chunk| sha.update(chunk));
        sha.hex()
    }

    /// True when all of it together is UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        // A character that is spread over pieces: its bytes so far.
        let (mut begun, mut count) = ([0_u8; 4], 0);
        for chunk in &*self.chunks {
            let mut rest = &chunk[..];
            while count > 0 {
                let Some((byte, after)) = rest.split_first() else { break };
                let Some(next) = begun.get_mut(count) else { return false };
                *next = *byte;
                (rest, count) = (after, count + 1);
                match std::str::from_utf8(begun.get(..count).unwrap_or_default()) {
                    Ok(_) => count = 0,
                    Err(error) if error.error_len().is_some() => return false,
                    Err(_) => {}
                }
            }
            let whole = match std::str::from_utf8(rest) {
                Ok(_) => rest.len(),
                Err(error) if error.error_len().is_some() => return false,
                Err(error) => error.valid_up_to(),
            };
            for byte in rest.get(whole..).unwrap_or_default() {
                let Some(next) = begun.get_mut(count) else { return false };
                *next = *byte;
                count += 1;
            }
        }
        count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(chunks: &[&'static [u8]], truncated: bool) -> (Bytes, bool) {
        let chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk)).collect();
        let body = Body { chunks, truncated, ..Body::default() };
        let kept = Kept::of(&body);
        assert_eq!(kept.len(), kept.joined().len());
        assert!(kept.start().is_none_or(|start| kept.joined().starts_with(start)));
        assert_eq!(kept.sha256(), crate::pipeline::digest::sha256_hex(&kept.joined()));
        (kept.joined(), kept.is_utf8())
    }

    #[test]
    fn characters_may_be_spread_over_pieces() {
        let text = "a日😀é".as_bytes();
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(kept(&pieces, false), (Bytes::from_static(text), true), "pieces of {size}");
        }
        assert!(kept(&[], false).1 && kept(&[b"", b"\xe6", b"", b"\x97", b"\xa5"], false).1);
        for bad in
            [&[&b"\xe6"[..], b"a"][..], &[b"\xe6\x97", b"\xe6"], &[b"a", b"\xff"], &[b"\xf0\x9f", b"\x98"], &[b"\xa5"]]
        {
            assert!(!kept(bad, false).1, "{bad:?}");
        }
    }

    #[test]
    fn the_rest_of_a_character_is_cut_off_with_it() {
        assert_eq!(kept(&[b"ab\xe6", b"\x97"], true), (Bytes::from_static(b"ab"), true));
        assert_eq!(kept(&[b"\xff", b"\xe6"], true), (Bytes::from_static(b"\xff\xe6"), false), "no text at all");
    }
}
