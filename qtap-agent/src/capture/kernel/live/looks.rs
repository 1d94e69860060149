//! Programs and libraries that are new: looked through for TLS functions, one after the other, between records. Reading a large executable takes
//! long, and who is to be left out is decided by records that came meanwhile.

use std::path::Path;

use qtap_common::state::{FileKey, scope};

use super::Live;
use crate::capture::discover::elf::FileId;
use crate::capture::discover::maps;
use crate::capture::recording::Fact;

/// Looks that wait at once; beyond them one is made before the next is taken in.
const WAITING: usize = 1024;

/// What is to be looked through.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// The program that a process executes: it may carry its TLS library in itself.
    Program(u32),
    /// A file that a process mapped, and no process in scope before it: device in the kernel's encoding, inode number.
    Mapping(u32, u64, u64),
}

impl Live {
    /// False when the file can't be looked into.
    pub(super) fn attach_library(&mut self, path: &Path) -> bool {
        let Some(tls) = self.tls.as_mut() else { return true };
        let library = match tls.attach(&mut self.ebpf, path) {
            Ok(Some(library)) => library,
            Ok(None) => return true,
            Err(reason) => {
                tracing::debug!(path = %path.display(), %reason, "not looked into");
                return false;
            }
        };
        let (number, name) = (u32::from(library.number), library.name.clone());
        self.decoder.library(number, name.clone());
        self.record(&Fact::Library { number, name });
        true
    }

    /// Looks something through as soon as the records that wait have been taken.
    pub(super) fn look_later(&mut self, look: Look) {
        if self.looks.len() >= WAITING {
            self.look();
        }
        self.looks.push_back(look);
    }

    /// Makes the look that waited longest. False: none did.
    pub(super) fn look(&mut self) -> bool {
        let Some(look) = self.looks.pop_front() else { return false };
        match look {
            // Another process that executes it is told by itself; of a library others are not.
            Look::Program(pid) if self.is_left_out(pid) => {}
            Look::Program(pid) => {
                self.attach_library(Path::new(&format!("/proc/{pid}/exe")));
            }
            Look::Mapping(pid, dev, ino) => {
                let id = FileId { dev: user_dev(dev), ino };
                let looked_into = maps::path_of(pid, id).is_some_and(|path| self.attach_library(&path));
                // It lived too short: the next one that maps this file is to be told of. One that is there and can't be looked at would
                // be told of for ever.
                if !looked_into && !Path::new(&format!("/proc/{pid}")).exists() {
                    self.tables.tell_again(FileKey { dev, ino });
                }
            }
        }
        true
    }

    fn is_left_out(&self, pid: u32) -> bool {
        self.tables.scope.get(&pid, 0).is_ok_and(|verdict| verdict & scope::NOTHING != 0)
    }
}

/// A device as `stat` gives it, from the kernel's own form (`include/linux/kdev_t.h`: 20 bits of minor number).
fn user_dev(kernel: u64) -> u64 {
    rustix::fs::makedev((kernel >> 20) as u32, (kernel & 0xf_ffff) as u32)
}
