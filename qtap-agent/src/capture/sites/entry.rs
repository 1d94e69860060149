//! The entry site: the first emulated instruction of the block at a function's start at which the arguments are still known.
//!
//! In: the function's flow and the arguments wanted. Out: the site, or why there is none. One walk through the block tracks
//! where each argument is and how far the stack pointer has moved.

use iced_x86::InstructionInfoFactory;

use super::flow::{Flow, Next, Step};
use super::{ArgLocation, Argument, EntrySite, Instruction, Reg, Unproven, Width, x86};

/// Where one argument is known to be, at one point of the walk.
struct Tracked {
    own: Reg,
    width: Width,
    /// Registers that hold it.
    holders: Vec<Reg>,
}

impl Tracked {
    fn at_entry(argument: Argument) -> Option<Tracked> {
        let own = Reg::of_argument(argument.index)?;
        Some(Tracked { own, width: argument.width, holders: vec![own] })
    }

    /// Applies an instruction that writes `written` and may be a copy.
    fn pass(&mut self, written: &[Reg], copy: Option<x86::Move>) {
        let gains = copy.filter(|copy| self.holders.contains(&copy.from) && (copy.whole || self.width == Width::Low32));
        self.holders.retain(|holder| !written.contains(holder));
        if let Some(copy) = gains {
            self.holders.push(copy.to);
        }
    }

    fn location(&self) -> Option<ArgLocation> {
        if self.holders.contains(&self.own) {
            return Some(ArgLocation::Own);
        }
        self.holders.first().copied().map(ArgLocation::Copy)
    }
}

/// Chooses the entry site. Its `file_offset` stays 0; the caller, who knows the file, sets it.
pub(super) fn choose(flow: &Flow, args: &[Argument]) -> Result<EntrySite, Unproven> {
    let mut tracked =
        args.iter().map(|&arg| Tracked::at_entry(arg)).collect::<Option<Vec<_>>>().ok_or(Unproven::ArgumentLost)?;
    let mut factory = InstructionInfoFactory::new();
    let mut offset = 0;
    let mut sp_delta = 0i64;
    loop {
        let step = flow.steps.get(&offset).ok_or(Unproven::RunsOff)?;
        if step.kind != Instruction::Stepped {
            return site(flow, offset, step.kind, &tracked, sp_delta);
        }
        sp_delta = pass(step, &mut factory, &mut tracked, sp_delta)?;
        match step.next {
            Next::Falls(next) if !step.calls => offset = next,
            Next::Falls(_) | Next::Jumps(_) | Next::Forks(..) | Next::Returns | Next::Leaves | Next::Ends => {
                return Err(Unproven::ArgumentLost);
            }
        }
    }
}

fn site(
    flow: &Flow,
    offset: u64,
    instruction: Instruction,
    tracked: &[Tracked],
    sp_delta: i64,
) -> Result<EntrySite, Unproven> {
    if offset > 0 {
        if let Some(why) = flow.unknown_ways {
            return Err(why);
        }
        if flow.entered_up_to(offset) {
            return Err(Unproven::EntryEntered);
        }
    }
    let args = tracked.iter().map(Tracked::location).collect::<Option<Vec<_>>>().ok_or(Unproven::ArgumentLost)?;
    Ok(EntrySite { offset, file_offset: 0, instruction, args, sp_delta, fallback: None })
}

/// Applies one instruction to what is known; returns the new distance to the stack pointer at entry.
fn pass(
    step: &Step,
    factory: &mut InstructionInfoFactory,
    tracked: &mut [Tracked],
    sp_delta: i64,
) -> Result<i64, Unproven> {
    let writes = x86::writes(factory, &step.decoded);
    let copy = x86::copy(&step.decoded);
    for argument in tracked {
        argument.pass(&writes.registers, copy);
    }
    if !writes.registers.contains(&Reg::Rsp) {
        return Ok(sp_delta);
    }
    let change = x86::stack_change(&step.decoded).ok_or(Unproven::ArgumentLost)?;
    sp_delta.checked_sub(change).ok_or(Unproven::ArgumentLost)
}
