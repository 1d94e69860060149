//! Data too large for memory: a file under the data directory that one record, or more, tells of. Whoever made it hands it on as this; the
//! last one who lets go of it removes the file. A queue that is to keep it across a restart gives it a name of its own first
//! ([`SpoolFile::link`]), so that neither waits for the other.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// A finished file: nothing is written to it any more.
#[derive(Debug, PartialEq, Eq)]
pub struct SpoolFile {
    path: PathBuf,
    bytes: u64,
}

impl SpoolFile {
    /// Takes the file at `path`, `bytes` long, over.
    #[must_use]
    pub fn new(path: PathBuf, bytes: u64) -> SpoolFile {
        SpoolFile { path, bytes }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives it one more name, on the same filesystem, that stays when this is dropped.
    ///
    /// # Errors
    /// When the filesystem does not permit it.
    pub fn link(&self, name: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, name)
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // Nobody is left who could be told; what lies about is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn the_last_who_lets_go_removes_the_file_but_not_its_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&first, b"data").unwrap();
        let spool = SpoolFile::new(first.clone(), 4);
        spool.link(&second).unwrap();
        drop(spool);
        assert!(!first.exists());
        assert_eq!(fs::read(&second).unwrap(), b"data");
    }
}
