//! `cargo xtask kernel`: runs the tests of the running kernel on this kernel and on others in virtual machines. In: which kernels, which tests. Out:
//! for each kernel what passed, failed and was skipped, by name, and each program's cost to the verifier. A failure on any kernel fails the command.
//! `coverage` instead prints which programs' traffic is captured, `sites` where probes are placed.

mod archive;
mod coverage;
mod foreign;
mod machine;
mod modules;
mod outcome;
mod packages;
mod page;
mod program;
mod sites;

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::processor::Processor;
use crate::{cross, setup, shell};
use machine::Parts;
use outcome::Outcome;
use packages::Apt;

/// The kernel that runs here.
const HOST: &str = "host";

/// Kernels that are run in machines: these versions of Debian's kernels for virtual machines.
const VERSIONS: [&str; 2] = ["6.1", "6.12"];

/// What `cargo xtask kernel` is told.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Only on this one: `host`, a version such as 6.1, of which apt knows a kernel for virtual machines, the same for another processor, such as
    /// 6.1-arm64, or a folder in which a kernel's package is unpacked. Can be given again.
    #[arg(long, value_name = "KERNEL")]
    only: Vec<String>,
    /// Only what `cargo xtask check` runs: whether the probes load and see something, everyone's traffic included.
    #[arg(long)]
    smoke: bool,
    /// Parts of names of tests.
    filter: Vec<String>,
}

/// What it does instead.
#[derive(clap::Subcommand)]
enum Instead {
    /// Prints what is seen of which program, on this kernel.
    Coverage(coverage::Options),
    /// Prints where probes stand in the TLS functions of what this host has, and what they cost.
    Sites(sites::Options),
}

/// Tests that show within a minute or two that a kernel accepts the probes and that they capture something.
const SMOKE: [&str; 3] = [
    "alone::everyone_is_captured_but_qtap",
    "doctor::the_probes_are_tried",
    "verified::every_program_is_within_its_budget",
];

/// Parts of names of tests that are left out in machines, and why.
const LEFT_OUT: [(&str, &str); 9] = [
    ("crowds::", "tens of thousands of exchanges"),
    ("overflow::", "tens of thousands of exchanges"),
    ("large::", "bodies of 64 MiB"),
    ("reloads_under_load", "tens of thousands of exchanges"),
    ("h2load_with_100_streams", "tens of thousands of exchanges"),
    ("a_hundred_thousand_calls", "a hundred thousand exchanges"),
    ("what_nobody_wants_is_not_copied", "of how fast is given up what is read fast"),
    ("processor_time_is_kept_to", "of how much of a processor the agent uses, which is translated too"),
    ("a_library_of_programs_of_a_moment", "of how fast a library is found that is mapped for milliseconds"),
];

/// The same for another processor, where machine code is not analysed (`docs/how-it-works.md`), and whose root has fewer programs than a host.
const LEFT_OUT_THERE: [(&str, &str); 7] = [
    ("go_tls::", "of Go's TLS, which is not probed there"),
    ("rustls_tls::", "of rustls, which is not probed there"),
    ("a_connection_of_rustls", "of rustls, which is not probed there"),
    ("sites::", "of places that are chosen by reading code"),
    ("located::", "of TLS libraries inside stripped programs, which are not found there"),
    ("calls_of_every_kind_over_tls", "of grpcio, which is such a program"),
    ("odd_programs", "of a program in i386's assembly"),
];

/// Time limits for all tests on one kernel, and for the smoke test.
const WHOLE: Duration = Duration::from_secs(3 * 3600);
const SHORT: Duration = Duration::from_secs(12 * 60);

/// Runs what the options ask for.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.instead {
        Some(Instead::Coverage(options)) => return coverage::run(options),
        Some(Instead::Sites(options)) => return sites::run(options),
        None => {}
    }
    let all = || std::iter::once(HOST).chain(VERSIONS).map(ToOwned::to_owned).collect();
    let kernels: Vec<String> = if options.only.is_empty() { all() } else { options.only.clone() };
    let smoke = SMOKE.map(ToOwned::to_owned);
    let (filter, limit) = if options.smoke { (&smoke[..], SHORT) } else { (&options.filter[..], WHOLE) };
    if !shell::is_root() {
        bail!("the tests capture: please run as root");
    }
    let machines = || kernels.iter().filter(|kernel| *kernel != HOST);
    for processor in machines().map(|kernel| Processor::of(kernel).0) {
        prepare(processor)?;
    }
    let mut failed = 0;
    let mut outcomes = Vec::new();
    for kernel in &kernels {
        let outcome = perform(kernel, filter, limit).with_context(|| format!("kernel {kernel}"))?;
        failed += outcome.failed.len();
        outcomes.push((kernel.as_str(), outcome));
    }
    tell(&outcomes);
    if failed > 0 { bail!("{failed} failed") } else { Ok(()) }
}

