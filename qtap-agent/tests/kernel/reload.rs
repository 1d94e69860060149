//! A new config while the agent runs: by SIGHUP, by `reload-config`, or found by the agent itself.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::lab::{Guarded, Lab, wait_until};
use super::nginx::Nginx;
use super::qtap::{Agent, command, get};
use super::scope::config;

/// The agent's status of its config.
fn status(agent: &Agent) -> Value {
    let answer = get(agent.port, "/status").unwrap();
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    status["config"].clone()
}

/// `qtap reload-config`: exit code, and what it printed.
fn reload_config(agent: &Agent) -> (Option<i32>, String) {
    let listen = format!("127.0.0.1:{}", agent.port);
    let output = command().args(["reload-config", "--httpd-listen", &listen]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// One request on a connection that stays open.
fn ask(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"the body\n") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..read]);
    }
}

fn start(lab: &Lab, nginx: &Nginx, file: &Path, more: &[&str]) -> Agent {
    let (file, pid) = (file.display().to_string(), nginx.pid().to_string());
    let mut arguments = vec!["--config", &file, "--pid", &pid];
    arguments.extend(more);
    Agent::start(lab, arguments)
}

#[test]
fn connections_keep_their_stack_and_new_ones_get_the_new() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes());
    let agent = start(&lab, &nginx, &file, &[]);
    let mut old = TcpStream::connect(("127.0.0.1", nginx.http)).unwrap();
    ask(&mut old, "/a.txt?old-1");
    agent.wait_for("old-1", 1);

    lab.write("qtap.yaml", config("level: fulll", "  directoin: all").as_bytes());
    let (code, said) = reload_config(&agent);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("did you mean `full`?") && said.contains("did you mean `direction`?"), "{said}");
    assert!(said.contains("refused: the config before holds on"), "{said}");
    let refused = status(&agent);
    assert_eq!((&refused["last_reload"]["outcome"], &refused["reloads"]["refused"]), (&"refused".into(), &1.into()));
    ask(&mut old, "/a.txt?old-2");

    lab.write("qtap.yaml", config("level: full", "").as_bytes());
    let (code, said) = reload_config(&agent);
    assert_eq!((code, said.lines().last()), (Some(0), Some("accepted")), "{said}");
    ask(&mut old, "/a.txt?old-3");
    let mut new = TcpStream::connect(("127.0.0.1", nginx.http)).unwrap();
    ask(&mut new, "/a.txt?new");
    drop((old, new));

    agent.signal(Signal::HUP);
    wait_until("the signal is heard", || status(&agent)["reloads"]["unchanged"] == 1);
    let metrics = get(agent.port, "/metrics").unwrap();
    for outcome in ["accepted", "refused", "unchanged"] {
        assert!(metrics.contains(&format!("qtap_config_reloads_total{{outcome=\"{outcome}\"}} 1\n")), "{metrics}");
    }
    agent.wait_for("new", 1);
    let ended = agent.stop();
    let queries: Vec<&str> = ended.records.exchanges().iter().map(|record| record.text("url.query")).collect();
    assert_eq!(queries, ["old-1", "old-2", "old-3", "new"]);
    let objects: BTreeSet<&str> = ended.records.objects().iter().map(|object| object.connection()).collect();
    let new = ended.records.exchanges()[3].connection();
    assert_eq!(objects, BTreeSet::from([new]), "only the new connection goes through the new stack");
    assert!(ended.stderr.contains("another config holds") && ended.stderr.contains("the config is refused"));
}

#[test]
fn filters_hold_for_processes_that_are_there() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let without = config("level: summary", "");
    let program = std::fs::read_link(format!("/proc/{}/exe", nginx.pid())).unwrap();
    let with = config("level: summary", &format!("  filters: {{custom: [{{exe: {}}}]}}\n", program.display()));
    let file = lab.write("qtap.yaml", without.as_bytes());
    let agent = start(&lab, &nginx, &file, &[]);
    for (text, query) in [(&without, "seen-1"), (&with, "unseen"), (&without, "seen-2")] {
        lab.write("qtap.yaml", text.as_bytes());
        let (code, said) = reload_config(&agent);
        assert_eq!(code, Some(0), "{said}");
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.http)).unwrap();
        ask(&mut stream, &format!("/a.txt?{query}"));
    }
    agent.wait_for("seen-2", 1);
    let ended = agent.stop();
    let queries: Vec<&str> = ended.records.exchanges().iter().map(|record| record.text("url.query")).collect();
    assert_eq!(queries, ["seen-1", "seen-2"]);
}

#[test]
fn the_probes_are_told_too() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes());
    let agent = start(&lab, &nginx, &file, &[]);
    let mut first = TcpStream::connect(("127.0.0.1", nginx.http)).unwrap();
    ask(&mut first, "/a.txt?all");
    let without_http = config("level: summary", "").replace("http: {stack: default_stack}", "http: none");
    let cases = [
        (config("level: summary", "  direction: egress"), "egress"),
        (config("level: summary", "  ignore_loopback: true"), "loopback"),
        (without_http, "none"),
        (config("level: summary", "  direction: ingress"), "ingress"),
    ];
    for (text, query) in cases {
        lab.write("qtap.yaml", text.as_bytes());
        let (code, said) = reload_config(&agent);
        assert_eq!((code, said.lines().last()), (Some(0), Some("accepted")), "{said}");
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.http)).unwrap();
        ask(&mut stream, &format!("/a.txt?{query}"));
        // A connection that was wanted when it was opened still is.
        ask(&mut first, &format!("/a.txt?first-{query}"));
    }
    drop(first);
    agent.wait_for("?ingress", 1);
    let ended = agent.stop();
    let mut queries: Vec<&str> = ended.records.exchanges().iter().map(|record| record.text("url.query")).collect();
    queries.sort_unstable();
    assert_eq!(queries, ["all", "first-egress", "first-ingress", "first-loopback", "first-none", "ingress"]);
}

#[test]
fn reloads_under_load_lose_nothing_and_tell_nothing_twice() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes());
    let agent = start(&lab, &nginx, &file, &["--config-watch=1s"]);
    let url = nginx.https("/a.txt");
    // New connections all the while, ten requests on each.
    let script =
        format!("for i in $(seq 60); do h2load -n 50 -c 5 -m 2 '{url}' > /dev/null || exit 1; sleep 0.05; done");
    let mut load = Guarded(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap());
    for round in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        let level = if round % 2 == 0 { "level: details" } else { "level: summary" };
        lab.write("qtap.yaml", config(level, "").as_bytes());
        if round < 4 {
            let (code, said) = reload_config(&agent);
            assert_eq!(code, Some(0), "{said}");
        } else {
            // The agent finds the last two by itself.
            wait_until("it is seen", || status(&agent)["reloads"]["accepted"] == round + 1);
        }
    }
    assert!(load.end_within(Duration::from_secs(60)).unwrap().success());
    assert_eq!(status(&agent)["last_reload"]["asked_by"], "watch");
    agent.wait_for("\"artifact_record\"", 3000);
    let ended = agent.stop();
    let exchanges = ended.records.exchanges();
    let uids: BTreeSet<&str> = exchanges.iter().map(|record| record.text("log.record.uid")).collect();
    assert_eq!((exchanges.len(), uids.len()), (3000, 3000));
    assert!(!ended.records.objects().is_empty());
    let losses = exchanges.iter().filter(|record| record.has("qtap.incomplete")).count();
    assert_eq!(losses, 0);
}
