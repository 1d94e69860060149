//! What the kernel emulates on x86-64, and what an instruction does to registers, stack and memory.
//!
//! In: decoded instructions and their bytes. Out: plain answers. Never looks beyond one instruction.
//!
//! The emulated set is that of `arch/x86/kernel/uprobes.c` since Linux 5.10 (`push_setup_xol_ops`, `branch_setup_xol_ops`),
//! without anything that carries a prefix: `push r64` (50–57, 41 50–57), `call rel32` (e8), `jmp` (eb, e9), `jcc` (70–7f,
//! 0f 80–8f) and the one-byte `nop` (90). Longer nops, `endbr64` among them, are emulated by newer kernels only.

use iced_x86::{
    Decoder, DecoderOptions, Instruction as Decoded, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::Instruction;

/// A general register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reg {
    /// rax.
    Rax,
    /// rcx.
    Rcx,
    /// rdx.
    Rdx,
    /// rbx.
    Rbx,
    /// rsp.
    Rsp,
    /// rbp.
    Rbp,
    /// rsi.
    Rsi,
    /// rdi.
    Rdi,
    /// r8.
    R8,
    /// r9.
    R9,
    /// r10.
    R10,
    /// r11.
    R11,
    /// r12.
    R12,
    /// r13.
    R13,
    /// r14.
    R14,
    /// r15.
    R15,
}

impl Reg {
    /// The register's word in the kernel's `struct pt_regs` of x86-64, from 0 (times 8: its byte offset).
    #[must_use]
    pub fn pt_regs_word(self) -> u8 {
        match self {
            Reg::R15 => 0,
            Reg::R14 => 1,
            Reg::R13 => 2,
            Reg::R12 => 3,
            Reg::Rbp => 4,
            Reg::Rbx => 5,
            Reg::R11 => 6,
            Reg::R10 => 7,
            Reg::R9 => 8,
            Reg::R8 => 9,
            Reg::Rax => 10,
            Reg::Rcx => 11,
            Reg::Rdx => 12,
            Reg::Rsi => 13,
            Reg::Rdi => 14,
            Reg::Rsp => 19,
        }
    }

    /// The register of the `index`th argument (System V ABI for x86-64, §3.2.3); none beyond the sixth.
    #[must_use]
    pub fn of_argument(index: u8) -> Option<Reg> {
        match index {
            0 => Some(Reg::Rdi),
            1 => Some(Reg::Rsi),
            2 => Some(Reg::Rdx),
            3 => Some(Reg::Rcx),
            4 => Some(Reg::R8),
            5 => Some(Reg::R9),
            _ => None,
        }
    }

    /// The general register that `register` is a part of.
    pub(super) fn holding(register: Register) -> Option<Reg> {
        Some(match register.full_register() {
            Register::RAX => Reg::Rax,
            Register::RCX => Reg::Rcx,
            Register::RDX => Reg::Rdx,
            Register::RBX => Reg::Rbx,
            Register::RSP => Reg::Rsp,
            Register::RBP => Reg::Rbp,
            Register::RSI => Reg::Rsi,
            Register::RDI => Reg::Rdi,
            Register::R8 => Reg::R8,
            Register::R9 => Reg::R9,
            Register::R10 => Reg::R10,
            Register::R11 => Reg::R11,
            Register::R12 => Reg::R12,
            Register::R13 => Reg::R13,
            Register::R14 => Reg::R14,
            Register::R15 => Reg::R15,
            _ => return None,
        })
    }
}

/// What kind of site the instruction with these bytes is.
pub(super) fn kind_of(bytes: &[u8]) -> Instruction {
    match bytes {
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Instruction::Push,
        [0xe8, _, _, _, _] => Instruction::Call,
        [0xeb, _] | [0xe9, _, _, _, _] => Instruction::Jump,
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => Instruction::Branch,
        [0x90] => Instruction::Nop,
        _ => Instruction::Stepped,
    }
}

