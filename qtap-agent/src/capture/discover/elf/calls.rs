//! Finds the call instructions in a file that call a function of another file.
//!
//! In: the function's stub. Out: every call of it, if all of them are proven; none if one is not, in which case only the stub itself is left to probe. Candidates
//! are found by their bytes; each is proven by the control flow of the function around it, whose start is known from the unwinding tables.

use object::LittleEndian as LE;
use object::elf;

use super::{Elf, Functions, Stub, string_at};
use crate::capture::sites;

/// Bytes of a section that are searched at a time.
const WINDOW: u64 = 1 << 20;
/// Most bytes of a section that are searched: the largest known programs have a third of that.
const MAX_TEXT: u64 = 512 << 20;
/// Largest function whose code is read for a proof.
const MAX_FUNCTION: u64 = 1 << 20;
/// Most calls of one function that are accepted: each is a probe.
const MAX_CALLS: usize = 16;
/// Length of `call rel32` and `jmp rel32`.
const BRANCH: usize = 5;

/// A place from which a function of another file is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSite {
    /// Address of the call in memory, as linked.
    pub vaddr: u64,
    /// Its offset in the file.
    pub file_offset: u64,
    /// Address at which the function around it begins.
    pub function: u64,
}

impl Elf {
    /// The calls of the function behind `stub`; empty when not every call is proven.
    #[must_use]
    pub fn calls_of(&self, stub: &Stub) -> Vec<CallSite> {
        self.all_calls_of(stub).unwrap_or_default()
    }

    fn all_calls_of(&self, stub: &Stub) -> Option<Vec<CallSite>> {
        let functions = self.unwinding()?;
        let mut calls = Vec::new();
        for (vaddr, file_offset, size) in self.code_sections()? {
            let mut from = 0;
            while from < size {
                // A call that begins at a window's end is found in the next window.
                let window = self
                    .part(file_offset + from, (size - from).min(WINDOW + BRANCH as u64 - 1), MAX_TEXT, "code")
                    .ok()?;
                for at in branches(&window, vaddr + from, stub.vaddr).filter(|at| (*at as u64) < WINDOW) {
                    let place = vaddr + from + at as u64;
                    let (start, code) = self.code_around(&functions, place)?;
                    if calls.len() >= MAX_CALLS || !is_proven(&code, place - start, stub.vaddr.wrapping_sub(start)) {
                        return None;
                    }
                    calls.push(CallSite { vaddr: place, file_offset: file_offset + from + at as u64, function: start });
                }
                from += WINDOW;
            }
        }
        Some(calls)
    }

    /// Code sections that are not linkage tables: address in memory, offset in the file, and size; none when one is larger than what is searched.
    fn code_sections(&self) -> Option<Vec<(u64, u64, u64)>> {
        let names = self.section_names().ok()??;
        let mut all = Vec::new();
        for section in &self.sections {
            let name = string_at(&names, u64::from(section.sh_name.get(LE))).unwrap_or_default();
            let code = section.sh_flags.get(LE).0 & elf::SHF_EXECINSTR.0 != 0;
            if section.sh_type.get(LE) == elf::SHT_PROGBITS && code && !name.starts_with(b".plt") {
                let (vaddr, file_offset, size) =
                    (section.sh_addr.get(LE), section.sh_offset.get(LE), section.sh_size.get(LE));
                file_offset.checked_add(size).and(vaddr.checked_add(size)).filter(|_| size <= MAX_TEXT)?;
                all.push((vaddr, file_offset, size));
            }
        }
        Some(all)
    }

    /// The function that contains `place`: its start and its code, without the padding up to the next one.
    pub fn code_around(&self, functions: &Functions, place: u64) -> Option<(u64, Vec<u8>)> {
        let function = self.unwound(functions, functions.around(place)?, "")?;
        let within = place - function.vaddr < function.size && function.size <= MAX_FUNCTION;
        Some((function.vaddr, within.then(|| self.code(&function).ok()).flatten()?))
    }
}

/// Offsets in `code`, which is at `vaddr`, of bytes that are a call of `target` or a jump to it, provided that an instruction begins there.
fn branches(code: &[u8], vaddr: u64, target: u64) -> impl Iterator<Item = usize> {
    memchr::memchr2_iter(0xe8, 0xe9, code).filter_map(move |at| {
        let distance = code.get(at..)?.get(..BRANCH)?.last_chunk::<4>()?;
        let end = vaddr.wrapping_add((at + BRANCH) as u64);
        (end.wrapping_add_signed(i64::from(i32::from_le_bytes(*distance))) == target).then_some(at)
    })
}

/// True when control flow in the function reaches the instruction at offset `at`, which goes to offset `target`.
fn is_proven(function: &[u8], at: u64, target: u64) -> bool {
    sites::calls(function, target).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_proven_by_the_function_around_it() {
        // At 0x1000: push rbx; call 0x2000; pop rbx; ret. Then, after its end: the same bytes.
        let whole = [0x53, 0xe8, 0xfa, 0x0f, 0, 0, 0x5b, 0xc3, 0x53, 0xe8, 0xf2, 0x0f, 0, 0, 0x5b, 0xc3];
        assert_eq!(branches(&whole, 0x1000, 0x2000).collect::<Vec<_>>(), [1, 9]);
        assert!(is_proven(&whole, 1, 0x1000) && !is_proven(&whole, 9, 0x1000));
        assert!(is_proven(&whole[8..], 1, 0xff8) && !is_proven(&whole[2..], 7, 0x1000));
        // Inside an instruction: mov eax, imm32.
        let hidden = [0xb8, 0xe8, 0xfa, 0x0f, 0, 0, 0xc3];
        assert_eq!(branches(&hidden, 0x1000, 0x2000).collect::<Vec<_>>(), [1]);
        assert!(!is_proven(&hidden, 1, 0x1000));
    }
}
