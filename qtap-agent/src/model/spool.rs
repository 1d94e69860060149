//! Data too large for memory: a file under the data directory that one or more records refer to. The value owns the file: whoever drops
//! the last reference removes the file. A queue that must keep it across a restart first gives it a second name
//! ([`SpoolFile::link`]), so that neither waits for the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

/// A finished file: it is no longer written to.
#[derive(Debug)]
pub struct SpoolFile {
    path: PathBuf,
    bytes: u64,
    /// The share of the spool's room that it holds while it exists.
    _share: Option<SpoolShare>,
}

impl SpoolFile {
    /// Takes ownership of the file at `path`, which is `bytes` long.
    #[must_use]
    pub fn new(path: PathBuf, bytes: u64) -> SpoolFile {
        SpoolFile { path, bytes, _share: None }
    }

    /// The same, for a file that holds a share of a [`SpoolRoom`].
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

    /// Gives it a second name on the same filesystem, which stays when this value is dropped.
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
        // There is nobody to report an error to; leftover files are removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// The total number of bytes that spooled files may occupy. Clones refer to the same room.
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

    /// A share, empty at first.
    #[must_use]
    pub fn share(&self) -> SpoolShare {
        SpoolShare { room: self.clone(), bytes: 0 }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// The bytes that one file holds of the room; returned when dropped.
#[derive(Debug)]
pub struct SpoolShare {
    room: SpoolRoom,
    bytes: u64,
}

impl SpoolShare {
    /// Takes `bytes` more; false when they do not fit.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.room.most);
        let taken = self.room.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Another share of the same room, empty at first.
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
