//! Finds where a file calls functions of other files: the stubs of its procedure linkage table.
//!
//! In: names of functions. Out: for each that the file imports and has a stub for, the stub's place in the file. All calls of the function from this file pass
//! through its stub, and no others. A stub is recognised by what it does, not by its position in the table: it jumps to the address in the slot that the file's
//! relocations fill with the function's address.

use std::collections::HashMap;

use object::LittleEndian as LE;
use object::elf::{self, Rela64, SectionHeader64};

use super::symbols::{Names, Table};
use super::{Elf, ElfError, string_at};
use crate::capture::sites::Machine;

/// Largest table read, in bytes: only a file with a million imports has a larger one, and that is none of interest.
const MAX_STUBS: u64 = 16 << 20;
/// Size of a stub when the section does not give it, as with LLVM's linker.
const USUAL: u64 = 16;

/// A function of another file, as called by this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// The function's name, without a version.
    pub name: String,
    /// Address of its stub in memory, as linked.
    pub vaddr: u64,
    /// Offset of the stub in the file.
    pub file_offset: u64,
}

impl Elf {
    /// Stubs of the functions in `wanted` that the file imports; each name once.
    ///
    /// # Errors
    /// [`ElfError`] when a table is damaged or can't be read. A table that isn't there is empty.
    pub fn stubs(&self, wanted: &[&str]) -> Result<Vec<Stub>, ElfError> {
        let slots = self.slots(wanted)?;
        let mut found: Vec<Stub> = Vec::new();
        if slots.is_empty() {
            return Ok(found);
        }
        let Some(names) = self.section_names()? else { return Ok(found) };
        for section in &self.sections {
            let name = string_at(&names, u64::from(section.sh_name.get(LE))).unwrap_or_default();
            let code = section.sh_flags.get(LE).0 & elf::SHF_EXECINSTR.0 != 0;
            if section.sh_type.get(LE) == elf::SHT_PROGBITS && code && name.starts_with(b".plt") {
                self.stubs_in(section, &slots, &mut found)?;
            }
        }
        Ok(found)
    }

    /// True when a symbol of the file has one of these names: one that it imports, or one of its own.
    #[must_use]
    pub fn mentions(&self, names: &[&str]) -> bool {
        let table = self.dynamic_symbols().unwrap_or_default();
        let imports = table.is_some_and(|table| !imports(table, names).is_empty());
        imports || self.functions(names).is_ok_and(|own| !own.is_empty())
    }

    /// Addresses of the slots that hold the functions' addresses, with the functions' names.
    fn slots(&self, wanted: &[&str]) -> Result<Vec<(u64, String)>, ElfError> {
        let kinds = match self.machine {
            Machine::X86_64 => [elf::R_X86_64_JUMP_SLOT, elf::R_X86_64_GLOB_DAT],
            Machine::Aarch64 | Machine::Other(_) => return Ok(Vec::new()),
        };
        let mut slots = Vec::new();
        if let Some(table) = self.dynamic_symbols()? {
            let imports = imports(table, wanted);
            let of_table = |section: &&SectionHeader64<LE>| {
                section.sh_type.get(LE) == elf::SHT_RELA && section.sh_link.get(LE) as usize == table.section
            };
            // Most files import none of them, so that their relocations need not be read.
            for section in self.sections.iter().filter(of_table).filter(|_| !imports.is_empty()) {
                for relocation in self.entries::<Rela64<LE>>(section, "relocations")? {
                    if kinds.contains(&relocation.r_type(LE, false))
                        && let Some(name) = imports.get(&relocation.r_sym(LE, false))
                    {
                        slots.push((relocation.r_offset.get(LE), name.clone()));
                    }
                }
            }
        }
        Ok(slots)
    }

