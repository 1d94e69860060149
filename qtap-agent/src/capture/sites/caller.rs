//! Where a function calls another one: calls, and jumps instead of calls, that its control flow reaches.
//!
//! At such an instruction the arguments are where the calling convention puts them, and the kernel emulates it: one trap, for this caller only.

use iced_x86::{Instruction as Decoded, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::flow::{Flow, Next};
use super::{Reg, x86};

/// The value put into a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// An address (`lea reg, [rip + …]`), or a number.
    Address(u64),
    /// The content of memory at this address (`mov reg, [rip + …]`).
    Held(u64),
}

/// Offsets at which `code` calls offset `to` from its first byte. Only what its control flow reaches counts, not bytes that look like a call.
#[must_use]
pub fn calls(code: &[u8], to: u64) -> Vec<u64> {
    let Ok(flow) = Flow::of(code) else { return Vec::new() };
    let there = flow.steps.iter().filter(|(_, step)| {
        let direct = step.decoded.is_call_near() || step.decoded.is_jmp_near() || step.decoded.is_jmp_short();
        direct && step.decoded.near_branch_target() == to
    });
    there.map(|(offset, _)| *offset).collect()
}

/// The value of `register` at offset `at` of a function at address `vaddr`: what the last instruction on the straight path to it put there.
/// `None` if more than one path leads there, if a call comes between, or if the value is computed.
#[must_use]
pub fn put(code: &[u8], vaddr: u64, at: u64, register: Reg) -> Option<Put> {
    put_in(&Flow::of(code).ok()?, vaddr, at, register)
}

/// The same in a function whose flow is known already.
pub(super) fn put_in(flow: &Flow, vaddr: u64, at: u64, register: Reg) -> Option<Put> {
    let mut factory = InstructionInfoFactory::new();
    let mut behind = at;
    for (offset, step) in flow.steps.range(..at).rev() {
        let straight = match step.next {
            Next::Falls(to) | Next::Forks(to, _) => to == behind && !flow.targets.contains(&behind),
            Next::Jumps(_) | Next::Returns | Next::Leaves | Next::Ends => false,
        };
        if !straight || step.calls {
            return None;
        }
        if x86::writes(&mut factory, &step.decoded).registers.contains(&register) {
            if let Some(copy) = x86::copy(&step.decoded).filter(|copy| copy.whole) {
                return put_in(flow, vaddr, *offset, copy.from);
            }
            let address = || memory(flow, vaddr, *offset, &step.decoded);
            return match step.decoded.mnemonic() {
                Mnemonic::Lea if step.decoded.is_ip_rel_memory_operand() => Some(Put::Address(address()?)),
                Mnemonic::Mov if step.decoded.op1_kind() == OpKind::Memory => Some(Put::Held(address()?)),
                Mnemonic::Mov => step.decoded.try_immediate(1).ok().map(Put::Address),
                _ => None,
            };
        }
        behind = *offset;
    }
    None
}

/// The address of an instruction's memory operand, if the code names it: relative to the code, as a number, or in a register.
pub(super) fn memory(flow: &Flow, vaddr: u64, at: u64, decoded: &Decoded) -> Option<u64> {
    if decoded.memory_index() != Register::None || decoded.segment_prefix() != Register::None {
        return None;
    }
    match decoded.memory_base() {
        // The code was decoded as if it were at address 0.
        Register::RIP => Some(vaddr.wrapping_add(decoded.ip_rel_memory_address())),
        Register::None => Some(decoded.memory_displacement64()),
        base => match put_in(flow, vaddr, at, Reg::holding(base)?)? {
            Put::Address(start) => Some(start.wrapping_add(decoded.memory_displacement64())),
            Put::Held(_) => None,
        },
    }
}

