//! The data directory, before `run` opens it: whether it can be written, and how much space is free. In: its path. Out: a finding.
//! Nothing is created there.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use crate::model::host::Finding;

/// The default size of one queue: with less space the newest records may not fit.
const ROOM: u64 = 512 << 20;

/// Facts about the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// Its path.
    path: PathBuf,
    /// Whether it, or the directory it would be created in, can be written; or why not.
    writable: Result<(), String>,
    /// Free bytes there.
    free: Option<u64>,
}

impl Disk {
    /// Reads the facts.
    pub(super) fn read(path: &Path) -> Disk {
        // It is created when needed, with its missing parents.
        let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
        let writable = match there.is_dir() {
            true => accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS),
            false => Err(rustix::io::Errno::NOTDIR),
        };
        let writable = writable.map_err(|error| format!("{}: {error}", there.display()));
        let free = statvfs(there).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Disk { path: path.to_owned(), writable, free }
    }
}

/// The finding that follows from them.
pub(super) fn finding(disk: &Disk) -> Finding {
    const NAME: &str = "data_dir";
    if let Err(reason) = &disk.writable {
        return Finding::degraded(
            NAME,
            format!("{} can't be written: {reason}", disk.path.display()),
            "records wait in memory, and are lost when qtap ends before they are delivered; large bodies are kept in memory",
            "make it, or name another with --data-dir (DATA_DIR)",
        );
    }
    match disk.free {
        Some(free) if free < ROOM => Finding::degraded(
            NAME,
            format!("{}: {} MiB free", disk.path.display(), free >> 20),
            "a queue of the usual size (512 MiB) does not fit: records are dropped when the disk is full",
            "make room, name another with --data-dir (DATA_DIR), or lower `queue.max_bytes`",
        ),
        Some(free) => Finding::ok(NAME, format!("{}: {} MiB free", disk.path.display(), free >> 20)),
        None => Finding::ok(NAME, disk.path.display().to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::model::host::State;

    fn disk() -> Disk {
        Disk { path: PathBuf::from("/d"), writable: Ok(()), free: Some(600 << 20) }
    }

    #[test]
    fn a_directory_is_judged() {
        assert_eq!(finding(&disk()), Finding::ok("data_dir", "/d: 600 MiB free"));
        assert_eq!(finding(&Disk { free: None, ..disk() }).state, State::Ok);
        let full = finding(&Disk { free: Some(511 << 20), ..disk() });
        assert_eq!((full.state, full.found.as_str()), (State::Degraded, "/d: 511 MiB free"));
        let shut = finding(&Disk { writable: Err("read-only".to_owned()), ..disk() });
        assert_eq!((shut.state, shut.found.as_str()), (State::Degraded, "/d can't be written: read-only"));
    }

    #[test]
    fn one_that_is_not_there_is_made_where_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let found = Disk::read(&path);
        assert_eq!((found.writable, found.free.is_some(), path.exists()), (Ok(()), true, false));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Disk::read(&file.path().join("data")).writable.is_err_and(|why| why.contains("Not a directory")));
    }
}
