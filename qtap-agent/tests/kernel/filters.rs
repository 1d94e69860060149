//! Processes that are left out: by the file's filters, by their own wish, and of what.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, output_of};
use super::nginx::Nginx;
use super::qtap::{Agent, exec_script};
use super::records::Records;
use super::scope::config;

/// A program of another name that does what curl does.
fn curl_called(lab: &Lab, name: &str) -> String {
    copy_of("curl", lab, name)
}

fn copy_of(program: &str, lab: &Lab, name: &str) -> String {
    let found = output_of(Command::new("sh").args(["-c", &format!("readlink -f $(command -v {program})")]));
    let to = lab.path(name);
    std::fs::copy(Path::new(found.trim()), &to).unwrap();
    to.display().to_string()
}

/// Asks once it has been there for a while: so long that a busy host has read who it is.
fn ask_with(program: &str, url: &str) -> String {
    format!("(sleep 1; echo 'url = \"{url}\"') | {program} -sk -K - > /dev/null")
}

fn queries(records: &Records) -> Vec<&str> {
    let mut all: Vec<&str> = records.exchanges().into_iter().map(|record| record.text("url.query")).collect();
    all.sort_unstable();
    all
}

#[test]
fn programs_are_left_out_whole() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let path = |name: &str| lab.path(name).display().to_string();
    let filters = format!(
        "  filters:
    groups: [kubernetes, container-runtimes, eks, gke, qtap]
    custom:
      - {{exe: {exact}}}
      - {{exe: {prefix}, strategy: prefix}}
      - {{exe: /by-suffix, strategy: suffix}}
      - {{exe: by-contained, strategy: contains}}
      - {{exe: 'by-regex-[0-9]+$', strategy: regex}}
      - {{exe: {shell}, strategy: exact}}
",
        exact = path("by-exact"),
        prefix = path("by-pre"),
        shell = path("left-out-shell"),
    );
    let left_out = [
        "by-exact",
        "by-prefix",
        "by-suffix",
        "is-by-contained-too",
        "by-regex-17",
        "kubelet",
        "containerd-shim",
        "aws-k8s-agent",
        "gke-metadata-server",
        "qtap",
    ];
    let seen = ["by-exact2", "a-by-prefix", "by-suffix-not", "by-regex-x", "kubelet-not"];
    let mut lines: Vec<String> = left_out
        .iter()
        .chain(&seen)
        .map(|name| ask_with(&curl_called(&lab, name), &nginx.http(&format!("/a.txt?{name}"))))
        .collect();
    // What a program that is left out starts is not left out with it.
    let child = lab.write("child.sh", ask_with("curl", &nginx.https("/a.txt?child")).as_bytes());
    lines.push(format!("{} {}", copy_of("sh", &lab, "left-out-shell"), child.display()));
    let config = lab.write("qtap.yaml", config("level: full", &filters).as_bytes()).display().to_string();
    let script = lines.iter().map(|line| format!("{line} &")).collect::<Vec<_>>().join("\n") + "\nwait";
    let records = exec_script(&lab, &["--config", &config], &script).records;
    records.assert_whole();
    let mut wanted = seen.to_vec();
    wanted.push("child");
    wanted.sort_unstable();
    assert_eq!(queries(&records), wanted, "{}", records.told());
    assert_eq!(records.closed().len(), wanted.len(), "not even their connections: {}", records.told());
}

#[test]
fn programs_are_left_out_in_part() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let names = ["no-tls", "no-http", "no-data", "no-dns"];
    let mut filters = "  filters:\n    custom:\n".to_owned();
    let mut lines = Vec::new();
    for name in names {
        let program = curl_called(&lab, name);
        let only = name.trim_start_matches("no-");
        filters.push_str(&format!("      - {{exe: {program}, only: [{only}]}}\n"));
        lines.push(ask_with(&program, &nginx.http(&format!("/a.txt?plain-{name}"))));
        lines.push(ask_with(&program, &nginx.https(&format!("/a.txt?sealed-{name}"))));
    }
    let config = lab.write("qtap.yaml", config("level: full", &filters).as_bytes()).display().to_string();
    let script = lines.iter().map(|line| format!("{line} &")).collect::<Vec<_>>().join("\n") + "\nwait";
    let records = exec_script(&lab, &["--config", &config], &script).records;
    assert_eq!(queries(&records), ["plain-no-dns", "plain-no-tls", "sealed-no-dns"], "{}", records.told());
    assert_eq!(records.closed().len(), 2 * names.len(), "connections are told: {}", records.told());
    for record in records.closed() {
        let name = record.text("process.executable.name");
        assert!(record.carried() > 0, "and counted: {record:?}");
        assert!(!record.losses().contains_key("unaccounted"), "{record:?}");
        if record.number("server.port") == i64::from(nginx.https) {
            // What the handshake says in the clear is data too.
            assert_eq!(record.has("tls.protocol.version"), name != "no-data", "{record:?}");
            assert_eq!(record.flag("connection.tls.inspected"), name == "no-dns", "{record:?}");
        }
    }
}

