//! What a function's code says of itself: the numbers it puts into registers, the addresses it takes, the functions it goes to, whether it writes to memory. In: its
//! bytes and where they stand. Out: [`Body`]. From end to end, whether or not control flow reaches it: it is what a function is recognised by, not what is proven of it.

use std::collections::BTreeSet;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction as Decoded, InstructionInfoFactory, Mnemonic, OpKind, Register,
};

use super::{Reg, x86};

/// What a function's code says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Numbers put into registers as they stand in the code.
    numbers: BTreeSet<(Reg, u64)>,
    /// Addresses taken relative to the code (`lea reg, [rip + …]`).
    addresses: BTreeSet<u64>,
    /// Registers of arguments that are read before they are written, in the code's order: the function has as many arguments.
    pub takes: BTreeSet<Reg>,
    /// Where calls, and jumps out of it, lead to, in the code's order.
    pub goes_to: Vec<u64>,
    /// Displacements behind a register, of memory that is not its own stack: which members of structures it looks at.
    pub members: BTreeSet<u64>,
    /// True when it writes to memory that is addressed through neither the stack pointer nor the frame pointer.
    pub stores: bool,
    /// True when it counts something that other threads count too (`lock`).
    pub locks: bool,
}

impl Body {
    /// Reads the code of a function that stands at `vaddr`; none when it holds what is no instruction.
    #[must_use]
    pub fn of(code: &[u8], vaddr: u64) -> Option<Body> {
        let within = vaddr..vaddr.checked_add(code.len() as u64)?;
        let mut body = Body::default();
        let mut factory = InstructionInfoFactory::new();
        let mut arguments: Vec<Reg> = (0..6).filter_map(Reg::of_argument).collect();
        for decoded in Decoder::with_ip(64, code, vaddr, DecoderOptions::NONE) {
            if decoded.is_invalid() {
                return None;
            }
            body.note(&decoded, &mut factory);
            body.takes.extend(x86::reads(&mut factory, &decoded).into_iter().filter(|read| arguments.contains(read)));
            // A call leaves nothing in them.
            let written = x86::writes(&mut factory, &decoded).registers;
            let calls = matches!(decoded.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
            arguments.retain(|argument| !calls && !written.contains(argument));
            match decoded.flow_control() {
                FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    let target = decoded.near_branch_target();
                    if !within.contains(&target) {
                        body.goes_to.push(target);
                    }
                }
                FlowControl::IndirectCall
                | FlowControl::IndirectBranch
                | FlowControl::Next
                | FlowControl::Return
                | FlowControl::Interrupt
                | FlowControl::XbeginXabortXend
                | FlowControl::Exception => {}
            }
        }
        Some(body)
    }

    fn note(&mut self, decoded: &Decoded, factory: &mut InstructionInfoFactory) {
        self.locks |= decoded.has_lock_prefix();
        let to = (decoded.op_count() == 2 && decoded.op0_kind() == OpKind::Register).then(|| decoded.op0_register());
        match (decoded.mnemonic(), to.and_then(Reg::holding)) {
            (Mnemonic::Mov, Some(register)) => {
                if let Ok(number) = decoded.try_immediate(1) {
                    self.numbers.insert((register, number));
                }
            }
            (Mnemonic::Lea, Some(_)) if decoded.is_ip_rel_memory_operand() => {
                self.addresses.insert(decoded.ip_rel_memory_address());
            }
            _ => {}
        }
        let behind = Reg::holding(decoded.memory_base()).is_some() && decoded.memory_index() == Register::None;
        if behind && !on_stack(decoded.memory_base()) && decoded.mnemonic() != Mnemonic::Lea {
            self.members.insert(decoded.memory_displacement64());
        }
        if !self.stores && !on_stack(decoded.memory_base()) && decoded.op_kinds().any(|kind| kind == OpKind::Memory) {
            self.stores = x86::writes(factory, decoded).foreign_memory;
        }
    }

    /// The numbers put into `register`.
    pub fn numbers_in(&self, register: Reg) -> impl Iterator<Item = u64> + '_ {
        self.numbers.iter().filter(move |(into, _)| *into == register).map(|(_, number)| *number)
    }

    /// The addresses that it takes relative to the code.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.addresses.iter().copied()
    }

    /// True when it takes the address: relative to the code, or as a number, where the code is linked to stand in one place.
    #[must_use]
    pub fn refers_to(&self, address: u64) -> bool {
        self.addresses.contains(&address) || self.numbers.iter().any(|(_, number)| *number == address)
    }
}

fn on_stack(base: Register) -> bool {
    matches!(base, Register::RSP | Register::RBP)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_addresses_and_ways_out() {
        // mov edx,0x42; lea rcx,[rip+0x10]; call +0x20; call [rax+0x10]; mov [rbp-8],eax; mov [rsp],eax; jmp to the beginning
        let code = [
            0xba, 0x42, 0, 0, 0, 0x48, 0x8d, 0x0d, 0x10, 0, 0, 0, 0xe8, 0x20, 0, 0, 0, 0xff, 0x50, 0x10, 0x89, 0x45,
            0xf8, 0x89, 0x04, 0x24, 0xeb, 0xe4,
        ];
        let body = Body::of(&code, 0x1000).unwrap();
        assert_eq!(body.numbers_in(Reg::Rdx).collect::<Vec<_>>(), [0x42]);
        assert!(body.numbers_in(Reg::Rcx).next().is_none());
        assert!(body.refers_to(0x101c) && !body.refers_to(0x101d));
        assert_eq!((body.goes_to, body.members), (vec![0x1031], BTreeSet::from([0x10])));
        assert!(!body.stores && !body.locks && body.takes.is_empty());
        // mov rbx,rdi; mov [rsp],r8; xor ecx,ecx; mov rax,rcx; call; mov rax,rsi
        let code = [
            0x48, 0x89, 0xfb, 0x4c, 0x89, 0x04, 0x24, 0x31, 0xc9, 0x48, 0x89, 0xc8, 0xe8, 0, 0, 0, 0, 0x48, 0x89, 0xf0,
        ];
        assert_eq!(Body::of(&code, 0).unwrap().takes, BTreeSet::from([Reg::Rdi, Reg::R8]));
    }

    #[test]
    fn writes_to_the_memory_of_others_and_counts_are_seen() {
        // mov [rdi+8],eax; lock xadd [rdi],eax; mov edi,0x401000
        assert!(Body::of(&[0x89, 0x47, 0x08], 0).unwrap().stores);
        assert!(Body::of(&[0xf0, 0x0f, 0xc1, 0x07], 0).unwrap().locks);
        assert!(Body::of(&[0xbf, 0x00, 0x10, 0x40, 0x00], 0).unwrap().refers_to(0x0040_1000));
    }

    #[test]
    fn what_is_no_code_says_nothing() {
        assert_eq!(Body::of(&[0x06], 0), None);
        assert_eq!(Body::of(&[0xe8, 0, 0], 0), None, "cut off");
        assert_eq!(Body::of(&[], 0), Some(Body::default()));
    }
}
