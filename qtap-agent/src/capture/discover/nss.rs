//! The functions by which NSS reads, writes and ends each session. They have no names, and are called only through tables of pointers, of which there are two with
//! the same layout: for sockets with TLS and without (`sslSocketOps`). Hooking them therefore sees all traffic, whatever NSPR layers a program adds on top.
//!
//! In: an open file that creates such sessions (`SSL_ImportFD`). Out: the functions by their role; nothing unless the tables are found and are the only match.
//! x86-64 only: no code is read for other machines.

use std::collections::BTreeMap;

use super::call::Call;
use super::elf::{Elf, Functions, Symbol};
use crate::capture::sites::{Body, Machine};

/// Largest section of tables read, in bytes: a library's is a thousandth of that.
const MAX_TABLES: u64 = 16 << 20;
/// Name of those sections, up to a suffix that the compiler may add.
const TABLES: &str = ".data.rel.ro";
/// Pointers in a table: connect, accept, bind, listen, shutdown, close, recv, send, read, write, getpeername, getsockname.
const MEMBERS: usize = 12;
/// `accept` is null in both tables.
const NONE: usize = 1;
/// Members that are the same with TLS and without.
const SAME: [usize; 4] = [2, 3, 10, 11];
const CLOSE: usize = 5;
const RECV: usize = 6;
const SEND: usize = 7;
const READ: usize = 8;
const WRITE: usize = 9;

/// A table's pointers.
type Table = [u64; MEMBERS];

/// The functions; none when the file has no NSS, or it is not certain which functions are meant.
pub(super) fn functions(elf: &Elf, symbols: &[Symbol]) -> Vec<(Call, Symbol)> {
    let imports = symbols.iter().find(|symbol| symbol.name == Call::NssImport.symbol());
    let imports = imports.filter(|_| elf.machine() == Machine::X86_64);
    imports.and_then(|imports| find(elf, imports)).unwrap_or_default()
}

fn find(elf: &Elf, imports: &Symbol) -> Option<Vec<(Call, Symbol)>> {
    let known = Known { elf, functions: elf.unwinding()? };
    let mut fitting = pairs(elf).into_iter().filter_map(|pair| known.ordered(pair));
    let (with, without) = fitting.next().filter(|_| fitting.next().is_none())?;
    let (recv, _) = known.function(with.get(RECV)?, Call::NssRecv)?;
    let (send, _) = known.function(with.get(SEND)?, Call::NssSend)?;
    let (close, _) = known.function(without.get(CLOSE)?, Call::NssClose)?;
    let import = known.work_of(imports).unwrap_or_else(|| imports.clone());
    let mut found =
        vec![(Call::NssRecv, recv), (Call::NssSend, send), (Call::NssImport, import), (Call::NssClose, close)];
    for (member, call, does) in [(READ, Call::NssRead, RECV), (WRITE, Call::NssWrite, SEND)] {
        let (function, body) = known.function(with.get(member)?, call)?;
        // A function that only calls the other one is seen there.
        if body.goes_to.as_slice() != with.get(does..=does)? {
            found.push((call, function));
        }
    }
    Some(found)
}

/// A file with the boundaries of its functions.
struct Known<'a> {
    elf: &'a Elf,
    functions: Functions,
}

impl Known<'_> {
    /// The function that begins at `start`, with what its code shows.
    fn function(&self, start: &u64, call: Call) -> Option<(Symbol, Body)> {
        let symbol = self.elf.unwound(&self.functions, *start, call.symbol())?;
        let body = Body::of(&self.elf.code(&symbol).ok()?, symbol.vaddr)?;
        Some((symbol, body))
    }

    /// The pair in order: the table with TLS, then the other. The TLS close function calls the other table's close function.
    fn ordered(&self, (first, second): (Table, Table)) -> Option<(Table, Table)> {
        let goes_to = |from: &Table, to: &Table| {
            let closes = self.function(&from[CLOSE], Call::NssClose);
            closes.is_some_and(|(_, body)| body.goes_to.contains(&to[CLOSE]))
        };
        match (goes_to(&first, &second), goes_to(&second, &first)) {
            (true, false) => Some((first, second)),
            (false, true) => Some((second, first)),
            _ => None,
        }
    }

    /// The target of a function that does nothing but go there.
    fn work_of(&self, function: &Symbol) -> Option<Symbol> {
        let body = Body::of(&self.elf.code(function).ok()?, function.vaddr)?;
        let [target] = body.goes_to.as_slice() else { return None };
        self.elf.unwound(&self.functions, *target, &function.name)
    }
}

/// Pairs of tables with this layout that share exactly the members that are the same with TLS and without.
fn pairs(elf: &Elf) -> Vec<(Table, Table)> {
    let relocations = elf.relocations();
    let mut alike: BTreeMap<[u64; SAME.len()], Vec<Table>> = BTreeMap::new();
    for section in elf.placed().into_iter().filter(|section| section.name.starts_with(TABLES)) {
        for words in elf.words(&section, &relocations, MAX_TABLES).windows(MEMBERS) {
            let Ok(table) = Table::try_from(words) else { continue };
            if table.iter().enumerate().all(|(index, word)| (*word == 0) == (index == NONE)) {
                alike.entry(SAME.map(|index| table[index])).or_default().push(table);
            }
        }
    }
    let differ = |first: &Table, second: &Table| {
        (0..MEMBERS).all(|index| index == NONE || SAME.contains(&index) == (first[index] == second[index]))
    };
    let two = alike.into_values().filter_map(|tables| <[Table; 2]>::try_from(tables).ok());
    two.filter(|[first, second]| differ(first, second)).map(|[first, second]| (first, second)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capture::discover::call::Family;
    use crate::capture::discover::plan;

    /// Where Debian and Firefox install it.
    const FILES: [&str; 3] =
        ["/usr/lib/x86_64-linux-gnu/libssl3.so", "/usr/lib/firefox-esr/libssl3.so", "/usr/lib64/libssl3.so"];

    #[test]
    fn what_moves_bytes_is_found_behind_the_tables() {
        let mut found = 0;
        for path in FILES.map(Path::new).into_iter().filter(|path| path.is_file()) {
            let plan = plan::plan(path).unwrap();
            println!("{}", plan.summary());
            assert_eq!((plan.family, plan.library.as_str()), (Family::Nss, "libssl3.so"));
            assert!(plan.version.as_ref().unwrap().starts_with("NSS 3."), "{plan:?}");
            let calls: Vec<Call> = plan.hooks.iter().map(|hook| hook.call).collect();
            assert_eq!(calls, [Call::NssRecv, Call::NssSend, Call::NssImport, Call::NssClose], "{}", path.display());
            found += 1;
        }
        if found == 0 {
            println!("skipped: no NSS is installed");
        }
    }

    #[test]
    fn a_file_without_it_has_none() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(functions(&elf, &[]).is_empty());
        // A function of that name, without the tables.
        let symbol = elf.functions(&["main"]).unwrap().remove(0);
        assert!(functions(&elf, &[Symbol { name: "SSL_ImportFD".to_owned(), ..symbol }]).is_empty());
    }
}
