//! Checks of what this process may do: the user namespace and the capabilities. In: facts. Out: findings.

use super::{Facts, Tried};
use crate::model::host::Finding;

/// Numbers of capabilities (`include/uapi/linux/capability.h`).
const DAC_READ_SEARCH: u32 = 2;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
const CHECKPOINT_RESTORE: u32 = 40;

fn has(facts: &Facts, capability: u32) -> bool {
    facts.capabilities >> capability & 1 != 0
}

/// True if the kernel should let this process load and attach probes.
pub(super) fn may_probe(facts: &Facts) -> bool {
    facts.host_users && (has(facts, SYS_ADMIN) || (has(facts, BPF) && has(facts, PERFMON)))
}

/// True if the kernel denies this process nothing that probes need.
pub(super) fn may_all(facts: &Facts) -> bool {
    facts.host_users && has(facts, SYS_ADMIN)
}

/// True if this process may inspect processes of other users.
pub(super) fn may_look(facts: &Facts) -> bool {
    has(facts, SYS_PTRACE)
}

/// The user namespace. Capabilities in a namespace of the process's own mean nothing to the kernel outside it.
pub(super) fn users(facts: &Facts) -> Finding {
    const NAME: &str = "user_namespace";
    if facts.host_users {
        return Finding::ok(NAME, "the host's");
    }
    Finding::missing(
        NAME,
        "one of its own: root in it is not root of the host",
        "the kernel refuses the probes",
        "run it outside of it: as root, not in a rootless container",
    )
}

/// The right to load probes and to attach them.
pub(super) fn sys_admin(facts: &Facts) -> Finding {
    const NAME: &str = "cap_sys_admin";
    if has(facts, SYS_ADMIN) {
        return Finding::ok(NAME, "there");
    }
    if has(facts, BPF) && has(facts, PERFMON) && facts.trial.probes == Tried::Works {
        return lesser(facts);
    }
    Finding::missing(
        NAME,
        "not there",
        "the probes can't be loaded: nothing is captured",
        "run it as root (sudo), or with the capabilities SYS_ADMIN, SYS_PTRACE and DAC_READ_SEARCH",
    )
}

/// Capabilities that are parts of SYS_ADMIN are enough on some kernels.
fn lesser(facts: &Facts) -> Finding {
    const NAME: &str = "cap_sys_admin";
    if matches!(facts.trial.uprobes, Tried::Refused(_)) {
        return Finding::degraded(
            NAME,
            "not there; BPF and PERFMON load the probes, but this kernel wants more to attach them to programs",
            "no TLS is seen; what is in the clear is",
            "the capability SYS_ADMIN",
        );
    }
    if has(facts, CHECKPOINT_RESTORE) {
        return Finding::ok(NAME, "not there; BPF, PERFMON and CHECKPOINT_RESTORE do here");
    }
    Finding::degraded(
        NAME,
        "not there; BPF and PERFMON do here, for all but one thing",
        "a library whose file was deleted or replaced while programs use it is not probed",
        "the capability CHECKPOINT_RESTORE, or SYS_ADMIN",
    )
}

/// The right to inspect processes of others.
pub(super) fn sys_ptrace(facts: &Facts) -> Finding {
    const NAME: &str = "cap_sys_ptrace";
    if has(facts, SYS_PTRACE) {
        return Finding::ok(NAME, "there");
    }
    Finding::degraded(
        NAME,
        "not there",
        "what processes of other users map and execute is not known: their TLS libraries are not found, their records have no path",
        "the capability SYS_PTRACE",
    )
}

/// The right to read files of others.
pub(super) fn dac_read_search(facts: &Facts) -> Finding {
    const NAME: &str = "cap_dac_read_search";
    if has(facts, DAC_READ_SEARCH) {
        return Finding::ok(NAME, "there");
    }
    Finding::degraded(
        NAME,
        "not there",
        "TLS libraries and executables that only their owners may read are not probed",
        "the capability DAC_READ_SEARCH",
    )
}
