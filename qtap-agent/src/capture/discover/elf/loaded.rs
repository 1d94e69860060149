//! What memory holds once a file is loaded: sections by where they come to stand, words at addresses, and what relocation writes over them.
//!
//! In: an open file. Out: bytes and words, each read with a bound. Nothing is loaded: what relocation does is worked out for the one kind that
//! position-independent programs are full of.

use object::LittleEndian as LE;
use object::elf::{self, Rela64, SectionHeader64, Sym64};

use super::{Elf, ElfError, string_at};

/// Most relocations that are looked at: ten times those of a large position-independent Go program.
const MAX_RELOCATIONS: u64 = 4 << 20;

/// A section that has contents in the file and a place in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub name: String,
    /// Where it comes to stand, as linked.
    pub vaddr: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// How many.
    pub size: u64,
    /// True when it is memory that is written to, if only by relocation.
    pub writable: bool,
}

/// What relocation puts where, sorted by place: `base + addend` at `base + place` (`R_X86_64_RELATIVE`).
#[derive(Debug, Default)]
pub struct Relocations(Vec<(u64, u64)>);

impl Relocations {
    /// What is put at `place`.
    #[must_use]
    pub fn at(&self, place: u64) -> Option<u64> {
        let index = self.0.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        self.0.get(index).map(|(_, addend)| *addend)
    }

    /// Where `addend` is put.
    pub fn places_of(&self, addend: u64) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(move |(_, put)| *put == addend).map(|(place, _)| *place)
    }
}

impl Elf {
    /// The sections with contents that come to stand in memory; empty when their names can't be read.
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

    /// What relocation writes; what can't be read is left out.
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

    /// The words of a section of at most `most` bytes, as they are once the file is loaded where it was linked: what relocation writes, by either kind of table (of `RELR`
    /// the file has it in its place). A larger one has none.
    #[must_use]
    pub fn words(&self, section: &Placed, relocations: &Relocations, most: u64) -> Vec<u64> {
        let bytes = self.bytes_of(section, most).unwrap_or_default();
        let places = (section.vaddr..).step_by(size_of::<u64>());
        let (words, _) = bytes.as_chunks::<8>();
        places.zip(words).map(|(place, word)| relocations.at(place).unwrap_or(u64::from_le_bytes(*word))).collect()
    }

    /// What relocation, or the file, puts at `place`, where that is an address of this file: a function's, say, in a table that the linker or the compiler made.
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

    /// Where the symbol of a table's relocations stands that has the index; none when another file defines it.
    fn defined(&self, relocations: &SectionHeader64<LE>, index: u32) -> Option<u64> {
        let symbols = self.sections.get(relocations.sh_link.get(LE) as usize)?;
        let size = size_of::<Sym64<LE>>() as u64;
        let offset = u64::from(index).checked_mul(size).filter(|offset| *offset < symbols.sh_size.get(LE))?;
        let found = self.table::<Sym64<LE>>(symbols.sh_offset.get(LE).checked_add(offset)?, 1, 1, "symbol").ok()?;
        let symbol = found.first()?;
        (symbol.st_shndx.get(LE) != elf::SHN_UNDEF).then(|| symbol.st_value.get(LE))
    }

    /// The word at an address, as it is once the file is loaded where it was linked.
    #[must_use]
    pub fn word(&self, relocations: &Relocations, vaddr: u64) -> Option<u64> {
        if let Some(put) = relocations.at(vaddr) {
            return Some(put);
        }
        let bytes = self.part(self.loaded_from(vaddr)?, 8, 8, "word").ok()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}
