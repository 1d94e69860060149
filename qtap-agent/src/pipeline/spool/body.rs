//! Collects the pieces of one body: in memory while it is small, then in a file. In: pieces, in order, with their holes. Out: the
//! body, and a [`Bulk`] if its bytes are on disk. Whether they are UTF-8 is checked on the way, so that nobody has to read
//! them again for that.

use std::io;
use std::ops::Range;

use super::folder::Folder;
use super::growing::Growing;
use crate::model::loss::{Loss, Tally};
use crate::model::message::Body;

/// Bodies up to this size stay in memory: large responses often have small requests.
const SMALL_BYTES: usize = 64 << 10;
/// Maximum number of separate missing ranges; a body with more is truncated at the last of them.
const MOST_MISSING: usize = 256;
/// Bytes to read at a time; a multiple of three, so that base64 of a block has no padding.
const BLOCK_BYTES: usize = 96 << 10;
const _: () = assert!(BLOCK_BYTES.is_multiple_of(3));
/// Bytes of the beginning that are remembered: a byte order mark has at most three.
const START_BYTES: usize = 4;

/// A body that is being collected.
#[derive(Debug, Default)]
pub(super) struct Way {
    small: Vec<u8>,
    file: Option<Bulk>,
    missing: Vec<Range<u64>>,
    truncated: bool,
    /// Messages of the previous pieces, which are shown only for bodies in parts.
    messages_left_out: u64,
    /// Offset of the end of the last piece.
    told: u64,
}

impl Way {
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Adds the piece in `body`. Without a folder, bytes that do not fit into memory are left out.
    pub(super) fn take(&mut self, body: &mut Body, folder: Option<&Folder>, lost: &mut Tally) {
        if body.offset > self.told {
            // A piece before this one is missing.
            self.miss(self.told..body.offset);
        }
        self.told = body.size;
        if let Some(messages) = &mut body.messages {
            self.messages_left_out += messages.kept.len() as u64 + messages.left_out;
        }
        let kept = body.kept();
        let put = if self.truncated { Err(io::ErrorKind::Other.into()) } else { self.put(body, kept, folder) };
        match put {
            Ok(()) => body.missing.drain(..).for_each(|range| self.miss(range)),
            Err(_) => {
                if kept > 0 {
                    lost.add(Loss::SpoolFull, kept);
                }
                self.miss(body.offset..body.size);
            }
        }
        self.truncated |= body.truncated;
        body.chunks = Vec::new();
    }

    /// Stores all bytes of the piece, or none.
    fn put(&mut self, body: &Body, kept: u64, folder: Option<&Folder>) -> io::Result<()> {
        if self.file.is_none() && self.small.len() as u64 + kept <= SMALL_BYTES as u64 {
            body.chunks.iter().for_each(|chunk| self.small.extend_from_slice(chunk));
            return Ok(());
        }
        if self.file.is_none() {
            let folder = folder.ok_or(io::ErrorKind::StorageFull)?;
            let mut file = Bulk::new(folder.unnamed()?);
            file.append(&[&self.small])?;
            self.file = Some(file);
            self.small = Vec::new();
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.append(&body.chunks)
    }

    fn miss(&mut self, range: Range<u64>) {
        let count = self.missing.len();
        match self.missing.last_mut() {
            _ if range.is_empty() || self.truncated => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ if count < MOST_MISSING => self.missing.push(range),
            _ => self.truncated = true,
        }
    }

    /// Counts the collected bytes as lost.
    pub(super) fn count_lost(&self, lost: &mut Tally) {
        let bytes = self.small.len() as u64 + self.file.as_ref().map_or(0, Bulk::len);
        if bytes > 0 {
            lost.add(Loss::SpoolFull, bytes);
        }
    }

    /// Turns `body`, the last piece, into the whole body; returns the bytes on disk.
    pub(super) fn finish(self, body: &mut Body) -> Option<Bulk> {
        body.offset = 0;
        body.truncated = self.truncated;
        body.missing = self.missing;
        if let Some(messages) = &mut body.messages {
            messages.left_out = self.messages_left_out;
            messages.kept = Vec::new();
        }
        if !self.small.is_empty() {
            body.chunks = vec![self.small.into()];
        }
        self.file
    }
}

/// Bytes on disk that can be read in order, any number of times.
#[derive(Debug)]
pub(in crate::pipeline) struct Bulk {
    file: Growing,
    start: Vec<u8>,
    utf8: Utf8,
}

impl Bulk {
    pub(in crate::pipeline) fn new(file: Growing) -> Bulk {
        Bulk { file, start: Vec::new(), utf8: Utf8::default() }
    }