/// Runs the smoke test on all kernels of machines: counts of passed, failed and skipped tests. Skipped where machines are not possible.
pub(crate) fn smoke() -> Result<[u64; 3]> {
    let images = || -> Result<()> {
        if !shell::is_root() {
            bail!("the tests capture, which needs root");
        }
        VERSIONS.iter().try_for_each(|version| {
            let (processor, version) = Processor::of(version);
            prepare(processor)?;
            packages::image(version, &Apt::of(processor)?).map(|_| ())
        })
    };
    if let Err(reason) = images() {
        println!("skipped: {reason:#}");
        return Ok([0, 0, (SMOKE.len() * VERSIONS.len()) as u64]);
    }
    let filter = SMOKE.map(ToOwned::to_owned);
    let outcomes: Result<Vec<_>> =
        VERSIONS.iter().map(|version| Ok((*version, perform(version, &filter, SHORT)?))).collect();
    let outcomes = outcomes?;
    tell(&outcomes);
    Ok(outcomes
        .iter()
        .map(|(_, outcome)| counts(outcome))
        .fold([0; 3], |sum, more| [0, 1, 2].map(|at| sum[at] + more[at])))
}

/// Passed, failed, skipped. A machine that did not boot says nothing about the probes: its tests are skipped.
fn counts(outcome: &Outcome) -> [u64; 3] {
    if outcome.release.is_none() {
        println!("skipped: no machine came up: {}", outcome.failed.join("; "));
        return [0, 0, SMOKE.len() as u64];
    }
    [outcome.passed.len(), outcome.failed.len(), outcome.skipped.len()].map(|count| count as u64)
}

/// Installs what machines of that processor need.
fn prepare(processor: &Processor) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("machines are made on x86_64 only");
    }
    let mut missing = Vec::new();
    if shell::which(processor.qemu).is_none() {
        missing.push(processor.qemu_package.to_owned());
    }
    if processor.is_the_hosts() {
        if !Path::new("/bin/busybox").exists() && !Path::new("/usr/bin/busybox").exists() {
            missing.push("busybox-static".to_owned());
        }
    } else {
        missing.extend(cross::missing(processor));
        if shell::capture(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
            missing.push("python3-pip".to_owned());
        }
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    if !missing.is_empty() {
        setup::install(&missing)?;
    }
    // Debian 12 ships it in qemu's packages, later releases in a package of its own.
    if machine::has_file_server() {
        return Ok(());
    }
    setup::install(&["virtiofsd"]).or_else(|_| setup::install(&["qemu-system-common"]))
}

/// Runs the tests on one kernel.
fn perform(kernel: &str, filter: &[String], limit: Duration) -> Result<Outcome> {
    let processor = Processor::of(kernel).0;
    let whole_in_a_machine = kernel != HOST && filter.is_empty();
    let profile = if whole_in_a_machine { program::TRANSLATED } else { program::QUICKEST };
    let tests = program::of_the_tests(processor, profile)?;
    println!("\n== kernel {kernel}");
    let start = Instant::now();
    let mut outcome = Outcome::default();
    let mut hear = |line: &str| {
        println!("{line}");
        outcome.hear(line);
    };
    let ended = if kernel == HOST {
        on_host(&tests, filter, &mut hear)
    } else {
        let parts = parts(kernel)?;
        let by = machine::accelerator(&parts);
        machine::run(&parts, &job(&tests, processor, filter, by.slowness(), limit), limit, &mut hear)
    };
    outcome.close();
    if let Err(error) = ended {
        outcome.failed.push(format!("{error:#}"));
    }
    println!("kernel {kernel}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(outcome)
}

/// The parts of a machine with that kernel.
fn parts(kernel: &str) -> Result<Parts> {
    let (processor, version) = Processor::of(kernel);
    let apt = Apt::of(processor)?;
    let image = packages::image(version, &apt)?;
    let root = if processor.is_the_hosts() { None } else { Some(foreign::root(processor, &apt)?) };
    Ok(Parts { processor, image, root })
}

/// Runs a script in a machine with that kernel, where the tests are run too.
pub(crate) fn in_machine(kernel: &str, job: &str, limit: Duration, hear: impl FnMut(&str)) -> Result<()> {
    prepare(Processor::of(kernel).0)?;
    machine::run(&parts(kernel)?, job, limit, hear)
}

/// Names of tests that are left out in the processor's machines, and why.
fn left_out(processor: &Processor) -> impl Iterator<Item = &'static (&'static str, &'static str)> + use<> {
    let there = if processor.is_the_hosts() { &[][..] } else { &LEFT_OUT_THERE[..] };
    LEFT_OUT.iter().chain(there)
}

