//! Where a probe stands in a function: chosen by disassembly, so that it costs one trap instead of two.
//!
//! A uprobe on an instruction that the kernel emulates is one trap; on any other instruction it is executed out of line and
//! single-stepped: two traps, the second of them dear. What comes in is a function's bytes and what is wanted of a call (which
//! arguments, and whether the result); what goes out is an entry site and exit sites, each with what was proven of it, or
//! the usual places (offset 0 and the return) with the reason why nothing better was proven. It reads no file and
//! attaches nothing.
//!
//! What is proven of a chosen **entry** site: it lies in the straight-line block at the function's start, no jump enters
//! that block behind its start, every wanted argument is in a known register there, and the stack pointer's distance
//! from its value at entry is known. Of chosen **exit** sites: every path from the entry to any `ret` passes exactly one of
//! them, exactly once, and behind it neither rax nor memory other than the function's own stack is written.
//!
//! ```text
//!   bytes ──flow──▶ instructions and their successors ──entry──▶ EntrySite
//!                                                     └──exit───▶ ExitSites
//! ```

mod body;
mod caller;
mod entry;
mod exit;
mod flow;
pub mod go;
mod x86;

use std::fmt;

pub use body::Body;
pub use caller::{Put, calls, goes_by_pointer, put};
pub use x86::Reg;

/// Instruction set of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// AArch64.
    Aarch64,
    /// Any other, by its ELF `e_machine`.
    Other(u16),
}

/// A function's code.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    /// Instruction set.
    pub machine: Machine,
    /// Its bytes, from its first instruction to its symbol's size.
    pub code: &'a [u8],
    /// Offset of the first byte in the file.
    pub file_offset: u64,
}

/// How much of an argument's register counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// The lower 32 bits (`int`): the upper half is undefined by the calling convention and must be cut off.
    Low32,
    /// All 64 bits (pointers, `size_t`).
    Full,
}

/// An argument that the probe needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Its place in the call, from 0; only the six that travel in registers (System V ABI for x86-64, §3.2.3).
    pub index: u8,
    /// How much of it counts.
    pub width: Width,
}

/// What is wanted of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Arguments at entry.
    pub args: &'a [Argument],
    /// Whether the result is wanted too.
    pub result: bool,
}

/// Where an argument is when the entry probe fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArgLocation {
    /// In the register that the calling convention gave it.
    Own,
    /// That register was written; a copy stands in this one.
    Copy(Reg),
}

/// Where the probe on the way in stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySite {
    /// Offset within the function.
    pub offset: u64,
    /// Offset in the file: what the kernel is told.
    pub file_offset: u64,
    /// What stands there.
    pub instruction: Instruction,
    /// Where each wanted argument is, in the order it was asked for.
    pub args: Vec<ArgLocation>,
    /// What must be added to the stack pointer at the site to get its value at function entry, in bytes.
    pub sp_delta: i64,
    /// Why nothing better was chosen; none when the site is emulated.
    pub fallback: Option<Unproven>,
}

impl EntrySite {
    /// True when the kernel emulates the instruction: one trap.
    #[must_use]
    pub fn emulated(&self) -> bool {
        self.instruction != Instruction::Stepped
    }
}

/// Where the probes on the way out stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitSites {
    /// Offsets within the function: every path to a `ret` passes exactly one, with the result final in rax.
    Emulated(Vec<u64>),
    /// The function's return: a uretprobe, or probes on all `ret` instructions. The uretprobe stands where the entry probe
    /// does and shares its trap: there the stack pointer is what it was at function entry (`sp_delta` is 0), which is all
    /// that a uretprobe asks for.
    Return {
        /// Offsets of all `ret` instructions; empty when it is not proven that these are all ways out (then only a
        /// uretprobe sees them all).
        rets: Vec<u64>,
        /// Why nothing better was chosen.
        fallback: Unproven,
    },
    /// Offsets of all `ret` instructions, of code whose return addresses must not be replaced (Go's: its stacks move; Rust's: it unwinds).
    Rets(Vec<u64>),
    /// Offset behind the call at which the entry site is: what is wanted is that call's, not the function's.
    Behind(u64),
}

