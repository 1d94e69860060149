//! The table by which the Go runtime itself knows its functions (`runtime.pclntab`): no linker flag takes it out of a program.
//!
//! In: the table's bytes, as they lie in a file. Out: where functions of given names begin and end. Layouts are those of
//! `src/runtime/symtab.go` and `src/debug/gosym/pclntab.go`, for 64-bit little-endian machines:
//!
//! ```text
//! Go 1.16, 1.17   magic ff ff ff fa, then words: functions, files, names, units, files, pc data, functions
//!                 a function: entry (8), offset of its entry in the last part (8); there: entry (8), name (4)
//! Go 1.18 on      magic …f0, from 1.20 on …f1; a word more behind "files": where the text begins (0 from Go 1.26 on)
//!                 a function: entry less the text's begin (4), offset (4); there: the same (4), name (4)
//! ```
//!
//! Nothing of it is believed beyond its own length.

/// Most functions that are looked at: ten times those of the largest program that is known.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Bytes of a header.
const HEADER: usize = 72;

/// A table that begins like one.
#[derive(Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    layout: Layout,
    functions: usize,
    names: usize,
    entries: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Entries are addresses.
    Absolute,
    /// Entries count from the text's begin.
    Relative,
}

/// Where a function begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first byte.
    pub(super) start: Start,
    /// Bytes up to the next function, padding included.
    pub(super) size: u64,
}

/// How the table says where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At an address, as linked.
    At(u64),
    /// So far behind the text's begin.
    Behind(u64),
}

/// What tables begin with, up to the size of a pointer: two bytes of zero, instructions of a byte (x86-64) and pointers of eight.
pub(super) const BEGINNINGS: [[u8; 8]; 3] =
    [[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xfa, 0xff, 0xff, 0xff, 0, 0, 1, 8]];

