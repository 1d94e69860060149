//! The exit sites: emulated instructions such that every way out passes exactly one of them, with the result final.
//!
//! In: the function's flow and where the entry site is. Out: the sites, or the return with the reason why.
//!
//! A *candidate* is an emulated instruction from which a `ret` can be reached and after which, on every way to a `ret`, neither
//! rax nor memory outside the function's own stack is written (the result may also be returned through a pointer). Two sets of
//! candidates are tried: the *last* ones (with no candidate after them) and the *first* ones (with none before them). Within
//! either set no path can pass two, nor one twice; what remains to be checked is that no path avoids the set.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::InstructionInfoFactory;

use super::flow::{Flow, Next};
use super::{ExitSites, Instruction, Reg, Unproven, x86};

/// Chooses the exit sites, given the offset of the entry site, which none of them may be.
pub(super) fn choose(flow: &Flow, entry: u64) -> ExitSites {
    let rets = match returns(flow) {
        Ok(rets) => rets,
        Err(fallback) => return ExitSites::Return { rets: Vec::new(), fallback },
    };
    // A function that jumps back to its start passes the entry site again within one call.
    if flow.targets.contains(&0) {
        return ExitSites::Return { rets, fallback: Unproven::EntryEntered };
    }
    let before = predecessors(flow);
    let candidates = candidates(flow, &before, &rets, entry);
    for sites in [last_of(&before, &candidates), first_of(flow, &candidates)] {
        if !sites.is_empty() && !avoidable(flow, &sites) {
            return ExitSites::Emulated(sites.into_iter().collect());
        }
    }
    ExitSites::Return { rets, fallback: Unproven::NoExit }
}

/// The return, for a result that is final only there.
pub(super) fn at_return(flow: &Flow) -> ExitSites {
    match returns(flow) {
        Ok(rets) => ExitSites::Return { rets, fallback: Unproven::AtReturnOnly },
        Err(fallback) => ExitSites::Return { rets: Vec::new(), fallback },
    }
}

/// All `ret` instructions, if it is proven that these are all ways out.
fn returns(flow: &Flow) -> Result<Vec<u64>, Unproven> {
    if let Some(why) = flow.unknown_ways {
        return Err(why);
    }
    if flow.tail_call {
        return Err(Unproven::TailCall);
    }
    let steps = flow.steps.iter().filter(|(_, step)| step.next == Next::Returns);
    let rets: Vec<u64> = steps.map(|(&offset, _)| offset).collect();
    if rets.is_empty() { Err(Unproven::NeverReturns) } else { Ok(rets) }
}

/// For each instruction those that lead to it.
fn predecessors(flow: &Flow) -> BTreeMap<u64, Vec<u64>> {
    let mut before: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (&offset, step) in &flow.steps {
        for next in step.next.offsets() {
            before.entry(next).or_default().push(offset);
        }
    }
    before
}

/// All instructions that lead to one of `seeds`, the seeds themselves included.
fn leading_to(before: &BTreeMap<u64, Vec<u64>>, seeds: impl Iterator<Item = u64>) -> BTreeSet<u64> {
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let mut pending: Vec<u64> = seeds.collect();
    while let Some(offset) = pending.pop() {
        if seen.insert(offset) {
            pending.extend(before.get(&offset).into_iter().flatten());
        }
    }
    seen
}

/// All instructions reached from `seeds` without passing one in `stop`, the seeds themselves included.
fn reached_from(flow: &Flow, seeds: impl Iterator<Item = u64>, stop: &BTreeSet<u64>) -> BTreeSet<u64> {
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let mut pending: Vec<u64> = seeds.collect();
    while let Some(offset) = pending.pop() {
        if stop.contains(&offset) || !seen.insert(offset) {
            continue;
        }
        pending.extend(flow.steps.get(&offset).into_iter().flat_map(|step| step.next.offsets()));
    }
    seen
}

fn candidates(flow: &Flow, before: &BTreeMap<u64, Vec<u64>>, rets: &[u64], entry: u64) -> BTreeSet<u64> {
    let returning = leading_to(before, rets.iter().copied());
    let mut factory = InstructionInfoFactory::new();
    let mut spoiling = Vec::new();
    for (&offset, step) in &flow.steps {
        let writes = x86::writes(&mut factory, &step.decoded);
        let spoils = step.calls || writes.foreign_memory || writes.registers.contains(&Reg::Rax);
        if spoils && returning.contains(&offset) {
            spoiling.push(offset);
        }
    }
    let spoilt = leading_to(before, spoiling.into_iter());
    let emulated = |offset: &u64| flow.steps.get(offset).is_some_and(|step| step.kind != Instruction::Stepped);
    returning.into_iter().filter(|offset| *offset > entry && !spoilt.contains(offset) && emulated(offset)).collect()
}

/// Candidates with no candidate after them, themselves included (one in a loop is after itself).
fn last_of(before: &BTreeMap<u64, Vec<u64>>, candidates: &BTreeSet<u64>) -> BTreeSet<u64> {
    let direct = candidates.iter().flat_map(|offset| before.get(offset)).flatten().copied();
    let with_one_behind = leading_to(before, direct);
    candidates.difference(&with_one_behind).copied().collect()
}

/// Candidates with no candidate before them, themselves included.
fn first_of(flow: &Flow, candidates: &BTreeSet<u64>) -> BTreeSet<u64> {
    let direct = candidates.iter().filter_map(|offset| flow.steps.get(offset)).flat_map(|step| step.next.offsets());
    let with_one_before = reached_from(flow, direct, &BTreeSet::new());
    candidates.difference(&with_one_before).copied().collect()
}

/// True when a path from the function's start reaches a `ret` without passing one of `sites`.
fn avoidable(flow: &Flow, sites: &BTreeSet<u64>) -> bool {
    let reached = reached_from(flow, std::iter::once(0), sites);
    reached.iter().filter_map(|offset| flow.steps.get(offset)).any(|step| step.next == Next::Returns)
}
