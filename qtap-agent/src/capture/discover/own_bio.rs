//! What a file writes a session's records to itself: a BIO of its own (`BIO_meth_new`), as Node's library has it where OpenSSL is a library too.
//!
//! In: a file without a TLS library of its own. Out: a hook at each function that it makes such a BIO write by, if that keeps what it is given: one that hands it
//! on, as curl's goes to its own layers and from there to a socket, shows the socket inside the TLS call, and a probe would cost for nothing.

use std::collections::BTreeSet;

use super::call::Call;
use super::elf::{CallSite, Elf, Functions, Stub, Symbol};
use super::plan::{Hook, hook};
use crate::capture::sites::{self, Body, Machine, Put, Reg};

/// What is given the function that writes, as its second argument.
const MAKES: &str = "BIO_meth_set_write";
/// What gives a session its BIO: a file that calls none of these makes BIOs for other ends.
const GIVES: [&str; 3] = ["SSL_set_bio", "SSL_set0_wbio", "SSL_set0_rbio"];
/// What sends.
const SENDS: [&str; 5] = ["send", "sendto", "sendmsg", "write", "writev"];
/// How deep below the function that writes what sends is looked for, and what goes by a pointer: deeper down that may be anything, such as how memory is had.
const DEEPEST: u32 = 3;
const NEAR: u32 = 1;
/// Most functions looked at on each level.
const MOST: usize = 32;
/// What a hook's function is called.
const NAME: &str = "a BIO's own";

/// Hooks of the BIOs that the file has; none where it has none, or where it is not certain by what they write.
pub(super) fn hooks(elf: &Elf) -> Vec<Hook> {
    if elf.machine() != Machine::X86_64 {
        return Vec::new();
    }
    let wanted: Vec<&str> = [MAKES].into_iter().chain(GIVES).collect();
    let stubs = elf.stubs(&wanted).unwrap_or_default();
    let makes = stubs.iter().find(|stub| stub.name == MAKES);
    let gives = stubs.iter().any(|stub| stub.name != MAKES);
    let (Some(makes), true, Some(functions)) = (makes, gives, elf.unwinding()) else { return Vec::new() };
    // Every other file imports these: they are looked for in few.
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

/// Where the function begins that is given at a call.
fn given(elf: &Elf, functions: &Functions, call: &CallSite) -> Option<u64> {
    let (start, code) = elf.code_around(functions, call.vaddr)?;
    match sites::put(&code, start, call.vaddr - start, Reg::of_argument(1)?)? {
        Put::Address(address) => Some(address),
        Put::Held(place) => elf.pointer(place),
    }
}

/// True when neither it nor what it calls in the file goes by a pointer, and nothing that is called from there sends.
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

/// What its code says, and whether it goes by a pointer; none when it can't be read.
fn code_of(elf: &Elf, function: &Symbol) -> Option<(Body, bool)> {
    let code = elf.code(function).ok()?;
    Some((Body::of(&code, function.vaddr)?, sites::goes_by_pointer(&code)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// What is installed under such a name in the usual places.
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

    /// It shows the socket inside the TLS call, where a probe more would cost for nothing.
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