impl<'a> Table<'a> {
    /// The table that begins with the first of `bytes`; none when it does not look like one.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Table<'a>> {
        let beginning = bytes.get(..8)?;
        let index = BEGINNINGS.iter().position(|one| one == beginning)?;
        let layout = if index == 2 { Layout::Absolute } else { Layout::Relative };
        let parts = if layout == Layout::Absolute { 24 } else { 32 };
        bytes.get(..HEADER)?;
        let functions = word(bytes, 8).filter(|count| (1..=MAX_FUNCTIONS).contains(count))?;
        let part = |index: usize| usize::try_from(word(bytes, parts + 8 * index)?).ok();
        let table = Table { bytes, layout, functions: functions as usize, names: part(0)?, entries: part(4)? };
        // One more than there are functions: the last says where the text ends.
        let len = (table.functions + 1).checked_mul(table.width())?;
        bytes.get(table.entries..)?.get(..len)?;
        bytes.get(table.names..table.entries)?;
        Some(table)
    }

    /// Where the text begins, as the header says; 0 where it does not.
    pub(super) fn text_start(&self) -> u64 {
        if self.layout == Layout::Absolute { 0 } else { word(self.bytes, 24).unwrap_or(0) }
    }

    /// Where in the table that stands.
    pub(super) const TEXT_START_AT: u64 = 24;

    /// Where the first function begins.
    pub(super) fn first(&self) -> Option<Start> {
        self.start(0)
    }

    /// Where the functions of these names begin and end, in the order of the names.
    pub(super) fn find(&self, wanted: &[&str]) -> Vec<Option<Extent>> {
        let names: Vec<Option<u32>> = wanted.iter().map(|name| self.name(name)).collect();
        let mut found = vec![None; wanted.len()];
        if names.iter().all(Option::is_none) {
            return found;
        }
        for index in 0..self.functions {
            let Some(name) = self.name_of(index) else { continue };
            for (place, _) in found.iter_mut().zip(&names).filter(|(_, wanted)| **wanted == Some(name)) {
                *place = place.or_else(|| self.extent(index));
            }
        }
        found
    }

    fn width(&self) -> usize {
        if self.layout == Layout::Absolute { 16 } else { 8 }
    }

    /// Offset of a name among the names.
    fn name(&self, name: &str) -> Option<u32> {
        let names = self.bytes.get(self.names..self.entries)?;
        let mut whole = Vec::with_capacity(name.len() + 1);
        whole.extend_from_slice(name.as_bytes());
        whole.push(0);
        let is_whole = |at: &usize| *at == 0 || names.get(*at - 1) == Some(&0);
        let at = memchr::memmem::find_iter(names, &whole).find(is_whole)?;
        u32::try_from(at).ok()
    }

    fn name_of(&self, index: usize) -> Option<u32> {
        let entry = self.entries.checked_add(index.checked_mul(self.width())?)?;
        let (function, name) = match self.layout {
            Layout::Absolute => (word(self.bytes, entry + 8)?, 8),
            Layout::Relative => (u64::from(half(self.bytes, entry + 4)?), 4),
        };
        let at = self.entries.checked_add(usize::try_from(function).ok()?)?.checked_add(name)?;
        half(self.bytes, at)
    }

    fn start(&self, index: usize) -> Option<Start> {
        let entry = self.entries.checked_add(index.checked_mul(self.width())?)?;
        Some(match self.layout {
            Layout::Absolute => Start::At(word(self.bytes, entry)?),
            Layout::Relative => Start::Behind(u64::from(half(self.bytes, entry)?)),
        })
    }

    fn extent(&self, index: usize) -> Option<Extent> {
        let (start, end) = (self.start(index)?, self.start(index.checked_add(1)?)?);
        let size = match (start, end) {
            (Start::At(start), Start::At(end)) | (Start::Behind(start), Start::Behind(end)) => {
                end.checked_sub(start)?
            }
            (Start::At(_), Start::Behind(_)) | (Start::Behind(_), Start::At(_)) => return None,
        };
        (size > 0).then_some(Extent { start, size })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const READ: &str = "crypto/tls.(*Conn).Read";
    const NAMES: &[u8] =
        b"go:buildid\0xcrypto/tls.(*Conn).Read\0crypto/tls.(*Conn).Read\0crypto/tls.(*Conn).Read.func1\0";

    /// A table of three functions, of which the second is the one that is looked for.
    fn table(beginning: [u8; 8], text: u64) -> Vec<u8> {
        let absolute = beginning[0] == 0xfa;
        let (header, width) = if absolute { (64, 16) } else { (72, 8) };
        let names_at = header as u64;
        let entries_at = names_at + NAMES.len() as u64;
        let mut bytes = beginning.to_vec();
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        if !absolute {
            bytes.extend(text.to_le_bytes());
        }
        for part in [names_at, entries_at, entries_at, entries_at, entries_at] {
            bytes.extend(part.to_le_bytes());
        }
        bytes.extend(NAMES);
        let name = |name: &str| memchr::memmem::find(NAMES, format!("\0{name}\0").as_bytes()).unwrap() as u32 + 1;
        let names = [0, name(READ), name("crypto/tls.(*Conn).Read.func1")];
        let starts = [0u32, 0x40, 0x140, 0x180];
        for (index, start) in starts.iter().enumerate() {
            let function = (width * 4 + 16 * index) as u32;
            if absolute {
                bytes.extend((text + u64::from(*start)).to_le_bytes());
                bytes.extend(u64::from(function).to_le_bytes());
            } else {
                bytes.extend(start.to_le_bytes());
                bytes.extend(function.to_le_bytes());
            }
        }
        for (start, name) in starts.iter().zip(names) {
            let mut function = vec![0; 16];
            if absolute {
                function[..8].copy_from_slice(&(text + u64::from(*start)).to_le_bytes());
                function[8..12].copy_from_slice(&name.to_le_bytes());
            } else {
                function[..4].copy_from_slice(&start.to_le_bytes());
                function[4..8].copy_from_slice(&name.to_le_bytes());
            }
            bytes.extend(function);
        }
        bytes
    }

    #[test]
    fn functions_are_found_in_every_layout() {
        for (beginning, start) in
            BEGINNINGS.into_iter().zip([Start::Behind(0x40), Start::Behind(0x40), Start::At(0x1040)])
        {
            let bytes = table(beginning, 0x1000);
            let read = Table::of(&bytes).unwrap();
            assert_eq!(read.find(&[READ, "absent"]), [Some(Extent { start, size: 0x100 }), None], "{beginning:x?}");
            assert_eq!(read.text_start(), if beginning[0] == 0xfa { 0 } else { 0x1000 });
        }
    }

    #[test]
    fn what_is_damaged_is_no_table_or_holds_nothing_beyond_it() {
        for beginning in BEGINNINGS {
            let whole = table(beginning, 0x1000);
            for len in 0..whole.len() {
                if let Some(cut) = Table::of(&whole[..len]) {
                    let _ = (cut.find(&[READ]), cut.first());
                }
            }
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..20_000 {
                let mut damaged = whole.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(8..damaged.len());
                    damaged[at] = if random.bool() { 0xff } else { random.u8(..) };
                }
                if let Some(read) = Table::of(&damaged) {
                    let _ = (read.find(&[READ]), read.first(), read.text_start());
                }
            }
        }
        assert!(Table::of(b"").is_none() && Table::of(&[0; 100]).is_none());
    }
}
