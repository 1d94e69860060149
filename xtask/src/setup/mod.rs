//! `cargo xtask setup`: finds or installs what building, the demo and the checks need, and prints what it found, what it
//! installed and what it chose. A second run finds everything and changes nothing.

mod bpf;
mod collector;
mod coverage;
mod grpc_go;
pub(crate) mod helm;
mod libressl;
mod packages;
mod python;
mod releases;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

/// What the machine is to be fit for; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Purpose {
    /// `cargo build`.
    Build,
    /// `cargo xtask demo`.
    Demo,
    /// `cargo xtask check`, and most of `cargo xtask bench`.
    Check,
    /// `cargo xtask bench tshark`.
    Bench,
    /// `cargo xtask check` with a real OpenTelemetry Collector among the receivers, for which some 330 MB of sources are downloaded.
    Collector,
}

/// Prepares the machine for `purpose`.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    let start = Instant::now();
    let mut changed = packages::ensure(purpose)?;
    changed |= bpf::ensure()?;
    if purpose >= Purpose::Check {
        changed |= python::ensure()?;
        changed |= helm::ensure()?;
    }
    if purpose >= Purpose::Collector {
        changed |= collector::ensure()?;
    }
    let what = if changed { "installed what was missing" } else { "nothing to do" };
    println!("setup: {what} ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Installs Debian packages that only one command needs.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    packages::install(packages)
}

/// Installs what the coverage table needs beyond the tests.
pub(crate) fn for_coverage() -> Result<()> {
    run(Purpose::Check)?;
    coverage::ensure()?;
    grpc_go::ensure()?;
    libressl::ensure()?;
    releases::ensure()
}

/// The directory of the tests' Python and its packages.
pub(crate) fn python_dir() -> Result<PathBuf> {
    python::environment()
}

/// One line of the report.
fn report(what: &str, found: impl std::fmt::Display) {
    println!("setup: {what:<16} {found}");
}
