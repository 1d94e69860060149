//! `cargo xtask fuzz [TARGET] [--minutes N]`: builds the fuzz targets (`qtap-agent/fuzz`), runs one or all, prints cost and coverage. Findings
//! stay where libFuzzer put them; inputs worth keeping go into `qtap-agent/fuzz/corpus`, which `tests/corpora.rs` replays.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{bench::usage, shell};

/// The compiler that libFuzzer needs.
const TOOLCHAIN: &str = "nightly";

/// Maximum input size: enough for several messages, and small enough for a high rate.
const MOST_BYTES: u32 = 4096;

/// Time after which an input is considered to hang. libFuzzer knows only wall-clock time: on a busy machine, the few seconds that an input
/// may need (some targets try every split of it) take minutes.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of the targets; all, one after the other, when none is named.
    target: Option<String>,
    /// CPU minutes for each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Keep of what was reached the smallest part that reaches as much, and write it where it is committed.
    #[arg(long)]
    keep: bool,
}

/// Cost and coverage of a run.
#[derive(Default)]
struct Ran {
    cpu_minutes: f64,
    executions: u64,
    coverage: u64,
    features: u64,
    ended_well: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    install()?;
    let all = targets()?;
    let wanted: Vec<String> = match &options.target {
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no target {name}; there are: {}", all.join(", ")),
        None => all,
    };
    let mut table = String::from("target        CPU minutes   executions   edges   features\n");
    let mut failed = Vec::new();
    for target in &wanted {
        let binary = build(target)?;
        let ran = fuzz(target, &binary, options.minutes)?;
        table += &format!(
            "{target:<12} {:>12.1} {:>12} {:>7} {:>10}\n",
            ran.cpu_minutes, ran.executions, ran.coverage, ran.features
        );
        if !ran.ended_well {
            failed.push(target.as_str());
        }
        if options.keep {
            keep(target, &binary)?;
        }
    }
    print!("\n{table}");
    if !failed.is_empty() {
        bail!("found something: {}; the inputs are in {}", failed.join(", "), found()?.display());
    }
    Ok(())
}

fn home() -> PathBuf {
    shell::workspace().join("qtap-agent/fuzz")
}

fn work() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("fuzz"))
}

fn found() -> Result<PathBuf> {
    Ok(work()?.join("found"))
}

/// Names of the targets.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(home().join("targets")).context("qtap-agent/fuzz/targets")?.flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| name != "seeds").collect();
    names.sort();
    Ok(names)
}

/// Installs cargo-fuzz; fails without the compiler it needs.
fn install() -> Result<()> {
    if shell::capture(Command::new("rustup").args(["run", TOOLCHAIN, "rustc", "--version"])).is_err() {
        bail!("libFuzzer needs a nightly compiler: rustup toolchain install {TOOLCHAIN}");
    }
    if shell::capture(shell::cargo().args(["fuzz", "--version"])).is_err() {
        println!("cargo-fuzz is not there: installing it");
        shell::run(shell::cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    Ok(())
}

/// Builds a target; returns its program.
fn build(target: &str) -> Result<PathBuf> {
    let work = work()?;
    let mut cargo = Command::new("rustup");
    // The variables set by the cargo that runs xtask must not override the nightly one.
    cargo.current_dir(shell::workspace()).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    cargo
        .args(["run", TOOLCHAIN, "cargo", "fuzz", "build", target])
        .arg("--fuzz-dir")
        .arg(home())
        .arg("--target-dir")
        .arg(&work);
    shell::run(&mut cargo)?;
    let host = shell::capture(Command::new("rustup").args(["run", TOOLCHAIN, "rustc", "-vV"]))?;
    let triple = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(work.join(triple).join("release").join(target))
}

/// The folder that collects a target's inputs while it runs.
fn gathered(target: &str) -> Result<PathBuf> {
    let folder = work()?.join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn fuzz(target: &str, binary: &Path, minutes: u64) -> Result<Ran> {
    let found = found()?.join(target);
    fs::create_dir_all(&found)?;
    let mut command = Command::new(binary);
    command.args(["-print_final_stats=1", "-rss_limit_mb=3072", "-use_value_profile=1"]);
    command.arg(format!("-timeout={}", TIMEOUT.as_secs()));
    command.arg(format!("-max_len={MOST_BYTES}"));
    command.arg(format!("-artifact_prefix={}/", found.display()));
    let words = home().join("dict").join(target);
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    command.arg(gathered(target)?).arg(home().join("corpus").join(target));
    println!("$ {}", shell::describe(&command));
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("the target does not start")?;
    let said = child.stderr.take().context("it says nothing")?;
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(said).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    watch(&mut child, &lines, minutes)
}

/// Passes the output on, and measures the CPU time until the process ends. It is asked to end when its minutes of CPU time are used up, so that
/// a busy machine makes it run longer, not try less.
fn watch(child: &mut Child, lines: &Receiver<String>, minutes: u64) -> Result<Ran> {
    let mut ran = Ran::default();
    let mut asked = false;
    loop {
        if let Ok(used) = usage::cpu_of(&[child.id()]) {
            ran.cpu_minutes = ran.cpu_minutes.max(used.as_micros() / 60e6);
        }
        if !asked && ran.cpu_minutes >= minutes as f64 {
            asked = true;
            let _ = Command::new("sh").args(["-c", "kill -USR1 \"$0\""]).arg(child.id().to_string()).status();
        }
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                println!("{line}");
                read(&line, &mut ran);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    ran.ended_well = child.wait()?.success();
    Ok(ran)
}

/// `#4096 pulse cov: 1234 ft: 5678 …`, `stat::number_of_executed_units: 99`.
fn read(line: &str, ran: &mut Ran) {
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
    let after = |mark: &str| line.split_once(mark).and_then(|(_, rest)| number(rest));
    ran.coverage = after("cov: ").unwrap_or(ran.coverage);
    ran.features = after("ft: ").unwrap_or(ran.features);
    ran.executions = after("stat::number_of_executed_units:").unwrap_or(ran.executions);
}

/// Merges the collected inputs into the committed corpus: only those that reach code that no other does. Execution counts, which the
/// search itself uses, are ignored: they would keep thousands.
fn keep(target: &str, binary: &Path) -> Result<()> {
    let mut merge = Command::new(binary);
    merge.args(["-merge=1", "-use_counters=0"]).arg(home().join("corpus").join(target)).arg(gathered(target)?);
    shell::run(&mut merge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_libfuzzer_are_read() {
        let mut ran = Ran::default();
        read("#65536\tpulse  cov: 2011 ft: 7012 corp: 400/21Kb lim: 80 exec/s: 100 rss: 90Mb", &mut ran);
        read("stat::number_of_executed_units: 123456", &mut ran);
        read("INFO: seed corpus", &mut ran);
        assert_eq!((ran.coverage, ran.features, ran.executions), (2011, 7012, 123_456));
    }
}
