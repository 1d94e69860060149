//! Where a document is written to: memory, or a file when a body in it is too large for that. In: bytes, in order. Out: the document
//! and its SHA-256. The bytes are the same whichever it is; a file is written to in pieces, and hashed as they go.

use std::io;

use crate::model::spool::SpoolFile;
use crate::pipeline::digest::Sha;
use crate::pipeline::spool::Document;

/// Bytes that are gathered before they go to a file.
const GATHERED: usize = 256 << 10;

/// A document in the making.
#[derive(Debug)]
pub(super) struct Out {
    /// Its end, as far as it is in memory. What is there is only added to.
    pub(super) bytes: Vec<u8>,
    sha: Sha,
    /// Bytes of `bytes` that went into `sha`.
    hashed: usize,
    file: Option<Document>,
    /// Why the file is none.
    failed: Option<io::Error>,
}

/// A document that is finished.
#[derive(Debug)]
pub(super) struct Finished {
    /// Empty when it is in a file.
    pub(super) data: Vec<u8>,
    pub(super) file: Option<SpoolFile>,
    /// SHA-256, as hexadecimal digits.
    pub(super) sha256: String,
}

impl Out {
    /// In memory, with room for so many bytes; or in `file`.
    pub(super) fn new(room: usize, file: Option<Document>) -> Out {
        let room = if file.is_some() { GATHERED * 2 } else { room };
        Out { bytes: Vec::with_capacity(room), sha: Sha::default(), hashed: 0, file, failed: None }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pass_on();
    }

    /// Hashes `bytes` into `sha`, and what was written into the document's own digest.
    pub(super) fn hash_with(&mut self, sha: &mut Sha, bytes: &[u8]) {
        let written = self.bytes.get(self.hashed..).unwrap_or_default();
        self.hashed += Sha::update_both(&mut self.sha, written, sha, bytes);
    }

    /// Passes on to the file what was gathered, when it is enough.
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

    /// Nothing more comes.
    ///
    /// # Errors
    /// What the file says: it is removed.
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
