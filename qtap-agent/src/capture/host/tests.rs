//! Each requirement is taken away in turn and the others are left: checks what is reported then, and that nothing else is.

use super::{Cgroups, Facts, Others, Returns, Trial, Tried, findings};
use crate::model::host::{Finding, Report, State};

/// A host that meets all requirements.
fn good() -> Facts {
    Facts {
        release: "6.12.48-cloud-amd64".to_owned(),
        machine: "x86_64".to_owned(),
        type_information: Ok(()),
        lockdown: Some("integrity".to_owned()),
        // DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN.
        capabilities: 0x28_0004,
        filtered: false,
        host_users: true,
        uprobe_events: true,
        paranoid: Some(2),
        tracefs: false,
        hidepid: None,
        others: Others { asked: 40, ..Others::default() },
        pid_namespace: Some(4_026_531_836),
        host_network: Some(true),
        cgroups: Cgroups::V2,
        trial: works(),
    }
}

fn works() -> Trial {
    Trial {
        built: true,
        bpf: Tried::Works,
        layout: Tried::Works,
        ring: Tried::Works,
        ring_bytes: 8 << 20,
        probes: Tried::Works,
        tracepoints: Tried::Works,
        uprobes: Tried::Works,
        returns: Returns::Safe,
    }
}

fn refused() -> Tried {
    Tried::Refused("Operation not permitted".to_owned())
}

/// The findings that are not as they should be.
fn faults(facts: &Facts) -> Vec<Finding> {
    findings(facts).into_iter().filter(|finding| finding.state != State::Ok).collect()
}

/// Takes something away and returns the one finding that results.
fn without(take: impl FnOnce(&mut Facts)) -> Finding {
    let mut facts = good();
    take(&mut facts);
    let mut faults = faults(&facts);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn a_good_host_has_nothing_to_mend() {
    assert_eq!(faults(&good()), []);
    assert_eq!(Report::of(findings(&good())).state, State::Ok);
    let mut names: Vec<_> = findings(&good()).iter().map(|finding| finding.requirement).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), names.contains(&"")), (count, false), "{names:?}");
}

#[test]
fn each_requirement_taken_away_in_turn() {
    type Take = fn(&mut Facts);
    let cases: [(&str, State, &str, Take); 25] = [
        ("build", State::Missing, "default features", |facts| facts.trial.built = false),
        ("kernel", State::Degraded, "5.17", |facts| facts.release = "5.15.0-91-generic".to_owned()),
        ("architecture", State::Degraded, "x86_64", |facts| facts.machine = "aarch64".to_owned()),
        ("architecture", State::Missing, "x86_64", |facts| facts.machine = "riscv64".to_owned()),
        ("type_information", State::Missing, "CONFIG_DEBUG_INFO_BTF", |facts| {
            facts.type_information = Err("no such file".to_owned());
        }),
        ("type_information", State::Missing, "report it", |facts| facts.trial.layout = refused()),
        ("lockdown", State::Missing, "lockdown=integrity", |facts| facts.lockdown = Some("confidentiality".to_owned())),
        ("user_namespace", State::Missing, "rootless", |facts| facts.host_users = false),
        ("cap_sys_admin", State::Missing, "sudo", |facts| facts.capabilities &= !(1 << 21)),
        ("cap_sys_ptrace", State::Degraded, "SYS_PTRACE", |facts| facts.capabilities &= !(1 << 19)),
        ("cap_dac_read_search", State::Degraded, "DAC_READ_SEARCH", |facts| facts.capabilities &= !(1 << 2)),
        ("bpf", State::Missing, "report it", |facts| facts.trial.bpf = refused()),
        ("ring", State::Missing, "--http-buffer-size", |facts| facts.trial.ring = refused()),
        ("probes", State::Missing, "report it", |facts| facts.trial.probes = refused()),
        ("tracepoints", State::Missing, "report it", |facts| facts.trial.tracepoints = refused()),
        ("uprobes", State::Degraded, "report it", |facts| facts.trial.uprobes = refused()),
        ("uprobes", State::Degraded, "CONFIG_UPROBE_EVENTS", |facts| {
            facts.trial.uprobes = refused();
            facts.uprobe_events = false;
        }),
        ("return_probes", State::Degraded, "uretprobe", |facts| facts.trial.returns = Returns::Deadly),
        ("return_probes", State::Degraded, "uprobes", |facts| facts.trial.returns = Returns::Unknown("x".to_owned())),
        ("processes", State::Degraded, "AppArmor", |facts| facts.others.refused = 3),
        ("pid_namespace", State::Missing, "--pid=host", |facts| facts.pid_namespace = Some(4_026_532_000)),
        ("pid_namespace", State::Degraded, "/proc", |facts| facts.pid_namespace = None),
        ("network_namespace", State::Degraded, "--network=host", |facts| facts.host_network = Some(false)),
        ("cgroups", State::Degraded, "version 2", |facts| facts.cgroups = Cgroups::V1),
        ("cgroups", State::Degraded, "/sys/fs/cgroup", |facts| facts.cgroups = Cgroups::None),
    ];
    for (name, state, remedy, take) in cases {
        let finding = without(take);
        assert_eq!((finding.requirement, finding.state), (name, state), "{finding:?}");
        assert!(finding.remedy.as_deref().is_some_and(|text| text.contains(remedy)), "{finding:?}");
        assert!(finding.effect.as_deref().is_some_and(|text| text.len() > 15), "{finding:?}");
    }
}

