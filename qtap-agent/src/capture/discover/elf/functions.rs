//! The boundaries of a file's functions, from its unwinding tables, which survive stripping.
//!
//! In: an open file. Out: [`Functions`]. The search table (`.eh_frame_hdr`, Linux Standard Base §10.6.2) is read in the one form that linkers write, and the
//! entries it points to (`.eh_frame`, §10.6.1) in the one form that compilers write for x86-64; any other form yields nothing. Static programs may have no
//! search table: then all entries are read.

use object::LittleEndian as LE;
use object::elf;

use super::{Elf, Symbol, string_at};

/// Largest search table read, in bytes: a browser's has some ten million.
const MAX_TABLE: u64 = 64 << 20;
/// First bytes of the search table: version 1; 4-byte pointer, relative to itself; 4-byte count; 4-byte entries, relative to the table.
const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// How entries give addresses: four bytes, relative to themselves (`DW_EH_PE_pcrel | DW_EH_PE_sdata4`).
const ADDRESSES: u8 = 0x1b;

/// Boundaries of functions.
#[derive(Debug, Default)]
pub struct Functions {
    /// Start addresses, sorted.
    starts: Vec<u64>,
    /// Address of the description of each.
    described: Vec<u64>,
}

impl Functions {
    /// From the search table, which is loaded at `vaddr`.
    fn of_table(vaddr: u64, table: &[u8]) -> Option<Functions> {
        let (count, entries) = table.strip_prefix(&FORM)?.get(4..)?.split_first_chunk::<4>()?;
        let entries = entries.get(..(u32::from_le_bytes(*count) as usize).checked_mul(8)?)?;
        let from_here = |four: &[u8]| {
            let distance = i32::from_le_bytes(four.first_chunk::<4>().copied().unwrap_or_default());
            vaddr.wrapping_add_signed(i64::from(distance))
        };
        let both = entries.chunks_exact(8).map(|entry| entry.split_at(4));
        let (starts, described): (Vec<u64>, Vec<u64>) =
            both.map(|(start, description)| (from_here(start), from_here(description))).unzip();
        starts.is_sorted().then_some(Functions { starts, described })
    }

