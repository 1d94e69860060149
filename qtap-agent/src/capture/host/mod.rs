//! What this host offers for capture and what it lacks. `qtap doctor`, the start and `/status` agree because they all ask here.
//!
//! In: [`Facts`], which one file reads. Out: a [`Finding`] per requirement, ordered so that each comes after those that it needs. A check is a
//! function of the facts alone. Whether the probes work is judged by what the kernel said when they were tried, not by a version or a flag.

mod facts;
mod kernel;
mod mounts;
mod place;
mod privilege;
mod probes;
#[cfg(test)]
mod tests;

pub use facts::{Cgroups, Facts, Others, Returns, Trial, Tried};

use crate::model::host::Finding;

/// Inode number of the host's pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const HOST_PIDS: u64 = 0xEFFF_FFFC;

/// A finding for each requirement.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Finding; 20] = [
        kernel::build,
        kernel::version,
        kernel::architecture,
        kernel::type_information,
        kernel::lockdown,
        privilege::users,
        privilege::sys_admin,
        privilege::sys_ptrace,
        privilege::dac_read_search,
        probes::bpf,
        probes::ring,
        probes::probes,
        probes::tracepoints,
        probes::uprobes,
        probes::return_probes,
        probes::tracefs,
        place::processes,
        place::pid_namespace,
        place::network_namespace,
        place::cgroups,
    ];
    checks.iter().map(|check| check(facts)).collect()
}
