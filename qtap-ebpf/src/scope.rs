//! Which processes are captured: decided here before anything is read or copied.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use qtap_common::globals::{CGROUPS_MAX, SCOPE_ALL, SCOPE_CGROUP};
use qtap_common::state::scope;

use crate::globals::{read, wanted, wanted_ptr};
use crate::maps::SCOPE;
use crate::{feedback, fibers};

/// The verdict on the current process: bits of [`scope`]; 0: out of scope.
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

/// True when the current process is in one of the wanted cgroups now, if scope is by cgroup. It may have been moved since it was met, and a
/// container's first process is moved before it becomes the container's; so nobody is ever out for good.
#[inline(always)]
fn is_here() -> bool {
    wanted!(scope) != SCOPE_CGROUP || in_cgroups()
}

/// The verdict on what the process sends and receives: 0 also when the process is excluded.
#[inline(always)]
pub fn of_what_it_says(tgid: u32) -> u8 {
    let verdict = verdict(tgid);
    if verdict & scope::NOTHING != 0 { 0 } else { verdict }
}

/// The process executes another program: what was decided for the former no longer holds. The agent decides again when it has read which one it is.
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

/// A child gets its parent's verdict. True: it is in scope.
#[inline(always)]
pub fn inherit(parent: u32, child: u32) -> bool {
    fibers::inherit(parent, child);
    match unsafe { SCOPE.get(parent) } {
        Some(verdict) => {
            let verdict = *verdict;
            let _ = SCOPE.insert(child, verdict, 0);
            verdict & scope::IN != 0 && is_here()
        }
        None => {
            // Left by a process that had the number before.
            forget(child);
            wanted!(scope) == SCOPE_ALL
        }
    }
}

/// True when the agent may know the process, in whatever cgroup it is by now.
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
