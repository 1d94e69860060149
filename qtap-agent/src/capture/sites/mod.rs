//! Where to place a probe in a function: chosen by disassembly, so that it costs one trap instead of two.
//!
//! A uprobe on an instruction that the kernel emulates costs one trap. Any other instruction is executed out of line and
//! single-stepped: two traps, the second of them expensive. In: a function's bytes and what is wanted of a call (which
//! arguments, and whether the result). Out: an entry site and exit sites, each with what was proven about it; or the default
//! places (offset 0 and the return), with the reason why nothing better was proven. This module reads no file and
//! attaches nothing.
//!
//! Proven about a chosen **entry** site: it lies in the straight-line block at the function's start, no jump enters that
//! block after its start, every wanted argument is in a known register there, and the stack pointer's distance from its
//! value at entry is known. Proven about chosen **exit** sites: every path from the entry to any `ret` passes exactly one of
//! them, exactly once, and after it neither rax nor memory other than the function's own stack is written.
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
mod pointer;
mod x86;

use std::fmt;

pub use body::Body;
pub use caller::{Put, calls, goes_by_pointer, put};
pub use pointer::{kept, through};
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

/// Which part of an argument's register counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// The lower 32 bits (`int`): the calling convention leaves the upper half undefined, so it must be cut off.
    Low32,
    /// All 64 bits (pointers, `size_t`).
    Full,
}

/// An argument that the probe needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Its position in the call, from 0; only the six that are passed in registers (System V ABI for x86-64, §3.2.3).
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
    /// In the register that the calling convention assigns to it.
    Own,
    /// That register was overwritten; this one holds a copy.
    Copy(Reg),
}

/// The site of the probe on the way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySite {
    /// Offset within the function.
    pub offset: u64,
    /// Offset in the file, which the kernel needs.
    pub file_offset: u64,
    /// The instruction at this offset.
    pub instruction: Instruction,
    /// Where each wanted argument is, in the order it was asked for.
    pub args: Vec<ArgLocation>,
    /// What must be added to the stack pointer at the site to get its value at function entry, in bytes.
    pub sp_delta: i64,
    /// Why nothing better was chosen; `None` if the instruction is emulated.
    pub fallback: Option<Unproven>,
}

impl EntrySite {
    /// True if the kernel emulates the instruction: one trap.
    #[must_use]
    pub fn emulated(&self) -> bool {
        self.instruction != Instruction::Stepped
    }
}

/// The sites of the probes on the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitSites {
    /// Offsets within the function: every path to a `ret` passes exactly one, with the result final in rax.
    Emulated(Vec<u64>),
    /// The function's return: a uretprobe, or probes on all `ret` instructions. The uretprobe is at the place of the entry probe
    /// and shares its trap: there the stack pointer is what it was at function entry (`sp_delta` is 0), and a uretprobe
    /// requires nothing else.
    Return {
        /// Offsets of all `ret` instructions; empty if it is not proven that these are all ways out (then only a
        /// uretprobe sees every return).
        rets: Vec<u64>,
        /// Why nothing better was chosen.
        fallback: Unproven,
    },
    /// Offsets of all `ret` instructions, in code whose return addresses must not be replaced (Go's, whose stacks move; Rust's, which unwinds; that of
    /// libraries, whose programs are not known).
    Rets(Vec<u64>),
    /// None: neither all `ret` instructions are known, nor may the return be probed. The reason why they are not.
    Unseen(Unproven),
    /// Offset after the call at which the entry site is: the result wanted is that of this call, not of the function.
    Behind(u64),
}

/// The instruction at a site: one of the kinds that the kernel emulates, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// `push` of a register.
    Push,
    /// `call rel32`. Before Linux 6.18 the emulation ignores the user's shadow stack, so it must not be used for a process that
    /// has one (`x86_Thread_features: shstk` in /proc/PID/status).
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
    /// More instructions than are examined.
    TooLarge,
    /// Bytes that are not an instruction, instructions that overlap, or one that can't be followed (far jumps, traps).
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
    /// The result is final at the return, and not before.
    AtReturnOnly,
    /// Default places were asked for.
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

/// The same, with every `ret` as a site instead of a return probe, if all are known. A return probe changes the return address: an exception or a
/// panic that came to it would find no caller, and a program that switches stacks inside the call would return to where the kernel expects
/// another stack. `at_return`: the result is final only at the return, in a register other than `rax`.
#[must_use]
pub fn at_every_ret(function: &Function<'_>, wanted: Wanted<'_>, at_return: bool) -> Sites {
    choose_with(function, wanted, |flow, entry| {
        match if at_return { exit::at_return(flow) } else { exit::choose(flow, entry) } {
            ExitSites::Return { rets, .. } if !rets.is_empty() => ExitSites::Rets(rets),
            exit => exit,
        }
    })
}

/// The default places, whatever the code looks like: chosen sites are compared with these.
#[must_use]
pub fn plain(function: &Function<'_>, wanted: Wanted<'_>) -> Sites {
    unproven(function, wanted, Unproven::PlainAsked)
}

fn unproven(function: &Function<'_>, wanted: Wanted<'_>, why: Unproven) -> Sites {
    let exit = wanted.result.then(|| ExitSites::Return { rets: Vec::new(), fallback: why });
    Sites { entry: plain_entry(function, wanted.args, why), exit }
}

/// Offset 0, where every argument is in its own register; cheap only if an emulated instruction happens to be there.
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
    /// Traps that one call costs; where the exit falls back to the return, with a uretprobe.
    #[must_use]
    pub fn traps(&self) -> u32 {
        let entry = if self.entry.emulated() { 1 } else { 2 };
        let exit = match &self.exit {
            // The uretprobe shares the entry's trap and adds the one at its trampoline.
            Some(ExitSites::Emulated(_) | ExitSites::Return { .. }) => 1,
            Some(ExitSites::Rets(_) | ExitSites::Behind(_)) => 2,
            Some(ExitSites::Unseen(_)) | None => 0,
        };
        entry + exit
    }
}

impl Sites {
    /// The way in, for a person: `entry branch+22`.
    #[must_use]
    pub fn of_entry(&self) -> String {
        let EntrySite { offset, instruction, fallback, .. } = &self.entry;
        let why = fallback.map(|why| format!(" ({})", why.why())).unwrap_or_default();
        format!("entry {}+{offset}{why}", instruction.name())
    }
}

impl fmt::Display for Sites {
    /// One line, for a person: `entry branch+22, exit +56, 2 traps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of_entry())?;
        match &self.exit {
            None => {}
            Some(ExitSites::Emulated(offsets)) => {
                let offsets: Vec<String> = offsets.iter().map(|offset| format!("+{offset}")).collect();
                write!(f, ", exit {}", offsets.join(" "))?;
            }
            Some(ExitSites::Return { fallback, .. }) => write!(f, ", exit at return ({})", fallback.why())?,
            Some(ExitSites::Rets(rets)) => write!(f, ", exit at every ret ({})", rets.len())?,
            Some(ExitSites::Behind(offset)) => write!(f, ", exit behind it +{offset}")?,
            Some(ExitSites::Unseen(why)) => write!(f, ", exit not seen ({})", why.why())?,
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