/// Arguments for the test harness: one test at a time, with output in the format parsed here.
const HARNESS: [&str; 5] = ["--show-output", "--test-threads", "1", "--color", "never"];

fn on_host(tests: &Path, filter: &[String], hear: &mut impl FnMut(&str)) -> Result<()> {
    let mut command = Command::new(tests);
    command.current_dir(shell::workspace().join("qtap-agent")).args(HARNESS).args(filter);
    println!("$ {}", shell::describe(&command));
    let output = shell::output_of(&mut command)?;
    String::from_utf8_lossy(&output.stdout).lines().for_each(hear);
    Ok(())
}

/// The script for the machine.
fn job(tests: &Path, processor: &Processor, filter: &[String], slowness: u32, limit: Duration) -> String {
    let quoted = shell::quoted;
    let left_out = left_out(processor).flat_map(|(name, _)| ["--skip", name]);
    let words = HARNESS.into_iter().chain(left_out).chain(filter.iter().map(String::as_str));
    let words: Vec<String> = words.map(quoted).collect();
    let python =
        if processor.is_the_hosts() { env::var("QTAP_TEST_PYTHON").ok() } else { Some(foreign::PYTHON.to_owned()) };
    let python = python.map(|python| format!("export QTAP_TEST_PYTHON={}\n", quoted(&python)));
    format!(
        "{}export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run/tmp DATA_DIR=/run/qtap
export QTAP_TEST_SLOWNESS={slowness} QTAP_TEST_WHOLE_HOST=1
cd {} && exec timeout {} {} {}
",
        python.unwrap_or_default(),
        quoted(&shell::workspace().join("qtap-agent").display().to_string()),
        limit.as_secs(),
        quoted(&tests.display().to_string()),
        words.join(" ")
    )
}

/// Prints the summary: names, and the table of the verifier's counts.
fn tell(outcomes: &[(&str, Outcome)]) {
    println!("\nleft out in machines:");
    LEFT_OUT.iter().for_each(|(name, why)| println!("  {name:<44} {why}"));
    if outcomes.iter().any(|(kernel, _)| *kernel != HOST && !Processor::of(kernel).0.is_the_hosts()) {
        println!("\nleft out in those of another processor too:");
        LEFT_OUT_THERE.iter().for_each(|(name, why)| println!("  {name:<44} {why}"));
    }
    for (kernel, outcome) in outcomes {
        let release = outcome.release.as_deref().unwrap_or("this host's");
        println!("\nkernel {kernel} ({release}):");
        outcome.skipped.iter().for_each(|(name, why)| println!("  skipped {name}: {why}"));
        outcome.failed.iter().for_each(|name| println!("  FAILED  {name}"));
        let counts = [outcome.passed.len(), outcome.failed.len(), outcome.skipped.len()];
        println!("  {} passed, {} failed, {} skipped", counts[0], counts[1], counts[2]);
    }
    println!("\ninstructions that the verifier walks:");
    let heads: String = outcomes.iter().map(|(kernel, _)| format!("{kernel:>12}")).collect();
    println!("  {:<22}{heads}", "program");
    let Some((_, first)) = outcomes.iter().find(|(_, outcome)| !outcome.verified.is_empty()) else { return };
    for name in first.verified.keys() {
        let count = |outcome: &Outcome| outcome.verified.get(name).map_or("-".to_owned(), u64::to_string);
        let counts: String = outcomes.iter().map(|(_, outcome)| format!("{:>12}", count(outcome))).collect();
        println!("  {name:<22}{counts}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_command() {
        let host = Processor::of("6.1").0;
        let job = job(Path::new("/a b/kernel-1"), host, &["it's".to_owned()], 10, Duration::from_secs(60));
        let last = job.lines().last().unwrap_or_default();
        assert!(last.contains("exec timeout 60 '/a b/kernel-1' '--show-output' "), "{job}");
        assert!(last.ends_with("'it'\\''s'"), "{job}");
        assert!(job.contains("QTAP_TEST_SLOWNESS=10"));
    }
}
