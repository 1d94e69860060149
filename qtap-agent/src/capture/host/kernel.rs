//! Checks of the build and the kernel: version, architecture, type information, lockdown. In: facts. Out: findings.

use super::{Facts, Tried};
use crate::model::host::Finding;

/// The oldest kernel with uprobe cookies, which tell a probe which registers hold its arguments.
const OLDEST: (u32, u32) = (5, 15);
/// The oldest kernel with `bpf_loop`, with which a probe walks through a call of any size.
const WITH_LOOP: (u32, u32) = (5, 17);

/// Whether this program was built with probes.
pub(super) fn build(facts: &Facts) -> Finding {
    const NAME: &str = "build";
    if facts.trial.built {
        return Finding::ok(NAME, "with live capture");
    }
    let (effect, remedy) =
        ("nothing can be captured; replay, validate and export work", "build it with default features");
    Finding::missing(NAME, "this qtap was built without live capture (the feature `kernel`)", effect, remedy)
}

/// Version. Distributions backport features, so probes that load prove more than a version number.
pub(super) fn version(facts: &Facts) -> Finding {
    const NAME: &str = "kernel";
    let release = facts.release.as_str();
    let loads = facts.trial.probes == Tried::Works;
    match number(release) {
        Some(version) if version >= WITH_LOOP => Finding::ok(NAME, release),
        Some(version) if version >= OLDEST => Finding::degraded(
            NAME,
            format!("{release}: before {}.{}", WITH_LOOP.0, WITH_LOOP.1),
            "what one call moves beyond 1 MiB is counted, not captured",
            "a kernel of 5.17 or later, if programs here read or write that much in one call",
        ),
        _ if loads => Finding::ok(NAME, format!("{release}: the probes load all the same")),
        Some(_) => Finding::missing(
            NAME,
            format!("{release}: before {}.{}", OLDEST.0, OLDEST.1),
            "the probes do not load",
            "a kernel of 5.15 or later: uprobes have no cookies before",
        ),
        None => Finding::degraded(
            NAME,
            format!("`{release}` is no version that can be read"),
            "whether the probes load is not known",
            "Linux 5.15 or later is needed",
        ),
    }
}

/// `6.18.44-cloud` → 6, 18.
fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The machine.
pub(super) fn architecture(facts: &Facts) -> Finding {
    const NAME: &str = "architecture";
    match facts.machine.as_str() {
        "x86_64" => Finding::ok(NAME, "x86_64"),
        "aarch64" => Finding::degraded(
            NAME,
            "aarch64: tried in emulated machines only",
            "programs of Go and rustls, and stripped ones, are not seen; probes stand at the entry and the return of functions, where they cost more",
            "x86_64, where those are to be seen",
        ),
        other => Finding::missing(NAME, other, "the probes do not know its registers", "a host with x86_64 or aarch64"),
    }
}

/// Type information (BTF).
pub(super) fn type_information(facts: &Facts) -> Finding {
    const NAME: &str = "type_information";
    const EFFECT: &str = "the probes can't find a socket from its descriptor: nothing is captured";
    match (&facts.type_information, &facts.trial.layout) {
        (Err(reason), _) => Finding::missing(
            NAME,
            reason.as_str(),
            EFFECT,
            "a kernel built with CONFIG_DEBUG_INFO_BTF=y, and /sys mounted",
        ),
        (Ok(()), Tried::Refused(reason)) => Finding::missing(
            NAME,
            reason.as_str(),
            EFFECT,
            "report it, with the kernel's version: it has other structures",
        ),
        (Ok(()), Tried::Works) => Finding::ok(NAME, "has what the probes need"),
        (Ok(()), Tried::Not) => Finding::ok(NAME, "is there"),
    }
}

/// Lockdown. At `integrity` the probes may still read the kernel's memory.
pub(super) fn lockdown(facts: &Facts) -> Finding {
    const NAME: &str = "lockdown";
    match facts.lockdown.as_deref() {
        Some("confidentiality") => Finding::missing(
            NAME,
            "confidentiality",
            "the kernel lets no probe read its memory: nothing is captured",
            "start the host with lockdown=integrity or without",
        ),
        Some(level) => Finding::ok(NAME, level),
        None => Finding::ok(NAME, "none, or not to be seen from here"),
    }
}
