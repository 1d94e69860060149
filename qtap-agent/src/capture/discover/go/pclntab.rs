//! The Go runtime's own table of functions (`runtime.pclntab`), which no linker flag removes from a program.
//!
//! In: the table's bytes, as they are in a file. Out: where the functions of given names begin and end. The layouts are those of
//! `src/runtime/symtab.go` and `src/debug/gosym/pclntab.go`, for 64-bit little-endian machines:
//!
//! ```text
//! Go 1.16, 1.17   magic ff ff ff fa, then words: counts of functions and files; offsets of names, units, files, pc data, functions
//!                 per function: entry (8), offset of its record in the last part (8); the record: entry (8), name (4)
//! Go 1.18 on      magic …f0, from 1.20 on …f1; one more word after the counts: start of the text (0 from Go 1.26 on)
//!                 per function: entry minus start of the text (4), offset (4); the record: the same (4), name (4)
//! ```
//!
//! No offset in it is trusted beyond the table's own length.

/// Most functions that are read: ten times those of the largest known program.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Length of a header in bytes.
const HEADER: usize = 72;

/// A table whose header is plausible.
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
    /// Entries are relative to the start of the text.
    Relative,
}

/// Bounds of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first byte.
    pub(super) start: Start,
    /// Bytes up to the next function, padding included.
    pub(super) size: u64,
}

/// How the table gives an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// An address, as linked.
    At(u64),
    /// A distance from the start of the text.
    Behind(u64),
}

/// First bytes of a table, up to the pointer size: magic, two zero bytes, instruction quantum 1 (x86-64), pointer size 8.
pub(super) const BEGINNINGS: [[u8; 8]; 3] =
    [[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xfa, 0xff, 0xff, 0xff, 0, 0, 1, 8]];

impl<'a> Table<'a> {
    /// The table at the start of `bytes`; none when they do not look like one.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Table<'a>> {
        let beginning = bytes.get(..8)?;
        let index = BEGINNINGS.iter().position(|one| one == beginning)?;
        let layout = if index == 2 { Layout::Absolute } else { Layout::Relative };
        let parts = if layout == Layout::Absolute { 24 } else { 32 };
        bytes.get(..HEADER)?;
        let functions = word(bytes, 8).filter(|count| (1..=MAX_FUNCTIONS).contains(count))?;
        let part = |index: usize| usize::try_from(word(bytes, parts + 8 * index)?).ok();
        let table = Table { bytes, layout, functions: functions as usize, names: part(0)?, entries: part(4)? };
        // One entry more than there are functions: the last one gives the end of the text.
        let len = (table.functions + 1).checked_mul(table.width())?;
        bytes.get(table.entries..)?.get(..len)?;
        bytes.get(table.names..table.entries)?;
        Some(table)
    }

    /// Start of the text according to the header; 0 when the header does not give it.
    pub(super) fn text_start(&self) -> u64 {
        if self.layout == Layout::Absolute { 0 } else { word(self.bytes, 24).unwrap_or(0) }
    }

    /// Offset of that word in the table.
    pub(super) const TEXT_START_AT: u64 = 24;

    /// Start of the first function.
    pub(super) fn first(&self) -> Option<Start> {
        self.start(0)
    }

    /// Bounds of the functions with these names, in the order of the names.
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

    /// Offset of a name within the names.
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

    /// A table of three functions, the second of which is the one searched for.
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
