//! `cargo xtask bench`: what watching costs the watched. nginx serves 1 KB over keep-alive connections, without probes and under each kind
//! of probe, in interleaved rounds; the table of medians is printed as Markdown, with the machine's name. It asserts nothing. Other
//! subjects: the cost for other servers; the speed of replaying a recording, also beside tshark; whether a minute of load loses
//! anything uncounted; the speed of delivery; the cost of rules; the bytes not copied because nobody wants them; the cost of an idle
//! agent; and how many first requests of short-lived programs are captured.

mod advice;
mod discovery;
mod grpc;
mod idle;
mod load;
mod loss;
mod server;
mod servers;
mod sink;
mod stage;
mod table;
mod tshark;
pub(crate) mod usage;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result};

use crate::nginx::Nginx;
use crate::{setup, shell};
use load::{Load, Protocol};
use sink::{Otlp, Sink};
use stage::{Stage, Watcher};
use usage::Cpu;

/// How long an agent may take to settle after its start, and after the last requests, before its memory and CPU time are read.
const SETTLE: Duration = Duration::from_secs(2);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// What watching costs the server and the agent, stage by stage.
    Stages,
    /// What watching costs nginx, Node, Caddy, Envoy, Python's asyncio and Java, over TLS.
    Servers,
    /// How fast a recording goes through qtap on one core.
    Replay,
    /// The same traffic read by qtap and by tshark.
    Tshark,
    /// What is lost under load, and whether all of it is counted.
    Loss,
    /// What redaction of JSON bodies costs.
    Redact,
    /// How fast records go through the queue on disk and the gRPC exporter, and what they cost while a store is down.
    Delivery,
    /// What 0, 10 and 100 rules cost an exchange.
    Rules,
    /// How many bytes are not copied out of the kernel where nobody wants them.
    Advice,
    /// How long a start takes, and what an agent costs that has nothing to do.
    Idle,
    /// How many first requests are captured of programs that make one and end.
    Discovery,
}

/// What to measure, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum, default_value = "stages")]
    subject: Subject,
    /// Seconds of load per measurement: 3, or 60 where losses are looked for.
    #[arg(long)]
    seconds: Option<u32>,
    /// Rounds; the table shows medians over them.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Protocols to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "https1,https2,http")]
    protocols: Vec<Protocol>,
    /// How qtap sends its records to the sink.
    #[arg(long, value_enum, default_value = "http")]
    otlp: Otlp,
    /// Stages to measure, by name; all, if none is given.
    #[arg(long, value_delimiter = ',')]
    stages: Vec<String>,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// CPU time of the server per request, µs.
    server_us: f64,
    /// CPU time of the watcher per request, µs; `None` without a watcher.
    agent_us: Option<f64>,
    /// Resident memory of the watcher, before the load, MB.
    agent_idle_mb: Option<f64>,
    /// The same after the load.
    agent_mb: Option<f64>,
    /// Share of the exchanges that reached the store; `None` when nothing exports.
    exported: Option<f64>,
    /// Requests per second.
    rate: f64,
}

/// One row group of the table: what is measured under each stage.
struct Case {
    name: String,
    load: Load,
    /// The serving processes; the first is watched.
    pids: Vec<u32>,
    /// What qtap is told besides.
    flags: &'static [&'static str],
}

/// All samples by case and stage, both as indexes into their lists.
type Samples = BTreeMap<(usize, usize), Vec<Sample>>;

/// Builds, measures, prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.subject {
        Subject::Stages => stages(options),
        Subject::Servers => servers::run(options),
        Subject::Replay => shell::run(shell::cargo().args(["bench", "--package", "qtap-agent", "--bench", "replay"])),
        Subject::Tshark => tshark::run(options.rounds),
        Subject::Delivery => bench_of("delivery"),
        Subject::Redact => bench_of("redact"),
        Subject::Rules => bench_of("rules"),
        Subject::Advice => advice::run(&options.protocols, options.rounds, options.seconds.unwrap_or(3)),
        Subject::Idle => idle::run(options.rounds, options.seconds.unwrap_or(20)),
        Subject::Discovery => discovery::run(),
        Subject::Loss => loss::run(&options.protocols, options.otlp, options.seconds.unwrap_or(60)),
    }
}

/// Runs a benchmark of the agent that needs no kernel.
fn bench_of(name: &str) -> Result<()> {
    println!("{}.\n", machine());
    let bench = ["bench", "--package", "qtap-agent", "--no-default-features", "--bench", name];
    shell::run(shell::cargo().args(bench))
}

fn build() -> Result<()> {
    setup::run(setup::Purpose::Check)?;
    build_release()
}

fn build_release() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "qtap-agent", "--bins", "--examples"]))
}