#[test]
fn a_process_may_ask_to_be_left_alone() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let ask = |query: &str| lab.write(query, ask_with("curl", &nginx.https(&format!("/a.txt?{query}"))).as_bytes());
    let [alone, observed, freed] = ["alone", "observed", "freed"].map(|query| ask(query).display().to_string());
    let script = format!(
        "QTAP_STRATEGY=ignore sh {alone}; QTAP_STRATEGY=observe sh {observed}; \
         QTAP_STRATEGY=ignore env -u QTAP_STRATEGY sh {freed}"
    );
    let records = exec_script(&lab, &[], &script).records;
    records.assert_whole();
    assert_eq!(queries(&records), ["freed", "observed"], "{}", records.told());
    assert_eq!(records.closed().len(), 2, "{}", records.told());
}

/// qtap stands still until they are gone: there is nothing left of them in /proc when it hears of them.
#[test]
fn a_process_of_a_moment_has_its_wish_and_its_environment() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let rules = "level: none
          rules: [{name: red, expr: src.process.env.TEAM == \"red\", level: summary}]";
    let left_out = curl_called(&lab, "left-out");
    let tap = format!("  filters:\n    custom: [{{exe: '{left_out}', strategy: exact}}]\n");
    let config = lab.write("qtap.yaml", config(rules, &tap).as_bytes()).display().to_string();
    let ask =
        |program: &str, query: &str| format!("{program} -sk '{}' > /dev/null; ", nginx.https(&format!("/?{query}")));
    let script = [
        "kill -STOP $PPID; ".to_owned(),
        format!("TEAM=red {}", ask("curl", "red")),
        format!("TEAM=blue {}", ask("curl", "blue")),
        format!("TEAM=red QTAP_STRATEGY=ignore {}", ask("curl", "ignored")),
        format!("TEAM=red {}", ask(&left_out, "filtered")),
        "kill -CONT $PPID".to_owned(),
    ];
    let records = exec_script(&lab, &["--config", &config], &script.concat()).records;
    records.assert_whole();
    assert_eq!(queries(&records), ["red"], "{}", records.told());
    let told: Vec<&str> = records.closed().iter().map(|closed| closed.text("process.executable.name")).collect();
    assert_eq!(told.len(), 2, "those left out have no connection: {}", records.told());
}

#[test]
fn what_runs_already_is_left_out_before_it_is_looked_at() {
    let Some(lab) = Lab::open() else { return };
    let program = lab.write("networks.py", include_bytes!("networks.py")).display().to_string();
    let serve = |strategy: &str| {
        let mut command = Command::new("python3");
        command.args([&program, "serve", "0"]).env("QTAP_STRATEGY", strategy).stdout(Stdio::piped());
        let mut server = Guarded(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("serving ").unwrap_or_else(|| panic!("{line}")).to_owned();
        (server, port)
    };
    let ((alone, first), (observed, second)) = (serve("ignore"), serve(""));
    let (alone_pid, observed_pid) = (alone.pid().to_string(), observed.pid().to_string());
    let agent = Agent::start(&lab, ["--pid", &alone_pid, "--pid", &observed_pid]);
    for port in [&first, &second] {
        output_of(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{port}/?{port}")]));
    }
    agent.wait_for("\"artifact_record\"", 1);
    let records = agent.stop().records;
    records.assert_whole();
    assert_eq!(queries(&records), [second], "{}", records.told());
}
