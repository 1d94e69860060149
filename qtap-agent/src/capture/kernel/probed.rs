//! Files with probes, and for how long. A file that no process uses any more and that is not on the host's own file system is released, along with
//! the mounts that its probes hold. In: what was attached, what is in use. Out: what to detach.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::tls::Library;
use super::uprobes::Link;
use crate::capture::discover::elf::{Below, Elf, FileId};
use crate::capture::discover::maps;
use crate::model::time::KernelTime;

/// A file with probes. On overlayfs, all files that show the same underlying file.
#[derive(Debug)]
pub(super) struct Probed {
    /// `None`: the file has no TLS library in it, but feeds the sessions of another one.
    pub(super) library: Option<Arc<Library>>,
    pub(super) ids: HashSet<FileId>,
    pub(super) below: Option<Below>,
    /// Its path as the host sees it, if it does.
    name: PathBuf,
    pub(super) links: Vec<Link>,
    used: KernelTime,
}

impl Probed {
    pub(super) fn new(elf: &Elf, library: Option<Arc<Library>>, links: Vec<Link>, now: KernelTime) -> Probed {
        let name = std::fs::read_link(elf.lasting_path()).unwrap_or_default();
        Probed { library, ids: HashSet::from([elf.id()]), below: elf.below(), name, links, used: now }
    }

    /// True if it is on the host's own file system. Such a file may be used at any time, and only probes that are already there see the first byte.
    /// Probes do not stay in a file on another file system: they hold it, so that it could not be unmounted.
    fn is_hosts(&self) -> bool {
        let from_root = self.name.strip_prefix("/").unwrap_or(&self.name);
        // For an agent in a container, the root of process 1 is the host's.
        [Path::new("/"), Path::new("/proc/1/root")].iter().any(|root| {
            let Ok(file) = std::fs::metadata(root.join(from_root)) else { return false };
            let of_system = |folder: &str| std::fs::metadata(root.join(folder)).is_ok_and(|it| it.dev() == file.dev());
            let is_it = self.ids.contains(&FileId { dev: file.dev(), ino: file.ino() });
            is_it && (of_system("") || of_system("usr"))
        })
    }
}

/// All files with probes.
#[derive(Debug, Default)]
pub(super) struct ProbedFiles {
    files: BTreeMap<u64, Probed>,
    by_id: HashMap<FileId, u64>,
    by_below: HashMap<Below, u64>,
    last: u64,
}

impl ProbedFiles {
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn get(&self, id: FileId) -> Option<&Probed> {
        self.files.get(self.by_id.get(&id)?)
    }

    /// The file that shows the same underlying file; from now on it is known by `id` too.
    pub(super) fn join(&mut self, id: FileId, below: &Below) -> Option<&Probed> {
        let number = *self.by_below.get(below)?;
        let probed = self.files.get_mut(&number)?;
        probed.ids.insert(id);
        self.by_id.insert(id, number);
        Some(probed)
    }

    pub(super) fn insert(&mut self, probed: Probed) {
        self.last += 1;
        self.by_id.extend(probed.ids.iter().map(|id| (*id, self.last)));
        self.by_below.extend(probed.below.clone().map(|below| (below, self.last)));
        self.files.insert(self.last, probed);
    }

    /// Removes and returns the file, under all its ids, if it is like that.
    pub(super) fn take_if(&mut self, id: FileId, is_like: impl Fn(&Probed) -> bool) -> Option<Probed> {
        let number = *self.by_id.get(&id)?;
        if !is_like(self.files.get(&number)?) {
            return None;
        }
        let probed = self.files.remove(&number);
        self.forget_removed();
        probed
    }

    /// Ids of removed files lead nowhere.
    fn forget_removed(&mut self) {
        let files = &self.files;
        self.by_id.retain(|_, number| files.contains_key(number));
        self.by_below.retain(|_, number| files.contains_key(number));
    }

    pub(super) fn libraries(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.files.values().filter_map(|probed| probed.library.as_ref())
    }

    /// Removes and returns the files that nobody has used for `after`. `in_use` is called only if there is a file that is not the host's.
    pub(super) fn take_unused(
        &mut self,
        now: KernelTime,
        after: Duration,
        in_use: impl FnOnce() -> HashSet<FileId>,
    ) -> Vec<Probed> {
        let foreign: Vec<u64> =
            self.files.iter().filter(|(_, probed)| !probed.is_hosts()).map(|(number, _)| *number).collect();
        if foreign.is_empty() {
            return Vec::new();
        }
        let in_use = in_use();
        let mut unused = Vec::new();
        for number in foreign {
            let Some(probed) = self.files.get_mut(&number) else { continue };
            if !probed.ids.is_disjoint(&in_use) {
                probed.used = now;
            } else if now.since(probed.used) >= after {
                unused.extend(self.files.remove(&number));
            }
        }
        self.forget_removed();
        unused
    }

