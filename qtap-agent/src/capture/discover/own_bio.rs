//! Files that write a session's records to memory themselves: through a BIO of their own (`BIO_meth_new`), like Node's library where OpenSSL is a separate library.
//!
//! In: a file without a TLS library of its own. Out: a hook at each function that the file gives such a BIO for writing, if it keeps its data.
//! One that passes the data on (curl's passes it to its own layers, and from there to a socket) shows the socket inside the TLS call; a probe there would be wasted.

use std::collections::BTreeSet;

use super::call::Call;
use super::elf::{CallSite, Elf, Functions, Stub, Symbol};
use super::plan::{Hook, hook};
use crate::capture::sites::{self, Body, Machine, Put, Reg};

/// The function that is given a BIO's write function, as its second argument.
const MAKES: &str = "BIO_meth_set_write";
/// The functions that assign a session its BIO: a file that calls none of them makes BIOs for other purposes.
const GIVES: [&str; 3] = ["SSL_set_bio", "SSL_set0_wbio", "SSL_set0_rbio"];
/// The functions that send.
const SENDS: [&str; 5] = ["send", "sendto", "sendmsg", "write", "writev"];
/// How many levels below the write function are searched for sends, and how many for calls through pointers: deeper down those may be anything (an allocator, say).
const DEEPEST: u32 = 3;
const NEAR: u32 = 1;
/// Most functions examined per level.
const MOST: usize = 32;
/// The name given to a hook's function.
const NAME: &str = "a BIO's own";

/// Hooks of the file's own BIOs; none when it has none, or when their write functions are not certain.
pub(super) fn hooks(elf: &Elf) -> Vec<Hook> {
    if elf.machine() != Machine::X86_64 {
        return Vec::new();
    }
    let wanted: Vec<&str> = [MAKES].into_iter().chain(GIVES).collect();
    let stubs = elf.stubs(&wanted).unwrap_or_default();
    let makes = stubs.iter().find(|stub| stub.name == MAKES);
    let gives = stubs.iter().any(|stub| stub.name != MAKES);
    let (Some(makes), true, Some(functions)) = (makes, gives, elf.unwinding()) else { return Vec::new() };
    // Nearly every file imports these, so they are looked up only in the few files that get this far.
    let sends = elf.stubs(&SENDS).unwrap_or_default();
    let mut writes: Vec<Symbol> = Vec::new();
    for call in elf.calls_of(makes) {
        let function = given(elf, &functions, &call).and_then(|start| elf.unwound(&functions, start, NAME));
        let known = |function: &Symbol| writes.iter().any(|known| known.vaddr == function.vaddr);
        if let Some(function) = function.filter(|function| !known(function) && keeps(elf, &functions, function, &sends))
        {
            writes.push(function);
        }
    }
    writes.iter().map(|function| hook(elf, Call::BioWrite, function)).collect()
}

/// The function that is passed at a call: where it begins.
fn given(elf: &Elf, functions: &Functions, call: &CallSite) -> Option<u64> {
    let (start, code) = elf.code_around(functions, call.vaddr)?;
    match sites::put(&code, start, call.vaddr - start, Reg::of_argument(1)?)? {
        Put::Address(address) => Some(address),
        Put::Held(place) => elf.pointer(place),
    }
}

/// True when the function keeps its data: it and the functions it calls make no calls through pointers, and nothing below sends, down to the depths above.
fn keeps(elf: &Elf, functions: &Functions, function: &Symbol, sends: &[Stub]) -> bool {
    let mut known = BTreeSet::from([function.vaddr]);
    let mut level = vec![function.clone()];
    for depth in 0..=DEEPEST {
        let mut goes_to = Vec::new();
        for function in &level {
            let Some((body, by_pointer)) = code_of(elf, function) else { return false };
            let sent = body.goes_to.iter().any(|to| sends.iter().any(|stub| stub.vaddr == *to));
            if sent || (by_pointer && depth <= NEAR) {
                return false;
            }
            goes_to.extend(body.goes_to);
        }
        goes_to.retain(|to| known.insert(*to));
        level = goes_to.into_iter().filter_map(|start| elf.unwound(functions, start, NAME)).collect();
        level.truncate(MOST);
    }
    true
}

/// What a function's code shows, and whether it calls through a pointer; none when it can't be read.
fn code_of(elf: &Elf, function: &Symbol) -> Option<(Body, bool)> {
    let code = elf.code(function).ok()?;
    Some((Body::of(&code, function.vaddr)?, sites::goes_by_pointer(&code)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// Installed files with this prefix, in the usual places.
    fn installed(name: &str) -> Vec<PathBuf> {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu/jni", "/usr/lib", "/usr/sbin"];
        let entries = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
        found.map(|entry| entry.path()).collect()
    }

    fn hooks_in(path: &Path) -> Vec<Hook> {
        hooks(&Elf::open(path).unwrap())
    }

    #[test]
    fn what_keeps_its_records_in_memory_is_hooked() {
        let all: Vec<PathBuf> = ["libnode.so", "libnetty-tcnative.so"].into_iter().flat_map(installed).collect();
        if all.is_empty() {
            println!("skipped: neither a shared Node nor netty's library is installed");
        }
        for path in all {
            let hooks = hooks_in(&path);
            assert!(hooks.len() == 1 && hooks[0].call == Call::BioWrite, "{}: {hooks:?}", path.display());
        }
    }

    /// These show the socket inside the TLS call, so that another probe would be wasted.
    #[test]
    fn what_hands_them_on_is_not() {
        let all: Vec<PathBuf> = ["libcurl.so.4", "haproxy", "libpq.so.5"].into_iter().flat_map(installed).collect();
        if all.is_empty() {
            println!("skipped: neither curl nor HAProxy nor PostgreSQL's client is installed");
        }
        for path in all {
            assert_eq!(hooks_in(&path), [], "{}", path.display());
        }
    }

    #[test]
    fn a_file_without_one_has_none() {
        assert_eq!(hooks_in(&std::env::current_exe().unwrap()), []);
    }
}
