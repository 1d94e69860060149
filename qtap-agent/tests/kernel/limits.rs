//! The agent's own resource limits: kept under load, with what is given up reported, and taken up again later.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::{Guarded, Lab, libssl, output_of, slowed};
use super::nginx::Nginx;
use super::python::Script;
use super::qtap::{Agent, command_by, get, run_long};
use super::records::Records;
use super::scope::config;

/// Processors that the agent may use.
const LIMIT: f64 = 0.1;
/// Tolerated factor above the limit: the agent notices only after a second.
const TOLERANCE: f64 = 1.5;
/// Time until the steps are taken: one a second, the first after two measurements.
const SETTLE: Duration = Duration::from_secs(7);
const WINDOW: Duration = Duration::from_secs(4);
/// Time until three steps are reversed.
const CALM: Duration = Duration::from_secs(60);

fn load(nginx: &Nginx, seconds: u64) -> Guarded {
    let mut wrk = Command::new("wrk");
    wrk.args(["-c16", "-t1", &format!("-d{seconds}s"), &nginx.http("/a.txt?load")]);
    Guarded(wrk.stdout(Stdio::null()).spawn().unwrap())
}

/// Processor time of a process, in seconds.
fn used(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn share(pid: u32, window: Duration) -> f64 {
    let (before, start) = (used(pid), Instant::now());
    std::thread::sleep(window);
    (used(pid) - before) / start.elapsed().as_secs_f64()
}

fn limits(agent: &Agent) -> Value {
    let answer = get(agent.port, "/status").unwrap();
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    status["limits"].clone()
}

fn start(lab: &Lab, nginx: &Nginx, more: &[&str]) -> Agent {
    let file = lab.write("qtap.yaml", config("level: full", "").as_bytes()).display().to_string();
    let mut arguments = vec!["--config".to_owned(), file];
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    arguments.extend(nginx.workers().iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    Agent::start(lab, arguments)
}

#[test]
fn processor_time_is_kept_to_and_what_it_costs_is_told() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'a'; 1000]);
    let free = start(&lab, &nginx, &[]);
    let wrk = load(&nginx, 4);
    std::thread::sleep(Duration::from_secs(1));
    let without = share(free.pid(), Duration::from_secs(2));
    drop(wrk);
    drop(free);
    assert!(without > LIMIT * TOLERANCE, "the load is none: {without}");
    let agent = start(&lab, &nginx, &["--max-cpu", &LIMIT.to_string()]);
    let wrk = load(&nginx, (SETTLE + WINDOW).as_secs() + 1);
    std::thread::sleep(SETTLE);
    let within = share(agent.pid(), WINDOW);
    let told = limits(&agent);
    println!("of a processor: without a limit {without:.2}, with one of {LIMIT} {within:.2}; {told}");
    assert!(within <= LIMIT * TOLERANCE, "{within}: {told}");
    assert!(["heads", "connections"].contains(&told["shedding"].as_str().unwrap()), "{told}");
    assert_eq!((&told["because"], &told["max_cpu"]), (&Value::from("cpu"), &Value::from(LIMIT)));
    let metrics = get(agent.port, "/metrics").unwrap();
    for line in [
        "qtap_shedding{step=\"bodies\"} 1\n",
        "qtap_shedding{step=\"heads\"} 1\n",
        "qtap_shedding_begun_total{step=\"heads\"} ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    drop(wrk);
    let start = Instant::now();
    while limits(&agent)["shedding"] != "nothing" {
        assert!(start.elapsed() < CALM, "{}", limits(&agent));
        std::thread::sleep(Duration::from_millis(500));
    }
    output_of(Command::new("curl").args(["-s", &nginx.http("/a.txt?after")]));
    agent.wait_for("?after", 1);
    let ended = agent.stop();
    let records = &ended.records;
    let after: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("url.query") == "after").collect();
    assert_eq!((after.len(), after[0].number("http.response.body.size")), (1, 1000));
    assert!(records.artifact_of(after[0], "response")["body"]["missing"].is_null());
    let shed: i64 = records.closed().iter().filter_map(|one| one.losses().get("shed").copied()).sum();
    let closed: Vec<_> = records.closed().iter().map(|one| (one.carried(), one.losses())).take(20).collect();
    assert!(shed > 0, "{closed:?}\n{}", ended.stderr);
    for line in ["over its limit: more is given up", "within its limit: less is given up"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
}

