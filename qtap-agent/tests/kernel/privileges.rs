//! The privileges of qtap: exactly the capabilities that the chart grants are enough, and each is needed. Also: a library that only
//! short-lived processes of another user map is found.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, output_of};
use super::nginx::Nginx;
use super::qtap::{Agent, command_by, exec_script};
use super::scope::config;

/// The user `nobody`.
const STRANGER: u32 = 65_534;

/// A copy of curl's OpenSSL in its own directory: a file that no other process maps.
fn library(lab: &Lab) -> PathBuf {
    let curl = output_of(Command::new("sh").args(["-c", "command -v curl"]));
    let libraries = output_of(Command::new("ldd").arg(curl.trim()));
    let path = libraries.lines().find_map(|line| line.trim().strip_prefix("libssl.so")?.split_whitespace().nth(2));
    let from = PathBuf::from(path.expect("curl has an OpenSSL"));
    let folder = lab.path("own");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    folder
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Another user requesting a page again and again, each time with a new curl and a library that nobody else can read.
fn stranger(lab: &Lab, nginx: &Nginx) -> Guarded {
    let folder = library(lab);
    permit(lab.dir(), 0o711);
    std::os::unix::fs::chown(&folder, Some(STRANGER), Some(STRANGER)).unwrap();
    permit(&folder, 0o700);
    let asks = format!(
        "i=0; while [ $i -lt 3000 ]; do LD_LIBRARY_PATH='{}' curl -sk -o /dev/null '{}'; sleep 0.1; i=$((i+1)); done",
        folder.display(),
        nginx.https("/a.txt"),
    );
    let id = STRANGER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "sh", "-c", &asks]);
    Guarded(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// The capabilities that the chart grants.
fn capabilities() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/qtap/values.yaml");
    let values: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = values["privileges"]["capabilities"].as_array().unwrap().iter();
    list.map(|name| name.as_str().unwrap().to_lowercase()).collect()
}

/// A qtap that watches that process, with these capabilities and no others.
fn agent(lab: &Lab, pid: u32, capabilities: &[String]) -> Agent {
    let kept: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let qtap = command_by(["setpriv", "--bounding-set", &format!("-all{kept}"), "--inh-caps", "-all"]);
    let config = lab.write("qtap.yaml", config("level: summary", "").as_bytes()).display().to_string();
    Agent::start_by(lab, qtap, ["--config", &config, "--pid", &pid.to_string()])
}

#[test]
fn the_least_privilege_is_enough_and_no_more_than_is_needed() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let stranger = stranger(&lab, &nginx);
    let all = capabilities();
    assert_eq!(all.len(), 3, "{all:?}");
    let watching = agent(&lab, stranger.pid(), &all);
    watching.wait_for("\"artifact_record\"", 5);
    let records = watching.stop().records;
    // The first requests may precede the discovery of their library.
    let whole = records.exchanges().into_iter().filter(|one| one.text("url.path") == "/a.txt").count();
    assert!(whole >= 3, "{}", records.told());
    // Whether qtap starts at all without SYS_ADMIN depends on the kernel.
    for missing in ["sys_ptrace", "dac_read_search"] {
        let fewer: Vec<String> = all.iter().filter(|name| *name != missing).cloned().collect();
        assert_eq!(fewer.len(), 2, "{missing}");
        let blind = agent(&lab, stranger.pid(), &fewer);
        blind.wait_for("connection.tls.uninspected_reason", 3);
        let records = blind.stop().records;
        assert_eq!(records.exchanges().len(), 0, "without {missing}: {}", records.told());
    }
}

/// Each curl lives for some milliseconds, and the only path by which its library can be reached from here ends with it.
#[test]
fn a_library_of_programs_of_a_moment_is_probed_whole() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let folder = library(&lab);
    let asks = format!(
        "for i in $(seq 1 40); do LD_LIBRARY_PATH='{}' curl -sk -o /dev/null '{}?'$i; sleep 0.2; done",
        folder.display(),
        nginx.https("/a.txt"),
    );
    let captured = exec_script(&lab, &["--log-level", "info"], &asks);
    let own = folder.display().to_string();
    let attached = captured.stderr.lines().find(|line| line.contains("TLS library attached") && line.contains(&own));
    assert!(attached.is_some_and(|line| line.contains("\"refused\":0")), "{}", captured.stderr);
    let records = captured.records;
    assert!(records.exchanges().iter().any(|one| one.text("url.query") == "40"), "{}", records.told());
    assert!(records.exchanges().len() >= 27, "{}", records.told());
}

/// The status file of a thread, by field.
fn status_of(path: &Path) -> std::collections::BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn what_is_not_needed_is_given_up_by_every_thread() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
    // Numbers of include/uapi/linux/capability.h: DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF, CHECKPOINT_RESTORE.
    let kept = [2, 19, 21, 38, 39, 40].iter().fold(0_u64, |bits, number| bits | 1 << number);
    let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().flatten().collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in &tasks {
        let status = status_of(&task.path().join("status"));
        for set in SETS {
            let bits = u64::from_str_radix(&status[set], 16).unwrap();
            assert_eq!(bits & !kept, 0, "{set} of {}: {bits:x}", status["Name"]);
        }
        assert_eq!(status["NoNewPrivs"], "1", "{}", status["Name"]);
        assert_ne!(u64::from_str_radix(&status["CapEff"], 16).unwrap() & kept, 0, "{}", status["Name"]);
    }
    let told = super::qtap::get(agent.port, "/status").unwrap();
    let told: serde_json::Value = serde_json::from_str(told.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(told["privileges"]["no_new_privs"], true);
    let names = told["privileges"]["capabilities"].as_array().unwrap();
    assert!(names.contains(&"sys_admin".into()) && !names.contains(&"chown".into()), "{names:?}");
    // A library that is discovered after that can still be probed.
    let asks = output_of(Command::new("curl").args(["-sk", &nginx.https("/a.txt")]));
    assert_eq!(asks, "a\n");
    agent.wait_for("\"artifact_record\"", 1);
    agent.stop();
}

/// A command that qtap runs keeps the privileges it would have without qtap.
#[test]
fn a_command_keeps_its_rights() {
    let Some(lab) = Lab::open() else { return };
    let captured = exec_script(&lab, &[], "cat /proc/self/status");
    let own = status_of(Path::new("/proc/self/status"));
    let file = lab.write("status", captured.stdout.as_bytes());
    let its = status_of(&file);
    for name in SETS.into_iter().chain(["NoNewPrivs", "Seccomp"]) {
        assert_eq!(its[name], own[name], "{name}");
    }
}
