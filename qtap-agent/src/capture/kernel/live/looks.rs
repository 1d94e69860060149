//! New programs and libraries: inspected for TLS functions one after the other, between records. Inspecting a large executable takes long, and the
//! records that arrive meanwhile decide who is left out.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use qtap_common::state::{FileKey, scope};

use super::Live;
use crate::capture::decode::LibraryName;
use crate::capture::discover::elf::{Elf, FileId};
use crate::capture::discover::known::{is_library_name, known_libraries};
use crate::capture::discover::maps;
use crate::capture::recording::Fact;

/// Most files and programs that wait at once; beyond it, one is inspected before the next is added.
const WAITING: usize = 1024;
/// Inspections in a row of what processes have mapped, before something else has its turn.
const IN_A_ROW: u32 = 8;

/// What to inspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The program that a process executes: it may contain its TLS library.
    Program(u32),
    /// Files that a process mapped and that no process in scope had mapped before.
    Mappings(u32, Vec<FileKey>),
    /// One of them whose name is not that of a TLS library.
    File(u32, FileKey),
}

/// What is new and not inspected yet.
#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: VecDeque<Look>,
    /// Inspections in a row of what processes have mapped.
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

    /// The next one. Mapped files come first, because a short-lived program makes its first TLS call some milliseconds after it mapped its
    /// library, but only so many in a row; then whatever waited longest.
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

    /// The single file or program that waited longest; if there is none, whatever waited longest.
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
    /// Probes the TLS functions of a file.
    pub(super) fn attach_library(&mut self, path: &Path) {
        if let Some(file) = opened(path) {
            self.attach_file(&file, path);
        }
    }

    fn attach_file(&mut self, file: &Elf, path: &Path) {
        let attached = self.tls.as_mut().and_then(|tls| tls.attach(&mut self.probes, file, path));
        let Some(library) = attached else { return };
        let (number, name, by_code) = (u32::from(library.number), library.name.clone(), library.by_code);
        let library = LibraryName { number, name, by_code };
        self.decoder.library(library.clone());
        self.record(&Fact::Library(library));
    }

    /// The same for a file that the process `pid` has mapped. False if it can't be inspected.
    pub(super) fn attach_library_of(&mut self, pid: u32, path: &Path) -> bool {
        let Some(file) = opened(path) else { return false };
        let program = Elf::open(&program_of(pid)).ok();
        self.attach_file_of(pid, &file, path, program.as_ref());
        true
    }

    /// The same for the program that a process executes. The file is opened once: when the process is over before it was inspected, its path is gone, and each of
    /// those that follow would find itself not expected.
    fn attach_program_of(&mut self, pid: u32) {
        let path = program_of(pid);
        if let Some(program) = opened(&path) {
            self.attach_file_of(pid, &program, &path, Some(&program));
        }
    }

    fn attach_file_of(&mut self, pid: u32, file: &Elf, path: &Path, program: Option<&Elf>) {
        if let Some(tls) = &mut self.tls {
            if program.is_some_and(|program| tls.switches_stacks(program)) {
                tls.spare(file, path);
                self.tables.uses_fibers(pid);
            } else {
                self.tables.uses_no_fibers(pid);
            }
        }
        self.attach_file(file, path);
        if self.tls.as_ref().is_some_and(|tls| tls.has_rustls(file)) {
            self.tables.uses_rustls(pid);
        }
    }

    /// Probes a program that is about to run, and reports whether it switches stacks: then it and the libraries it may use are attached without return probes.
    pub(super) fn attach_expected(&mut self, path: &Path) -> bool {
        let Some(program) = opened(path) else { return false };
        let switches = self.tls.as_mut().is_some_and(|tls| tls.switches_stacks(&program));
        let spared = if switches { known_libraries(&[]) } else { Vec::new() };
        for path in spared.iter().map(PathBuf::as_path).chain(switches.then_some(path)) {
            if let (Some(tls), Some(file)) = (&mut self.tls, opened(path)) {
                tls.spare(&file, path);
                self.attach_file(&file, path);
            }
        }
        self.attach_file(&program, path);
        switches
    }

    /// The program of a process is to be inspected, once the waiting records have been handled.
    pub(super) fn look_at_program(&mut self, pid: u32) {
        self.make_room();
        self.looks.push(Look::Program(pid));
    }

    /// The same for a file that a process mapped.
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

    /// Inspects the next one. False if none waited.
    pub(super) fn look(&mut self) -> bool {
        let Some(look) = self.looks.next() else { return false };
        self.look_through(look);
        true
    }

    fn look_through(&mut self, look: Look) {
        match look {
            // If another process executes it, that is reported too; a library that others map is not reported again.
            Look::Program(pid) if self.is_left_out(pid) => {}
            Look::Program(pid) => {
                self.attach_program_of(pid);
            }
            Look::Mappings(pid, files) => self.look_at_mappings(pid, files),
            Look::File(pid, file) => {
                let path = maps::path_among(pid, id_of(file), &maps::executable_mappings(pid));
                let is_jvm = path.as_ref().is_some_and(|path| self.meet_jvm(pid, path));
                let looked_into = path.is_some_and(|path| self.attach_library_of(pid, &path));
                self.looked_at(pid, file, looked_into, is_jvm);
            }
        }
    }

    /// Probes every file that a process has mapped by now and that is named like a TLS library. The other reported files are inspected later.
    fn look_at_mappings(&mut self, pid: u32, files: Vec<FileKey>) {
        let mappings = maps::executable_mappings(pid);
        let mut attached = HashSet::new();
        for mapping in mappings.iter().filter(|mapping| is_library_name(&mapping.path)) {
            if maps::path_from_here(pid, mapping).is_some_and(|path| self.attach_library_of(pid, &path)) {
                attached.insert(mapping.id);
            }
        }
        for file in files.into_iter().filter(|file| !attached.contains(&id_of(*file))) {
            self.looks.push(Look::File(pid, file));
        }
    }

    /// A file was inspected. If that failed because its process had ended, the next process that maps the file is to be reported. (If the process
    /// lives, the file can't be inspected at all, and would be reported again forever.)
    fn looked_at(&mut self, pid: u32, file: FileKey, looked_into: bool, is_jvm: bool) {
        let is_gone = !looked_into && !Path::new(&format!("/proc/{pid}")).exists();
        // Each process that maps a JVM is to be met, not each file.
        if is_gone || is_jvm {
            self.tables.tell_again(|told| told == file);
        }
    }

    /// True for a process whose plaintext is not wanted.
    pub(super) fn is_silent(&self, pid: u32) -> bool {
        let verdict = self.tables.scope.get(&pid, 0);
        self.is_left_out(pid)
            || verdict.is_ok_and(|verdict| verdict & (scope::NO_TLS | scope::NO_DATA | scope::NO_HTTP) != 0)
    }

    /// True for a process that is out of scope, or nothing of which is reported.
    pub(super) fn is_left_out(&self, pid: u32) -> bool {
        let verdict = self.tables.scope.get(&pid, 0);
        verdict.is_ok_and(|verdict| verdict & scope::IN == 0 || verdict & scope::NOTHING != 0)
    }
}

/// The program that a process executes.
fn program_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

/// The file at `path`, if it can be inspected.
fn opened(path: &Path) -> Option<Elf> {
    let file = Elf::open(path);
    file.inspect_err(|reason| tracing::debug!(path = %path.display(), %reason, "not looked into")).ok()
}

/// A file's id as `stat` reports it.
pub(super) fn id_of(file: FileKey) -> FileId {
    FileId { dev: user_dev(file.dev), ino: file.ino }
}

/// A device as `stat` reports it, from the kernel's own form (`include/linux/kdev_t.h`: 32 bits, 20 of them the minor number).
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
