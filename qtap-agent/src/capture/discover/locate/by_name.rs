//! Finds where a file calls functions that it looks up by name at run time (`dlsym`), as .NET does with OpenSSL, and Nim.
//!
//! In: names. Out: for each that it looks up, the instructions that call it, or jump to it, through the pointer that the lookup's result is kept in. Each link is proven by the code's
//! flow: the name is given to a call, its result is kept at one address, and what is there is called. What a file does otherwise with such a pointer is not found.

use std::collections::BTreeSet;

use super::text::{self, Text};
use crate::capture::discover::elf::Elf;
use crate::capture::sites::{self, Machine};

/// Most places of one function that are accepted: each is a probe.
const PLACES_MAX: usize = 16;

/// For each function, offsets in the file of the places from which it is called: none where the file does not look it up, or has more of them than are accepted; none of all where it looks up one only.
pub(in crate::capture::discover) fn called<const N: usize>(elf: &Elf, names: [&str; N]) -> [Vec<u64>; N] {
    let none = [const { Vec::new() }; N];
    if elf.machine() != Machine::X86_64 {
        return none;
    }
    let texts = text::standing(elf, &names);
    // From one function alone nothing follows. Nearly every file ends here.
    let found = texts.iter().filter(|addresses| !addresses.is_empty()).count();
    let Some(code) = (found > 1).then(|| Text::of(elf)).flatten() else { return none };
    let of_each = texts.iter().map(|addresses| places(&code, addresses));
    let of_each: Vec<_> = of_each.map(|places| if places.len() > PLACES_MAX { Vec::new() } else { places }).collect();
    of_each.try_into().unwrap_or(none)
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
