//! A file's functions by name, from its symbol tables.
//!
//! In: names, or parts of names. Out: the functions that the file defines under them. A new program must be inspected before it says anything, and has
//! up to a million symbols: each table is read once, and most symbols are told apart by one byte of their names.

use std::cell::OnceCell;

use object::LittleEndian as LE;
use object::elf::{self, SectionHeader64, SectionType, Sym64};
use object::pod;

use super::{Elf, ElfError, MAX_PART, Symbol, string_at};

/// Most functions that [`Elf::functions_with`] returns: a Rust program has a dozen.
const MAX_NAMED: usize = 256;

/// Longest name that is returned, in bytes; mangled ones have some hundred.
const MAX_NAME: usize = 4096;

/// The tables of a file that were read so far: they live as long as the open file.
#[derive(Debug, Default)]
pub(super) struct Tables {
    dynamic: OnceCell<Option<Table>>,
    all: OnceCell<Option<Table>>,
}

/// A symbol table.
#[derive(Debug)]
pub(super) struct Table {
    /// Index of its section.
    pub(super) section: usize,
    symbols: Vec<u8>,
    strings: Vec<u8>,
}

/// Names that are looked for.
pub(super) struct Names<'a> {
    names: &'a [&'a str],
    /// Whether one of them begins with that byte.
    begins: [bool; 256],
}

impl<'a> Names<'a> {
    pub(super) fn new(names: &'a [&'a str]) -> Names<'a> {
        let mut begins = [false; 256];
        for first in names.iter().filter_map(|name| name.as_bytes().first()) {
            begins[usize::from(*first)] = true;
        }
        Names { names, begins }
    }

    /// The one that stands there, alone or before a version (`SSL_read@@OPENSSL_3.0.0`, in full symbol tables).
    fn at(&self, strings: &[u8], offset: u32) -> Option<&'a str> {
        let rest = strings.get(offset as usize..)?;
        if !self.begins[usize::from(*rest.first()?)] {
            return None;
        }
        let is_there = |name: &&&str| {
            rest.strip_prefix(name.as_bytes()).is_some_and(|behind| matches!(behind.first(), Some(0 | b'@')))
        };
        self.names.iter().find(is_there).copied()
    }
}

impl Table {
    pub(super) fn symbols(&self) -> &[Sym64<LE>] {
        // The bytes are a whole number of symbols, which have no alignment.
        pod::slice_from_all_bytes(&self.symbols).unwrap_or_default()
    }

    /// The symbols that have one of these names, with their index and name.
    pub(super) fn named<'a>(&'a self, names: &'a Names<'a>) -> impl Iterator<Item = (u32, &'a Sym64<LE>, &'a str)> {
        let all = (0..).zip(self.symbols());
        all.filter_map(|(index, symbol)| Some((index, symbol, names.at(&self.strings, symbol.st_name.get(LE))?)))
    }

    /// The symbols whose names contain one of these parts, with their names.
    fn with<'a>(&'a self, parts: &[&str]) -> impl Iterator<Item = (&'a Sym64<LE>, &'a str)> {
        // Where the parts are, in order, and where the strings begin that they are in. A name may begin within another's string.
        let found = parts.iter().flat_map(|part| memchr::memmem::find_iter(&self.strings, part.as_bytes()));
        let mut places: Vec<usize> = found.collect();
        places.sort_unstable();
        let mut spans: Vec<(usize, usize)> = Vec::with_capacity(places.len());
        for place in places {
            // Searched no further than the part before it, whose string it may be in: a hostile table has one string.
            let (known, searched) = spans.last().copied().unwrap_or_default();
            let nul = self.strings.get(searched..place).and_then(|between| memchr::memrchr(0, between));
            spans.push((nul.map_or(known, |nul| searched + nul + 1), place));
        }
        let symbols = if spans.is_empty() { &[] } else { self.symbols() };
        symbols.iter().filter_map(move |symbol| {
            let begin = symbol.st_name.get(LE) as usize;
            let (start, _) = spans.get(spans.partition_point(|(_, place)| *place < begin))?;
            let rest = self.strings.get(begin..).filter(|_| *start <= begin)?;
            let name = string_at(rest.get(..MAX_NAME).unwrap_or(rest), 0)?;
            Some((symbol, plain_name(name)?))
        })
    }
}