    /// Appends all pieces, or none of them.
    pub(in crate::pipeline) fn append(&mut self, pieces: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let before = self.file.mark();
        for piece in pieces {
            if let Err(error) = self.file.append(piece.as_ref()) {
                self.file.back_to(before);
                return Err(error);
            }
        }
        for piece in pieces {
            let piece = piece.as_ref();
            let room = START_BYTES.saturating_sub(self.start.len());
            self.start.extend(piece.iter().take(room));
            self.utf8.push(piece);
        }
        Ok(())
    }

    /// Number of bytes.
    pub(in crate::pipeline) fn len(&self) -> u64 {
        self.file.len()
    }

    /// Number of bytes without an incomplete UTF-8 character at the end; the number of all bytes if they are not UTF-8.
    pub(in crate::pipeline) fn whole_characters(&self) -> u64 {
        if self.utf8.is_broken() { self.len() } else { self.len() - self.utf8.begun() as u64 }
    }

    /// Its first bytes: at least three, or all there are.
    pub(in crate::pipeline) fn start(&self) -> &[u8] {
        &self.start
    }

    /// True when its first `len` bytes are UTF-8; `len`: all of them, or [`Bulk::whole_characters`].
    pub(in crate::pipeline) fn is_utf8(&self, len: u64) -> bool {
        !self.utf8.is_broken() && (self.utf8.begun() == 0 || len < self.len())
    }

    /// Passes its first `len` bytes to `take`, in blocks whose size, except for the last, is a multiple of three.
    pub(in crate::pipeline) fn each(&self, len: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut room = vec![0; BLOCK_BYTES];
        let mut offset = 0;
        let len = len.min(self.len());
        while offset < len {
            let size = usize::try_from(len - offset).unwrap_or(usize::MAX).min(room.len());
            let block = room.get_mut(..size).unwrap_or_default();
            self.file.read(block, offset)?;
            take(block)?;
            offset += size as u64;
        }
        Ok(())
    }
}

/// Checks incrementally whether the concatenation of pieces is UTF-8.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pipeline) struct Utf8 {
    /// A character split across pieces: its bytes so far.
    begun: [u8; 4],
    count: usize,
    broken: bool,
}

impl Utf8 {
    /// Adds the next piece.
    pub(in crate::pipeline) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.count > 0 && !self.broken {
            let Some((byte, after)) = rest.split_first() else { return };
            self.begin(*byte);
            rest = after;
            match std::str::from_utf8(self.begun.get(..self.count).unwrap_or_default()) {
                Ok(_) => self.count = 0,
                Err(error) => self.broken |= error.error_len().is_some(),
            }
        }
        if self.broken {
            return;
        }
        if let Err(error) = std::str::from_utf8(rest) {
            self.broken = error.error_len().is_some();
            rest.get(error.valid_up_to()..).unwrap_or_default().iter().take(4).for_each(|byte| self.begin(*byte));
        }
    }

    fn begin(&mut self, byte: u8) {
        match self.begun.get_mut(self.count) {
            Some(next) => *next = byte,
            None => self.broken = true,
        }
        self.count += 1;
    }

    /// True when the bytes are not UTF-8, whatever follows.
    pub(in crate::pipeline) fn is_broken(self) -> bool {
        self.broken
    }

    /// Number of bytes of an incomplete character at the end.
    pub(in crate::pipeline) fn begun(self) -> usize {
        self.count
    }
}
