//! The folder of spooled files: `<data-dir>/spool`. In: its path, and the maximum number of bytes in it. Out: new files. Opening
//! deletes the files of an earlier run, so no other process may use the folder at the same time. Files contain plaintext, so only
//! their owner can access them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::growing::{Document, Growing};
use crate::model::spool::SpoolRoom;

/// File extension of the files in this folder.
const SUFFIX: &str = "spool";

/// The folder. Clones refer to the same folder.
#[derive(Debug, Clone)]
pub struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    room: SpoolRoom,
    /// Maximum decoded bytes of a body.
    decoded: u64,
    next: AtomicU64,
}

impl Folder {
    /// Creates the folder, or cleans it up. Its files may take `most` bytes together, including documents that stores have not accepted yet;
    /// a body with content codings is decoded to at most `decoded` bytes.
    ///
    /// # Errors
    /// The folder can't be created or read.
    pub fn open(path: &Path, most: u64, decoded: u64) -> io::Result<Folder> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
                fs::remove_file(path)?;
            }
        }
        let (room, next) = (SpoolRoom::new(most), AtomicU64::new(0));
        Ok(Folder(Arc::new(Inner { path: path.to_owned(), room, decoded, next })))
    }

    /// Maximum decoded bytes of a body.
    pub(in crate::pipeline) fn decoded(&self) -> u64 {
        self.0.decoded
    }

    /// Bytes that its files take up.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.room.used()
    }

    /// A file without a name: it disappears with its last handle, however this process ends.
    pub(in crate::pipeline) fn unnamed(&self) -> io::Result<Growing> {
        let (file, path) = self.create()?;
        fs::remove_file(path)?;
        Ok(Growing::new(file, self.0.room.share()))
    }

    /// A file for a document.
    pub(in crate::pipeline) fn document(&self) -> io::Result<Document> {
        let (file, path) = self.create()?;
        Ok(Document::new(Growing::new(file, self.0.room.share()), path))
    }

    fn create(&self) -> io::Result<(File, PathBuf)> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let path = self.0.path.join(format!("{number}.{SUFFIX}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((file, path))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_run_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("data/spool");
        drop(Folder::open(&at, 100, 100).unwrap());
        fs::write(at.join("7.spool"), b"left over").unwrap();
        fs::write(at.join("mine"), b"not ours").unwrap();
        let spool = Folder::open(&at, 100, 100).unwrap();
        let names: Vec<_> = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mine"]);
        let unnamed = spool.unnamed().unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1, "it has no name");
        drop(unnamed);
        drop(spool.document().unwrap());
        assert_eq!(fs::read_dir(&at).unwrap().count(), 1, "one that nobody finished is gone");
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(at.metadata().unwrap().mode() & 0o777, 0o700);
    }
}
