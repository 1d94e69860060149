//! Calls through a pointer that a file keeps: where it keeps what a call returned, and where it calls what is kept.
//!
//! In: a function's code. Out: addresses of pointers, and the calls and jumps through one of them. There the arguments are where the calling convention puts
//! them. The kernel does not emulate such an instruction, so that a probe costs two traps.

use std::collections::BTreeSet;

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, Mnemonic, OpKind};

use super::caller::{memory, put_in};
use super::flow::{Flow, Next};
use super::{Put, Reg, x86};

/// Most instructions between a call and the one that keeps its result: it is tested for being none, at most.
const NEAR: usize = 8;

/// Addresses at which a function at address `vaddr` keeps the results of the calls that are given `text` as one of their first three arguments
/// (`dlsym` has it as its second).
#[must_use]
pub fn kept(code: &[u8], vaddr: u64, text: u64) -> BTreeSet<u64> {
    let Ok(flow) = Flow::of(code) else { return BTreeSet::new() };
    let calls = flow.steps.iter().filter(|(_, step)| step.calls).map(|(at, _)| *at);
    let is_given = |at: &u64| {
        let mut arguments = (0..3).filter_map(Reg::of_argument);
        arguments.any(|register| put_in(&flow, vaddr, *at, register) == Some(Put::Address(text)))
    };
    calls.filter(is_given).filter_map(|at| result(&flow, vaddr, at)).collect()
}

/// The address at which the result of the call at offset `at` is kept.
fn result(flow: &Flow, vaddr: u64, at: u64) -> Option<u64> {
    let mut factory = InstructionInfoFactory::new();
    let mut holding = BTreeSet::from([Reg::Rax]);
    let mut at = at;
    for _ in 0..NEAR {
        at = match flow.steps.get(&at)?.next {
            Next::Falls(to) | Next::Forks(to, _) => to,
            Next::Jumps(_) | Next::Returns | Next::Leaves | Next::Ends => return None,
        };
        let step = flow.steps.get(&at)?;
        if flow.targets.contains(&at) || step.calls {
            return None;
        }
        let decoded = &step.decoded;
        let from = (decoded.op_count() == 2 && decoded.op1_kind() == OpKind::Register).then(|| decoded.op1_register());
        let whole = from.filter(|from| from.is_gpr64()).and_then(Reg::holding).filter(|from| holding.contains(from));
        if decoded.mnemonic() == Mnemonic::Mov && decoded.op0_kind() == OpKind::Memory && whole.is_some() {
            return memory(flow, vaddr, at, decoded);
        }
        let copy = x86::copy(decoded).filter(|copy| copy.whole && holding.contains(&copy.from));
        let written = x86::writes(&mut factory, decoded).registers;
        holding.retain(|register| !written.contains(register));
        holding.extend(copy.map(|copy| copy.to));
    }
    None
}

/// Offsets at which a function at address `vaddr` calls, or jumps to, what the pointer at `slot` points to.
#[must_use]
pub fn through(code: &[u8], vaddr: u64, slot: u64) -> Vec<u64> {
    let Ok(flow) = Flow::of(code) else { return Vec::new() };
    let there = flow.steps.iter().filter(|(at, step)| {
        let decoded = &step.decoded;
        if !decoded.is_call_near_indirect() && !decoded.is_jmp_near_indirect() {
            return false;
        }
        match decoded.op0_kind() {
            OpKind::Memory => memory(&flow, vaddr, **at, decoded) == Some(slot),
            OpKind::Register => Reg::holding(decoded.op0_register())
                .is_some_and(|register| put_in(&flow, vaddr, **at, register) == Some(Put::Held(slot))),
            _ => false,
        }
    });
    let mut found: BTreeSet<u64> = there.map(|(at, _)| *at).collect();
    if flow.unknown_ways.is_some() {
        found.extend(unreached(code, vaddr, slot));
    }
    found.into_iter().collect()
}

