//! `cargo xtask check`: everything that must hold before a change is accepted. Every step runs, whatever the result of those before it;
//! the last line sums up the tests, and a failed step that is not a test counts as one failure.

mod dependencies;
mod harness;
mod room;
mod stack;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{bpf_toolchain, chart, kernel, setup, shell};

/// Results of tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// The names of those that failed, where known.
    names: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.names.extend(other.names);
    }
}

/// A step, its result, and how long it took.
struct Done {
    name: &'static str,
    outcome: Result<Tally>,
    took: Duration,
}

type Step = (&'static str, fn() -> Result<Tally>);

const STEPS: [Step; 12] = [
    ("setup", setup),
    ("format", format),
    ("probes", probes),
    ("lints", lints),
    ("lints, without the kernel", lints_without_kernel),
    ("docs", docs),
    ("dependencies", || dependencies::check().map(|()| Tally::default())),
    ("chart", || chart::check().map(|()| Tally::default())),
    ("tests, without the kernel", || harness::run(&["--no-default-features"])),
    ("tests", harness::run_all_but_kernel),
    ("kernel tests", harness::run_kernel),
    ("other kernels", other_kernels),
];

/// How much is checked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also what takes minutes: a million exchanges through a ring that is too small, a million calls of each program that a
    /// probe may harm, a body of a gibibyte.
    #[arg(long)]
    long: bool,
}

/// The steps of `--long`.
const LONG: [Step; 2] =
    [("kernel tests, long", harness::run_long_kernel), ("large bodies, long", harness::run_long_bodies)];

/// Runs every step. True when nothing failed.
pub(crate) fn run(options: &Options) -> bool {
    let done: Vec<Done> = STEPS.iter().chain(LONG.iter().filter(|_| options.long)).map(perform).collect();
    println!("\ncheck:");
    let mut sum = Tally::default();
    for step in done {
        let how = match &step.outcome {
            Ok(tally) if tally.failed == 0 => "ok".to_owned(),
            Ok(tally) => format!("{} failed", tally.failed),
            Err(error) => format!("{error:#}"),
        };
        println!("  {:<26} {:>6.1} s  {how}", step.name, step.took.as_secs_f64());
        sum.add(counted(step.outcome));
    }
    for name in &sum.names {
        println!("failed: {name}");
    }
    if sum.failed > 0 {
        // Shortage of disk or memory may be the cause: a compiler or linker that was killed does not say so.
        println!("{}", room::left().unwrap_or_else(|error| format!("{error:#}")));
    }
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    sum.failed == 0
}

fn perform(&(name, step): &Step) -> Done {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = step();
    if let Err(error) = &outcome {
        println!("{name}: {error:#}");
    }
    Done { name, outcome, took: start.elapsed() }
}

fn counted(outcome: Result<Tally>) -> Tally {
    match outcome {
        Ok(tally) => tally,
        Err(_) => Tally { failed: 1, ..Tally::default() },
    }
}

fn setup() -> Result<Tally> {
    room::check()?;
    setup::run(setup::Purpose::Check)?;
    Ok(Tally::default())
}

fn format() -> Result<Tally> {
    cargo(&["fmt", "--all", "--check"])
}

/// The kernel crate is checked only by its compiler's lints: Debian's toolchain has no clippy.
fn probes() -> Result<Tally> {
    let toolchain = bpf_toolchain::find().map_err(|missing| anyhow::anyhow!("{missing}"))?;
    let target = shell::target_dir()?.join("bpf");
    let mut build = toolchain.build_command(&shell::workspace().join("qtap-ebpf"), &target, std::env::consts::ARCH);
    let output = shell::output_of(build.arg("--quiet"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    print!("{said}");
    if !output.status.success() {
        bail!("the probes do not build");
    }
    if said.lines().any(|line| line.starts_with("warning: ")) {
        bail!("the probes build with warnings");
    }
    stack::check(&std::fs::read(bpf_toolchain::object_path(&target, "qtap"))?)?;
    Ok(Tally::default())
}

fn lints() -> Result<Tally> {
    cargo(&["clippy", "--workspace", "--exclude", "qtap-ebpf", "--all-targets", "--", "-D", "warnings"])
}

fn lints_without_kernel() -> Result<Tally> {
    cargo(&["clippy", "--package", "qtap-agent", "--no-default-features", "--all-targets", "--", "-D", "warnings"])
}

fn docs() -> Result<Tally> {
    let mut doc = shell::cargo();
    doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--exclude", "qtap-ebpf", "--no-deps"]);
    shell::run(&mut doc)?;
    Ok(Tally::default())
}

/// A short test whether other kernels accept the probes; all tests on all of them take hours (`cargo xtask kernel`).
fn other_kernels() -> Result<Tally> {
    let [passed, failed, skipped] = kernel::smoke()?;
    Ok(Tally { passed, failed, skipped, names: Vec::new() })
}

fn cargo(arguments: &[&str]) -> Result<Tally> {
    shell::run(shell::cargo().args(arguments))?;
    Ok(Tally::default())
}
