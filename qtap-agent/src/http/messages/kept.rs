//! The kept bytes of a body, found by offset. In: a [`Body`], and ascending ranges of it without holes. Out: their bytes, as slices
//! if they lie in one chunk. No chunk is read twice.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::model::message::Body;

/// The kept bytes of a body.
pub(super) struct Kept<'a> {
    body: &'a Body,
    /// Holes passed, and the total of their bytes.
    holes: usize,
    lost: u64,
    /// The next chunk, and its offset within the kept bytes.
    chunk: usize,
    chunk_at: u64,
}

impl<'a> Kept<'a> {
    pub(super) fn new(body: &'a Body) -> Kept<'a> {
        Kept { body, holes: 0, lost: 0, chunk: 0, chunk_at: 0 }
    }

    /// The bytes of a range, as far as they were kept.
    pub(super) fn take(&mut self, range: Range<u64>) -> Bytes {
        while let Some(hole) = self.body.missing.get(self.holes).filter(|hole| hole.start < range.start) {
            self.lost += hole.end - hole.start;
            self.holes += 1;
        }
        let mut from = range.start.saturating_sub(self.body.offset).saturating_sub(self.lost);
        let end = from.saturating_add(range.end.saturating_sub(range.start));
        let mut joined = BytesMut::new();
        while let Some(chunk) = self.body.chunks.get(self.chunk) {
            let chunk_end = self.chunk_at + chunk.len() as u64;
            if chunk_end <= from {
                (self.chunk, self.chunk_at) = (self.chunk + 1, chunk_end);
                continue;
            }
            let (start, stop) = ((from - self.chunk_at) as usize, (end.min(chunk_end) - self.chunk_at) as usize);
            let part = chunk.get(start..stop).unwrap_or_default();
            if end <= chunk_end && joined.is_empty() {
                return if part.is_empty() { Bytes::new() } else { chunk.slice_ref(part) };
            }
            joined.extend_from_slice(part);
            if end <= chunk_end {
                break;
            }
            from = chunk_end;
        }
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_behind_holes_and_across_chunks() {
        let chunks = [&b"abc"[..], b"", b"def", b"ghi"].map(Bytes::from_static).to_vec();
        let body = Body { offset: 10, chunks, size: 30, missing: vec![12..14, 15..17], ..Body::default() };
        let mut kept = Kept::new(&body);
        assert_eq!(kept.take(10..12), "ab");
        assert_eq!(kept.take(14..15), "c");
        assert_eq!(kept.take(17..18), "d");
        assert_eq!(kept.take(18..21), "efg");
        assert_eq!(kept.take(21..21), "");
        assert_eq!(kept.take(22..30), "i", "what was not kept is not there");
    }
}
