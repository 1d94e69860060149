//! Data too large for memory: a file under the data directory that one record, or more, tells of. Whoever made it hands it on as this; the
//! last one who lets go of it removes the file. A queue that is to keep it across a restart gives it a name of its own first
//! ([`SpoolFile::link`]), so that neither waits for the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

/// A finished file: nothing is written to it any more.
#[derive(Debug)]
pub struct SpoolFile {
    path: PathBuf,
    bytes: u64,
    /// What it takes of the room, while it is there.
    _share: Option<SpoolShare>,
}

impl SpoolFile {
    /// Takes the file at `path`, `bytes` long, over.
    #[must_use]
    pub fn new(path: PathBuf, bytes: u64) -> SpoolFile {
        SpoolFile { path, bytes, _share: None }
    }

    /// The same, of a file that takes its share of some room.
    #[must_use]
    pub fn sharing(path: PathBuf, bytes: u64, share: SpoolShare) -> SpoolFile {
        SpoolFile { path, bytes, _share: Some(share) }
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

impl PartialEq for SpoolFile {
    fn eq(&self, other: &SpoolFile) -> bool {
        (&self.path, self.bytes) == (&other.path, other.bytes)
    }
}

impl Eq for SpoolFile {}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // Nobody is left who could be told; what lies about is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// How many bytes spooled files may take together. Copies are of the same room.
#[derive(Debug, Clone)]
pub struct SpoolRoom {
    used: Arc<AtomicU64>,
    most: u64,
}

impl SpoolRoom {
    /// Room for `most` bytes.
    #[must_use]
    pub fn new(most: u64) -> SpoolRoom {
        SpoolRoom { used: Arc::default(), most }
    }

    /// A share of nothing yet.
    #[must_use]
    pub fn share(&self) -> SpoolShare {
        SpoolShare { room: self.clone(), bytes: 0 }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one file takes of the room; given back when it is dropped.
#[derive(Debug)]
pub struct SpoolShare {
    room: SpoolRoom,
    bytes: u64,
}

impl SpoolShare {
    /// Takes so many bytes more; false when there is no room for them.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.room.most);
        let taken = self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Another share of the same room, of nothing yet.
    #[must_use]
    pub fn sibling(&self) -> SpoolShare {
        self.room.share()
    }
}

impl Drop for SpoolShare {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
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

    #[test]
    fn shares_fit_into_the_room_and_are_given_back() {
        let room = SpoolRoom::new(10);
        let (mut one, mut two) = (room.share(), room.share());
        assert!(one.grow(6) && !two.grow(5) && two.grow(4));
        assert_eq!(room.used(), 10);
        drop(one);
        assert!(two.grow(6));
        drop(two);
        assert_eq!(room.used(), 0);
    }
}
