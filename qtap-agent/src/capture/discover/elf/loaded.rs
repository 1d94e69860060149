//! The memory contents of a loaded file: sections by address, words at addresses, and what relocation writes over them.
//!
//! In: an open file. Out: bytes and words, each read with a bound. Nothing is loaded: relocation is computed for the kinds that
//! pointers in position-independent files use.

use object::LittleEndian as LE;
use object::elf::{self, Rela64, SectionHeader64, Sym64};

use super::{Elf, ElfError, string_at};

/// Most relocations that are read per table: ten times those of a large position-independent Go program.
const MAX_RELOCATIONS: u64 = 4 << 20;

/// A section that has contents in the file and an address in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: String,
    /// Its address, as linked.
    pub vaddr: u64,
    /// Offset of its bytes in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// True when it is writable memory, even if only relocation writes to it.
    pub writable: bool,
}

/// Values that relocation writes, sorted by place: `base + addend` at `base + place` (`R_X86_64_RELATIVE`).
#[derive(Debug, Default)]
pub struct Relocations(Vec<(u64, u64)>);

impl Relocations {
    /// The value written at `place`.
    #[must_use]
    pub fn at(&self, place: u64) -> Option<u64> {
        let index = self.0.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        self.0.get(index).map(|(_, addend)| *addend)
    }

    /// Places to which `addend` is written.
    pub fn places_of(&self, addend: u64) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(move |(_, put)| *put == addend).map(|(place, _)| *place)
    }
}

impl Elf {
    /// The sections with contents that have an address in memory; empty when their names can't be read.
    #[must_use]
    pub fn placed(&self) -> Vec<Placed> {
        let Ok(Some(names)) = self.section_names() else { return Vec::new() };
        let with_contents = self.sections.iter().filter(|section| section.sh_type.get(LE) == elf::SHT_PROGBITS);
        with_contents
            .filter_map(|section| {
                let name = string_at(&names, u64::from(section.sh_name.get(LE)))?;
                let vaddr = section.sh_addr.get(LE);
                (vaddr != 0).then(|| Placed {
                    name: String::from_utf8_lossy(name).into_owned(),
                    vaddr,
                    offset: section.sh_offset.get(LE),
                    size: section.sh_size.get(LE),
                    writable: section.sh_flags.get(LE).0 & elf::SHF_WRITE.0 != 0,
                })
            })
            .collect()
    }

    /// The bytes of a section.
    ///
    /// # Errors
    /// [`ElfError`] when it is larger than `most`, or reaches beyond the file.
    pub fn bytes_of(&self, section: &Placed, most: u64) -> Result<Vec<u8>, ElfError> {
        self.part(section.offset, section.size, most, "section")
    }

    /// The values that relocation writes; tables that can't be read are left out.
    #[must_use]
    pub fn relocations(&self) -> Relocations {
        const RELATIVE: u64 = 8;
        let mut all = Vec::new();
        for section in self.sections.iter().filter(|section| section.sh_type.get(LE) == elf::SHT_RELA) {
            let count = (section.sh_size.get(LE) / size_of::<Rela64<LE>>() as u64).min(MAX_RELOCATIONS);
            let table = self.table::<Rela64<LE>>(section.sh_offset.get(LE), count, MAX_RELOCATIONS, "relocations");
            let relative = table.unwrap_or_default().into_iter().filter(|one| one.r_info.get(LE) == RELATIVE);
            all.extend(relative.map(|one| (one.r_offset.get(LE), one.r_addend.get(LE).cast_unsigned())));
        }
        all.sort_unstable();
        Relocations(all)
    }

    /// The words of a section of at most `most` bytes, as they are once the file is loaded at its linked address, with the values that relocation writes (for `RELR`
    /// tables these are in the file already). Empty for a larger section.
    #[must_use]
    pub fn words(&self, section: &Placed, relocations: &Relocations, most: u64) -> Vec<u64> {
        let bytes = self.bytes_of(section, most).unwrap_or_default();
        let places = (section.vaddr..).step_by(size_of::<u64>());
        let (words, _) = bytes.as_chunks::<8>();
        places.zip(words).map(|(place, word)| relocations.at(place).unwrap_or(u64::from_le_bytes(*word))).collect()
    }

    /// The address at `place` once the file is loaded, from relocation or from the file, if it lies in this file: such as a function pointer in a table.
    #[must_use]
    pub fn pointer(&self, place: u64) -> Option<u64> {
        for section in self.sections.iter().filter(|section| section.sh_type.get(LE) == elf::SHT_RELA) {
            let count = (section.sh_size.get(LE) / size_of::<Rela64<LE>>() as u64).min(MAX_RELOCATIONS);
            let table = self.table::<Rela64<LE>>(section.sh_offset.get(LE), count, MAX_RELOCATIONS, "relocations");
            let Some(found) = table.unwrap_or_default().into_iter().find(|one| one.r_offset.get(LE) == place) else {
                continue;
            };
            let addend = found.r_addend.get(LE).cast_unsigned();
            return match found.r_type(LE, false) {
                elf::R_X86_64_RELATIVE => Some(addend),
                elf::R_X86_64_GLOB_DAT => self.defined(section, found.r_sym(LE, false)),
                elf::R_X86_64_64 => Some(self.defined(section, found.r_sym(LE, false))?.wrapping_add(addend)),
                _ => None,
            };
        }
        self.word(&Relocations::default(), place)
    }

    /// Address of the symbol with this index, as used by a relocation table; none when another file defines it.
    fn defined(&self, relocations: &SectionHeader64<LE>, index: u32) -> Option<u64> {
        let symbols = self.sections.get(relocations.sh_link.get(LE) as usize)?;
        let size = size_of::<Sym64<LE>>() as u64;
        let offset = u64::from(index).checked_mul(size).filter(|offset| *offset < symbols.sh_size.get(LE))?;
        let found = self.table::<Sym64<LE>>(symbols.sh_offset.get(LE).checked_add(offset)?, 1, 1, "symbol").ok()?;
        let symbol = found.first()?;
        (symbol.st_shndx.get(LE) != elf::SHN_UNDEF).then(|| symbol.st_value.get(LE))
    }

    /// The word at an address, as it is once the file is loaded at its linked address.
    #[must_use]
    pub fn word(&self, relocations: &Relocations, vaddr: u64) -> Option<u64> {
        if let Some(put) = relocations.at(vaddr) {
            return Some(put);
        }
        let bytes = self.part(self.loaded_from(vaddr)?, 8, 8, "word").ok()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}
