//! Data too large for memory, in files beside the segments of a lane: `<number>.spool` for each entry that has one, from before the entry is
//! written until it is settled. A sender gets a hard link of its own, `<number>-<pid>.lent`, so that neither side waits for the other.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::{fs, process};

use crate::model::spool::SpoolFile;

fn kept(folder: &Path, seq: u64) -> PathBuf {
    folder.join(format!("{seq:020}.spool"))
}

/// Adds a file under the number of its entry: as a hard link, or as a copy from another filesystem.
///
/// # Errors
/// When the filesystem does not permit it.
pub(super) fn keep(folder: &Path, seq: u64, file: &SpoolFile, sync: bool) -> io::Result<()> {
    let path = kept(folder, seq);
    let mut linked = file.link(&path);
    if linked.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
        // Left by a process that was killed before it wrote the entry, or by a copy that did not fit.
        fs::remove_file(&path)?;
        linked = file.link(&path);
    }
    match linked {
        Ok(()) => {}
        // On another filesystem, so copy it.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => drop(fs::copy(file.path(), &path)?),
        Err(error) => return Err(error),
    }
    if sync { fs::File::open(&path)?.sync_all() } else { Ok(()) }
}

/// Creates the sender's own link to the file of entry `seq`.
///
/// # Errors
/// When the file is gone.
pub(super) fn lend(folder: &Path, seq: u64, bytes: u64) -> io::Result<SpoolFile> {
    let lent = folder.join(format!("{seq:020}-{}.lent", process::id()));
    match fs::remove_file(&lent) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::hard_link(kept(folder, seq), &lent)?;
    Ok(SpoolFile::new(lent, bytes))
}

/// Removes the file of a settled entry. What can't be removed is removed at the next start.
pub(super) fn remove(folder: &Path, seq: u64) {
    let _ = fs::remove_file(kept(folder, seq));
}

/// Removes all lent links, and the files of entries that are not `wanted`; returns the total size of the others.
///
/// # Errors
/// When the folder can't be read.
pub(super) fn sweep(folder: &Path, wanted: impl Fn(u64) -> bool) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let spooled = name.strip_suffix(".spool").and_then(|number| number.parse().ok());
        match spooled {
            Some(seq) if wanted(seq) => bytes += entry.metadata()?.len(),
            Some(_) => fs::remove_file(entry.path())?,
            None if name.ends_with(".lent") => fs::remove_file(entry.path())?,
            None => {}
        }
    }
    Ok(bytes)
}
