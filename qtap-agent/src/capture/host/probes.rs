//! How the kernel responded when the probes were tried: the `bpf` system call, the ring, the verifier, each way of attaching. In: facts.
//! Out: findings.

use super::privilege::{may_all, may_probe};
use super::{Facts, Returns, Tried};
use crate::model::host::Finding;

/// The remedy where the kernel refuses something, as far as its reason can be seen from here.
fn remedy(facts: &Facts) -> &'static str {
    if !may_probe(facts) {
        "the privileges above"
    } else if facts.filtered {
        "this process is under a seccomp filter: one that allows bpf and perf_event_open (a privileged container, or `seccomp: unconfined`)"
    } else {
        "report it, with these words and the kernel's version"
    }
}

/// A finding for something that was tried, or not tried because something before it failed.
fn tried(facts: &Facts, name: &'static str, tried: &Tried, works: &str, effect: &str) -> Finding {
    match tried {
        Tried::Works => Finding::ok(name, works),
        Tried::Refused(reason) => Finding::missing(name, reason.as_str(), effect, remedy(facts)),
        Tried::Not => Finding::not_tried(name),
    }
}

/// The system call `bpf`.
pub(super) fn bpf(facts: &Facts) -> Finding {
    tried(facts, "bpf", &facts.trial.bpf, "tables can be made", "nothing is captured")
}

/// The ring. Since 5.11 its memory is charged to the control group, no longer limited by `ulimit -l`.
pub(super) fn ring(facts: &Facts) -> Finding {
    const NAME: &str = "ring";
    let size = facts.trial.ring_bytes >> 20;
    match &facts.trial.ring {
        Tried::Works => Finding::ok(NAME, format!("{size} MiB")),
        Tried::Refused(reason) => Finding::missing(
            NAME,
            format!("{size} MiB: {reason}"),
            "nothing is captured",
            "more memory for this container, or a smaller --http-buffer-size, which the ring is sized by",
        ),
        Tried::Not => Finding::not_tried(NAME),
    }
}

/// The verifier.
pub(super) fn probes(facts: &Facts) -> Finding {
    tried(facts, "probes", &facts.trial.probes, "the kernel takes them", "nothing is captured")
}

/// Raw tracepoints.
pub(super) fn tracepoints(facts: &Facts) -> Finding {
    tried(facts, "tracepoints", &facts.trial.tracepoints, "can be attached", "nothing is captured")
}

/// Uprobes.
pub(super) fn uprobes(facts: &Facts) -> Finding {
    const NAME: &str = "uprobes";
    const EFFECT: &str = "no TLS is seen; what is in the clear is";
    match &facts.trial.uprobes {
        Tried::Works => Finding::ok(NAME, "can be attached"),
        _ if !facts.uprobe_events => Finding::degraded(
            NAME,
            "/sys/bus/event_source/devices/uprobe is not there",
            EFFECT,
            "a kernel built with CONFIG_UPROBE_EVENTS=y, and /sys mounted",
        ),
        // With SYS_ADMIN the level does not matter.
        Tried::Refused(reason) if !may_all(facts) => {
            let level = facts.paranoid.map(|level| format!(" (kernel.perf_event_paranoid is {level})"));
            Finding::degraded(NAME, reason.clone() + &level.unwrap_or_default(), EFFECT, "the capability SYS_ADMIN")
        }
        Tried::Refused(reason) => Finding::degraded(NAME, reason.as_str(), EFFECT, remedy(facts)),
        Tried::Not => Finding { requirement: NAME, ..untried(facts) },
    }
}

/// What a return probe does to a process under seccomp.
pub(super) fn return_probes(facts: &Facts) -> Finding {
    const NAME: &str = "return_probes";
    const EFFECT: &str = "functions of TLS libraries are probed at their `ret` instructions instead, which costs more; where these are not all known, not at all";
    match &facts.trial.returns {
        Returns::Safe => Finding::ok(NAME, "kill nobody under seccomp"),
        Returns::Deadly => Finding::degraded(
            NAME,
            "kill programs under seccomp on this kernel: not used",
            EFFECT,
            "a kernel that lets the call `uretprobe` past seccomp",
        ),
        Returns::Unknown(reason) => {
            Finding::degraded(NAME, format!("not known to be safe: {reason}"), EFFECT, "see `uprobes` above")
        }
        Returns::NotTried => Finding { requirement: NAME, ..untried(facts) },
    }
}

/// Not tried. If everything else works, TLS capture was not asked for.
fn untried(facts: &Facts) -> Finding {
    if facts.trial.tracepoints == Tried::Works {
        return Finding::ok("", "not tried: TLS is not probed");
    }
    Finding::not_tried("")
}

/// tracefs. It is reported because other tools of this kind need it and users look for it here.
pub(super) fn tracefs(facts: &Facts) -> Finding {
    Finding::ok("tracefs", if facts.tracefs { "mounted, not needed" } else { "not mounted, not needed" })
}
