//! What an idle agent costs, and how long it takes from start until the first request is captured. In: a release build, a process that sleeps,
//! and one that requests a page from nginx over TLS when told to. Out: a table of medians. It asserts nothing.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::{build, free_port, machine, table, usage};
use crate::nginx::Nginx;
use crate::shell;

/// Longest wait for a start, or for a record.
const PATIENCE: Duration = Duration::from_secs(60);
/// Polling interval.
const PAUSE: Duration = Duration::from_millis(5);

/// One start.
struct Sample {
    ready_ms: f64,
    captured_ms: f64,
    cpu_permille: f64,
    resident_mb: f64,
    tables_mb: f64,
}

/// Starts the agent `rounds` times, and leaves it idle for `seconds` each time.
pub(super) fn run(rounds: u32, seconds: u32) -> Result<()> {
    build()?;
    let nginx = Nginx::start(&[("hello.json", b"{}\n")])?;
    let url = format!("https://127.0.0.1:{}/hello.json", nginx.https_port);
    let mut samples = Vec::new();
    for round in 0..rounds {
        println!("bench: round {} of {rounds}", round + 1);
        samples.push(measure(&url, seconds)?);
    }
    let middle = |value: fn(&Sample) -> f64| table::middle(samples.iter().map(value).collect());
    println!("\n{}. Medians of {rounds} starts, {seconds} s idle each, the release build.\n", machine());
    println!("| figure | |\n|---|---|");
    println!("| from its start to ready (probes attached, stores started) | {:.0} ms |", middle(|one| one.ready_ms));
    println!(
        "| from its start to the first record of a request that came as soon as it was ready | {:.0} ms |",
        middle(|one| one.captured_ms)
    );
    println!("| CPU while nothing in scope does anything | {:.2} ‰ of a core |", middle(|one| one.cpu_permille));
    println!("| resident memory then | {:.1} MB |", middle(|one| one.resident_mb));
    println!("| memory of the probes' tables in the kernel then | {:.1} MB |", middle(|one| one.tables_mb));
    Ok(())
}

fn measure(url: &str, seconds: u32) -> Result<Sample> {
    let folder = shell::target_dir()?.join("qtap-bench");
    fs::create_dir_all(&folder)?;
    let mut asks = Asks::start(url)?;
    let port = free_port()?;
    let out = folder.join("idle.jsonl");
    let start = Instant::now();
    let mut agent = Agent::start(&folder, &out, asks.0.id(), port)?;
    agent.wait_until(|| http(port, "/readyz").is_some_and(|answer| answer.contains(" 200 ")))?;
    let ready_ms = start.elapsed().as_secs_f64() * 1e3;
    // The library of the shell's curl is already known to the agent: the first request must be captured, not the third.
    asks.go()?;
    agent.wait_until(|| fs::read_to_string(&out).is_ok_and(|told| told.contains("qtap.artifact_record")))?;
    let captured_ms = start.elapsed().as_secs_f64() * 1e3;
    thread::sleep(super::SETTLE);
    let before = usage::cpu_of(&[agent.0.id()])?;
    thread::sleep(Duration::from_secs(seconds.into()));
    let used = usage::cpu_of(&[agent.0.id()])? - before;
    let resident_mb = usage::resident_mb(agent.0.id())?;
    let tables_mb = usage::tables_mb(agent.0.id())?;
    let cpu_permille = used.as_micros() / f64::from(seconds) / 1e3;
    Ok(Sample { ready_ms, captured_ms, cpu_permille, resident_mb, tables_mb })
}

/// A shell that sends one request when told to, and then sleeps until its input ends.
struct Asks(Child);

impl Asks {
    fn start(url: &str) -> Result<Asks> {
        let script = "read -r go && curl -sk -o /dev/null \"$0\"; read -r end";
        let child = Command::new("sh").args(["-c", script, url]).stdin(Stdio::piped()).spawn();
        Ok(Asks(child.context("no shell")?))
    }

    fn go(&mut self) -> Result<()> {
        Ok(self.0.stdin.as_mut().context("standard input is piped")?.write_all(b"go\n")?)
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Agent(Child);

impl Agent {
    fn start(folder: &Path, out: &Path, pid: u32, port: u16) -> Result<Agent> {
        let mut command = Command::new(shell::target_dir()?.join("release/qtap"));
        command.args(["run", "--pid", &pid.to_string(), "--httpd-listen", &format!("127.0.0.1:{port}"), "--data-dir"]);
        command.arg(folder.join("data")).stdin(Stdio::null()).stdout(File::create(out)?).stderr(Stdio::null());
        Ok(Agent(command.spawn().context("qtap does not start")?))
    }

    fn wait_until(&mut self, holds: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if holds() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("qtap ended with {status}");
            }
            thread::sleep(PAUSE);
        }
        bail!("not within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The response's head and body; `None` when there is no response.
fn http(port: u16, path: &str) -> Option<String> {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: qtap\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
