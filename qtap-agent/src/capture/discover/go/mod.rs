//! Finds the functions of Go's `crypto/tls` in a program, stripped or not, and the sites of their probes.
//!
//! In: a file, and its symbols. Out: hooks, proven one by one (`sites::go`), or the reason why there are none. Without symbols the functions are found in the
//! runtime's own table (`pclntab`). The table counts from the start of the text: up to Go 1.25 its header gives that, later the runtime's module
//! record (`runtime.moduledata`), which is found as something that points to the table. Whatever the source, only the code at the resulting place proves it.

mod pclntab;

use pclntab::{BEGINNINGS, Extent, Start, Table};

use super::call::{Call, Family};
use super::elf::{Elf, Placed, Relocations, Symbol};
use super::plan::Hook;
use crate::capture::sites::go::{self, NotGo};
use crate::capture::sites::{Function, Machine};

/// Largest section that is read for the table, in bytes: the largest known program's is a fifth of that.
const TABLE_MAX: u64 = 256 << 20;
/// Most bytes of a data section that are searched for pointers to the table.
const DATA_MAX: u64 = 64 << 20;
/// Most candidates for the start of the text that are tried.
const TEXTS_MAX: usize = 16;
/// Most bytes of the build information that are read: its head and the version.
const BUILD_INFO: u64 = 4096;
/// First bytes of the build information.
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Longest version, in bytes.
const VERSION_MAX: u64 = 64;

/// Word indexes in `runtime.moduledata` (`src/runtime/symtab.go`, unchanged since Go 1.16); word 0 points to the table.
const MINPC: u64 = 20;
const TEXT: u64 = 22;

/// The hooks for a Go program; empty when it is not one, or contains no TLS. `symbols`: the wanted functions that the file has symbols for.
///
/// # Errors
/// [`NotGo`] when it has the functions but they can't be probed.
pub(super) fn hooks(elf: &Elf, symbols: &[Symbol]) -> Result<Vec<Hook>, NotGo> {
    let calls: Vec<Call> = Call::ALL.into_iter().filter(|call| call.family() == Family::GoTls).collect();
    let by_symbol = calls.iter().filter_map(|call| {
        let symbol = symbols.iter().find(|symbol| symbol.name == call.symbol())?;
        Some((*call, symbol.clone()))
    });
    let by_symbol: Vec<(Call, Symbol)> = by_symbol.collect();
    if has_needed(&by_symbol) {
        return proven(elf, by_symbol);
    }
    let placed = elf.placed();
    if !placed.iter().any(|section| section.name == ".go.buildinfo" || section.name.ends_with(".gopclntab")) {
        return Ok(Vec::new());
    }
    let bytes = (elf.machine() == Machine::X86_64).then(|| table_bytes(elf, &placed)).flatten();
    let Some((bytes, vaddr)) = bytes else { return unreadable(elf, &placed) };
    let Some(table) = Table::of(&bytes) else { return unreadable(elf, &placed) };
    let names: Vec<&str> = calls.iter().map(|call| call.symbol()).collect();
    let found: Vec<(Call, Extent)> =
        calls.iter().zip(table.find(&names)).filter_map(|(call, extent)| Some((*call, extent?))).collect();
    let is_there = |call: Call| found.iter().any(|(found, _)| *found == call);
    if !Family::GoTls.needs().into_iter().all(is_there) {
        return Ok(Vec::new());
    }
    let mut why = NotGo::Unproven;
    for text in texts(elf, &placed, vaddr, &table) {
        let functions = found.iter().filter_map(|(call, extent)| Some((*call, symbol(elf, *call, *extent, text)?)));
        match proven(elf, functions.collect()) {
            Ok(hooks) => return Ok(hooks),
            // Most of the candidates are wrong, so their generic errors mean nothing; a specific one counts.
            Err(NotGo::StackAbi) => why = NotGo::StackAbi,
            Err(_) => {}
        }
    }
    Err(why)
}

/// The Go version that built it. Since 1.18 a length-prefixed string follows a head of 32 bytes (`debug/buildinfo`); before, the head points to the string.
pub(super) fn version(elf: &Elf) -> Option<String> {
    let head = elf.section(".go.buildinfo", BUILD_INFO).ok()??;
    version_in(&head).or_else(|| version_behind(elf, &head))
}

/// Follows the pointer to a Go string: address of its bytes, and length.
fn version_behind(elf: &Elf, head: &[u8]) -> Option<String> {
    const WORDS: u8 = 8;
    if !head.starts_with(MAGIC) || head.get(14..16)? != [WORDS, 0] {
        return None;
    }
    let (placed, relocations) = (elf.placed(), elf.relocations());
    let section = placed.iter().find(|section| section.name == ".go.buildinfo")?;
    let word = |vaddr: u64| elf.word(&relocations, vaddr);
    let string = word(section.vaddr.checked_add(16)?)?;
    let (vaddr, size) = (word(string)?, word(string.checked_add(8)?)?.min(VERSION_MAX));
    let words = (0..size.div_ceil(8)).map(|index| word(vaddr.checked_add(8 * index)?));
    let bytes: Vec<u8> = words.collect::<Option<Vec<u64>>>()?.into_iter().flat_map(u64::to_le_bytes).collect();
    let text = String::from_utf8(bytes.get(..usize::try_from(size).ok()?)?.to_vec()).ok()?;
    text.starts_with("go").then_some(text)
}

