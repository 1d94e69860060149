//! The data directory, which holds what must outlive the process: the stores' queues and dead letters. Only one qtap uses it at a time: it holds
//! a lock on a file in it. This module reads only file names in it, apart from the lock file, and deletes nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::queue;
use super::settings::Form;

/// Maximum length of a folder name, in bytes; a longer id is truncated and a CRC makes it unique.
const NAME_BYTES: usize = 200;

/// A data directory that this process has locked until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another qtap uses it.
    #[error(
        "{} is in use by another qtap{}: two would deliver the same records; stop it, or give this one another folder with --data-dir (DATA_DIR)",
        path.display(),
        pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The pid of that qtap, where known.
        pid: Option<u32>,
    },
    /// It can't be created or written.
    #[error("{} can't be written: {cause}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The underlying error.
        cause: io::Error,
    },
}

impl DataDir {
    /// Creates the directory if there is none, and locks it.
    ///
    /// # Errors
    /// When another process holds the lock, or the directory can't be written.
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let unwritable = |cause| DataDirError::Unwritable { path: path.to_owned(), cause };
        // It holds captured data, so only the owner gets access.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable)?;
        let name = path.join("lock");
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
        let mut lock = options.map_err(unwritable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = lock.take(16).read_to_string(&mut text);
                return Err(DataDirError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(error) => return Err(unwritable(error.into())),
        }
        // Only for the words of another qtap: the lock itself needs no bytes, so it is had on a full disk too.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        // Whoever created the data directory (a kubelet creates that of a hostPath) may have made it readable for all. If something that is not
        // a folder is at this path, no queue can be opened; each store reports that itself.
        let queues = path.join("queue");
        if fs::DirBuilder::new().recursive(true).mode(0o700).create(&queues).is_ok() {
            fs::set_permissions(&queues, fs::Permissions::from_mode(0o700)).map_err(unwritable)?;
        }
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    /// Folder where bodies too large for memory are assembled: on the queues' filesystem, because queues hard-link these files.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Folder of the queue of a store for records in this form: a store whose form changes starts with an empty queue, and the old one
    /// is left over.
    #[must_use]
    pub fn queue(&self, store: &str, form: Form) -> PathBuf {
        self.path.join("queue").join(queue_name(store, form))
    }

    /// Path of the dead letters of a store, without the file name extension.
    #[must_use]
    pub fn dead_letters(&self, store: &str) -> PathBuf {
        self.path.join("dead-letter").join(file_name(store))
    }

    /// Folder names of queues whose stores are no longer configured.
    #[must_use]
    pub fn left_over<'a>(&self, stores: impl Iterator<Item = (&'a str, Form)>) -> Vec<String> {
        let known: BTreeSet<String> = stores.map(|(store, form)| queue_name(store, form)).collect();
        let Ok(entries) = fs::read_dir(self.path.join("queue")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut left: Vec<String> = names.filter(|name| !known.contains(name)).collect();
        left.sort();
        left
    }

    /// False when the queue in this folder is certainly empty.
    #[must_use]
    pub fn may_hold(&self, queue: &str) -> bool {
        queue::may_hold(&self.path.join("queue").join(queue))
    }
}

/// The separator `+` occurs in no encoded id.
fn queue_name(store: &str, form: Form) -> String {
    format!("{}+{}", file_name(store), form.name())
}

/// Encodes an id as a file name: letters, digits, `-`, `_`, and a `.` that is not first, stay; every other byte becomes `%XX`.
fn file_name(id: &str) -> String {
    let mut name = String::new();
    for (index, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if index > 0 => name.push('.'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    if name.len() > NAME_BYTES {
        name.truncate(NAME_BYTES);
        name.push_str(&format!("~{:08x}", crc32fast::hash(id.as_bytes())));
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::export::small_disk::SmallDisk;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by another qtap (process {})", std::process::id())), "{error}");
        assert!(error.contains("--data-dir"), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    /// A lock needs no room on the disk: only the pid is missing from what is said.
    #[test]
    fn a_full_disk_is_locked_all_the_same() {
        let Some(disk) = SmallDisk::mount(64) else { return };
        let path = disk.path().join("data");
        fs::create_dir_all(path.join("queue")).unwrap();
        let filler = disk.fill();
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another qtap:"), "{error}");
        drop(first);
        fs::remove_file(filler).unwrap();
        let _second = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    }

    #[test]
    fn queues_are_their_owners_alone_whoever_made_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for made_before in [folder.path().to_owned(), folder.path().join("queue")] {
            fs::create_dir_all(&made_before).unwrap();
            fs::set_permissions(&made_before, fs::Permissions::from_mode(0o755)).unwrap();
            let data = DataDir::open(folder.path()).unwrap();
            let queues = data.queue("a", Form::Json).parent().unwrap().metadata().unwrap();
            assert_eq!(queues.permissions().mode() & 0o777, 0o700, "{}", made_before.display());
        }
    }

    #[test]
    fn a_folder_that_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(&path.join("data")).unwrap_err();
        assert!(matches!(error, DataDirError::Unwritable { .. }), "{error}");
    }

    #[test]
    fn any_id_is_a_file_name_and_no_other_ids() {
        for (id, name) in [
            ("otel-2", "otel-2"),
            ("a.b", "a.b"),
            ("..", "%2E."),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(file_name(id), name);
        }
        let long = file_name(&"x".repeat(1000));
        assert!(long.len() < 255 && long != file_name(&"x".repeat(999)));
    }

    #[test]
    fn queues_without_a_store_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let all = [("a", Form::Json), ("b", Form::Object)];
        assert_eq!(data.left_over(all.into_iter()), Vec::<String>::new());
        for (store, form) in [("a", Form::Json), ("old/one", Form::Json), ("b", Form::Object), ("b", Form::Protobuf)] {
            fs::create_dir_all(data.queue(store, form)).unwrap();
        }
        assert_eq!(data.left_over(all.into_iter()), ["b+protobuf", "old%2Fone+json"]);
    }
}
