//! `qtap doctor` on the running host: with all privileges, the probes are tried and work; with one taken away, it says so, and so does a
//! start that fails for want of it.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::lab::{Guarded, Lab};
use super::qtap::{Agent, command, command_by, get, run_command};

/// The verdicts of `qtap doctor` run by this command, and its exit code.
fn told_by(lab: &Lab, mut qtap: Command) -> (Value, Option<i32>) {
    qtap.args(["doctor", "--json", "--data-dir"]).arg(lab.path("data"));
    let ended = run_command(lab, &mut qtap);
    (serde_json::from_str(&ended.stdout).expect("JSON"), ended.code)
}

fn state<'a>(told: &'a Value, name: &str) -> &'a str {
    let all = told["requirements"].as_array().expect("requirements");
    let one = all.iter().find(|one| one["requirement"] == name);
    one.and_then(|one| one["state"].as_str()).unwrap_or_else(|| panic!("{name} is not in {told:#}"))
}

#[test]
fn the_probes_are_tried() {
    let Some(lab) = Lab::open() else { return };
    let (told, code) = told_by(&lab, command());
    for name in
        ["build", "type_information", "cap_sys_admin", "bpf", "ring", "probes", "tracepoints", "uprobes", "data_dir"]
    {
        assert_eq!(state(&told, name), "ok", "{name}: {told:#}");
    }
    assert_eq!(code, Some(0), "{told:#}");
}

#[test]
fn what_is_taken_away_is_told() {
    let Some(lab) = Lab::open() else { return };
    let with = |kept: &str| command_by(["setpriv", "--bounding-set", kept, "--inh-caps", "-all"]);
    let (told, code) = told_by(&lab, with("-all"));
    for (name, expected) in [
        ("cap_sys_admin", "missing"),
        ("cap_sys_ptrace", "degraded"),
        ("cap_dac_read_search", "degraded"),
        ("bpf", "missing"),
        ("probes", "missing"),
    ] {
        assert_eq!(state(&told, name), expected, "{name}: {told:#}");
    }
    assert_eq!(code, Some(3), "{told:#}");
    let (told, code) = told_by(&lab, with("-all,+sys_admin,+dac_read_search"));
    assert_eq!((state(&told, "cap_sys_ptrace"), state(&told, "probes")), ("degraded", "ok"), "{told:#}");
    assert_eq!(code, Some(0), "{told:#}");
}

#[test]
fn another_place_than_the_hosts_is_told() {
    let Some(lab) = Lab::open() else { return };
    let (told, code) = told_by(&lab, command_by(["unshare", "--pid", "--fork", "--mount-proc"]));
    assert_eq!((state(&told, "pid_namespace"), state(&told, "probes")), ("missing", "ok"), "{told:#}");
    assert_eq!(code, Some(3), "{told:#}");
    let (told, code) = told_by(&lab, command_by(["unshare", "--net"]));
    assert_eq!((state(&told, "network_namespace"), code), ("degraded", Some(0)), "{told:#}");
}

#[test]
fn a_start_that_fails_says_the_same() {
    let Some(lab) = Lab::open() else { return };
    let mut qtap = command_by(["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]);
    let ended = run_command(&lab, qtap.args(["exec", "--", "true"]));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    for said in ["cap_sys_admin: not there. What helps: run it as root (sudo)", "`qtap doctor` says how this host is"] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("cap_sys_ptrace"), "what a start can do without is not named: {}", ended.stderr);
}

#[test]
fn a_running_agent_shows_it() {
    let Some(lab) = Lab::open() else { return };
    let mut sleep = Command::new("sleep");
    let sleeper = Guarded(sleep.arg("60").stdin(Stdio::null()).spawn().expect("sleep"));
    let qtap = command_by(["setpriv", "--bounding-set", "-all,+sys_admin,+sys_ptrace", "--inh-caps", "-all"]);
    let agent = Agent::start_by(&lab, qtap, ["--pid", &sleeper.pid().to_string()]);
    let answer = get(agent.port, "/status").expect("an answer");
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    for (name, expected) in [("probes", "ok"), ("uprobes", "ok"), ("cap_dac_read_search", "degraded")] {
        assert_eq!(state(&status["host"], name), expected, "{name}: {:#}", status["host"]);
    }
    let ended = agent.end();
    // A warning about a processor may be among them.
    let mut said = ended.stderr.lines().filter(|line| line.contains("the host lacks something"));
    assert!(said.any(|line| line.contains("cap_dac_read_search")), "{}", ended.stderr);
}