impl Elf {
    /// The functions of `wanted` that the file defines, from the dynamic symbols first, then from all symbols; each name once.
    ///
    /// # Errors
    /// [`ElfError`] when a symbol table is damaged or can't be read. A table that isn't there is empty.
    pub fn functions(&self, wanted: &[&str]) -> Result<Vec<Symbol>, ElfError> {
        let mut found: Vec<Symbol> = Vec::new();
        let names = Names::new(wanted);
        for table in [Elf::dynamic_symbols, Elf::all_symbols] {
            for (_, symbol, name) in table(self)?.into_iter().flat_map(|table| table.named(&names)) {
                if found.iter().any(|known| known.name == name) {
                    continue;
                }
                found.extend(self.function(name, symbol));
                if found.len() == wanted.len() {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Defined functions whose names contain one of these parts, up to a bound; one that is in both symbol tables is returned twice.
    ///
    /// # Errors
    /// [`ElfError`] when a symbol table is damaged or too large.
    pub fn functions_with(&self, parts: &[&str]) -> Result<Vec<Symbol>, ElfError> {
        let tables = self.dynamic_symbols()?.into_iter().chain(self.all_symbols()?);
        let named = tables.flat_map(|table| table.with(parts));
        Ok(named.filter_map(|(symbol, name)| self.function(name, symbol)).take(MAX_NAMED).collect())
    }

    fn function(&self, name: &str, symbol: &Sym64<LE>) -> Option<Symbol> {
        let is_function = symbol.st_type() == elf::STT_FUNC;
        let vaddr = symbol.st_value.get(LE);
        if !is_function || vaddr == 0 || symbol.st_shndx.get(LE) == elf::SHN_UNDEF {
            return None;
        }
        let file_offset = self.file_offset(vaddr)?;
        Some(Symbol { name: name.to_owned(), vaddr, size: symbol.st_size.get(LE), file_offset })
    }

    /// The symbols that the loader needs.
    pub(super) fn dynamic_symbols(&self) -> Result<Option<&Table>, ElfError> {
        self.table_of(&self.symbols.dynamic, elf::SHT_DYNSYM)
    }

    /// All symbols, which a stripped file no longer has.
    fn all_symbols(&self) -> Result<Option<&Table>, ElfError> {
        self.table_of(&self.symbols.all, elf::SHT_SYMTAB)
    }

    /// The table of a kind: a file may have one of each (ELF specification, section types), and no more are read.
    fn table_of<'a>(
        &self,
        read: &'a OnceCell<Option<Table>>,
        kind: SectionType,
    ) -> Result<Option<&'a Table>, ElfError> {
        if let Some(table) = read.get() {
            return Ok(table.as_ref());
        }
        let mut of_kind = self.sections.iter().enumerate().filter(|(_, section)| section.sh_type.get(LE) == kind);
        let table = of_kind.next().map(|(index, section)| self.read_table(index, section)).transpose()?;
        Ok(read.get_or_init(|| table).as_ref())
    }

    fn read_table(&self, index: usize, section: &SectionHeader64<LE>) -> Result<Table, ElfError> {
        let size = section.sh_size.get(LE);
        let whole = size - size % size_of::<Sym64<LE>>() as u64;
        let symbols = self.part(section.sh_offset.get(LE), whole, MAX_PART, "symbols")?;
        Ok(Table { section: index, symbols, strings: self.linked_strings(section)? })
    }
}

/// A symbol's name without its version.
fn plain_name(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()?.split('@').next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0my_SSL_read\0SSL_read@@OPENSSL_3.0.0\0SSL_read_ex\0write\0cut";

    fn table(offsets: &[u32]) -> Table {
        let symbol = |offset: &u32| [&offset.to_le_bytes()[..], &[0; 20]].concat();
        Table { section: 0, symbols: offsets.iter().flat_map(symbol).collect(), strings: STRINGS.to_vec() }
    }

    fn offset_of(text: &str) -> u32 {
        memchr::memmem::find(STRINGS, text.as_bytes()).unwrap() as u32
    }

    #[test]
    fn names_are_whole_with_or_without_a_version_and_may_lie_in_others() {
        let offsets = [0, offset_of("my_"), offset_of("SSL_read\0"), offset_of("SSL_read@"), offset_of("SSL_read_ex")];
        let table = table(&[&offsets[..], &[offset_of("write"), offset_of("cut"), 5000]].concat());
        let found = |names: &[&str]| {
            let names = Names::new(names);
            table.named(&names).map(|(index, _, name)| (index, name.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(found(&["SSL_read"]), [(2, "SSL_read".to_owned()), (3, "SSL_read".to_owned())]);
        assert_eq!(found(&["write", "SSL_read_ex"]), [(4, "SSL_read_ex".to_owned()), (5, "write".to_owned())]);
        assert_eq!(found(&["cut", "SSL_rea", "my_SSL_read_", ""]), [], "not whole, or not ended");
    }

    #[test]
    fn names_that_contain_a_part() {
        let table = table(&[offset_of("my_"), offset_of("SSL_read\0"), offset_of("SSL_read@"), offset_of("ad_ex"), 0]);
        let found = |parts: &[&str]| table.with(parts).map(|(_, name)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(found(&["SSL_"]), ["my_SSL_read", "SSL_read", "SSL_read"]);
        assert_eq!(found(&["_ex", "my"]), ["my_SSL_read", "ad_ex"]);
        assert_eq!(found(&["nowhere"]), [""; 0]);
        assert_eq!(found(&["SSL_read_"]), [""; 0], "the symbol's name begins behind it");
    }

    /// A search back to the beginning for each of them would take hours.
    #[test]
    fn one_string_of_nothing_but_the_part_is_searched_once() {
        let mut table = table(&[0, 7, 9_000_000]);
        table.strings = b"PlaintextSink".repeat(1_000_000);
        table.strings.push(0);
        let begun = std::time::Instant::now();
        assert_eq!(table.with(&["PlaintextSink"]).count(), 0, "no name is that long");
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn versions_are_cut_from_names() {
        assert_eq!(plain_name(b"SSL_read@@OPENSSL_3.0.0"), Some("SSL_read"));
        assert_eq!(plain_name(b"SSL_read"), Some("SSL_read"));
        assert_eq!(plain_name(b"\xff"), None);
    }
}
