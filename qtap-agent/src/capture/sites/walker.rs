//! For tests: checks that chosen sites keep their promises, and shares no code with the chooser. It decodes one instruction at a time along
//! single paths through the function, as a processor would, and counts the sites that it passes.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use super::{ArgLocation, ExitSites, Reg, Sites, Wanted, Width};

/// What a walk down one path saw.
#[derive(Default)]
struct Walk {
    entries: u32,
    exits: u32,
    /// Offset of the first instruction after an exit site that wrote rax or foreign memory.
    spoilt: Option<u64>,
    returned: bool,
}

/// Checks everything that `sites` promises, on as many paths as `paths` says; returns how many of them reached a `ret`.
pub(crate) fn check(code: &[u8], sites: &Sites, wanted: Wanted<'_>, paths: u32, name: &str) -> u32 {
    let exits = match &sites.exit {
        Some(ExitSites::Emulated(offsets)) => offsets.as_slice(),
        Some(ExitSites::Return { .. } | ExitSites::Rets(_) | ExitSites::Behind(_) | ExitSites::Unseen(_)) | None => &[],
    };
    check_entry(code, sites, wanted, name);
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ code.len() as u64;
    let mut returned = 0;
    for _ in 0..paths {
        let walk = walk(code, sites.entry.offset, exits, &mut state);
        if !walk.returned {
            continue;
        }
        returned += 1;
        // Offset 0 promises nothing if the function jumps back to it; a chosen site does.
        if sites.entry.offset > 0 || !exits.is_empty() {
            assert_eq!(walk.entries, 1, "{name}: entries on one path");
        }
        if !exits.is_empty() {
            assert_eq!(walk.exits, 1, "{name}: exits on one path");
            assert_eq!(walk.spoilt, None, "{name}: written behind the exit site");
        }
    }
    returned
}

/// Walks one path: branches are taken at random, calls are stepped over, a jump out of the function ends it.
fn walk(code: &[u8], entry: u64, exits: &[u64], state: &mut u64) -> Walk {
    let mut walk = Walk::default();
    let mut factory = InstructionInfoFactory::new();
    let mut at = 0u64;
    for _ in 0..code.len() * 8 {
        let Some(bytes) = code.get(at as usize..).filter(|rest| !rest.is_empty()) else { return walk };
        let instruction = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode();
        assert!(!instruction.is_invalid());
        walk.entries += u32::from(at == entry);
        walk.exits += u32::from(exits.contains(&at));
        let is_exit = exits.contains(&at);
        if walk.exits > 0 && !is_exit {
            let info = factory.info(&instruction);
            let writes = |access| {
                matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
            };
            let rax = info
                .used_registers()
                .iter()
                .any(|used| writes(used.access()) && used.register().full_register() == Register::RAX);
            let memory = info.used_memory().iter().any(|used| writes(used.access()) && used.base() != Register::RSP);
            if rax || memory {
                walk.spoilt.get_or_insert(at);
            }
        }
        at = match instruction.flow_control() {
            FlowControl::Return => {
                walk.returned = true;
                return walk;
            }
            FlowControl::UnconditionalBranch => instruction.near_branch_target(),
            FlowControl::ConditionalBranch => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                if *state & 0x100 == 0 { instruction.near_branch_target() } else { instruction.next_ip() }
            }
            FlowControl::Next => instruction.next_ip(),
            FlowControl::Call | FlowControl::IndirectCall => {
                if walk.exits > 0 {
                    walk.spoilt.get_or_insert(at);
                }
                instruction.next_ip()
            }
            FlowControl::IndirectBranch
            | FlowControl::Interrupt
            | FlowControl::XbeginXabortXend
            | FlowControl::Exception => return walk,
        };
        if at >= code.len() as u64 {
            return walk;
        }
    }
    walk
}

/// Interprets the entry block with made-up register values: at the site each argument must have the value that it had at the start, and
/// the stack pointer must be as far away as the site says.
fn check_entry(code: &[u8], sites: &Sites, wanted: Wanted<'_>, name: &str) {
    let entry = &sites.entry;
    let mut values: HashMap<Register, u64> = HashMap::new();
    let initial = |reg: Register| 0x1111_0000_0000_0000u64 + reg as u64 * 0x1_0000_0101;
    let mut at = 0;
    while at < entry.offset {
        let instruction = Decoder::with_ip(64, &code[at as usize..], at, DecoderOptions::NONE).decode();
        assert_eq!(instruction.flow_control(), FlowControl::Next, "the block is straight");
        let mut factory = InstructionInfoFactory::new();
        let read = |values: &HashMap<Register, u64>, reg: Register| {
            values.get(&reg.full_register()).copied().unwrap_or(initial(reg.full_register()))
        };
        let text = (instruction.mnemonic(), instruction.op0_register(), instruction.op1_register());
        let moved = match text {
            (Mnemonic::Mov, to, from) if to.is_gpr64() && from.is_gpr64() => Some(read(&values, from)),
            (Mnemonic::Mov, to, from) if to.is_gpr32() && from.is_gpr32() => Some(read(&values, from) & 0xffff_ffff),
            (Mnemonic::Movsxd, to, from) if to.is_gpr64() && from.is_gpr32() => {
                Some(i64::from(read(&values, from) as u32 as i32) as u64)
            }
            (Mnemonic::Sub, Register::RSP, Register::None) => {
                Some(read(&values, Register::RSP).wrapping_sub(instruction.immediate(1)))
            }
            _ => None,
        };
        for used in factory.info(&instruction).used_registers() {
            if matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            ) {
                values.insert(used.register().full_register(), 0xdead_0000 + at);
            }
        }
        if let Some(value) = moved {
            values.insert(text.1.full_register(), value);
        }
        at = instruction.next_ip();
    }
    assert_eq!(at, entry.offset, "the site is at the start of an instruction");
    let get = |reg: Register| values.get(&reg).copied().unwrap_or(initial(reg));
    assert_eq!(get(Register::RSP).wrapping_add_signed(entry.sp_delta), initial(Register::RSP));
    for (arg, location) in wanted.args.iter().zip(&entry.args) {
        let own = [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8][usize::from(arg.index)];
        let place = match location {
            ArgLocation::Own => own,
            ArgLocation::Copy(reg) => iced(*reg),
        };
        let mask = if arg.width == Width::Low32 { 0xffff_ffff } else { u64::MAX };
        assert_eq!(get(place) & mask, initial(own) & mask, "{name}: argument {}", arg.index);
    }
}

fn iced(reg: Reg) -> Register {
    match reg {
        Reg::Rax => Register::RAX,
        Reg::Rcx => Register::RCX,
        Reg::Rdx => Register::RDX,
        Reg::Rbx => Register::RBX,
        Reg::Rsp => Register::RSP,
        Reg::Rbp => Register::RBP,
        Reg::Rsi => Register::RSI,
        Reg::Rdi => Register::RDI,
        Reg::R8 => Register::R8,
        Reg::R9 => Register::R9,
        Reg::R10 => Register::R10,
        Reg::R11 => Register::R11,
        Reg::R12 => Register::R12,
        Reg::R13 => Register::R13,
        Reg::R14 => Register::R14,
        Reg::R15 => Register::R15,
    }
}