    /// From the entries themselves, which are loaded at `vaddr`, in the order of addresses.
    fn of_entries(vaddr: u64, entries: &[u8]) -> Option<Functions> {
        let word = |at: usize| entries.get(at..)?.first_chunk::<4>().map(|four| u32::from_le_bytes(*four));
        let (mut functions, mut known) = (Vec::new(), Vec::new());
        let mut at = 0;
        // A length of zero ends the table; the greatest stands for a longer length, which no compiler writes.
        while let Some(length) = word(at).filter(|length| *length > 0) {
            let next = at.checked_add(4)?.checked_add(usize::try_from(length).ok()?)?;
            let entry = entries.get(at + 4..next)?;
            match word(at + 4)? as usize {
                0 => {
                    if addresses_of(entry)? != ADDRESSES {
                        return None;
                    }
                    known.push(at);
                }
                distance => {
                    // It has a start and a size, and its common entry comes before it.
                    entry.get(4..12)?;
                    (at + 4).checked_sub(distance).filter(|common| known.binary_search(common).is_ok())?;
                    let from = vaddr.wrapping_add(at as u64 + 8);
                    let start = from.wrapping_add_signed(i64::from(word(at + 8)?.cast_signed()));
                    functions.push((start, vaddr.wrapping_add(at as u64)));
                }
            }
            at = next;
        }
        functions.sort_unstable();
        functions.dedup_by_key(|(start, _)| *start);
        let (starts, described) = functions.into_iter().unzip();
        Some(Functions { starts, described })
    }

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
    /// The file's functions; none when it has neither a search table nor entries, or has them in another form.
    #[must_use]
    pub fn unwinding(&self) -> Option<Functions> {
        let names = self.section_names().ok()??;
        let table = |name: &[u8]| {
            let is_it = |offset: u32| string_at(&names, u64::from(offset)) == Some(name);
            let section = self.sections.iter().find(|section| is_it(section.sh_name.get(LE)))?;
            let place = (section.sh_offset.get(LE), section.sh_size.get(LE));
            Some((section.sh_addr.get(LE), self.part(place.0, place.1, MAX_TABLE, "unwinding table").ok()?))
        };
        match table(b".eh_frame_hdr") {
            Some((vaddr, table)) => Functions::of_table(vaddr, &table),
            None => table(b".eh_frame").and_then(|(vaddr, entries)| Functions::of_entries(vaddr, &entries)),
        }
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

/// How the entries of a common entry give addresses. `entry` begins after the length. None: in a form that compilers do not write for x86-64.
fn addresses_of(entry: &[u8]) -> Option<u8> {
    // After the zero that makes it a common one, and the version.
    let (letters, rest) = entry.get(5..)?.split_at_checked(memchr::memchr(0, entry.get(5..)?)?)?;
    let letters = letters.strip_prefix(b"z")?;
    // Two alignment factors, the return address's register, and the length of what follows: a byte each, since they are small.
    let (small, mut data) = rest.get(1..)?.split_first_chunk::<4>()?;
    if small.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    for letter in letters {
        match letter {
            b'R' => return data.first().copied(),
            // How the personality function is given, and its address, of four bytes.
            b'P' if data.first()? & 0x07 == 0x03 => data = data.get(5..)?,
            b'L' => data = data.get(1..)?,
            b'S' | b'B' => {}
            _ => return None,
        }
    }
    None
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

    #[test]
    fn entries_tell_what_the_search_table_tells() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        let entries = elf.placed().into_iter().find(|section| section.name == ".eh_frame").unwrap();
        let bytes = elf.bytes_of(&entries, MAX_TABLE).unwrap();
        let (told, read) = (elf.unwinding().unwrap(), Functions::of_entries(entries.vaddr, &bytes).unwrap());
        assert!(told.count() > 1000);
        assert_eq!((told.starts, told.described), (read.starts, read.described));
    }

    #[test]
    fn entries_in_another_form_tell_nothing() {
        let common = |letters: &[u8], data: &[u8]| {
            let content = [&[0, 0, 0, 0, 1], letters, &[0, 1, 0x78, 16, data.len() as u8], data].concat();
            [&u32::try_from(content.len()).unwrap().to_le_bytes(), &content[..]].concat()
        };
        // Its distance to a common entry at the beginning, the start 0x100 behind the field, the size.
        let of = |common: &[u8]| {
            let distance = u32::try_from(common.len() + 4).unwrap();
            let words = [12, distance, 0x100, 8, 0].map(u32::to_le_bytes).concat();
            let functions = Functions::of_entries(0x1000, &[common, &words].concat())?;
            Some(functions.starts.iter().map(|start| start - 0x1000 - common.len() as u64).collect::<Vec<_>>())
        };
        assert_eq!(of(&common(b"zR", &[0x1b])), Some(vec![0x108]));
        assert_eq!(of(&common(b"zRS", &[0x1b])), Some(vec![0x108]));
        assert_eq!(of(&common(b"zPLR", &[0x9b, 1, 2, 3, 4, 0x1b, 0x1b])), Some(vec![0x108]));
        let other: [(&[u8], &[u8]); 6] =
            [(b"zR", &[0x00]), (b"zR", &[]), (b"z", &[]), (b"", &[]), (b"eh", &[0x1b]), (b"zXR", &[0x1b])];
        for (letters, data) in other {
            assert_eq!(of(&common(letters, data)), None, "{}", letters.escape_ascii());
        }
        // No common entry; one that is cut off; a distance to something else.
        assert_eq!(of(&[]), None);
        assert!(Functions::of_entries(0, &[16, 0, 0, 0, 0]).is_none());
        let elsewhere = [&common(b"zR", &[0x1b])[..], &[12, 3, 0, 0].map(u32::to_le_bytes).concat()].concat();
        assert!(Functions::of_entries(0, &elsewhere).is_none());
        assert_eq!(Functions::of_entries(0, &[]).unwrap().count(), 0);
    }
    #[test]
    fn damaged_entries_never_panic() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        let entries = elf.placed().into_iter().find(|section| section.name == ".eh_frame").unwrap();
        let whole = elf.bytes_of(&entries, MAX_TABLE).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2000 {
            let mut bytes = whole[..random.usize(..4096.min(whole.len()))].to_vec();
            for _ in 0..random.usize(..4) {
                if let Some(byte) = bytes.get_mut(random.usize(..4096)) {
                    *byte = random.u8(..);
                }
            }
            let functions = Functions::of_entries(random.u64(..), &bytes);
            assert!(functions.is_none_or(|functions| functions.count() <= bytes.len() / 16));
        }
    }
}
