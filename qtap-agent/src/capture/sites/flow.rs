//! The control flow of one function: every instruction that can be reached from its first byte, and what follows it.
//!
//! In: the function's bytes. Out: [`Flow`], or the reason why it can't be known. Direct jumps are followed. Code after an
//! indirect jump or outside the function is not decoded; the jump is only noted as a way out.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction as Decoded, OpKind};

use super::{Instruction, Unproven, x86};

/// Most instructions decoded in one function: ten times the largest hooked one, and some milliseconds of work.
const MAX_INSTRUCTIONS: usize = 16 * 1024;

/// Where control goes after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To the following instruction.
    Falls(u64),
    /// To the target.
    Jumps(u64),
    /// To either.
    Forks(u64, u64),
    /// Back to the caller.
    Returns,
    /// Out of the function by a jump: to another function, or to where a register points.
    Leaves,
    /// Nowhere: a trap instruction, or a call at the function's end, which can't return.
    Ends,
}

impl Next {
    /// Offsets of the instructions that may follow.
    pub(super) fn offsets(self) -> impl Iterator<Item = u64> {
        let (one, other) = match self {
            Next::Falls(to) | Next::Jumps(to) => (Some(to), None),
            Next::Forks(next, target) => (Some(next), Some(target)),
            Next::Returns | Next::Leaves | Next::Ends => (None, None),
        };
        one.into_iter().chain(other)
    }
}

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) decoded: Decoded,
    pub(super) kind: Instruction,
    pub(super) next: Next,
    /// True for calls and system calls: it is not known what the callee writes.
    pub(super) calls: bool,
}

/// The control flow of a function.
#[derive(Debug)]
pub(super) struct Flow {
    /// Reachable instructions by offset; none overlaps another.
    pub(super) steps: BTreeMap<u64, Step>,
    /// Offsets that are entered by a jump, or by a call from within the function.
    pub(super) targets: BTreeSet<u64>,
    /// The first reason found why there may be ways through the function that are not in `steps`.
    pub(super) unknown_ways: Option<Unproven>,
    /// True when it leaves by a direct jump to another function.
    pub(super) tail_call: bool,
}

impl Flow {
    /// Follows the function from its first byte.
    pub(super) fn of(code: &[u8]) -> Result<Flow, Unproven> {
        if code.is_empty() {
            return Err(Unproven::NoCode);
        }
        let mut flow = Flow { steps: BTreeMap::new(), targets: BTreeSet::new(), unknown_ways: None, tail_call: false };
        let mut pending = vec![0u64];
        while let Some(offset) = pending.pop() {
            if flow.steps.contains_key(&offset) {
                continue;
            }
            if flow.steps.len() >= MAX_INSTRUCTIONS {
                return Err(Unproven::TooLarge);
            }
            let step = flow.step(code, offset)?;
            pending.extend(step.next.offsets());
            flow.steps.insert(offset, step);
        }
        flow.check_overlap()?;
        Ok(flow)
    }

    fn step(&mut self, code: &[u8], offset: u64) -> Result<Step, Unproven> {
        let bytes = usize::try_from(offset).ok().and_then(|start| code.get(start..)).ok_or(Unproven::RunsOff)?;
        if bytes.is_empty() {
            return Err(Unproven::RunsOff);
        }
        let decoded = Decoder::with_ip(64, bytes, offset, DecoderOptions::NONE).decode();
        if decoded.is_invalid() {
            return Err(Unproven::Undecodable);
        }
        let kind = bytes.get(..decoded.len()).map_or(Instruction::Stepped, x86::kind_of);
        let calls = matches!(decoded.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        let next = self.next(&decoded, code.len() as u64)?;
        Ok(Step { decoded, kind, next, calls })
    }

    fn next(&mut self, decoded: &Decoded, size: u64) -> Result<Next, Unproven> {
        let following = decoded.next_ip();
        match decoded.flow_control() {
            FlowControl::Next => Ok(Next::Falls(following)),
            FlowControl::Call => {
                if decoded.is_call_near() {
                    self.note_call(near_target(decoded)?, size);
                }
                Ok(after_call(following, size))
            }
            FlowControl::IndirectCall => Ok(after_call(following, size)),
            FlowControl::UnconditionalBranch => {
                Ok(self.jump(near_target(decoded)?, size).map_or(Next::Leaves, Next::Jumps))
            }
            FlowControl::ConditionalBranch => {
                // A conditional tail call leaves the function or falls through; the way out is noted.
                let inside = self.jump(near_target(decoded)?, size);
                Ok(inside.map_or(Next::Falls(following), |target| Next::Forks(following, target)))
            }
            FlowControl::IndirectBranch => {
                self.unknown_ways.get_or_insert(Unproven::IndirectJump);
                Ok(Next::Leaves)
            }
            FlowControl::Return if matches!(decoded.code(), Code::Retnq | Code::Retnq_imm16) => Ok(Next::Returns),
            FlowControl::Exception => Ok(Next::Ends),
            FlowControl::Return | FlowControl::Interrupt | FlowControl::XbeginXabortXend => Err(Unproven::Undecodable),
        }
    }

    /// The target if it lies in the function; otherwise a tail call is noted.
    fn jump(&mut self, target: u64, size: u64) -> Option<u64> {
        if target < size {
            self.targets.insert(target);
            return Some(target);
        }
        self.tail_call = true;
        None
    }

    /// A call to the function's own start is plain recursion; one into its middle runs code that is not followed from there.
    fn note_call(&mut self, target: u64, size: u64) {
        if target > 0 && target < size {
            self.targets.insert(target);
            self.unknown_ways.get_or_insert(Unproven::InnerCall);
        }
    }

    fn check_overlap(&self) -> Result<(), Unproven> {
        let mut end = 0;
        for (&offset, step) in &self.steps {
            if offset < end {
                return Err(Unproven::Undecodable);
            }
            end = step.decoded.next_ip();
        }
        Ok(())
    }

    /// True when a jump enters the bytes `1..=last`, or the function jumps back to its own start.
    pub(super) fn entered_up_to(&self, last: u64) -> bool {
        self.targets.range(..=last).next().is_some()
    }
}

/// A call that is a function's last instruction does not return: there is nothing to return to.
fn after_call(following: u64, size: u64) -> Next {
    if following >= size { Next::Ends } else { Next::Falls(following) }
}

/// Target of a near branch, as an offset in the function; one before its start wraps to far beyond its end.
fn near_target(decoded: &Decoded) -> Result<u64, Unproven> {
    match decoded.op0_kind() {
        OpKind::NearBranch64 => Ok(decoded.near_branch64()),
        _ => Err(Unproven::Undecodable),
    }
}
