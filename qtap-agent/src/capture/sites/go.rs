//! Sites in functions compiled by Go. The rules for C do not apply: stacks move, so a return address must never be replaced, and every
//! function may start again after its stack has grown.
//!
//! In: a function's bytes. Out: the entry site, in the stack check that Go functions begin with, and every `ret`; or why there are none.
//!
//! ```text
//! cmp rsp, [r14+0x10]     r14: the goroutine; +0x10: the limit of its stack. Large functions compare r12, computed from rsp
//! jbe more                ◀── the entry site: emulated, arguments in their registers (rax, rbx, rcx, …)
//! …
//! ret                     ◀── an exit site: result in rax, stack pointer as at entry
//! more: call morestack; jmp start      passes the entry site a second time within one call
//! ```
//!
//! A comparison through r14 proves that arguments are passed in registers (Go 1.17, `abi-internal.md`): before, the goroutine was found through
//! `fs`. Go puts no data between instructions, so the function is decoded from its first byte to its last, and every jump within it must lead to
//! an instruction that was decoded this way.

use std::collections::BTreeSet;
use std::fmt;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction as Decoded, InstructionInfoFactory, Mnemonic};
use iced_x86::{OpKind, Register};

use super::{EntrySite, ExitSites, Function, Instruction, Machine, Reg, Sites, x86};

/// Most instructions that the stack check may take; it takes five if the function's own frame is large.
const CHECK_MAX: usize = 8;
/// Offset of `g.stackguard0`, after the two words of `g.stack` (`src/runtime/runtime2.go`).
const STACK_GUARD: u64 = 0x10;

/// Why a function has no such sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotGo {
    /// Another instruction set.
    Machine,
    /// Arguments are passed on the stack.
    StackAbi,
    /// It does not look like what Go compiles.
    Unproven,
}

impl fmt::Display for NotGo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl NotGo {
    /// The reason in words.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            NotGo::Machine => "Go is probed on x86-64 only",
            NotGo::StackAbi => "built by a Go before 1.17, which passes arguments in another way: not supported",
            NotGo::Unproven => {
                "its functions were not found where the file says, or are not what Go is known to compile"
            }
        }
    }
}

/// Chooses the sites of a function; `result` says whether its end is wanted.
///
/// # Errors
/// [`NotGo`] if the function is not proven to be one that can be probed this way: there is no fallback.
pub fn choose(function: &Function<'_>, result: bool) -> Result<Sites, NotGo> {
    if function.machine != Machine::X86_64 {
        return Err(NotGo::Machine);
    }
    let all = sweep(function.code)?;
    let (offset, instruction) = entry(&all, function.code)?;
    let exits = ends(&all, function.code.len() as u64, offset)?;
    let file_offset = function.file_offset.saturating_add(offset);
    let entry = EntrySite { offset, file_offset, instruction, args: Vec::new(), sp_delta: 0, fallback: None };
    Ok(Sites { entry, exit: result.then_some(ExitSites::Rets(exits)) })
}

/// The same with the entry site at the function's first byte: chosen sites are compared with this.
///
/// # Errors
/// As [`choose`].
pub fn plain(function: &Function<'_>, result: bool) -> Result<Sites, NotGo> {
    let mut sites = choose(function, result)?;
    sites.entry.offset = 0;
    sites.entry.file_offset = function.file_offset;
    sites.entry.instruction = Instruction::Stepped;
    sites.entry.fallback = Some(super::Unproven::PlainAsked);
    Ok(sites)
}

/// All instructions, from the first byte to the last.
fn sweep(code: &[u8]) -> Result<Vec<Decoded>, NotGo> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut all = Vec::new();
    while decoder.can_decode() {
        let decoded = decoder.decode();
        if decoded.is_invalid() {
            return Err(NotGo::Unproven);
        }
        all.push(decoded);
    }
    Ok(all)
}

/// The first branch of the stack check.
fn entry(all: &[Decoded], code: &[u8]) -> Result<(u64, Instruction), NotGo> {
    let mut factory = InstructionInfoFactory::new();
    let mut site = None;
    let mut compared = false;
    for decoded in all.iter().take(CHECK_MAX) {
        let kind = usize::try_from(decoded.ip()).ok().and_then(|start| code.get(start..start + decoded.len()));
        let kind = kind.map_or(Instruction::Stepped, x86::kind_of);
        if kind == Instruction::Branch {
            let first = *site.get_or_insert((decoded.ip(), kind));
            if compared {
                return Ok(first);
            }
            continue;
        }
        if decoded.memory_segment() == Register::FS {
            return Err(NotGo::StackAbi);
        }
        if compares_with_guard(decoded) {
            compared = true;
            continue;
        }
        let writes = x86::writes(&mut factory, decoded);
        let only_r12 = writes.registers.iter().all(|written| *written == Reg::R12) && !writes.foreign_memory;
        if compared || !only_r12 || decoded.flow_control() != FlowControl::Next {
            return Err(NotGo::Unproven);
        }
    }
    Err(NotGo::Unproven)
}

