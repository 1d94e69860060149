//! Where a file calls a function of another file, instruction by instruction.
//!
//! In: the function's stub. Out: each call of it, if all of them are proven; none where one is not, and then the stub itself is what is left. Candidates are
//! found by their bytes; each is proven by the control flow of the function around it, whose first byte the unwinding tables tell.

use object::LittleEndian as LE;
use object::elf;

use super::{Elf, Functions, Stub, string_at};
use crate::capture::sites;

/// Largest section searched for calls, in bytes: modules that feed sessions have some hundred kilobytes.
const MAX_TEXT: u64 = 16 << 20;
/// Most calls of one function: each is a probe.
const MAX_CALLS: usize = 16;
/// Bytes of `call rel32` and `jmp rel32`.
const BRANCH: usize = 5;

/// A stretch of code: where it stands in memory and in the file.
struct Code {
    vaddr: u64,
    file_offset: u64,
    bytes: Vec<u8>,
}

impl Elf {
    /// Where in the file the function behind `stub` is called; empty when not every call is proven.
    #[must_use]
    pub fn calls_of(&self, stub: &Stub) -> Vec<u64> {
        let (Some(sections), Some(functions)) = (self.code_sections(), self.unwinding()) else { return Vec::new() };
        let mut calls = Vec::new();
        for code in &sections {
            for at in branches(code, stub.vaddr) {
                let proven = calls.len() < MAX_CALLS && is_proven(code, at, &functions, stub.vaddr);
                if !proven {
                    return Vec::new();
                }
                calls.push(code.file_offset.saturating_add(at as u64));
            }
        }
        calls
    }

    /// Sections of code that are no linkage tables; none when there are more bytes than are searched.
    fn code_sections(&self) -> Option<Vec<Code>> {
        let names = self.section_names().ok()??;
        let mut all = Vec::new();
        for section in &self.sections {
            let name = string_at(&names, u64::from(section.sh_name.get(LE))).unwrap_or_default();
            let code = section.sh_flags.get(LE).0 & elf::SHF_EXECINSTR.0 != 0;
            if section.sh_type.get(LE) == elf::SHT_PROGBITS && code && !name.starts_with(b".plt") {
                let file_offset = section.sh_offset.get(LE);
                let bytes = self.part(file_offset, section.sh_size.get(LE), MAX_TEXT, "code").ok()?;
                all.push(Code { vaddr: section.sh_addr.get(LE), file_offset, bytes });
            }
        }
        Some(all)
    }
}

/// Offsets of bytes that are a call of `target`, or a jump there, if an instruction begins at them.
fn branches(code: &Code, target: u64) -> impl Iterator<Item = usize> {
    memchr::memchr2_iter(0xe8, 0xe9, &code.bytes).filter_map(move |at| {
        let distance = code.bytes.get(at..)?.get(..BRANCH)?.last_chunk::<4>()?;
        let end = code.vaddr.wrapping_add((at + BRANCH) as u64);
        (end.wrapping_add_signed(i64::from(i32::from_le_bytes(*distance))) == target).then_some(at)
    })
}

/// True when the function around it comes to that instruction.
fn is_proven(code: &Code, at: usize, functions: &Functions, target: u64) -> bool {
    let place = code.vaddr.wrapping_add(at as u64);
    let Some(start) = functions.around(place) else { return false };
    let end = functions.behind(place).unwrap_or(u64::MAX).min(code.vaddr.wrapping_add(code.bytes.len() as u64));
    let (Some(from), Some(to)) = (start.checked_sub(code.vaddr), end.checked_sub(code.vaddr)) else { return false };
    let Some(function) = code.bytes.get(from as usize..to as usize) else { return false };
    sites::calls(function, target.wrapping_sub(start)).contains(&(place - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Code {
        Code { vaddr: 0x1000, file_offset: 0x400, bytes: bytes.to_vec() }
    }

    fn at(starts: &[u64]) -> Functions {
        Functions::beginning_at(starts)
    }

    #[test]
    fn a_call_is_proven_by_the_function_around_it() {
        // At 0x1000: push rbx; call 0x2000; pop rbx; ret. Then, where no function is known to come: the same bytes.
        let whole = code(&[0x53, 0xe8, 0xfa, 0x0f, 0, 0, 0x5b, 0xc3, 0x53, 0xe8, 0xf2, 0x0f, 0, 0, 0x5b, 0xc3]);
        assert_eq!(branches(&whole, 0x2000).collect::<Vec<_>>(), [1, 9]);
        assert!(is_proven(&whole, 1, &at(&[0x1000]), 0x2000) && !is_proven(&whole, 9, &at(&[0x1000]), 0x2000));
        assert!(is_proven(&whole, 9, &at(&[0x1000, 0x1008]), 0x2000));
        assert!(!is_proven(&whole, 1, &at(&[]), 0x2000) && !is_proven(&whole, 1, &at(&[0x1002]), 0x2000));
        // Inside an instruction: mov eax, imm32.
        let hidden = code(&[0xb8, 0xe8, 0xfa, 0x0f, 0, 0, 0xc3]);
        assert_eq!(branches(&hidden, 0x2000).collect::<Vec<_>>(), [1]);
        assert!(!is_proven(&hidden, 1, &at(&[0x1000]), 0x2000));
    }
}
