//! Where a document is written: memory, or a file if a body in it is too large. In: bytes, in order. Out: the document
//! and its SHA-256. The bytes are the same in both cases; a file is written in pieces, which are hashed as they are written.

use std::io;

use crate::model::spool::SpoolFile;
use crate::pipeline::digest::Sha;
use crate::pipeline::spool::Document;

/// Bytes to collect before writing them to the file.
const GATHERED: usize = 256 << 10;

/// A document that is being written.
#[derive(Debug)]
pub(super) struct Out {
    /// The end of the document, as far as it is in memory. Append only.
    pub(super) bytes: Vec<u8>,
    sha: Sha,
    /// Number of bytes of `bytes` that `sha` has hashed.
    hashed: usize,
    file: Option<Document>,
    /// The error that made the file unusable.
    failed: Option<io::Error>,
}

/// A finished document.
#[derive(Debug)]
pub(super) struct Finished {
    /// Empty when the document is in a file.
    pub(super) data: Vec<u8>,
    pub(super) file: Option<SpoolFile>,
    /// SHA-256, as hexadecimal digits.
    pub(super) sha256: String,
}

impl Out {
    /// Writes to memory with an initial capacity of `room` bytes, or to `file`.
    pub(super) fn new(room: usize, file: Option<Document>) -> Out {
        let room = if file.is_some() { GATHERED * 2 } else { room };
        Out { bytes: Vec::with_capacity(room), sha: Sha::default(), hashed: 0, file, failed: None }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pass_on();
    }

    /// Hashes `bytes` into `sha`, and the bytes written so far into the document's own digest.
    pub(super) fn hash_with(&mut self, sha: &mut Sha, bytes: &[u8]) {
        let written = self.bytes.get(self.hashed..).unwrap_or_default();
        self.hashed += Sha::update_both(&mut self.sha, written, sha, bytes);
    }

    /// Writes the collected bytes to the file once there are enough.
    pub(super) fn pass_on(&mut self) {
        if self.file.is_some() && self.bytes.len() >= GATHERED {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.sha.update(self.bytes.get(self.hashed..).unwrap_or_default());
        self.hashed = 0;
        if let Some(file) = &mut self.file
            && self.failed.is_none()
        {
            self.failed = file.append(&self.bytes).err();
        }
        self.bytes.clear();
    }

    /// Finishes the document.
    ///
    /// # Errors
    /// The I/O error of the file, which is then removed.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        if self.file.is_none() {
            self.sha.update(self.bytes.get(self.hashed..).unwrap_or_default());
            return Ok(Finished { data: self.bytes, file: None, sha256: self.sha.hex() });
        }
        self.flush();
        match self.failed {
            Some(error) => Err(error),
            None => {
                Ok(Finished { data: Vec::new(), file: self.file.and_then(Document::finish), sha256: self.sha.hex() })
            }
        }
    }
}
