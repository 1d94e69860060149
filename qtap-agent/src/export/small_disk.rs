//! A small file system for tests of what happens when a disk is full: a tmpfs, which only root can mount; others skip the test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted tmpfs, until this is dropped.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one of this many KiB. None: it can't be mounted here.
    #[allow(clippy::print_stdout)] // reports that a test is skipped
    pub(crate) fn mount(kib: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().ok()?;
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(folder));
        }
        println!("skipped: a tmpfs can't be mounted (root?)");
        None
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it to the last byte with a file, whose path it returns.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let filled = std::fs::write(&path, vec![0; 1 << 20]);
        assert!(filled.is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull), "less than a MiB");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
