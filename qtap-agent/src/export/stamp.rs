//! Detects whether a file has changed since it was read, by its times, length and inode number from the file system. In: a path. Out: a
//! [`Stamp`] to compare. Never reads the file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Identifies one state of a file. A file that can't be examined has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file now. Symlinks are followed: Kubernetes updates a mounted secret by replacing a symlink.
    #[must_use]
    pub fn of(path: &Path) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp {
            device: found.dev(),
            number: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_swapped_or_gone_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(Stamp::of(&path), first);
        std::fs::write(&path, "three").unwrap();
        let second = Stamp::of(&path);
        assert_ne!(second, first);
        std::fs::write(folder.path().join("b"), "three").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert_ne!(Stamp::of(&path), second);
    }
}
