//! Programs and libraries that are new: looked through for TLS functions, one after the other, between records. Reading a large executable takes
//! long, and who is to be left out is decided by records that came meanwhile.

use std::collections::{HashSet, VecDeque};
use std::path::Path;

use qtap_common::state::{FileKey, scope};

use super::Live;
use crate::capture::decode::LibraryName;
use crate::capture::discover::elf::FileId;
use crate::capture::discover::known::is_library_name;
use crate::capture::discover::maps;
use crate::capture::recording::Fact;

/// Files and programs that wait at once; beyond them one is looked through before the next is taken in.
const WAITING: usize = 1024;
/// Looks at what processes have mapped, one after the other, before something else has its turn.
const IN_A_ROW: u32 = 8;

/// What is to be looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The program that a process executes: it may carry its TLS library in itself.
    Program(u32),
    /// Files that a process mapped, and no process in scope before it.
    Mappings(u32, Vec<FileKey>),
    /// One of them that is not called like a TLS library.
    File(u32, FileKey),
}

/// What is new, and not yet looked through.
#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: VecDeque<Look>,
    /// Looks in a row at what processes have mapped.
    in_a_row: u32,
}

impl Looks {
    fn len(&self) -> usize {
        let files = |look: &Look| match look {
            Look::Mappings(_, files) => files.len(),
            Look::Program(_) | Look::File(..) => 1,
        };
        self.waiting.iter().map(files).sum()
    }

    fn push(&mut self, look: Look) {
        self.waiting.push_back(look);
    }

    fn mapped(&mut self, pid: u32, file: FileKey) {
        for look in &mut self.waiting {
            if let Look::Mappings(of, files) = look
                && *of == pid
            {
                files.push(file);
                return;
            }
        }
        self.push(Look::Mappings(pid, vec![file]));
    }

    /// The next one. What processes have mapped comes first, since a program of a moment makes its first TLS call some milliseconds after it mapped its library, but not
    /// for ever; then whatever waited longest.
    fn next(&mut self) -> Option<Look> {
        let mappings = self.waiting.iter().position(|look| matches!(look, Look::Mappings(..)));
        match mappings.filter(|_| self.in_a_row < IN_A_ROW) {
            Some(at) => {
                self.in_a_row += 1;
                self.waiting.remove(at)
            }
            None => self.oldest(),
        }
    }

    /// The one that waited longest of those that are single; else of all.
    fn single(&mut self) -> Option<Look> {
        match self.waiting.iter().position(|look| !matches!(look, Look::Mappings(..))) {
            Some(at) => self.waiting.remove(at),
            None => self.oldest(),
        }
    }

    fn oldest(&mut self) -> Option<Look> {
        self.in_a_row = 0;
        self.waiting.pop_front()
    }
}

impl Live {
    /// False when the file can't be looked into.
    pub(super) fn attach_library(&mut self, path: &Path) -> bool {
        let Some(tls) = self.tls.as_mut() else { return true };
        let library = match tls.attach(&mut self.probes, path) {
            Ok(Some(library)) => library,
            Ok(None) => return true,
            Err(reason) => {
                tracing::debug!(path = %path.display(), %reason, "not looked into");
                return false;
            }
        };
        let (number, name, by_code) = (u32::from(library.number), library.name.clone(), library.by_code);
        let library = LibraryName { number, name, by_code };
        self.decoder.library(library.clone());
        self.record(&Fact::Library(library));
        true
    }

    /// The same of a file that a process has in itself.
    pub(super) fn attach_library_of(&mut self, pid: u32, path: &Path) -> bool {
        let looked_into = self.attach_library(path);
        if self.tls.as_ref().is_some_and(|tls| tls.has_rustls(path)) {
            self.tables.uses_rustls(pid);
        }
        looked_into
    }

    /// The program of a process is to be looked through as soon as the records that wait have been taken.
    pub(super) fn look_at_program(&mut self, pid: u32) {
        self.make_room();
        self.looks.push(Look::Program(pid));
    }

    /// The same of a file that a process mapped.
    pub(super) fn look_at_mapping(&mut self, pid: u32, file: FileKey) {
        self.make_room();
        self.looks.mapped(pid, file);
    }

    fn make_room(&mut self) {
        while self.looks.len() >= WAITING
            && let Some(one) = self.looks.single()
        {
            self.look_through(one);
        }
    }