    fn stubs_in(
        &self,
        section: &SectionHeader64<LE>,
        slots: &[(u64, String)],
        found: &mut Vec<Stub>,
    ) -> Result<(), ElfError> {
        let said = Some(section.sh_entsize.get(LE)).filter(|said| *said > 0).unwrap_or(USUAL);
        let Some(each) = usize::try_from(said).ok().filter(|each| [8, 16].contains(each)) else { return Ok(()) };
        let (offset, size) = (section.sh_offset.get(LE), section.sh_size.get(LE));
        let code = self.part(offset, size, MAX_STUBS, "linkage table")?;
        for (index, stub) in code.chunks(each).enumerate() {
            let within = (index * each) as u64;
            let vaddr = section.sh_addr.get(LE).wrapping_add(within);
            let slot = slot_of(stub, vaddr);
            let named = slots.iter().find(|(address, _)| Some(*address) == slot);
            if let Some((_, name)) = named.filter(|(_, name)| !found.iter().any(|known| known.name == *name)) {
                found.push(Stub { name: name.clone(), vaddr, file_offset: offset.saturating_add(within) });
            }
        }
        Ok(())
    }
}

/// The names in `wanted` that a symbol table mentions but does not define, by symbol index.
fn imports(table: &Table, wanted: &[&str]) -> HashMap<u32, String> {
    let names = Names::new(wanted);
    let undefined = table.named(&names).filter(|(_, symbol, _)| symbol.st_shndx.get(LE) == elf::SHN_UNDEF);
    undefined.map(|(index, _, name)| (index, name.to_owned())).collect()
}

/// Address of the slot that a stub at `vaddr` jumps through: optional `endbr64` and `bnd`, then `jmp *slot(%rip)`.
fn slot_of(stub: &[u8], vaddr: u64) -> Option<u64> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    const BND: [u8; 1] = [0xf2];
    const JUMP: [u8; 2] = [0xff, 0x25];
    let rest = stub.strip_prefix(&ENDBR64).unwrap_or(stub);
    let rest = rest.strip_prefix(&BND).unwrap_or(rest);
    let (distance, behind) = rest.strip_prefix(&JUMP)?.split_first_chunk::<4>()?;
    let end = vaddr.wrapping_add((stub.len() - behind.len()) as u64);
    Some(end.wrapping_add_signed(i64::from(i32::from_le_bytes(*distance))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_is_known_by_the_slot_it_jumps_to() {
        let plain = [0xff, 0x25, 0x7a, 0x9a, 0x01, 0x00, 0x68, 0xaa, 0, 0, 0, 0xe9, 0x40, 0xf5, 0xff, 0xff];
        assert_eq!(slot_of(&plain, 0x12ad0), Some(0x2c550));
        let guarded = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x05, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(slot_of(&guarded, 0x1000), Some(0x1010));
        let short = [0xff, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x66, 0x90];
        assert_eq!(slot_of(&short, 0x1000), Some(0xffe));
        assert_eq!(slot_of(&short[..5], 0x1000), None, "cut");
        assert_eq!(slot_of(&[0xff, 0x15, 0, 0, 0, 0], 0x1000), None, "a call");
    }

    /// Found with Chromium: LLVM's linker does not give the size of a stub.
    #[test]
    fn a_table_that_does_not_say_how_large_its_stubs_are() {
        const HEADER: usize = 64;
        let library = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
        let (Ok(mut bytes), folder) = (std::fs::read(library), tempfile::tempdir().unwrap()) else {
            return println!("skipped: no {library} here");
        };
        let stubs = |path: &std::path::Path| Elf::open(path).unwrap().stubs(&["BIO_write", "BIO_read"]).unwrap();
        let told = stubs(library.as_ref());
        assert_eq!(told.len(), 2);
        let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let headers = number(&bytes, 0x28) as usize..bytes.len();
        let named = usize::from(u16::from_le_bytes(bytes[0x3c..0x3e].try_into().unwrap()));
        for header in headers.step_by(HEADER).take(named) {
            if number(&bytes, header + 8) & elf::SHF_EXECINSTR.0 != 0 {
                bytes[header + 56..header + 64].fill(0);
            }
        }
        let copy = folder.path().join("copy");
        std::fs::write(&copy, bytes).unwrap();
        assert_eq!(stubs(&copy), told);
    }

    #[test]
    fn what_a_file_does_not_import_has_no_stub() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(elf.stubs(&["main", "BIO_write"]).unwrap(), []);
    }
}