/// What stands at a site: the kinds of instruction that the kernel emulates, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// `push` of a register.
    Push,
    /// `call rel32`. Emulated without the user's shadow stack before Linux 6.18: not for a process that has one
    /// (`x86_Thread_features: shstk` in /proc/PID/status).
    Call,
    /// `jmp rel`.
    Jump,
    /// `jcc rel`.
    Branch,
    /// The one-byte `nop`.
    Nop,
    /// Not emulated: executed out of line and single-stepped.
    Stepped,
}

/// Why a better site was not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unproven {
    /// No rules for this instruction set.
    Machine,
    /// The symbol has no size, or its code could not be read.
    NoCode,
    /// More instructions than are looked at.
    TooLarge,
    /// Bytes that are no instruction, instructions that overlap, or one that leaves the beaten track (far jumps, traps).
    Undecodable,
    /// The code runs on past the function's end.
    RunsOff,
    /// A jump through a register or memory: it may go anywhere.
    IndirectJump,
    /// The function calls into its own middle.
    InnerCall,
    /// A jump enters the block at the function's start.
    EntryEntered,
    /// An argument is lost, or the stack pointer unknown, before the first emulated instruction.
    ArgumentLost,
    /// The function leaves by a jump to another one, which then returns in its place.
    TailCall,
    /// No `ret` is ever reached.
    NeverReturns,
    /// No set of emulated instructions is passed exactly once by every path with the result final.
    NoExit,
    /// The return is seen by a uretprobe, which needs a trap before the stack pointer moves.
    SharesReturn,
    /// What is wanted is final at the return, and not before.
    AtReturnOnly,
    /// Nothing better was looked for.
    PlainAsked,
}

impl Unproven {
    /// The reason in words.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Unproven::Machine => "no rules for this machine",
            Unproven::NoCode => "no code for the symbol",
            Unproven::TooLarge => "function too large",
            Unproven::Undecodable => "code not decodable",
            Unproven::RunsOff => "code runs past the symbol",
            Unproven::IndirectJump => "indirect jump",
            Unproven::InnerCall => "call into its own middle",
            Unproven::EntryEntered => "jump into the entry block",
            Unproven::ArgumentLost => "arguments gone before an emulated instruction",
            Unproven::TailCall => "tail call",
            Unproven::NeverReturns => "never returns",
            Unproven::NoExit => "no emulated instruction on every way out",
            Unproven::SharesReturn => "shared with the uretprobe",
            Unproven::AtReturnOnly => "final at the return only",
            Unproven::PlainAsked => "plain sites asked for",
        }
    }
}

/// The sites of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sites {
    /// On the way in.
    pub entry: EntrySite,
    /// On the way out; none when the result was not wanted.
    pub exit: Option<ExitSites>,
}

/// Chooses the sites of a function. Never fails: what is not proven falls back to offset 0 and the return.
#[must_use]
pub fn choose(function: &Function<'_>, wanted: Wanted<'_>) -> Sites {
    choose_with(function, wanted, exit::choose)
}

fn choose_with(
    function: &Function<'_>,
    wanted: Wanted<'_>,
    choose_exit: impl Fn(&flow::Flow, u64) -> ExitSites,
) -> Sites {
    let flow = match function.machine {
        Machine::X86_64 => flow::Flow::of(function.code),
        Machine::Aarch64 | Machine::Other(_) => Err(Unproven::Machine),
    };
    let flow = match flow {
        Ok(flow) => flow,
        Err(why) => return unproven(function, wanted, why),
    };
    let chosen = entry::choose(&flow, wanted.args);
    let exit = wanted.result.then(|| choose_exit(&flow, chosen.as_ref().ok().map_or(0, |site| site.offset)));
    let entry = match (&exit, chosen) {
        (_, Err(why)) => plain_entry(function, wanted.args, why),
        (Some(ExitSites::Return { .. }), Ok(site)) if site.sp_delta != 0 => {
            plain_entry(function, wanted.args, Unproven::SharesReturn)
        }
        (_, Ok(site)) => EntrySite { file_offset: function.file_offset.saturating_add(site.offset), ..site },
    };
    Sites { entry, exit }
}

