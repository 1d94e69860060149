//! OpenSSL's BIO over a session (`BIO_f_ssl`, `BIO_new_ssl_connect`): programs that read and write through it call none of the public functions.
//!
//! In: a file that defines `SSL_read_ex` and its kin. Out: hooks at the calls by which the BIO reaches the internal functions behind those; none when that is
//! not proven. The call instruction is probed, not the function it calls: nothing else passes there, and the kernel emulates the instruction.

use super::call::Call;
use super::elf::{Elf, Functions, Relocations, Symbol};
use super::plan::Hook;
use crate::capture::sites::{self, ArgLocation, Body, EntrySite, ExitSites, Instruction, Machine, Sites};

/// The function that returns the BIO's method table.
const TABLE: &str = "BIO_f_ssl";
/// The name given to these hooks' functions.
const NAME: &str = "BIO_f_ssl's";
/// Offsets of the write and read functions in that table (`struct bio_method_st`, since OpenSSL 1.1.1), behind a type and a name.
const MEMBERS: [u64; 2] = [16, 32];
/// Length of `call rel32`.
const CALL: u64 = 5;

/// Hooks of the BIO; none in a file that has no such BIO, or whose BIO calls the public functions.
pub(super) fn hooks(elf: &Elf, symbols: &[Symbol]) -> Vec<Hook> {
    if elf.machine() != Machine::X86_64 {
        return Vec::new();
    }
    let defined = |call: Call| symbols.iter().find(|symbol| symbol.name == call.symbol()).map(|symbol| (call, symbol));
    let reads = defined(Call::ReadEx);
    // Where both exist, `SSL_write_ex` goes through `SSL_write_ex2`.
    let writes = defined(Call::WriteEx2).or_else(|| defined(Call::WriteEx));
    let named = [reads, writes].into_iter().flatten();
    let ways: Vec<(Call, u64)> = named.filter_map(|(call, symbol)| Some((call, work_of(elf, symbol)?))).collect();
    let found = (!ways.is_empty()).then(|| members(elf)).flatten().unwrap_or_default();
    found.iter().flat_map(|member| ways.iter().filter_map(|way| hook(elf, member, *way))).collect()
}

/// The target of a function that does nothing but pass on its arguments.
fn work_of(elf: &Elf, symbol: &Symbol) -> Option<u64> {
    let body = Body::of(&elf.code(symbol).ok()?, symbol.vaddr)?;
    let mut targets = body.goes_to;
    targets.dedup();
    // A function that reads none of its argument registers passes on those it was given.
    (targets.len() == 1 && body.takes.is_empty()).then(|| targets.first().copied()).flatten()
}

/// The BIO's own functions.
fn members(elf: &Elf) -> Option<Vec<Symbol>> {
    let gives = elf.functions(&[TABLE]).ok()?.into_iter().next()?;
    let body = Body::of(&elf.code(&gives).ok()?, gives.vaddr)?;
    let mut addresses = body.addresses();
    let table = addresses.next().filter(|_| addresses.next().is_none())?;
    let (relocations, functions) = (elf.relocations(), elf.unwinding()?);
    Some(MEMBERS.iter().filter_map(|member| function(elf, &relocations, &functions, table + member)).collect())
}

fn function(elf: &Elf, relocations: &Relocations, functions: &Functions, place: u64) -> Option<Symbol> {
    elf.unwound(functions, elf.word(relocations, place)?, NAME)
}

/// The hook at the call by which the BIO's function goes to the target of `way`: the arguments are in the same registers there, and so is the result behind it.
fn hook(elf: &Elf, member: &Symbol, (call, to): (Call, u64)) -> Option<Hook> {
    let code = elf.code(member).ok()?;
    let calls = sites::calls(&code, to.wrapping_sub(member.vaddr));
    let [offset] = calls[..] else { return None };
    // A jump would not return here.
    let is_call = usize::try_from(offset).ok().and_then(|at| code.get(at)) == Some(&0xe8);
    let entry = EntrySite {
        offset,
        file_offset: member.file_offset.checked_add(offset)?,
        instruction: Instruction::Call,
        args: vec![ArgLocation::Own; call.wanted().args.len()],
        sp_delta: 0,
        fallback: None,
    };
    let exit = Some(ExitSites::Behind(offset + CALL));
    is_call.then(|| Hook { call, symbol: member.clone(), sites: Sites { entry, exit } })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capture::discover::plan::plan;

    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

    #[test]
    fn both_ways_of_the_bio_are_found_in_the_systems_library() {
        if !Path::new(LIBRARY).exists() {
            return println!("skipped: no {LIBRARY}");
        }
        let plan = plan(Path::new(LIBRARY)).unwrap();
        let of_bio: Vec<&Hook> = plan.hooks.iter().filter(|hook| hook.symbol.name == NAME).collect();
        let calls: Vec<Call> = of_bio.iter().map(|hook| hook.call).collect();
        let writes = if plan.missing.contains(&Call::WriteEx2) { Call::WriteEx } else { Call::WriteEx2 };
        assert_eq!(calls, [writes, Call::ReadEx], "{}", plan.summary());
        for hook in of_bio {
            assert_eq!(hook.sites.entry.instruction, Instruction::Call);
            assert_eq!(hook.sites.exit, Some(ExitSites::Behind(hook.sites.entry.offset + CALL)));
            assert_eq!(hook.sites.entry.file_offset, hook.symbol.file_offset + hook.sites.entry.offset);
        }
        // These sites stay as they are even in a plain plan: at the function's start the arguments are different ones.
        let elf = Elf::open(Path::new(LIBRARY)).unwrap();
        let (before, plain) = (plan.clone(), plan.plain(&elf));
        let of_bio = |hooks: &[Hook]| hooks.iter().filter(|hook| hook.symbol.name == NAME).cloned().collect::<Vec<_>>();
        assert_eq!(of_bio(&plain.hooks), of_bio(&before.hooks));
    }

    #[test]
    fn a_file_without_it_has_none() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(members(&elf).is_none() && hooks(&elf, &[]).is_empty());
    }
}