fn version_in(head: &[u8]) -> Option<String> {
    let inline = head.starts_with(MAGIC) && head.get(15).is_some_and(|flags| flags & 2 != 0);
    let text = head.get(33..)?.get(..usize::from(*head.get(32).filter(|_| inline)?))?;
    let text = std::str::from_utf8(text).ok()?;
    text.starts_with("go").then(|| text.to_owned())
}

fn has_needed(functions: &[(Call, Symbol)]) -> bool {
    Family::GoTls.needs().into_iter().all(|call| functions.iter().any(|(found, _)| *found == call))
}

/// Hooks of the functions that are proven; an error when one of those that move bytes is not.
fn proven(elf: &Elf, functions: Vec<(Call, Symbol)>) -> Result<Vec<Hook>, NotGo> {
    if !has_needed(&functions) {
        return Err(NotGo::Unproven);
    }
    let mut hooks = Vec::new();
    for (call, symbol) in functions {
        let code = elf.code(&symbol).unwrap_or_default();
        let function = Function { machine: elf.machine(), code: &code, file_offset: symbol.file_offset };
        match go::choose(&function, call.wanted().result) {
            Ok(sites) => hooks.push(Hook { call, symbol, sites }),
            Err(why) if Family::GoTls.needs().contains(&call) => return Err(why),
            Err(_) => {}
        }
    }
    Ok(hooks)
}

/// For a table that can't be read, or would be of no use: an error if it names TLS.
fn unreadable(elf: &Elf, placed: &[Placed]) -> Result<Vec<Hook>, NotGo> {
    let name = Call::GoRead.symbol().as_bytes();
    let mut sections = table_sections(placed).filter_map(|section| elf.bytes_of(section, TABLE_MAX).ok());
    match sections.any(|bytes| memchr::memmem::find(&bytes, name).is_some()) {
        true if elf.machine() != Machine::X86_64 => Err(NotGo::Machine),
        true => Err(NotGo::Unproven),
        false => Ok(Vec::new()),
    }
}

/// Sections that may hold the table: usually its own, but the system's linker may merge that of a position-independent program with others.
fn table_sections(placed: &[Placed]) -> impl Iterator<Item = &Placed> {
    let names = [".gopclntab", ".data.rel.ro.gopclntab", ".data.rel.ro"];
    names.into_iter().filter_map(|name| placed.iter().find(|section| section.name == name))
}

/// The bytes of the table, up to the end of its section, and its address.
fn table_bytes(elf: &Elf, placed: &[Placed]) -> Option<(Vec<u8>, u64)> {
    for section in table_sections(placed) {
        let Ok(mut bytes) = elf.bytes_of(section, TABLE_MAX) else { continue };
        let beginnings = BEGINNINGS.iter().flat_map(|one| memchr::memmem::find_iter(&bytes, one).take(TEXTS_MAX));
        let is_table = |at: &usize| bytes.get(*at..).and_then(Table::of).is_some();
        let found = beginnings.filter(|at| at % 8 == 0).find(is_table);
        if let Some(at) = found {
            bytes.drain(..at);
            return Some((bytes, section.vaddr + at as u64));
        }
    }
    None
}

/// Candidates for the start of the text, most certain first.
fn texts(elf: &Elf, placed: &[Placed], table_at: u64, table: &Table<'_>) -> Vec<u64> {
    let Some(Start::Behind(first)) = table.first() else { return vec![0] };
    let relocations = elf.relocations();
    let mut texts = vec![relocations.at(table_at + Table::TEXT_START_AT).unwrap_or(table.text_start())];
    for module in pointing_to(elf, placed, &relocations, table_at) {
        let word = |index: u64| elf.word(&relocations, module.checked_add(8 * index)?);
        let (Some(minpc), Some(text)) = (word(MINPC), word(TEXT)) else { continue };
        if text.checked_add(first) == Some(minpc) {
            texts.push(text);
        }
    }
    texts.extend(placed.iter().filter(|section| section.name == ".text").map(|section| section.vaddr));
    texts.retain(|text| *text != 0);
    texts.dedup();
    texts.truncate(TEXTS_MAX);
    texts
}

/// Addresses of words that point to the table.
fn pointing_to(elf: &Elf, placed: &[Placed], relocations: &Relocations, table_at: u64) -> Vec<u64> {
    let mut places: Vec<u64> = relocations.places_of(table_at).take(TEXTS_MAX).collect();
    for section in placed.iter().filter(|section| section.writable && section.vaddr % 8 == 0) {
        let Ok(bytes) = elf.bytes_of(section, DATA_MAX) else { continue };
        let words = bytes.chunks_exact(8).zip((section.vaddr..).step_by(8));
        let pointing = words.filter(|(word, _)| *word == table_at.to_le_bytes()).map(|(_, place)| place);
        places.extend(pointing.take(TEXTS_MAX));
    }
    places
}

fn symbol(elf: &Elf, call: Call, extent: Extent, text: u64) -> Option<Symbol> {
    let vaddr = match extent.start {
        Start::At(address) => address,
        Start::Behind(distance) => text.checked_add(distance)?,
    };
    Some(Symbol { name: call.symbol().to_owned(), vaddr, size: extent.size, file_offset: elf.file_offset(vaddr)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
