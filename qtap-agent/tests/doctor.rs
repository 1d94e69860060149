//! `qtap doctor`, run as the user of the tests: every requirement is reported, in JSON and in lines that say the same, and the exit code
//! is the verdict. The tests beside the checks show what each reports when its requirement is missing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

/// The requirements that are checked.
const REQUIREMENTS: [&str; 21] = [
    "build",
    "kernel",
    "architecture",
    "type_information",
    "lockdown",
    "user_namespace",
    "cap_sys_admin",
    "cap_sys_ptrace",
    "cap_dac_read_search",
    "bpf",
    "ring",
    "probes",
    "tracepoints",
    "uprobes",
    "return_probes",
    "tracefs",
    "processes",
    "pid_namespace",
    "network_namespace",
    "cgroups",
    "data_dir",
];

fn doctor(arguments: &[&str]) -> Output {
    let mut qtap = Command::new(env!("CARGO_BIN_EXE_qtap"));
    qtap.arg("doctor").args(arguments).env_remove("DATA_DIR").env_remove("LOG_LEVEL").output().unwrap()
}

#[test]
fn every_requirement_is_told_and_the_code_is_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let ended = doctor(&["--json", "--data-dir", &data]);
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let requirements = told["requirements"].as_array().unwrap();
    let names: Vec<_> = requirements.iter().map(|one| one["requirement"].as_str().unwrap()).collect();
    assert_eq!(names, REQUIREMENTS);
    let states: BTreeSet<_> = requirements.iter().map(|one| one["state"].as_str().unwrap()).collect();
    let known = ["missing", "degraded", "ok"];
    assert!(states.iter().all(|state| known.contains(state)), "{states:?}");
    let worst = known.into_iter().find(|state| states.contains(state)).unwrap();
    assert_eq!(told["state"], worst);
    assert_eq!(ended.status.code(), Some(if worst == "missing" { 3 } else { 0 }), "{told:#}");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    for one in requirements.iter().filter(|one| one["state"] == "degraded") {
        assert!(one["effect"].is_string() && one["remedy"].is_string(), "{one}");
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(requirements[1]["found"].as_str().unwrap().starts_with(release.trim()), "{}", requirements[1]);
    assert!(requirements[20]["found"].as_str().unwrap().starts_with(&data) && !folder.path().join("data").exists());
}

#[test]
fn people_are_told_the_same() {
    let ended = doctor(&["--data-dir", "/dev/null/here"]);
    let text = String::from_utf8(ended.stdout).unwrap();
    let named = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let is_head = |line: &&str| ["ok ", "degraded ", "missing "].iter().any(|state| line.starts_with(state));
    assert_eq!(text.lines().filter(is_head).filter_map(named).collect::<Vec<_>>(), REQUIREMENTS, "{text}");
    assert!(text.contains("degraded  data_dir "), "{text}");
    assert!(text.contains("remedy: make it, or name another with --data-dir"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour: {text}");
}
