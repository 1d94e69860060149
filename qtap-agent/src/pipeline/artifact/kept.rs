//! The bytes of a body that are shown, in the pieces they arrived in, or on disk. A large body is not copied for inspection.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;

use super::charset::whole_characters;
use crate::model::message::Body;
use crate::pipeline::digest::Sha;
use crate::pipeline::spool::{Bulk, Utf8};

/// The kept bytes of a body, in order.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    data: Data<'a>,
    len: u64,
}

#[derive(Debug)]
pub(super) enum Data<'a> {
    Memory(Cow<'a, [Bytes]>),
    /// Its first `len` bytes.
    Disk(&'a Bulk),
}

impl<'a> Kept<'a> {
    /// The kept bytes of `body`, in memory or on disk. If the end was cut off in the middle of a character, the rest of that
    /// character is removed too, so that text stays text.
    pub(super) fn of(body: &'a Body, bulk: Option<&'a Bulk>) -> Kept<'a> {
        if let Some(bulk) = bulk {
            let len = if body.is_whole() { bulk.len() } else { bulk.whole_characters() };
            return Kept { data: Data::Disk(bulk), len };
        }
        let chunks = if body.is_whole() {
            Cow::Borrowed(body.chunks.as_slice())
        } else {
            let bytes = body.to_bytes();
            let whole = whole_characters(&bytes).len();
            Cow::Owned(vec![bytes.slice(..whole)])
        };
        Kept { len: chunks.iter().map(|chunk| chunk.len() as u64).sum(), data: Data::Memory(chunks) }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// Number of its bytes in memory.
    pub(super) fn held(&self) -> usize {
        match &self.data {
            Data::Memory(chunks) => chunks.iter().map(Bytes::len).sum(),
            Data::Disk(_) => 0,
        }
    }

    /// Passes all bytes to `take`, in pieces.
    pub(super) fn each(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        match &self.data {
            Data::Memory(chunks) => chunks.iter().for_each(|chunk| take(chunk)),
            Data::Disk(bulk) => bulk.each(self.len, |block| {
                take(block);
                Ok(())
            })?,
        }
        Ok(())
    }

    /// SHA-256, as hexadecimal digits.
    pub(super) fn sha256(&self) -> io::Result<String> {
        let mut sha = Sha::default();
        self.each(|piece| sha.update(piece))?;
        Ok(sha.hex())
    }
}

/// The first bytes of `chunks`: at least three, or all there are; `None` when they are spread over several pieces.
pub(super) fn start(chunks: &[Bytes]) -> Option<&[u8]> {
    let first = chunks.first()?;
    (first.len() >= 3 || chunks.len() == 1).then_some(&first[..])
}

/// All chunks as one; copies only when there are several.
pub(super) fn joined(chunks: &[Bytes]) -> Bytes {
    match chunks {
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

/// True when the chunks together are UTF-8.
pub(super) fn is_utf8(chunks: &[Bytes]) -> bool {
    let mut utf8 = Utf8::default();
    chunks.iter().for_each(|chunk| utf8.push(chunk));
    !utf8.is_broken() && utf8.begun() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(chunks: &[&'static [u8]], truncated: bool) -> (Bytes, bool) {
        let chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk)).collect();
        let body = Body { chunks, truncated, ..Body::default() };
        let kept = Kept::of(&body, None);
        let Data::Memory(chunks) = kept.data() else { panic!("on disk") };
        let joined = joined(chunks);
        assert_eq!((kept.len(), kept.held()), (joined.len() as u64, joined.len()));
        assert!(start(chunks).is_none_or(|start| joined.starts_with(start)));
        assert_eq!(kept.sha256().ok(), Some(crate::pipeline::digest::sha256_hex(&joined)));
        (joined, is_utf8(chunks))
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