    /// Makes a look. False: none waited.
    pub(super) fn look(&mut self) -> bool {
        let Some(look) = self.looks.next() else { return false };
        self.look_through(look);
        true
    }

    fn look_through(&mut self, look: Look) {
        match look {
            // Another process that executes it is told by itself; of a library others are not.
            Look::Program(pid) if self.is_left_out(pid) => {}
            Look::Program(pid) => {
                self.attach_library_of(pid, Path::new(&format!("/proc/{pid}/exe")));
            }
            Look::Mappings(pid, files) => self.look_at_mappings(pid, files),
            Look::File(pid, file) => {
                let path = maps::path_among(pid, id_of(file), &maps::executable_mappings(pid));
                let looked_into = path.is_some_and(|path| self.attach_library_of(pid, &path));
                self.looked_at(pid, file, looked_into);
            }
        }
    }

    /// Attaches whatever a process has mapped by now that is called like a TLS library. The other files that it was told to have mapped are looked through later.
    fn look_at_mappings(&mut self, pid: u32, files: Vec<FileKey>) {
        let mappings = maps::executable_mappings(pid);
        let mut attached = HashSet::new();
        for mapping in mappings.iter().filter(|mapping| is_library_name(&mapping.path)) {
            if maps::path_from_here(pid, mapping).is_some_and(|path| self.attach_library(&path)) {
                attached.insert(mapping.id);
            }
        }
        for file in files.into_iter().filter(|file| !attached.contains(&id_of(*file))) {
            self.looks.push(Look::File(pid, file));
        }
    }

    /// A file was looked at. If it could not be, and its process lived too short, the next one that maps it is to be told of. (One that is there and can't be looked at
    /// would be told of for ever.)
    fn looked_at(&mut self, pid: u32, file: FileKey, looked_into: bool) {
        if !looked_into && !Path::new(&format!("/proc/{pid}")).exists() {
            self.tables.tell_again(|told| told == file);
        }
    }

    fn is_left_out(&self, pid: u32) -> bool {
        self.tables.scope.get(&pid, 0).is_ok_and(|verdict| verdict & scope::NOTHING != 0)
    }
}

/// A file as `stat` gives it.
pub(super) fn id_of(file: FileKey) -> FileId {
    FileId { dev: user_dev(file.dev), ino: file.ino }
}

/// A device as `stat` gives it, from the kernel's own form (`include/linux/kdev_t.h`: 32 bits, 20 of them the minor number).
fn user_dev(kernel: u64) -> u64 {
    let kernel = kernel as u32;
    rustix::fs::makedev(kernel >> 20, kernel & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_device_and_inode_whatever_its_generation() {
        let (major, minor) = (253u64, 70_000u64);
        let id = FileId { dev: rustix::fs::makedev(major as u32, minor as u32), ino: 9 };
        for generation in [0, 1, u64::from(u32::MAX)] {
            assert_eq!(id_of(FileKey { dev: generation << 32 | major << 20 | minor, ino: 9 }), id);
        }
    }

    fn file(ino: u64) -> FileKey {
        FileKey { dev: 1, ino }
    }

    #[test]
    fn what_is_mapped_comes_first_and_together() {
        let mut looks = Looks::default();
        looks.push(Look::Program(1));
        looks.push(Look::File(1, file(9)));
        looks.mapped(1, file(1));
        looks.mapped(2, file(2));
        looks.mapped(1, file(3));
        assert_eq!(looks.len(), 5);
        assert_eq!(looks.next(), Some(Look::Mappings(1, vec![file(1), file(3)])));
        assert_eq!(looks.next(), Some(Look::Mappings(2, vec![file(2)])));
        assert_eq!(looks.next(), Some(Look::Program(1)));
        assert_eq!(looks.next(), Some(Look::File(1, file(9))));
        assert_eq!(looks.next(), None);
    }

    #[test]
    fn what_waits_longest_has_its_turn_however_much_is_mapped() {
        let mut looks = Looks::default();
        looks.push(Look::Program(1));
        looks.mapped(2, file(0));
        let mut turns = 1;
        while !matches!(looks.next(), Some(Look::Program(_))) {
            looks.mapped(2, file(turns));
            turns += 1;
            assert!(turns <= 1 + u64::from(IN_A_ROW), "it starves");
        }
    }
}