/// True if a function calls or jumps through a pointer in a register or in memory, so that its code does not say where to, or if its code can't be
/// followed. A pointer at an address that the code names does not count: it belongs to a function of another file that is called without a stub.
#[must_use]
pub fn goes_by_pointer(code: &[u8]) -> bool {
    let Ok(flow) = Flow::of(code) else { return true };
    flow.steps.values().any(|step| {
        let indirect = step.decoded.is_call_near_indirect() || step.decoded.is_jmp_near_indirect();
        indirect && !step.decoded.is_ip_rel_memory_operand()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_register_at_a_call() {
        // lea rsi,[rip+0x10]; mov rdi,rax; call
        let taken = [0x48, 0x8d, 0x35, 0x10, 0, 0, 0, 0x48, 0x89, 0xc7, 0xe8, 0xf1, 0, 0, 0, 0xc3];
        assert_eq!(put(&taken, 0x1000, 10, Reg::Rsi), Some(Put::Address(0x1017)));
        assert_eq!(put(&taken, 0x1000, 10, Reg::Rdi), None, "of another register");
        assert_eq!(put(&taken, 0x1000, 10, Reg::Rbx), None, "of the caller's");
        // mov rsi,[rip+0x10]; call
        let held = [0x48, 0x8b, 0x35, 0x10, 0, 0, 0, 0xe8, 0xf4, 0, 0, 0, 0xc3];
        assert_eq!(put(&held, 0x1000, 7, Reg::Rsi), Some(Put::Held(0x1017)));
        // mov esi,0x401000; call
        let number = [0xbe, 0, 0x10, 0x40, 0, 0xe8, 0xf6, 0, 0, 0, 0xc3];
        assert_eq!(put(&number, 0, 5, Reg::Rsi), Some(Put::Address(0x0040_1000)));
        // lea rax,[rip+0x10]; mov rsi,[rax+8]; call
        let led = [0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0x48, 0x8b, 0x70, 0x08, 0xe8, 0xf0, 0, 0, 0, 0xc3];
        assert_eq!(put(&led, 0x1000, 11, Reg::Rsi), Some(Put::Held(0x101f)));
        // lea r12,[rip+0x10]; mov rsi,r12; call
        let copied = [0x4c, 0x8d, 0x25, 0x10, 0, 0, 0, 0x4c, 0x89, 0xe6, 0xe8, 0xf1, 0, 0, 0, 0xc3];
        assert_eq!(put(&copied, 0x1000, 10, Reg::Rsi), Some(Put::Address(0x1017)));
        // The same with mov esi,r12d: half of it.
        let half = [&copied[..7], &[0x44, 0x89, 0xe6], &copied[10..]].concat();
        assert_eq!(put(&half, 0x1000, 10, Reg::Rsi), None);
        // mov rsi,[rdi+8]; call
        assert_eq!(put(&[0x48, 0x8b, 0x77, 0x08, 0xe8, 0xf7, 0, 0, 0, 0xc3], 0x1000, 4, Reg::Rsi), None);
        // mov rsi,fs:[0x28]; call
        let of_thread = [0x64, 0x48, 0x8b, 0x34, 0x25, 0x28, 0, 0, 0, 0xe8, 0xf2, 0, 0, 0, 0xc3];
        assert_eq!(put(&of_thread, 0x1000, 9, Reg::Rsi), None);
        // A call comes between.
        let called = [0x48, 0x8d, 0x35, 0x10, 0, 0, 0, 0xe8, 0xf4, 0, 0, 0, 0xe8, 0xef, 0, 0, 0, 0xc3];
        assert_eq!(put(&called, 0, 12, Reg::Rsi), None);
        // je +7; lea rsi,[rip+0x10]; call: by another way something else stands there.
        let two = [0x74, 0x07, 0x48, 0x8d, 0x35, 0x10, 0, 0, 0, 0xe8, 0xf2, 0, 0, 0, 0xc3];
        assert_eq!(put(&two, 0, 9, Reg::Rsi), None);
    }

    #[test]
    fn where_a_function_goes_is_said_or_not() {
        assert!(goes_by_pointer(&[0xff, 0x50, 0x10, 0xc3]), "call [rax+0x10]");
        assert!(goes_by_pointer(&[0xff, 0xe0]), "jmp rax");
        assert!(!goes_by_pointer(&[0xff, 0x15, 0x10, 0, 0, 0, 0xc3]), "call [rip+0x10]");
        assert!(!goes_by_pointer(&[0xe8, 0x10, 0, 0, 0, 0xc3]), "call +0x10");
    }

    #[test]
    fn calls_and_tail_calls_that_are_reached() {
        // push rbp; test edi, edi; je +6; call 0x100; ret; jmp 0x100; ret; (not reached:) call 0x100
        let code =
            [0x55, 0x85, 0xff, 0x74, 0x06, 0xe8, 0xf6, 0, 0, 0, 0xc3, 0xe9, 0xf0, 0, 0, 0, 0xc3, 0xe8, 0xea, 0, 0, 0];
        assert_eq!(calls(&code, 0x100), [5, 11]);
        assert!(calls(&code, 0x101).is_empty());
        // mov eax, imm32 whose bytes look like a call.
        assert!(calls(&[0xb8, 0xe8, 0xfa, 0, 0, 0xc3], 0x100).is_empty());
        assert!(calls(&[], 0).is_empty());
    }
}
