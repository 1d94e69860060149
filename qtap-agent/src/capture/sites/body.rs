//! Features by which a function's code is recognized: the numbers it puts into registers, the addresses it takes, the functions it calls, whether it
//! writes to memory. In: its bytes and their address. Out: [`Body`]. All bytes are read, reached by control flow or not: nothing is proven here.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction as Decoded, InstructionInfoFactory, Mnemonic, OpKind, Register,
};

use super::{Reg, x86};

/// Constants below this are numbers, not addresses: nothing is linked into the first page.
const ADDRESSES_FROM: u64 = 0x1000;

/// The features of a function's code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Numbers put into registers, as they are in the code.
    numbers: BTreeSet<(Reg, u64)>,
    /// Addresses taken relative to the code (`lea reg, [rip + …]`).
    addresses: BTreeSet<u64>,
    /// Constants in registers at the end of a straight-line piece of code, if one of them may be an address.
    together: Vec<BTreeMap<Reg, u64>>,
    /// Argument registers that are read before they are written, in code order: these are the arguments that the function takes.
    pub takes: BTreeSet<Reg>,
    /// Targets of calls, and of jumps out of the function, in the code's order.
    pub goes_to: Vec<u64>,
    /// Displacements from a register in accesses to memory that is not the function's own stack: the structure members that it accesses.
    pub members: BTreeSet<u64>,
    /// Those of them whose register does not hold the first argument: members of what is reached through it, for example.
    pub beyond: BTreeSet<u64>,
    /// Numbers that it compares something with (`cmp`).
    pub compared: BTreeSet<u64>,
    /// True when it writes to memory that is addressed through neither the stack pointer nor the frame pointer.
    pub stores: bool,
    /// True if it changes memory atomically (`lock`), such as a count that other threads change too.
    pub locks: bool,
}

impl Body {
    /// Reads the code of a function at address `vaddr`; `None` if it contains bytes that are not an instruction.
    #[must_use]
    pub fn of(code: &[u8], vaddr: u64) -> Option<Body> {
        let within = vaddr..vaddr.checked_add(code.len() as u64)?;
        let mut body = Body::default();
        let mut factory = InstructionInfoFactory::new();
        let mut arguments: Vec<Reg> = (0..6).filter_map(Reg::of_argument).collect();
        let mut entered = BTreeSet::new();
        let mut first: BTreeSet<Reg> = Reg::of_argument(0).into_iter().collect();
        for decoded in &mut decoded(code, vaddr) {
            entered.insert(decoded.near_branch_target());
            first.extend(
                x86::copy(&decoded).filter(|copy| copy.whole && first.contains(&copy.from)).map(|copy| copy.to),
            );
        }
        let mut constants = BTreeMap::new();
        for decoded in decoded(code, vaddr) {
            if decoded.is_invalid() {
                return None;
            }
            if entered.contains(&decoded.ip()) {
                body.end_piece(&mut constants);
            }
            body.note(&decoded, &mut factory, &mut constants);
            if let Some((base, member)) = member(&decoded) {
                body.members.insert(member);
                body.beyond.extend((!first.contains(&base)).then_some(member));
            }
            if decoded.flow_control() != FlowControl::Next {
                body.end_piece(&mut constants);
            }
            body.takes.extend(x86::reads(&mut factory, &decoded).into_iter().filter(|read| arguments.contains(read)));
            // After a call none of them holds its argument.
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

    /// Keeps the constants that registers have where a straight-line piece of code ends.
    fn end_piece(&mut self, constants: &mut BTreeMap<Reg, u64>) {
        let together = std::mem::take(constants);
        if together.values().any(|number| *number >= ADDRESSES_FROM) {
            self.together.push(together);
        }
    }

    fn note(&mut self, decoded: &Decoded, factory: &mut InstructionInfoFactory, constants: &mut BTreeMap<Reg, u64>) {
        self.locks |= decoded.has_lock_prefix();
        for written in x86::writes(factory, decoded).registers {
            constants.remove(&written);
        }
        let to = (decoded.op_count() == 2 && decoded.op0_kind() == OpKind::Register).then(|| decoded.op0_register());
        match (decoded.mnemonic(), to.and_then(Reg::holding)) {
            (Mnemonic::Mov, Some(register)) => {
                if let Ok(number) = decoded.try_immediate(1) {
                    self.numbers.insert((register, number));
                    constants.insert(register, number);
                }
            }
            (Mnemonic::Cmp, _) => self.compared.extend(decoded.try_immediate(1)),
            (Mnemonic::Lea, Some(register)) if decoded.is_ip_rel_memory_operand() => {
                self.addresses.insert(decoded.ip_rel_memory_address());
                constants.insert(register, decoded.ip_rel_memory_address());
            }
            _ => {}
        }
        if !self.stores && !on_stack(decoded.memory_base()) && decoded.op_kinds().any(|kind| kind == OpKind::Memory) {
            self.stores = x86::writes(factory, decoded).foreign_memory;
        }
    }

    /// The numbers put into `register`.
    pub fn numbers_in(&self, register: Reg) -> impl Iterator<Item = u64> + '_ {
        self.numbers.iter().filter(move |(into, _)| *into == register).map(|(_, number)| *number)
    }

    /// For each piece of code that ends with one of these addresses in an argument register but the first: its index, and the argument before it.
    pub fn before<'a>(&'a self, addresses: &'a BTreeSet<u64>) -> impl Iterator<Item = (u8, Option<u64>)> + 'a {
        let of = |together: &'a BTreeMap<Reg, u64>| {
            let standing = (1..6u8).filter_map(move |index| Some((index, together.get(&Reg::of_argument(index)?)?)));
            let is_one = standing.filter(|(_, address)| addresses.contains(address));
            is_one.map(|(index, _)| {
                (index, Reg::of_argument(index - 1).and_then(|before| together.get(&before).copied()))
            })
        };
        self.together.iter().flat_map(of)
    }

