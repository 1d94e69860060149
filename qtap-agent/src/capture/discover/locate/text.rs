//! Searches a file's code and constants piece by piece: who refers to an address, who calls a function, where a string is. In: an open file. Out:
//! addresses, and what the functions' code shows. The memory for a piece is bounded, whatever the size of the file.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::starts::Starts;
use crate::capture::discover::call::Call;
use crate::capture::discover::elf::{Elf, Functions, Placed, Symbol};
use crate::capture::sites::Body;

/// Bytes read at a time.
const PIECE: u64 = 4 << 20;
/// Bytes by which pieces overlap, so that nothing searched for is split between two: instructions, and strings up to this size.
const OVERLAP: u64 = 512;
/// Most bytes of a section that are searched: more than a browser's code.
const SEARCHED: u64 = 256 << 20;
/// Most places of one string: it usually occurs once or twice. A hostile file may contain thousands, and each would be searched for.
const STANDING_MAX: usize = 8;
/// Most functions that are read; about two hundred of a library refer to its strings.
const FUNCTIONS_MAX: usize = 2048;
/// Largest function that is read, in bytes: ten times the largest that is searched for.
const FUNCTION_MAX: u64 = 32 << 10;
/// Largest function that is read where it looks up the functions of a whole library, one after the other.
const WHOLE_MAX: u64 = 1 << 20;

/// Bytes of code per function above which an unwinding table covers only a few of the functions: Chromium is built without such tables, except for parts that
/// others built for it (some 26 000 bytes). With a complete table it is some hundred.
const SPARSE: u64 = 4096;

/// A file's code.
pub(super) struct Text<'a> {
    elf: &'a Elf,
    code: Placed,
    functions: Bounds<'a>,
}

/// The source of function boundaries.
enum Bounds<'a> {
    /// The file's unwinding tables.
    Told(Functions),
    /// Its code.
    Seen(Starts<'a>),
}

