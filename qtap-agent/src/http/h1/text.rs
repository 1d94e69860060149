//! The bytes of one direction, read line by line. In: pieces of any size. Out: lines and sections (lines up to an empty one), as slices
//! if they lie in one piece, otherwise merged. No byte is searched twice for a line feed, and no more is held than the limit given in
//! each call.

use bytes::{Buf, Bytes, BytesMut};

/// The result of asking for a line or a section.
pub(super) enum Taken {
    /// All of it, including its end.
    Whole(Bytes),
    /// The beginning, held until more bytes arrive.
    Part,
    /// The limit was reached before the end; the bytes were dropped.
    TooLong,
}

/// Bytes to be read.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Ready to be read; and what follows it, last piece first.
    front: Bytes,
    pushed: Vec<Bytes>,
    /// Read, but not complete yet.
    held: BytesMut,
}

impl Text {
    /// Takes the next piece; everything before it has been read.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.front = bytes;
    }

    /// Makes the next bytes ready; false if there are none.
    pub(super) fn refill(&mut self) -> bool {
        if self.front.is_empty() {
            // Even an empty slice would keep its segment alive.
            self.front = self.pushed.pop().unwrap_or_default();
        }
        !self.front.is_empty()
    }

    /// True if everything has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.pushed.is_empty()
    }

    /// The bytes that are ready.
    pub(super) fn front(&self) -> &Bytes {
        &self.front
    }

    /// Takes up to `len` of the bytes that are ready.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.front.split_to(len.min(self.front.len()))
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.front.len() + self.pushed.iter().map(Bytes::len).sum::<usize>() + self.held.capacity()
    }

    /// The bytes held.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Puts bytes back in front of those that are ready, to be read again.
    pub(super) fn push_back(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let after = std::mem::replace(&mut self.front, bytes);
        if !after.is_empty() {
            self.pushed.push(after);
        }
    }

    /// Holds bytes as if they had been read and were incomplete.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Takes the held bytes.
    pub(super) fn release(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    /// Drops all held bytes except the last `keep`; returns how many were dropped.
    pub(super) fn drop_held(&mut self, keep: usize) -> usize {
        let excess = self.held.len().saturating_sub(keep);
        self.held.advance(excess);
        excess
    }

    /// Moves bytes up to and including a line feed to the held ones, at most `limit` in all. True if the line feed was found.
    pub(super) fn hold_line(&mut self, limit: usize) -> bool {
        let room = limit.saturating_sub(self.held.len());
        let window = self.front.get(..room).unwrap_or(&self.front);
        let (len, found) = memchr::memchr(b'\n', window).map_or((window.len(), false), |at| (at + 1, true));
        self.held.extend_from_slice(&self.front.split_to(len));
        found
    }

    /// Takes one line with its line feed.
    pub(super) fn line(&mut self, limit: usize) -> Taken {
        if self.held.is_empty() {
            let window = self.front.get(..limit).unwrap_or(&self.front);
            if let Some(at) = memchr::memchr(b'\n', window) {
                return Taken::Whole(self.front.split_to(at + 1));
            }
        }
        if self.hold_line(limit) {
            return Taken::Whole(self.release());
        }
        self.part(limit)
    }

    /// Takes lines up to and including an empty one; `may_be_empty`: the first line may be the empty one.
    pub(super) fn section(&mut self, limit: usize, may_be_empty: bool) -> Taken {
        if self.held.is_empty() {
            let window = self.front.get(..limit).unwrap_or(&self.front);
            if let Some(end) = section_end(window, may_be_empty) {
                return Taken::Whole(self.front.split_to(end));
            }
            let window = window.len();
            self.held.extend_from_slice(&self.front.split_to(window));
            return self.part(limit);
        }
        while self.hold_line(limit) {
            if ends_section(&self.held, may_be_empty) {
                return Taken::Whole(self.release());
            }
            if self.held.len() >= limit {
                break;
            }
        }
        self.part(limit)
    }

    fn part(&mut self, limit: usize) -> Taken {
        if self.held.len() < limit {
            return Taken::Part;
        }
        self.held.clear();
        Taken::TooLong
    }

    /// Everything left, in order.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        let pieces = [self.held.freeze(), self.front].into_iter().chain(self.pushed.into_iter().rev());
        pieces.filter(|bytes| !bytes.is_empty())
    }
}

/// Where the first empty line of `bytes` ends.
fn section_end(bytes: &[u8], may_be_empty: bool) -> Option<usize> {
    if may_be_empty {
        match bytes {
            [b'\n', ..] => return Some(1),
            [b'\r', b'\n', ..] => return Some(2),
            _ => {}
        }
    }
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match bytes.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// True if `bytes`, which end in a line feed, end in an empty line.
fn ends_section(bytes: &[u8], may_be_empty: bool) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n") || (may_be_empty && matches!(bytes, b"\n" | b"\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `size` until a section is whole or too long; returns it, and the length of what is left.
    fn section(bytes: &'static [u8], size: usize, limit: usize, may_be_empty: bool) -> (Option<Bytes>, usize) {
        let mut text = Text::default();
        for (n, piece) in bytes.chunks(size).enumerate() {
            text.feed(Bytes::from_static(piece));
            let fed = bytes.len().min((n + 1) * size);
            match text.section(limit, may_be_empty) {
                Taken::Whole(section) => return (Some(section), bytes.len() - fed + text.front().len()),
                Taken::TooLong => return (None, bytes.len() - fed + text.front().len()),
                Taken::Part => assert!(text.is_empty()),
            }
        }
        (None, 0)
    }

    #[test]
    fn sections_end_alike_however_they_are_cut() {
        for size in 1..12 {
            assert_eq!(section(b"a: b\r\n\r\nrest", size, 100, false), (Some(Bytes::from("a: b\r\n\r\n")), 4));
            assert_eq!(section(b"a\n\nrest", size, 100, false), (Some(Bytes::from("a\n\n")), 4));
            assert_eq!(section(b"\r\nrest", size, 100, true), (Some(Bytes::from("\r\n")), 4));
            assert_eq!(section(b"a: b\r\n\r\nrest", size, 8, false), (Some(Bytes::from("a: b\r\n\r\n")), 4));
            assert_eq!(section(b"a: b\r\n\r\nrest", size, 7, false), (None, 5), "seven bytes are gone");
        }
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut text = Text::default();
        text.feed(Bytes::from_static(b"c\n"));
        text.push_back(Bytes::from_static(b"b"));
        text.push_back(Bytes::from_static(b"a"));
        let mut line = Vec::new();
        while text.refill() {
            if let Taken::Whole(whole) = text.line(10) {
                line.extend(whole);
            }
        }
        assert_eq!(line, b"abc\n");
    }
}