    /// The addresses that it takes relative to the code.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.addresses.iter().copied()
    }

    /// True if it takes the address: relative to the code, or as a number if the code is linked at a fixed address.
    #[must_use]
    pub fn refers_to(&self, address: u64) -> bool {
        self.addresses.contains(&address) || self.numbers.iter().any(|(_, number)| *number == address)
    }
}

fn decoded(code: &[u8], vaddr: u64) -> Decoder<'_> {
    Decoder::with_ip(64, code, vaddr, DecoderOptions::NONE)
}

/// The structure member that an instruction accesses: the register that points to the structure, and the offset in it.
fn member(decoded: &Decoded) -> Option<(Reg, u64)> {
    let base = Reg::holding(decoded.memory_base()).filter(|_| decoded.memory_index() == Register::None)?;
    let looks = !on_stack(decoded.memory_base()) && decoded.mnemonic() != Mnemonic::Lea;
    looks.then(|| (base, decoded.memory_displacement64()))
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
    fn members_of_what_the_first_argument_leads_to() {
        // mov rbx,rdi; mov rax,[rbx]; mov rax,[rax+0x10]; mov edx,[rdi+0x18]
        let code = [0x48, 0x89, 0xfb, 0x48, 0x8b, 0x03, 0x48, 0x8b, 0x40, 0x10, 0x8b, 0x57, 0x18];
        let body = Body::of(&code, 0).unwrap();
        assert_eq!((body.members, body.beyond), (BTreeSet::from([0, 0x10, 0x18]), BTreeSet::from([0x10])));
    }

    #[test]
    fn what_stands_beside_an_address_in_a_straight_piece_of_code() {
        let beside = |code: &[u8]| {
            let body = Body::of(code, 0).unwrap();
            body.before(&BTreeSet::from([0x40_1000])).collect::<Vec<_>>()
        };
        // mov edx,0x401000; mov esi,0x42; call
        let whole = [0xba, 0x00, 0x10, 0x40, 0, 0xbe, 0x42, 0, 0, 0, 0xe8, 0, 0, 0, 0];
        assert_eq!(beside(&whole), [(2, Some(0x42))]);
        // The same, and mov esi,eax before the call.
        assert_eq!(beside(&[&whole[..10], &[0x89, 0xc6], &whole[10..]].concat()), [(2, None)]);
        // The same, and a jump to where the address is taken: another number may be there.
        assert_eq!(beside(&[&whole[5..10], &whole[..5], &whole[10..], &[0xeb, 0xf4]].concat()), [(2, None)]);
        // The address is taken after a jump to elsewhere.
        assert_eq!(beside(&[&whole[5..10], &[0xeb, 0x7f], &whole[..5], &whole[10..]].concat()), [(2, None)]);
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