fn stages(options: &Options) -> Result<()> {
    let sink = Sink::start()?;
    let stages: Vec<Stage> = stage::all(&sink, options.otlp, free_port()?)?
        .into_iter()
        .filter(|stage| options.stages.is_empty() || options.stages.iter().any(|name| name == stage.name))
        .collect();
    if stages.iter().any(|stage| stage.name != stage::BARE) {
        build()?;
    }
    let nginx = Nginx::start(&[("1k.txt", &[b'x'; 1024])])?;
    let pids = nginx.workers()?;
    pin(&pids)?;
    let case = |protocol: &Protocol| {
        let (name, load) = (protocol.title().to_owned(), protocol.load(&nginx, options.seconds.unwrap_or(3)));
        Case { name, load, pids: pids.clone(), flags: &[] }
    };
    let cases: Vec<Case> = options.protocols.iter().map(case).collect();
    let (samples, unmeasured) = measure_all(options.rounds, &cases, &stages, &sink);
    println!("\n{}", table::render(&options.protocols, &stages, &samples, &machine()));
    println!("The store took {} exchanges in {} MB.", sink.exchanges(), sink.bytes() / 1_000_000);
    for (name, reason) in unmeasured {
        println!("Not measured in some round: {name}: {reason}");
    }
    Ok(())
}

/// Measures each case under each stage, round by round; also returns what could not be measured in some round, and why.
fn measure_all(rounds: u32, cases: &[Case], stages: &[Stage], sink: &Sink) -> (Samples, BTreeMap<String, String>) {
    let mut samples = Samples::new();
    let mut unmeasured = BTreeMap::new();
    for round in 0..rounds {
        for (c, case) in cases.iter().enumerate() {
            for (s, stage) in stages.iter().enumerate() {
                let name = format!("{}, {}", case.name, stage.name);
                println!("bench: round {} of {rounds}, {name}", round + 1);
                match measure(stage, case, sink) {
                    Ok(sample) => samples.entry((c, s)).or_default().push(sample),
                    Err(error) => {
                        println!("bench: {name}: {error:#}");
                        unmeasured.insert(name, format!("{error:#}"));
                    }
                }
            }
        }
    }
    (samples, unmeasured)
}

/// Measures one case under one stage: starts the watcher, warms up, runs the load.
fn measure(stage: &Stage, Case { load, pids, flags, .. }: &Case, sink: &Sink) -> Result<Sample> {
    let told_before = sink.exchanges();
    let watcher = stage.start_with(*pids.first().context("nobody serves")?, flags)?;
    let pid = watcher.as_ref().map(Watcher::pid);
    if pid.is_some() {
        // Memory that only the start needed is released shortly after.
        thread::sleep(SETTLE);
    }
    let agent_idle_mb = pid.map(usage::resident_mb).transpose()?;
    let warm = load.warm_up()?;
    let server_before = usage::cpu_of(pids)?;
    let agent_before = pid.map(|pid| usage::cpu_of(&[pid])).transpose()?;
    let result = load.run()?;
    let server = usage::cpu_of(pids)? - server_before;
    if watcher.is_some() {
        // The last exchanges are still on their way through the agent.
        thread::sleep(SETTLE);
    }
    let per_request = |cpu: Cpu| cpu.as_micros() / result.requests as f64;
    let agent_after = pid.map(|pid| usage::cpu_of(&[pid])).transpose()?;
    let agent_us = agent_after.zip(agent_before).map(|(after, before)| per_request(after - before));
    let agent_mb = pid.map(usage::resident_mb).transpose()?;
    drop(watcher);
    let made = (warm.requests + result.requests) as f64;
    let exported = stage.exports().then(|| (sink.exchanges() - told_before) as f64 / made);
    Ok(Sample { server_us: per_request(server), agent_us, agent_idle_mb, agent_mb, exported, rate: result.rate })
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Gives the server the first core to itself; the load uses the others.
fn pin(workers: &[u32]) -> Result<()> {
    for worker in workers {
        let mut taskset = Command::new("taskset");
        shell::capture(taskset.args(["-c", "-p", "0"]).arg(worker.to_string()))?;
    }
    Ok(())
}

/// A one-line description of the machine.
fn machine() -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let version = |program: &str, flag: &str| {
        let said = said_by(Command::new(shell::which(program).context("not installed")?).arg(flag))?;
        anyhow::Ok(said.lines().next().unwrap_or_default().to_owned())
    };
    let or_unknown = |version: Result<String>| version.unwrap_or_else(|_| "unknown".to_owned());
    let (nginx, openssl) = (or_unknown(version("nginx", "-v")), or_unknown(version("openssl", "version")));
    format!("{model}, {cores} cores, Linux {}; {nginx}; {openssl}", kernel.trim())
}

/// Everything that a command prints.
fn said_by(command: &mut Command) -> Result<String> {
    let output = shell::output_of(command)?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
