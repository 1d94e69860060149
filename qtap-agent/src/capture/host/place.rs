//! Checks of this process's environment: access to other processes, its namespaces, the control groups. In: facts. Out: findings.

use super::privilege::may_look;
use super::{Cgroups, Facts, HOST_PIDS, Others};
use crate::model::host::Finding;

/// Whether other processes can be inspected.
pub(super) fn processes(facts: &Facts) -> Finding {
    const NAME: &str = "processes";
    const EFFECT: &str = "TLS libraries that only these use are not found, and records don't name what they run";
    let Others { asked, refused, reason } = &facts.others;
    if *refused > 0 {
        let found = format!("{refused} of {asked} can't be looked into ({reason})");
        let remedy = if may_look(facts) {
            "an AppArmor profile that allows it (`unconfined`), or SELinux's type spc_t; some processes are closed to everyone"
        } else {
            "the capability SYS_PTRACE"
        };
        return Finding::degraded(NAME, found, EFFECT, remedy);
    }
    match &facts.hidepid {
        Some(value) if !may_look(facts) => Finding::degraded(
            NAME,
            format!("/proc is mounted with hidepid={value}: those of other users are hidden"),
            EFFECT,
            "the capability SYS_PTRACE, or /proc without hidepid",
        ),
        _ => Finding::ok(NAME, format!("{asked} were looked into, all can be")),
    }
}

/// The pid namespace. The kernel reports process ids of the host's.
pub(super) fn pid_namespace(facts: &Facts) -> Finding {
    const NAME: &str = "pid_namespace";
    match facts.pid_namespace {
        Some(HOST_PIDS) => Finding::ok(NAME, "the host's"),
        Some(_) => Finding::missing(
            NAME,
            "one of its own",
            "process ids mean something else to the kernel than here: records name wrong programs, --pid and exec capture nothing",
            "the host's: --pid=host, or hostPID: true in Kubernetes",
        ),
        None => Finding::degraded(
            NAME,
            "not known: /proc/self/ns/pid can't be read",
            "if it is not the host's, records name wrong programs",
            "mount /proc",
        ),
    }
}

/// The network namespace. What is captured does not depend on it.
pub(super) fn network_namespace(facts: &Facts) -> Finding {
    const NAME: &str = "network_namespace";
    match facts.host_network {
        Some(true) => Finding::ok(NAME, "the host's"),
        Some(false) => Finding::degraded(
            NAME,
            "one of its own",
            "all is captured; but localhost is another one: for stores there, and for who asks for health and metrics",
            "the host's: --network=host, or hostNetwork: true in Kubernetes",
        ),
        None => Finding::ok(NAME, "not to be told from here"),
    }
}

/// Control groups. Only those of version 2 have the ids that the probes compare.
pub(super) fn cgroups(facts: &Facts) -> Finding {
    const NAME: &str = "cgroups";
    const EFFECT: &str = "--cgroup can name none";
    match facts.cgroups {
        Cgroups::V2 => Finding::ok(NAME, "version 2"),
        Cgroups::Hybrid => Finding::ok(NAME, "version 1 and 2 (hybrid)"),
        Cgroups::V1 => Finding::degraded(
            NAME,
            "version 1 only",
            EFFECT,
            "mount version 2 too (into a container: -v /sys/fs/cgroup:/sys/fs/cgroup:ro), or start the host with systemd.unified_cgroup_hierarchy=1",
        ),
        Cgroups::None => Finding::degraded(NAME, "not mounted here", EFFECT, "mount /sys/fs/cgroup"),
    }
}