/// The kind of the first instruction of `code`.
pub(super) fn first_instruction(code: &[u8]) -> Instruction {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let first = decoder.decode();
    if first.is_invalid() {
        return Instruction::Stepped;
    }
    code.get(..first.len()).map_or(Instruction::Stepped, kind_of)
}

/// What an instruction writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Writes {
    /// General registers that are or may be written, in whole or in part.
    pub(super) registers: Vec<Reg>,
    /// Memory that is not addressed through rsp.
    pub(super) foreign_memory: bool,
}

/// What `instruction` writes, according to the decoder's tables; calls are not followed.
pub(super) fn writes(factory: &mut InstructionInfoFactory, instruction: &Decoded) -> Writes {
    let info = factory.info(instruction);
    let mut registers = Vec::new();
    for used in info.used_registers() {
        if let (true, Some(reg)) = (is_write(used.access()), Reg::holding(used.register())) {
            registers.push(reg);
        }
    }
    let foreign = |used: &iced_x86::UsedMemory| {
        is_write(used.access()) && (used.base() != Register::RSP || used.index() != Register::None)
    };
    Writes { registers, foreign_memory: info.used_memory().iter().any(foreign) }
}

/// General registers that `instruction` reads or may read, in whole or in part. An instruction that clears a register (`xor eax, eax`) reads none.
pub(super) fn reads(factory: &mut InstructionInfoFactory, instruction: &Decoded) -> Vec<Reg> {
    let used = factory.info(instruction).used_registers();
    used.iter().filter(|used| is_read(used.access())).filter_map(|used| Reg::holding(used.register())).collect()
}

fn is_read(access: OpAccess) -> bool {
    match access {
        OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
        OpAccess::None | OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess => false,
    }
}

fn is_write(access: OpAccess) -> bool {
    match access {
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
        OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess => false,
    }
}

/// A plain copy of one register into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) from: Reg,
    pub(super) to: Reg,
    /// True when all 64 bits are the same afterwards, false when only the lower 32 are.
    pub(super) whole: bool,
}

/// The copy that `instruction` makes, if that is what it does.
pub(super) fn copy(instruction: &Decoded) -> Option<Move> {
    if instruction.op_count() != 2
        || instruction.op0_kind() != OpKind::Register
        || instruction.op1_kind() != OpKind::Register
    {
        return None;
    }
    let (to, from) = (instruction.op0_register(), instruction.op1_register());
    let whole = match (instruction.mnemonic(), to.size(), from.size()) {
        (Mnemonic::Mov, 8, 8) => true,
        (Mnemonic::Mov, 4, 4) | (Mnemonic::Movsxd, 8, 4) => false,
        _ => return None,
    };
    if !to.is_gpr() || !from.is_gpr() {
        return None;
    }
    Some(Move { from: Reg::holding(from)?, to: Reg::holding(to)?, whole })
}

/// By how much `instruction` moves the stack pointer, in bytes (negative: the stack grows); `None` if that can't be determined.
/// Only for instructions that write rsp.
pub(super) fn stack_change(instruction: &Decoded) -> Option<i64> {
    match instruction.mnemonic() {
        Mnemonic::Push | Mnemonic::Pushfq => Some(i64::from(instruction.stack_pointer_increment())),
        Mnemonic::Pop if instruction.op0_kind() != OpKind::Register || instruction.op0_register() != Register::RSP => {
            Some(i64::from(instruction.stack_pointer_increment()))
        }
        Mnemonic::Sub | Mnemonic::Add => {
            if instruction.op0_kind() != OpKind::Register || instruction.op0_register() != Register::RSP {
                return None;
            }
            let by = instruction.try_immediate(1).ok()?.cast_signed();
            if instruction.mnemonic() == Mnemonic::Sub { by.checked_neg() } else { Some(by) }
        }
        Mnemonic::Lea => {
            let plain = instruction.op0_register() == Register::RSP
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None;
            plain.then(|| instruction.memory_displacement64().cast_signed())
        }
        _ => None,
    }
}