impl<'a> Text<'a> {
    /// None when the file has no `.text` section.
    pub(super) fn of(elf: &'a Elf) -> Option<Text<'a>> {
        let code = elf.placed().into_iter().find(|section| section.name == ".text")?;
        let is_whole = |functions: &Functions| functions.count() as u64 >= code.size / SPARSE;
        let functions = match elf.unwinding().filter(is_whole) {
            Some(functions) => Bounds::Told(functions),
            None => Bounds::Seen(Starts::of(elf, &code)),
        };
        Some(Text { elf, code, functions })
    }

    /// The file.
    pub(super) fn elf(&self) -> &Elf {
        self.elf
    }

    /// The function that begins at `start`, under the call's name; without a size when that is not certain, so that it is probed at the usual places.
    pub(super) fn symbol(&self, call: Call, start: u64) -> Option<Symbol> {
        let (symbol, certain) = self.function(start, call.symbol())?;
        Some(Symbol { size: if certain { symbol.size } else { 0 }, ..symbol })
    }

    /// The same, and whether its size is certain; if not, the size is an upper bound.
    fn function(&self, start: u64, name: &str) -> Option<(Symbol, bool)> {
        match &self.functions {
            Bounds::Told(functions) => Some((self.elf.unwound(functions, start, name)?, true)),
            Bounds::Seen(starts) => starts.function(start, name),
        }
    }

    /// Start of the function that contains `place`.
    fn around(&self, place: u64) -> Option<u64> {
        match &self.functions {
            Bounds::Told(functions) => functions.around(place),
            Bounds::Seen(starts) => starts.around(place),
        }
    }

    /// The functions whose code may refer to the address, in whatever instruction: where each begins, its offset in the file, and its code.
    pub(super) fn mentioning(&self, address: u64) -> Vec<(u64, u64, Vec<u8>)> {
        let places = self.places(|piece, vaddr, places| {
            let found = piece.windows(4).zip(vaddr..).filter(|(four, at)| mentions(four, *at, address));
            places.extend(found.map(|(_, at)| at));
        });
        let starts: BTreeSet<u64> = places.iter().filter_map(|place| self.around(*place)).collect();
        let code = |start| {
            let symbol =
                self.function(start, "").map(|(symbol, _)| symbol).filter(|symbol| symbol.size <= WHOLE_MAX)?;
            Some((start, symbol.file_offset, self.elf.code(&symbol).ok()?))
        };
        starts.into_iter().filter_map(code).collect()
    }

    /// What the code of the function that begins at `start` shows.
    pub(super) fn body(&self, start: u64) -> Option<Body> {
        let symbol = self.function(start, "").map(|(symbol, _)| symbol).filter(|symbol| symbol.size <= FUNCTION_MAX)?;
        Body::of(&self.elf.code(&symbol).ok()?, start)
    }

    /// The functions that refer to one of the addresses, with what their code shows.
    pub(super) fn referring(&self, addresses: &BTreeSet<u64>) -> BTreeMap<u64, Body> {
        // Relative to the code or, if the file is linked at a fixed address, as the number itself.
        let numbers: Vec<[u8; 4]> =
            addresses.iter().filter_map(|address| Some(u32::try_from(*address).ok()?.to_le_bytes())).collect();
        let finders: Vec<memmem::Finder<'_>> = numbers.iter().map(memmem::Finder::new).collect();
        let places = self.places(|piece, vaddr, places| {
            places.extend(relative(piece, vaddr).filter(|(_, to)| addresses.contains(to)).map(|(at, _)| at));
            let found = finders.iter().flat_map(|finder| finder.find_iter(piece));
            places.extend(found.map(|at| vaddr + at as u64));
        });
        let starts: BTreeSet<u64> = places.iter().filter_map(|place| self.around(*place)).collect();
        let told = starts.into_iter().take(FUNCTIONS_MAX).filter_map(|start| Some((start, self.body(start)?)));
        told.filter(|(_, body)| addresses.iter().any(|address| body.refers_to(*address))).collect()
    }

    /// The functions that call or jump to each target; a target with more than `most` such places is left out.
    pub(super) fn going_to(&self, targets: &BTreeSet<u64>, most: usize) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut places: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        self.pieces(|piece, vaddr| {
            for (at, to) in branches(piece, vaddr).filter(|(_, to)| targets.contains(to)) {
                let places = places.entry(to).or_default();
                // One too many is enough to know.
                if places.len() <= most {
                    places.insert(at);
                }
            }
        });
        places.retain(|_, places| places.len() <= most);
        let callers = |places: BTreeSet<u64>| places.into_iter().filter_map(|place| self.around(place)).collect();
        places.into_iter().map(|(to, places)| (to, callers(places))).collect()
    }

    fn places(&self, mut look: impl FnMut(&[u8], u64, &mut BTreeSet<u64>)) -> BTreeSet<u64> {
        let mut places = BTreeSet::new();
        self.pieces(|piece, vaddr| {
            if places.len() < FUNCTIONS_MAX {
                look(piece, vaddr, &mut places);
            }
        });
        places
    }

    fn pieces(&self, look: impl FnMut(&[u8], u64)) {
        pieces(self.elf, &self.code, look);
    }
}

/// Strings among the constants that contain `ending`, e.g. `a/ssl_lib.cc` for `/ssl_lib.c`: the address of each, and its whole text.
pub(super) fn ending(elf: &Elf, ending: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let finder = memmem::Finder::new(ending);
    let mut found = BTreeMap::new();
    constants(elf, |piece, vaddr| {
        for at in finder.find_iter(piece) {
            let begin = piece.get(..at).and_then(|before| memchr::memrchr(0, before)).map(|nul| nul + 1);
            let end = piece.get(at..).and_then(|rest| memchr::memchr(0, rest)).map(|nul| at + nul);
            let text = begin.zip(end).and_then(|(begin, end)| Some((begin, piece.get(begin..end)?)));
            if let Some((begin, text)) = text.filter(|_| found.len() < STANDING_MAX) {
                found.insert(vaddr + begin as u64, text.to_vec());
            }
        }
    });
    found
}

/// Addresses of each of the strings among the constants, whole or as the end of a longer one.
pub(super) fn standing(elf: &Elf, texts: &[&str]) -> Vec<BTreeSet<u64>> {
    let ended: Vec<Vec<u8>> = texts.iter().map(|text| [text.as_bytes(), b"\0"].concat()).collect();
    let finders: Vec<memmem::Finder<'_>> = ended.iter().map(memmem::Finder::new).collect();
    let mut found = vec![BTreeSet::new(); texts.len()];
    constants(elf, |piece, vaddr| {
        for (finder, found) in finders.iter().zip(&mut found) {
            let room = STANDING_MAX.saturating_sub(found.len());
            found.extend(finder.find_iter(piece).map(|at| vaddr + at as u64).take(room));
        }
    });
    found
}

