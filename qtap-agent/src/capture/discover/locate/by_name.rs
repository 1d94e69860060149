//! Finds where a file calls functions that it looks up by name at run time (`dlsym`), as .NET does with OpenSSL, and Nim.
//!
//! In: names. Out: for each, the instructions that call it, or jump to it, through the pointer that the lookup's result is kept in. Each link is proven by the code's
//! flow: the name is given to a call, its result is kept at one address, and what is there is called. What a file does otherwise with such a pointer is not found.

use std::collections::BTreeSet;

use super::text::{self, Text};
use crate::capture::discover::elf::Elf;
use crate::capture::sites::{self, Machine};

/// Most places of one function that are accepted: each is a probe.
const PLACES_MAX: usize = 16;

/// Offsets in the file of the places from which each function is called; none unless all of them are known to be called.
pub(in crate::capture::discover) fn called(elf: &Elf, names: [&str; 2]) -> Option<[Vec<u64>; 2]> {
    if elf.machine() != Machine::X86_64 {
        return None;
    }
    let texts = text::standing(elf, &names);
    // Nearly every file ends here.
    if texts.iter().any(BTreeSet::is_empty) {
        return None;
    }
    let code = Text::of(elf)?;
    let of_each: Vec<Vec<u64>> = texts.iter().map(|addresses| places(&code, addresses)).collect();
    let of_each = <[Vec<u64>; 2]>::try_from(of_each).ok()?;
    of_each.iter().all(|places| (1..=PLACES_MAX).contains(&places.len())).then_some(of_each)
}

/// Offsets in the file at which what was looked up by the text at one of these addresses is called.
fn places(code: &Text<'_>, addresses: &BTreeSet<u64>) -> Vec<u64> {
    let mut pointers = BTreeSet::new();
    for text in addresses {
        for (start, _, bytes) in code.mentioning(*text) {
            pointers.extend(sites::kept(&bytes, start, *text));
        }
    }
    let mut places = BTreeSet::new();
    for pointer in &pointers {
        for (start, file_offset, bytes) in code.mentioning(*pointer) {
            places.extend(sites::through(&bytes, start, *pointer).iter().map(|at| file_offset + at));
        }
    }
    places.into_iter().collect()
}
