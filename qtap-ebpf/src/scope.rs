//! Who is looked at: decided here before anything is read or copied.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use qtap_common::globals::{CGROUPS_MAX, SCOPE_ALL, SCOPE_CGROUP};
use qtap_common::state::scope;

use crate::globals::{read, wanted, wanted_ptr};
use crate::maps::SCOPE;

/// True when the current process is captured.
#[inline(always)]
pub fn includes_current(tgid: u32) -> bool {
    if let Some(verdict) = unsafe { SCOPE.get(tgid) } {
        return *verdict == scope::IN;
    }
    match wanted!(scope) {
        SCOPE_ALL => true,
        SCOPE_CGROUP => {
            let verdict = if in_cgroups() { scope::IN } else { scope::OUT };
            let _ = SCOPE.insert(tgid, verdict, 0);
            verdict == scope::IN
        }
        _ => false,
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
            verdict == scope::IN
        }
        None => wanted!(scope) == SCOPE_ALL,
    }
}

/// The process ended: its number may be given again.
#[inline(always)]
pub fn forget(tgid: u32) {
    let _ = SCOPE.remove(tgid);
}