/// Resident memory that the agent may use, in MB. Connections at their default bounds would hold more.
const MEMORY: u64 = 160;

/// Uploads that do not end, captured at both ends: the agent's peak resident memory in MB, its reported limits, and the records.
fn holds(lab: &Lab, more: &[&str]) -> Option<(u64, Value, Records)> {
    let mut uploads = Script::start("unfinished.py", &[])?;
    assert_eq!(uploads.line(), "ready");
    let file = lab.write("qtap.yaml", config("level: full", "").as_bytes()).display().to_string();
    let pid = uploads.child.pid().to_string();
    let arguments = ["--config", &file, "--pid", &pid].into_iter().chain(more.iter().copied());
    let agent = Agent::start(lab, arguments);
    assert_eq!(uploads.ask("go"), "sent");
    std::thread::sleep(Duration::from_secs(4));
    let (most, told) = (most_resident(agent.pid()), limits(&agent));
    assert_eq!(uploads.ask("end"), "ended");
    uploads.child.end_within(Duration::from_secs(10)).expect("the uploads end");
    Some((most, told, agent.stop().records))
}

/// `VmHWM` of a process, in MB.
fn most_resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1000
}

#[test]
fn memory_is_kept_to_and_what_it_costs_is_told() {
    let Some(lab) = Lab::open() else { return };
    let Some((without, _, _)) = holds(&lab, &[]) else { return };
    assert!(without > MEMORY, "what is held is nothing: {without} MB");
    let Some((within, told, records)) = holds(&lab, &["--max-memory", &format!("{MEMORY}mb")]) else { return };
    println!("most of resident memory: without a limit {without} MB, with one of {MEMORY} MB {within} MB; {told}");
    assert!(within <= MEMORY, "{within} MB: {told}");
    assert_eq!(told["max_memory"], Value::from(MEMORY << 20));
    // Every connection is reported. An exchange that was dropped before its end was exported as far as it had come, and says so.
    assert_eq!(records.closed().len(), 120);
    let reasons: Vec<&str> = records.exchanges().iter().map(|one| one.text("qtap.incomplete")).collect();
    let cut = reasons.iter().filter(|reason| **reason == "limit").count();
    println!("{cut} of {} exchanges told for want of memory", reasons.len());
    assert!(cut > 0, "{reasons:?}");
}

/// Number of programs, each with its own copy of the TLS library, that live until all copies have probes.
const COPIES: u32 = 2;

#[test]
fn a_shells_file_descriptors_are_no_bound_on_libraries() {
    let Some(lab) = Lab::open() else { return };
    let from = libssl();
    let name = from.file_name().unwrap();
    for copy in 0..COPIES {
        std::fs::create_dir(lab.path(&format!("copy-{copy}"))).unwrap();
        std::fs::copy(&from, lab.path(&format!("copy-{copy}")).join(name)).unwrap();
    }
    let (log, lab_dir) = (lab.path("qtap.err"), lab.dir());
    let script = format!(
        "ulimit -Sn
for copy in '{}'/copy-*; do LD_PRELOAD=$copy/{} sleep {there} & pids=\"$pids $!\"; done
for try in $(seq 600); do [ \"$(grep -c 'TLS library attached.*copy-' '{}')\" = {COPIES} ] && break; sleep 0.1; done
kill $pids",
        lab_dir.display(),
        name.to_string_lossy(),
        log.display(),
        there = slowed(Duration::from_secs(90)).as_secs(),
    );
    // Enough file descriptors for qtap itself and the probes of one library.
    let mut qtap = command_by(["sh", "-c", "ulimit -Sn 128; exec \"$0\" \"$@\""]);
    qtap.args(["exec", "--log-level", "info", "-o"]).arg(lab.path("records.jsonl")).args(["--", "sh", "-c", &script]);
    let captured = run_long(&lab, &mut qtap);
    assert_eq!(captured.stdout, "128\n", "what it starts has the limit of its own shell");
    let attached: Vec<_> = captured
        .stderr
        .lines()
        .filter(|line| line.contains("TLS library attached") && line.contains("copy-"))
        .collect();
    assert_eq!(attached.len(), COPIES as usize, "{}", captured.stderr);
    assert!(attached.iter().all(|line| line.contains("\"refused\":0")), "{attached:#?}");
}