/// The same of code that unwinds: a panic that went through a return probe would find no caller, and abort. So each `ret` is a site in its place, where all are
/// known. `at_return`: what is wanted is final at the return only, in another register than `rax`.
#[must_use]
pub fn of_rust(function: &Function<'_>, wanted: Wanted<'_>, at_return: bool) -> Sites {
    choose_with(function, wanted, |flow, entry| {
        match if at_return { exit::at_return(flow) } else { exit::choose(flow, entry) } {
            ExitSites::Return { rets, .. } if !rets.is_empty() => ExitSites::Rets(rets),
            exit => exit,
        }
    })
}

/// The usual places, whatever the code looks like: what chosen sites are compared with.
#[must_use]
pub fn plain(function: &Function<'_>, wanted: Wanted<'_>) -> Sites {
    unproven(function, wanted, Unproven::PlainAsked)
}

fn unproven(function: &Function<'_>, wanted: Wanted<'_>, why: Unproven) -> Sites {
    let exit = wanted.result.then(|| ExitSites::Return { rets: Vec::new(), fallback: why });
    Sites { entry: plain_entry(function, wanted.args, why), exit }
}

/// Offset 0, where every argument is in its own register; cheap by luck when an emulated instruction stands there.
fn plain_entry(function: &Function<'_>, args: &[Argument], why: Unproven) -> EntrySite {
    let instruction = match function.machine {
        Machine::X86_64 => x86::first_instruction(function.code),
        Machine::Aarch64 | Machine::Other(_) => Instruction::Stepped,
    };
    EntrySite {
        offset: 0,
        file_offset: function.file_offset,
        instruction,
        args: vec![ArgLocation::Own; args.len()],
        sp_delta: 0,
        fallback: (instruction == Instruction::Stepped).then_some(why),
    }
}

impl Sites {
    /// Traps that one call costs, the return by uretprobe where it falls back.
    #[must_use]
    pub fn traps(&self) -> u32 {
        let entry = if self.entry.emulated() { 1 } else { 2 };
        let exit = match &self.exit {
            // The uretprobe shares the entry's trap and adds the one at its trampoline.
            Some(ExitSites::Emulated(_) | ExitSites::Return { .. }) => 1,
            Some(ExitSites::Rets(_) | ExitSites::Behind(_)) => 2,
            None => 0,
        };
        entry + exit
    }
}

impl fmt::Display for Sites {
    /// One line, for a person: `entry branch+22, exit +56, 2 traps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}+{}", self.entry.instruction.name(), self.entry.offset)?;
        if let Some(why) = self.entry.fallback {
            write!(f, " ({})", why.why())?;
        }
        match &self.exit {
            None => {}
            Some(ExitSites::Emulated(offsets)) => {
                let offsets: Vec<String> = offsets.iter().map(|offset| format!("+{offset}")).collect();
                write!(f, ", exit {}", offsets.join(" "))?;
            }
            Some(ExitSites::Return { fallback, .. }) => write!(f, ", exit at return ({})", fallback.why())?,
            Some(ExitSites::Rets(rets)) => write!(f, ", exit at every ret ({})", rets.len())?,
            Some(ExitSites::Behind(offset)) => write!(f, ", exit behind it +{offset}")?,
        }
        let traps = self.traps();
        write!(f, ", {traps} trap{}", if traps == 1 { "" } else { "s" })
    }
}

impl Instruction {
    /// Its name in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Instruction::Push => "push",
            Instruction::Call => "call",
            Instruction::Jump => "jmp",
            Instruction::Branch => "branch",
            Instruction::Nop => "nop",
            Instruction::Stepped => "stepped",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
pub(crate) mod walker;
