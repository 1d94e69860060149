//! Files that are being written: one without a name for a body, one with a name for a document. In: bytes. Out: the file, finished.
//! A write that fails leaves what was written before as it was, so that the next one may succeed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::model::spool::{SpoolFile, SpoolShare};

/// A file that grows, within its folder's bound.
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

    /// Appends `bytes`, all of them or none.
    pub(in crate::pipeline) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The share of a write that fails stays taken until the file goes: it may be on the disk in part.
        if !self.share.grow(bytes.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Where it ends now.
    pub(super) fn mark(&self) -> u64 {
        self.written
    }

    /// What was written behind the mark is none of it.
    pub(super) fn back_to(&mut self, mark: u64) {
        self.written = mark;
    }

    /// Bytes in it.
    pub(in crate::pipeline) fn len(&self) -> u64 {
        self.written
    }

    /// Fills `room` with the bytes at `offset`.
    pub(in crate::pipeline) fn read(&self, room: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(room, offset)
    }
}

/// A document that is being written. One that is let go unfinished is removed.
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

    /// It is finished.
    pub(in crate::pipeline) fn finish(mut self) -> Option<SpoolFile> {
        let path = self.path.take()?;
        // What it may have taken beyond its length is given back with the rest.
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