/// The same where a jump through a table hides how it is reached: calls that name the pointer themselves, in code that is instructions from its first byte to its
/// last, between which all of its direct jumps go.
fn unreached(code: &[u8], vaddr: u64, slot: u64) -> Vec<u64> {
    let all: Vec<_> = Decoder::with_ip(64, code, vaddr, DecoderOptions::NONE).into_iter().collect();
    let starts: BTreeSet<u64> = all.iter().map(iced_x86::Instruction::ip).collect();
    let within = vaddr..vaddr.saturating_add(code.len() as u64);
    let holds = all.iter().all(|decoded| {
        let target = decoded.near_branch_target();
        !decoded.is_invalid() && (!within.contains(&target) || starts.contains(&target))
    });
    let calls = all.iter().filter(|decoded| {
        let indirect = decoded.is_call_near_indirect() || decoded.is_jmp_near_indirect();
        indirect && decoded.is_ip_rel_memory_operand() && decoded.ip_rel_memory_address() == slot
    });
    if holds { calls.map(|decoded| decoded.ip() - vaddr).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address of the code in these tests.
    const AT: u64 = 0x1000;

    #[test]
    fn what_a_lookup_returns_is_kept() {
        // lea rsi,[rip+0x100]; call; mov [rip+0x200],rax; ret
        let plain = [0x48, 0x8d, 0x35, 0, 1, 0, 0, 0xe8, 0, 0, 0x10, 0, 0x48, 0x89, 0x05, 0, 2, 0, 0, 0xc3];
        assert_eq!(kept(&plain, AT, 0x1107), BTreeSet::from([0x1213]));
        assert_eq!(kept(&plain, AT, 0x1108), BTreeSet::new(), "another text");
        // …; call; test rax,rax; je +8; mov rcx,rax; mov [rip+0x200],rcx; nop; ret: tested first, and from a copy.
        let tested = [
            0x48, 0x8d, 0x35, 0, 1, 0, 0, 0xe8, 0, 0, 0x10, 0, 0x48, 0x85, 0xc0, 0x74, 0x0a, 0x48, 0x89, 0xc1, 0x48,
            0x89, 0x0d, 0, 2, 0, 0, 0xc3,
        ];
        assert_eq!(kept(&tested, AT, 0x1107), BTreeSet::from([0x121b]));
        // lea rsi; call; lea rcx,[rip+0x200]; mov [rcx],rax; ret: as code has it whose addresses were looked up once (GOT, relaxed by the linker).
        let led =
            [0x48, 0x8d, 0x35, 0, 1, 0, 0, 0xe8, 0, 0, 0x10, 0, 0x48, 0x8d, 0x0d, 0, 2, 0, 0, 0x48, 0x89, 0x01, 0xc3];
        assert_eq!(kept(&led, AT, 0x1107), BTreeSet::from([0x1213]));
        // Something else is kept: xor eax,eax before; the half of it: mov [rip+0x200],eax.
        let spoilt = [&plain[..12], &[0x31, 0xc0], &plain[12..]].concat();
        assert_eq!(kept(&spoilt, AT, 0x1107), BTreeSet::new());
        let half = [&plain[..12], &plain[13..]].concat();
        assert_eq!(kept(&half, AT, 0x1107), BTreeSet::new());
        // Another call comes between.
        let called = [&plain[..12], &[0xe8, 0, 0, 0x10, 0], &plain[12..]].concat();
        assert_eq!(kept(&called, AT, 0x1107), BTreeSet::new());
        assert_eq!(kept(&[], AT, 0x1107), BTreeSet::new());
    }

    #[test]
    fn what_is_kept_is_called() {
        // call [rip+0x100]; jmp [rip+0xfa]
        let both = [0xff, 0x15, 0, 1, 0, 0, 0xff, 0x25, 0xfa, 0, 0, 0];
        assert_eq!(through(&both, AT, 0x1106), [0, 6]);
        assert!(through(&both, AT, 0x1107).is_empty());
        // lea rax,[rip+0x100]; mov rax,[rax]; jmp rax
        let led = [0x48, 0x8d, 0x05, 0, 1, 0, 0, 0x48, 0x8b, 0x00, 0xff, 0xe0];
        assert_eq!(through(&led, AT, 0x1107), [10]);
        // lea rax,[rip+0x100]; call [rax]; ret
        assert_eq!(through(&[0x48, 0x8d, 0x05, 0, 1, 0, 0, 0xff, 0x10, 0xc3], AT, 0x1107), [7]);
        // call [0x401000]; ret: linked at a fixed address.
        assert_eq!(through(&[0xff, 0x14, 0x25, 0, 0x10, 0x40, 0, 0xc3], AT, 0x40_1000), [0]);
        // mov rax,[rip+0x100]; call; call rax: a call may have changed it.
        let called = [0x48, 0x8b, 0x05, 0, 1, 0, 0, 0xe8, 0, 0, 0x10, 0, 0xff, 0xd0, 0xc3];
        assert!(through(&called, AT, 0x1107).is_empty());
        // jmp rcx; call [rip+0x100]; ret: reached through a table, perhaps. The same behind a jump into it, and before what is no code.
        let table = [0xff, 0xe1, 0xff, 0x15, 0, 1, 0, 0, 0xc3];
        assert_eq!(through(&table, AT, 0x1108), [2]);
        assert!(through(&[&[0x74, 0x03][..], &table].concat(), AT, 0x110a).is_empty());
        assert!(through(&[&table[..], &[0x06]].concat(), AT, 0x1108).is_empty());
        // Not reached: ret; call [rip+0x100]
        assert!(through(&[0xc3, 0xff, 0x15, 0, 1, 0, 0], AT, 0x1107).is_empty());
    }
}
