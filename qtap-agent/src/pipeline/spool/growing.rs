//! Files that are being written: an unnamed one for a body, a named one for a document. In: bytes. Out: the finished file.
//! A failed write leaves the earlier content intact, so that the next write may succeed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::model::spool::{SpoolFile, SpoolShare};

/// A growing file, within the bound of its folder.
#[derive(Debug)]
pub(in crate::pipeline) struct Growing {
    file: File,
    written: u64,
    share: SpoolShare,
}

impl Growing {
    pub(super) fn new(file: File, share: SpoolShare) -> Growing {
        Growing { file, written: 0, share }
    }

    /// Appends all of `bytes`, or none.
    pub(in crate::pipeline) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The share of a failed write stays reserved until the file is released: part of it may be on disk.
        if !self.share.grow(bytes.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// The current end.
    pub(super) fn mark(&self) -> u64 {
        self.written
    }

    /// Discards everything after the mark.
    pub(super) fn back_to(&mut self, mark: u64) {
        self.written = mark;
    }

    /// Number of bytes.
    pub(in crate::pipeline) fn len(&self) -> u64 {
        self.written
    }

    /// Fills `room` with the bytes at `offset`.
    pub(in crate::pipeline) fn read(&self, room: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(room, offset)
    }
}

/// A document that is being written. Dropping it unfinished removes the file.
#[derive(Debug)]
pub(in crate::pipeline) struct Document {
    growing: Growing,
    path: Option<PathBuf>,
}

impl Document {
    pub(super) fn new(growing: Growing, path: PathBuf) -> Document {
        Document { growing, path: Some(path) }
    }

    pub(in crate::pipeline) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.growing.append(bytes)
    }

    /// Finishes the document.
    pub(in crate::pipeline) fn finish(mut self) -> Option<SpoolFile> {
        let path = self.path.take()?;
        // Any reservation beyond its length is returned together with the rest.
        let nothing = self.growing.share.sibling();
        let share = std::mem::replace(&mut self.growing.share, nothing);
        Some(SpoolFile::sharing(path, self.growing.written, share))
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
