//! The boundaries of a file's functions, from its unwinding tables, which survive stripping.
//!
//! In: an open file. Out: [`Functions`]. The search table (`.eh_frame_hdr`, Linux Standard Base §10.6.2) is read in the one form that linkers write, and the
//! entries it points to (`.eh_frame`, §10.6.1) in the one form that compilers write for x86-64; any other form yields nothing.

use object::LittleEndian as LE;
use object::elf;

use super::{Elf, Symbol, string_at};

/// Largest search table read, in bytes: a browser's has some ten million.
const MAX_TABLE: u64 = 64 << 20;
/// First bytes of the search table: version 1; 4-byte pointer, relative to itself; 4-byte count; 4-byte entries, relative to the table.
const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Boundaries of functions.
#[derive(Debug, Default)]
pub struct Functions {
    /// Start addresses, sorted.
    starts: Vec<u64>,
    /// Address of the description of each.
    described: Vec<u64>,
}

impl Functions {
    /// Number of functions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Start of the last function that begins at or before `place`.
    #[must_use]
    pub fn around(&self, place: u64) -> Option<u64> {
        self.starts.get(self.next(place).checked_sub(1)?).copied()
    }

    /// Start of the next function after `place`.
    #[must_use]
    pub fn behind(&self, place: u64) -> Option<u64> {
        self.starts.get(self.next(place)).copied()
    }

    fn next(&self, place: u64) -> usize {
        self.starts.partition_point(|start| *start <= place)
    }
}

impl Elf {
    /// The file's functions; none when it has no search table, or one in another form.
    #[must_use]
    pub fn unwinding(&self) -> Option<Functions> {
        let names = self.section_names().ok()??;
        let named = |offset: u32| string_at(&names, u64::from(offset)) == Some(b".eh_frame_hdr");
        let section = self.sections.iter().find(|section| named(section.sh_name.get(LE)))?;
        let table = self.part(section.sh_offset.get(LE), section.sh_size.get(LE), MAX_TABLE, "unwinding table").ok()?;
        let (count, entries) = table.strip_prefix(&FORM)?.get(4..)?.split_first_chunk::<4>()?;
        let entries = entries.get(..(u32::from_le_bytes(*count) as usize).checked_mul(8)?)?;
        let from_here = |four: &[u8]| {
            let distance = i32::from_le_bytes(four.first_chunk::<4>().copied().unwrap_or_default());
            section.sh_addr.get(LE).wrapping_add_signed(i64::from(distance))
        };
        let both = entries.chunks_exact(8).map(|entry| entry.split_at(4));
        let (starts, described): (Vec<u64>, Vec<u64>) =
            both.map(|(start, description)| (from_here(start), from_here(description))).unzip();
        starts.is_sorted().then_some(Functions { starts, described })
    }

    /// The function that begins at `start`, with its size, under the given name; none when its description does not agree.
    #[must_use]
    pub fn unwound(&self, functions: &Functions, start: u64, name: &str) -> Option<Symbol> {
        let index = functions.starts.binary_search(&start).ok()?;
        let description = *functions.described.get(index)?;
        // Four bytes each: length, distance to the common entry, start (relative to this field), size.
        let bytes = self.part(self.loaded_from(description)?, 16, 16, "description of a function").ok()?;
        let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied();
        let begins = description.wrapping_add(8).wrapping_add_signed(i64::from(i32::from_le_bytes(word(8)?)));
        let size = u64::from(u32::from_le_bytes(word(12)?));
        let file_offset = self.file_offset(start)?;
        (begins == start && size > 0).then(|| Symbol { name: name.to_owned(), vaddr: start, size, file_offset })
    }

    /// Offset in the file of the byte that is loaded at `vaddr`.
    pub(super) fn loaded_from(&self, vaddr: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = vaddr.checked_sub(segment.p_vaddr.get(LE))?;
            let is_there = segment.p_type.get(LE) == elf::PT_LOAD && within < segment.p_filesz.get(LE);
            is_there.then(|| segment.p_offset.get(LE).checked_add(within)).flatten()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_where_symbols_say() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        let functions = elf.unwinding().unwrap();
        let known = elf.functions(&["main", "rust_eh_personality"]).unwrap();
        assert!(!known.is_empty());
        for symbol in known {
            let found = elf.unwound(&functions, symbol.vaddr, &symbol.name).unwrap();
            assert_eq!(found.file_offset, symbol.file_offset);
            assert_eq!(functions.around(symbol.vaddr + 1), Some(symbol.vaddr));
            assert!(functions.behind(symbol.vaddr).unwrap() >= symbol.vaddr + found.size);
            assert_eq!(elf.unwound(&functions, symbol.vaddr + 1, "inside"), None);
        }
        assert_eq!((functions.around(0), functions.behind(u64::MAX)), (None, None));
    }
}
