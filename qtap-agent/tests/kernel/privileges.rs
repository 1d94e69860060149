//! What qtap may do, and what of it it needs: exactly the capabilities that the chart gives are enough, each of them is needed; and a library
//! that only others' short lives lead to is found.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, output_of};
use super::nginx::Nginx;
use super::qtap::{Agent, command_by, exec_script};
use super::scope::config;

/// `nobody`.
const STRANGER: u32 = 65_534;

/// A copy of the OpenSSL that curl has, in a folder of its own: a file that nobody else maps.
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

/// Another user who asks for a page again and again, each time by a curl of its own, with a library that nobody else can read.
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

/// The capabilities that the chart names.
fn capabilities() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/qtap/values.yaml");
    let values: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = values["privileges"]["capabilities"].as_array().unwrap().iter();
    list.map(|name| name.as_str().unwrap().to_lowercase()).collect()
}

/// A qtap that watches that user, with these capabilities and no others.
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
    // The first may have begun before its library was found.
    let whole = records.exchanges().into_iter().filter(|one| one.text("url.path") == "/a.txt").count();
    assert!(whole >= 3, "{}", records.told());
    // Without SYS_ADMIN it depends on the kernel whether it starts at all.
    for missing in ["sys_ptrace", "dac_read_search"] {
        let fewer: Vec<String> = all.iter().filter(|name| *name != missing).cloned().collect();
        assert_eq!(fewer.len(), 2, "{missing}");
        let blind = agent(&lab, stranger.pid(), &fewer);
        blind.wait_for("connection.tls.uninspected_reason", 3);
        let records = blind.stop().records;
        assert_eq!(records.exchanges().len(), 0, "without {missing}: {}", records.told());
    }
}

/// Each curl lives for some milliseconds, and the only name by which its library can be reached from here ends with it.
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