    pub(super) fn has_links(&self) -> bool {
        self.files.values().any(|probed| !probed.links.is_empty())
    }
}

/// Every file that a process has mapped for execution: its id from `stat`, and the id in the map, because a file that can't be opened is in use too.
pub(super) fn files_in_use() -> HashSet<FileId> {
    mappings().flat_map(|(_, shown, file)| [Some(shown), file.map(|(id, _)| id)]).flatten().collect()
}

/// Those of `files` that a process has mapped for execution, with the process and a path to the file.
pub(super) fn used_among(files: &HashSet<FileId>) -> Vec<(u32, PathBuf)> {
    let used = mappings().filter_map(|(pid, _, file)| Some((pid, file.filter(|(id, _)| files.contains(id))?.1)));
    used.collect()
}

/// Processes and what they have mapped for execution, each file once: its id in the map; and its id from `stat` with a path to it.
fn mappings() -> impl Iterator<Item = (u32, FileId, Option<(FileId, PathBuf)>)> {
    let mut seen = HashSet::new();
    maps::processes().into_iter().flat_map(move |pid| {
        let mounts = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let mut mappings = maps::executable_mappings(pid);
        // In other mount namespaces another file may be stacked on it, though the map may show the same id.
        mappings.retain(|mapping| seen.insert((mounts.clone(), mapping.id)));
        mappings.into_iter().map(move |mapping| {
            let path = maps::path_from_here(pid, &mapping);
            let file = path.and_then(|path| Some((std::fs::metadata(&path).ok()?, path)));
            let file = file.map(|(file, path)| (FileId { dev: file.dev(), ino: file.ino() }, path));
            (pid, mapping.id, file)
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> KernelTime {
        KernelTime(seconds * 1_000_000_000)
    }

    fn probed(ino: u64, name: &Path) -> Probed {
        let ids = HashSet::from([FileId { dev: 1, ino }]);
        Probed { library: None, ids, below: None, name: name.to_owned(), links: Vec::new(), used: at(0) }
    }

    fn inodes(files: &[Probed]) -> Vec<u64> {
        files.iter().flat_map(|file| file.ids.iter().map(|id| id.ino)).collect()
    }

    #[test]
    fn what_nobody_has_used_for_long_goes() {
        let mut files = ProbedFiles::default();
        files.insert(probed(7, Path::new("/nowhere/libssl.so.3")));
        files.insert(probed(8, Path::new("/nowhere/libssl.so.1.1")));
        let used = || HashSet::from([FileId { dev: 1, ino: 7 }]);
        assert!(files.take_unused(at(59), AFTER, used).is_empty());
        assert_eq!(inodes(&files.take_unused(at(60), AFTER, used)), [8]);
        assert!(files.get(FileId { dev: 1, ino: 8 }).is_none());
        // The time counts from its last use.
        assert!(files.take_unused(at(119), AFTER, HashSet::new).is_empty());
        assert_eq!(inodes(&files.take_unused(at(120), AFTER, HashSet::new)), [7]);
        assert_eq!(files.len(), 0);
    }

    #[test]
    fn what_the_host_can_reach_stays_and_nobody_is_asked_for_it() {
        let here = std::fs::canonicalize("/bin/sh").unwrap();
        let metadata = std::fs::metadata(&here).unwrap();
        let mut file = probed(0, &here);
        file.ids = HashSet::from([FileId { dev: metadata.dev(), ino: metadata.ino() }]);
        let mut files = ProbedFiles::default();
        files.insert(file);
        let asked = || unreachable!("processes are looked through for nothing");
        assert!(files.take_unused(at(1_000_000), AFTER, asked).is_empty());
        // A different file at that path is not this file.
        files.insert(probed(1, &here));
        assert_eq!(inodes(&files.take_unused(at(1_000_000), AFTER, HashSet::new)), [1]);
    }

    #[test]
    fn what_runs_is_in_use() {
        let metadata = std::fs::metadata("/proc/self/exe").unwrap();
        let own = FileId { dev: metadata.dev(), ino: metadata.ino() };
        assert!(files_in_use().contains(&own));
        let used = used_among(&HashSet::from([own]));
        let is_own = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.ino() == own.ino);
        assert!(!used.is_empty() && used.iter().all(|(_, path)| is_own(path)), "{used:?}");
    }
}
