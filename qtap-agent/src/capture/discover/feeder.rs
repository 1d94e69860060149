//! Files that feed TLS sessions from memory: a language's module over OpenSSL that passes it records instead of a socket (Python's `_ssl`, Node's library).
//!
//! In: a file without a TLS library of its own. Out: where the file assigns the memory that a session reads from, and where it writes to that memory; or, if
//! the memory is its own BIO (`own_bio`), the function by which a session's records are written; none when it does neither.
//! Only calls from this file pass those places, so that no other user of the library is slowed down. Calls made by other files are not covered.

use super::elf::{Elf, Stub};
use super::locate::by_name;
use super::own_bio;
use super::plan::Hook;

/// The function that writes to memory.
pub const WRITES: &str = "BIO_write";
/// The functions that assign the memory that a session reads from, as their second argument.
pub const NAMES: [&str; 2] = ["SSL_set_bio", "SSL_set0_rbio"];

/// The function that creates two memories of which each reads what is written to the other. The addresses at which it stores them are its first and its third argument.
pub const PAIRS: &str = "BIO_new_bio_pair";

/// The functions that assign the BIO that a session writes to: the first as their third argument, the second as its second.
pub const OWN_NAMES: [&str; 2] = ["SSL_set_bio", "SSL_set0_wbio"];

/// A function that the file calls, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The function.
    pub name: String,
    /// File offsets of the probe sites: every call, if all calls are proven, since the kernel emulates calls; else the stub that they all go through. Where
    /// the function was looked up by name, the calls through the pointer to it.
    pub places: Vec<u64>,
    /// True when the sites are direct calls, at one trap each.
    pub proven: bool,
}

/// How a file feeds sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feeder {
    /// Through OpenSSL's memory BIO.
    Library {
        /// The functions that assign it.
        names: Vec<Called>,
        /// The function that writes to it.
        writes: Called,
        /// The one that creates it as a pair, with one half for the program (Boost.Asio).
        pairs: Option<Called>,
    },
    /// Through a BIO of the file's own.
    Own {
        /// The functions that assign it.
        names: Vec<Called>,
        /// Those by which a session writes to it.
        writes: Vec<Hook>,
    },
}

/// How the file feeds sessions, if it does.
#[must_use]
pub fn feeder(elf: &Elf) -> Option<Feeder> {
    let writes = own_bio::hooks(elf);
    if writes.is_empty() {
        return by_library(elf).or_else(|| by_name(elf));
    }
    let names = elf.stubs(&OWN_NAMES).unwrap_or_default();
    Some(Feeder::Own { names: names.into_iter().map(|stub| called(elf, stub)).collect(), writes })
}

fn by_library(elf: &Elf) -> Option<Feeder> {
    let mut names = elf.stubs(&[NAMES[0], NAMES[1], WRITES, PAIRS]).ok()?;
    let mut take = |name| Some(called(elf, names.remove(names.iter().position(|stub| stub.name == name)?)));
    let (writes, pairs) = (take(WRITES)?, take(PAIRS));
    let names: Vec<Called> = names.into_iter().map(|stub| called(elf, stub)).collect();
    (!names.is_empty()).then_some(Feeder::Library { names, writes, pairs })
}

/// A file that looks the functions up by name at run time.
fn by_name(elf: &Elf) -> Option<Feeder> {
    let [first, second, writes] = by_name::called(elf, [NAMES[0], NAMES[1], WRITES]);
    let called = |(name, places): (&str, Vec<u64>)| Called { name: name.to_owned(), places, proven: false };
    let is_called = |(_, places): &(&str, Vec<u64>)| !places.is_empty();
    let names: Vec<Called> = NAMES.into_iter().zip([first, second]).filter(is_called).map(called).collect();
    let both = !names.is_empty() && !writes.is_empty();
    both.then(|| Feeder::Library { names, writes: called((WRITES, writes)), pairs: None })
}

fn called(elf: &Elf, stub: Stub) -> Called {
    let calls: Vec<u64> = elf.calls_of(&stub).iter().map(|call| call.file_offset).collect();
    let proven = !calls.is_empty();
    Called { places: if proven { calls } else { vec![stub.file_offset] }, name: stub.name, proven }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::capture::sites::Machine;

    /// Python's own modules, where there are any.
    fn modules() -> impl Iterator<Item = PathBuf> {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let files = folders
            .flat_map(|entry| std::fs::read_dir(entry.path().join("lib-dynload")).into_iter().flatten().flatten());
        files
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_ssl.")))
    }

    #[test]
    fn pythons_module_feeds_and_its_calls_are_proven() {
        let modules: Vec<PathBuf> = modules().collect();
        if modules.is_empty() {
            return println!("skipped: no Python below /usr/lib has a module over OpenSSL");
        }
        for path in modules {
            let elf = Elf::open(&path).unwrap();
            if elf.machine() == Machine::X86_64 {
                let Some(Feeder::Library { names, writes, pairs: None }) = feeder(&elf) else {
                    panic!("{}: {:?}", path.display(), feeder(&elf))
                };
                let names: Vec<&str> = names.iter().map(|called| called.name.as_str()).collect();
                assert_eq!((names, writes.name.as_str()), (vec!["SSL_set_bio"], "BIO_write"), "{}", path.display());
                // Records are fed often, whereas memory is assigned once per session.
                assert!(writes.proven, "{}: {writes:?}", path.display());
            }
        }
    }

    #[test]
    fn a_file_that_does_neither_is_none() {
        assert_eq!(feeder(&Elf::open(&std::env::current_exe().unwrap()).unwrap()), None);
    }
}