fn constants(elf: &Elf, mut look: impl FnMut(&[u8], u64)) {
    for section in elf.placed().iter().filter(|section| section.name.starts_with(".rodata")) {
        pieces(elf, section, &mut look);
    }
}

/// A section's bytes, piece by piece, each with its address.
pub(super) fn pieces(elf: &Elf, section: &Placed, mut look: impl FnMut(&[u8], u64)) {
    let size = section.size.min(SEARCHED);
    let mut at = 0;
    while at < size {
        let part = Placed {
            vaddr: section.vaddr.wrapping_add(at),
            offset: section.offset.wrapping_add(at),
            size: (size - at).min(PIECE + OVERLAP),
            ..section.clone()
        };
        let Ok(bytes) = elf.bytes_of(&part, PIECE + OVERLAP) else { return };
        look(&bytes, part.vaddr);
        at += PIECE;
    }
}

/// Possible `lea reg, [rip + …]`: place and target address.
fn relative(code: &[u8], vaddr: u64) -> impl Iterator<Item = (u64, u64)> {
    memchr::memchr_iter(0x8d, code).filter_map(move |at| {
        let rest = code.get(at + 1..)?.first_chunk::<5>()?;
        // ModRM: no register but the instruction pointer.
        let [modrm, distance @ ..] = rest;
        (modrm & 0xc7 == 0x05).then(|| reached(vaddr, at + 6, *distance)).map(|to| (vaddr + at as u64, to))
    })
}

/// Possible `call` or `jmp`: place and target address.
pub(super) fn branches(code: &[u8], vaddr: u64) -> impl Iterator<Item = (u64, u64)> {
    memchr::memchr2_iter(0xe8, 0xe9, code).filter_map(move |at| {
        let distance = code.get(at + 1..)?.first_chunk::<4>()?;
        Some((vaddr + at as u64, reached(vaddr, at + 5, *distance)))
    })
}

/// True if the four bytes at `at` name the address, as the last ones of an instruction: relative to the code, or as the number itself.
fn mentions(four: &[u8], at: u64, address: u64) -> bool {
    let Some(four) = four.first_chunk::<4>() else { return false };
    reached(at, four.len(), *four) == address || u64::from(u32::from_le_bytes(*four)) == address
}

fn reached(vaddr: u64, end: usize, distance: [u8; 4]) -> u64 {
    vaddr.wrapping_add(end as u64).wrapping_add_signed(i64::from(i32::from_le_bytes(distance)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_mention_an_address() {
        // At 0x1000: mov rax,[rip+0x10]; mov esi,0x401000
        let code = [0x48, 0x8b, 0x05, 0x10, 0, 0, 0, 0xbe, 0, 0x10, 0x40, 0];
        let places = |address| {
            let found = code.windows(4).zip(0x1000..).filter(|(four, at)| mentions(four, *at, address));
            found.map(|(_, at)| at).collect::<Vec<_>>()
        };
        assert_eq!((places(0x1017), places(0x40_1000)), (vec![0x1003], vec![0x1008]));
        assert_eq!(places(0x1018), [0; 0]);
    }

    #[test]
    fn what_may_refer_and_what_may_go() {
        // lea rcx,[rip+0x10]; lea rax,[rbx+5]; call +0x20
        let code = [0x48, 0x8d, 0x0d, 0x10, 0, 0, 0, 0x48, 0x8d, 0x43, 0x05, 0xe8, 0x20, 0, 0, 0];
        assert_eq!(relative(&code, 0x1000).collect::<Vec<_>>(), [(0x1001, 0x1017)]);
        assert_eq!(branches(&code, 0x1000).collect::<Vec<_>>(), [(0x100b, 0x1030)]);
        assert_eq!(relative(&code[..5], 0).count() + branches(&code[11..14], 0).count(), 0, "cut off");
    }
}