/// `cmp reg, [r14+0x10]`.
fn compares_with_guard(decoded: &Decoded) -> bool {
    decoded.mnemonic() == Mnemonic::Cmp
        && decoded.op1_kind() == OpKind::Memory
        && decoded.memory_base() == Register::R14
        && decoded.memory_index() == Register::None
        && decoded.memory_displacement64() == STACK_GUARD
}

/// Every `ret`, after checking that jumps lead only to instructions, and into the stack check only to its first one.
fn ends(all: &[Decoded], size: u64, entry: u64) -> Result<Vec<u64>, NotGo> {
    let starts: BTreeSet<u64> = all.iter().map(Decoded::ip).collect();
    let mut ends = Vec::new();
    for decoded in all {
        match decoded.flow_control() {
            FlowControl::Return if decoded.code() == Code::Retnq => ends.push(decoded.ip()),
            FlowControl::Return | FlowControl::XbeginXabortXend => return Err(NotGo::Unproven),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = decoded.near_branch_target();
                let within = target < size;
                if within && (!starts.contains(&target) || (1..=entry).contains(&target)) {
                    return Err(NotGo::Unproven);
                }
            }
            FlowControl::Next
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::IndirectBranch
            | FlowControl::Interrupt
            | FlowControl::Exception => {}
        }
    }
    if ends.is_empty() { Err(NotGo::Unproven) } else { Ok(ends) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(code: &[u8]) -> Result<Sites, NotGo> {
        choose(&Function { machine: Machine::X86_64, code, file_offset: 0x1000 }, true)
    }

    /// `cmp rsp,[r14+0x10]; jbe +N`.
    const CHECK: [u8; 6] = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x05];

    #[test]
    fn the_check_of_the_stack_is_the_way_in_and_every_ret_a_way_out() {
        // test eax,eax; je +1; ret; ret; jmp start
        let code = [&CHECK[..], &[0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3, 0xeb, 0xf2]].concat();
        // jbe leads to +11, the second ret: any instruction will do.
        let sites = of(&code).unwrap();
        assert_eq!((sites.entry.offset, sites.entry.file_offset), (4, 0x1004));
        assert_eq!(sites.entry.instruction, Instruction::Branch);
        assert_eq!(sites.exit, Some(ExitSites::Rets(vec![10, 11])));
        assert_eq!(sites.traps(), 3);
        assert!(sites.to_string().contains("at every ret"), "{sites}");
    }

    #[test]
    fn large_functions_compare_another_register() {
        // lea r12,[rsp-0x38]; cmp r12,[r14+0x10]; jbe +1; ret; ret
        let code = [0x4c, 0x8d, 0x64, 0x24, 0xc8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x01, 0xc3, 0xc3];
        assert_eq!(of(&code).unwrap().entry.offset, 9);
        // mov r12,rsp; sub r12,0x2000; jb +7; cmp r12,[r14+0x10]; jbe +1; ret; ret
        let code = [
            0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x00, 0x20, 0x00, 0x00, 0x72, 0x07, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x01,
            0xc3, 0xc3,
        ];
        assert_eq!(of(&code).unwrap().entry.offset, 10, "the first branch: both are passed, or neither");
    }

    #[test]
    fn what_is_not_proven_has_no_sites() {
        // mov rcx,fs:[-8]; cmp rsp,[rcx+0x10]; jbe +1; ret; ret
        let old =
            [0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x61, 0x10, 0x76, 0x01, 0xc3, 0xc3];
        assert_eq!(of(&old), Err(NotGo::StackAbi));
        assert_eq!(of(&[0xc3]), Err(NotGo::Unproven), "no check");
        assert_eq!(of(&[]), Err(NotGo::Unproven));
        // An argument is written first.
        assert_eq!(of(&[&[0x31, 0xc0], &CHECK[..], &[0xc3; 8]].concat()), Err(NotGo::Unproven));
        // A jump into the middle of an instruction, and one into the beginning.
        assert_eq!(of(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x01, 0x48, 0x89, 0xc0, 0xc3]), Err(NotGo::Unproven));
        assert_eq!(of(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x00, 0xeb, 0xfa, 0xc3]), Err(NotGo::Unproven));
        let aarch64 = Function { machine: Machine::Aarch64, code: &CHECK, file_offset: 0 };
        assert_eq!(choose(&aarch64, true), Err(NotGo::Machine));
        let code = [&CHECK[..], &[0x85, 0xc0, 0x74, 0x01, 0xc3, 0xc3, 0xeb, 0xf2]].concat();
        for len in 0..code.len() {
            let _ = of(&code[..len]);
        }
    }
}
