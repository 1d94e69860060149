//! Who is looked at: decided here before anything is read or copied.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use qtap_common::globals::{CGROUPS_MAX, SCOPE_ALL, SCOPE_CGROUP};
use qtap_common::state::scope;

use crate::feedback;
use crate::globals::{read, wanted, wanted_ptr};
use crate::maps::SCOPE;

/// The verdict on the current process: bits of [`scope`]; 0: it is none of qtap's business.
#[inline(always)]
pub fn verdict(tgid: u32) -> u8 {
    if let Some(verdict) = unsafe { SCOPE.get(tgid) } {
        let verdict = *verdict;
        return if verdict & scope::IN != 0 && is_here() { verdict } else { 0 };
    }
    match wanted!(scope) {
        SCOPE_ALL => scope::IN,
        SCOPE_CGROUP if in_cgroups() => {
            let _ = SCOPE.insert(tgid, scope::IN, 0);
            scope::IN
        }
        _ => 0,
    }
}

/// Where control groups are looked at: the current process is in one of them now. It may have been moved since it was met, and a container's first process is moved
/// before it becomes the container's; so nobody is ever out for good.
#[inline(always)]
fn is_here() -> bool {
    wanted!(scope) != SCOPE_CGROUP || in_cgroups()
}

/// The same of what it says: 0 also when it is left out.
#[inline(always)]
pub fn of_what_it_says(tgid: u32) -> u8 {
    let verdict = verdict(tgid);
    if verdict & scope::NOTHING != 0 { 0 } else { verdict }
}

/// It executes another program: what was decided by the former holds no longer. The agent decides anew when it has read who it is now.
#[inline(always)]
pub fn executed(tgid: u32, verdict: u8) {
    feedback::forget(tgid);
    if verdict & scope::OF_PROGRAM != 0 {
        let _ = SCOPE.insert(tgid, verdict & !scope::OF_PROGRAM, 0);
    }
}

#[inline(always)]
fn in_cgroups() -> bool {
    for index in 0..CGROUPS_MAX {
        let wanted_id = read(unsafe { &raw const (*wanted_ptr()).cgroups[index] });
        if wanted_id == 0 {
            return false;
        }
        let level = read(unsafe { &raw const (*wanted_ptr()).cgroup_levels[index] });
        if unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) } == wanted_id {
            return true;
        }
    }
    false
}

/// A child gets its parent's verdict.
#[inline(always)]
pub fn inherit(parent: u32, child: u32) -> bool {
    match unsafe { SCOPE.get(parent) } {
        Some(verdict) => {
            let verdict = *verdict;
            let _ = SCOPE.insert(child, verdict, 0);
            verdict & scope::IN != 0 && is_here()
        }
        None => {
            // What is left of a process that had the number before.
            forget(child);
            wanted!(scope) == SCOPE_ALL
        }
    }
}

/// True when the agent may have heard of the process, wherever it is by now.
#[inline(always)]
pub fn was_met(tgid: u32) -> bool {
    wanted!(scope) == SCOPE_ALL || unsafe { SCOPE.get(tgid) }.is_some_and(|verdict| *verdict & scope::IN != 0)
}

/// The process ended: its number may be given again.
#[inline(always)]
pub fn forget(tgid: u32) {
    feedback::forget(tgid);
    let _ = SCOPE.remove(tgid);
}