#[test]
fn a_kernel_is_judged_by_what_it_takes() {
    let of = |release: &str, probes: Tried| {
        let facts = Facts { release: release.to_owned(), trial: Trial { probes, ..works() }, ..good() };
        findings(&facts).into_iter().find(|finding| finding.requirement == "kernel").map(|finding| finding.state)
    };
    assert_eq!(of("5.17", Tried::Works), Some(State::Ok));
    assert_eq!(of("5.16.0", Tried::Works), Some(State::Degraded));
    assert_eq!(of("5.14.0-503.el9", refused()), Some(State::Missing), "too old");
    assert_eq!(of("5.14.0-503.el9", Tried::Works), Some(State::Ok), "carried back");
    assert_eq!(of("4.19.0", Tried::Not), Some(State::Missing));
    assert_eq!(of("next", Tried::Not), Some(State::Degraded));
}

#[test]
fn parts_of_sys_admin_do_where_they_do() {
    // BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH.
    let parts = (1 << 39) | (1 << 38) | (1 << 19) | (1 << 2);
    let mut facts = Facts { capabilities: parts | (1 << 40), ..good() };
    assert_eq!(faults(&facts), []);
    facts.capabilities = parts;
    assert!(faults(&facts)[0].remedy.as_deref().is_some_and(|text| text.contains("CHECKPOINT_RESTORE")));
    facts.trial.uprobes = refused();
    let told = faults(&facts);
    let names: Vec<_> = told.iter().map(|finding| (finding.requirement, finding.state)).collect();
    assert_eq!(names, [("cap_sys_admin", State::Degraded), ("uprobes", State::Degraded)]);
    assert!(told[1].found.ends_with("(kernel.perf_event_paranoid is 2)"), "{told:?}");
    assert_eq!(told[1].remedy.as_deref(), Some("the capability SYS_ADMIN"));
    facts.trial.probes = refused();
    assert_eq!(faults(&facts)[0].state, State::Missing);
}

#[test]
fn what_is_refused_for_want_of_privilege_says_so() {
    let trial = Trial { bpf: refused(), ..Trial { built: true, ..Trial::default() } };
    let facts = Facts { capabilities: 0, trial: trial.clone(), ..good() };
    let report = Report::of(findings(&facts));
    let helped: Vec<_> = report.wanting().map(|finding| finding.requirement).collect();
    assert_eq!(helped, ["cap_sys_admin", "bpf"], "what was not tried repeats no remedy");
    assert!(report.requirements.iter().any(|one| one.requirement == "uprobes" && one.state == State::Missing));
    let facts = Facts { trial, filtered: true, ..good() };
    assert!(faults(&facts)[0].remedy.as_deref().is_some_and(|text| text.contains("seccomp")), "a filter");
}

#[test]
fn what_others_hide_is_counted() {
    let others = Others { asked: 40, refused: 39, reason: "/proc/7/maps: Permission denied".to_owned() };
    let told = faults(&Facts { others, capabilities: 0x20_0004, ..good() });
    let of_processes = told.iter().find(|one| one.requirement == "processes").expect("a finding");
    assert_eq!(of_processes.found, "39 of 40 can't be looked into (/proc/7/maps: Permission denied)");
    assert_eq!(of_processes.remedy.as_deref(), Some("the capability SYS_PTRACE"));
    let network = Facts { host_network: None, ..good() };
    assert_eq!(faults(&network), [], "what can't be told is no fault");
}

#[test]
fn hidden_processes_matter_to_who_may_not_look() {
    let hidden = |capabilities| Facts { hidepid: Some("2".to_owned()), capabilities, ..good() };
    assert_eq!(faults(&hidden(good().capabilities)), []);
    let told = faults(&hidden(0x20_0004));
    assert!(told.iter().any(|one| one.requirement == "processes" && one.found.contains("hidepid=2")), "{told:?}");
}

#[test]
fn tls_that_nobody_asked_for_is_not_missing() {
    let trial = Trial { uprobes: Tried::Not, returns: Returns::NotTried, ..works() };
    assert_eq!(faults(&Facts { trial, ..good() }), []);
}
