//! What a function's code says of itself: the numbers it puts into registers, the addresses it takes, the functions it goes to, whether it writes to memory. In: its
//! bytes and where they stand. Out: [`Body`]. From end to end, whether or not control flow reaches it: it is what a function is recognised by, not what is proven of it.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction as Decoded, InstructionInfoFactory, Mnemonic, OpKind, Register,
};

use super::{Reg, x86};

/// Constants below this are numbers, and no addresses: nothing is linked to stand in the first page.
const ADDRESSES_FROM: u64 = 0x1000;

/// What a function's code says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Numbers put into registers as they stand in the code.
    numbers: BTreeSet<(Reg, u64)>,
    /// Addresses taken relative to the code (`lea reg, [rip + …]`).
    addresses: BTreeSet<u64>,
    /// Constants that registers of arguments have at the end of a straight piece of code, where an address is among them.
    together: Vec<BTreeMap<Reg, u64>>,
    /// Registers of arguments that are read before they are written, in the code's order: the function has as many arguments.
    pub takes: BTreeSet<Reg>,
    /// Where calls, and jumps out of it, lead to, in the code's order.
    pub goes_to: Vec<u64>,
    /// Displacements behind a register, of memory that is not its own stack: which members of structures it looks at.
    pub members: BTreeSet<u64>,
    /// Those of them that are not what its first argument points to: of what that leads to.
    pub beyond: BTreeSet<u64>,
    /// Numbers that it holds something against (`cmp`).
    pub compared: BTreeSet<u64>,
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

    /// Keeps what the registers of arguments have where a straight piece of code ends.
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

    /// Where it has one of the addresses in the register of an argument at the end of a straight piece of code: which argument that is, from 0, and what the one before it is.
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

    /// True when it takes the address: relative to the code, or as a number, where the code is linked to stand in one place.
    #[must_use]
    pub fn refers_to(&self, address: u64) -> bool {
        self.addresses.contains(&address) || self.numbers.iter().any(|(_, number)| *number == address)
    }
}

fn decoded(code: &[u8], vaddr: u64) -> Decoder<'_> {
    Decoder::with_ip(64, code, vaddr, DecoderOptions::NONE)
}

/// The member of a structure that it looks at: the register that points to the structure, and where in it.
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
        // The address is taken behind a jump to elsewhere.
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
