//! Builds the program of the kernel tests with cargo, for the processor that will run it. In: a processor, a profile. Out: the program's path.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::processor::Processor;
use crate::{cross, shell};

/// The profile that is built quickest, and the one for all tests in a machine, which pays for its build there.
pub(super) const QUICKEST: &str = "dev";
pub(super) const TRANSLATED: &str = "machine";

/// Builds the tests, with the programs that they run.
pub(super) fn of_the_tests(processor: &Processor, profile: &str) -> Result<PathBuf> {
    // The rustls program that they capture. `cargo test` would build it with a test harness for a main function.
    shell::run(&mut cargo(processor, &["build", "--example", "rustls_talks", "--profile", profile])?)?;
    let words = ["test", "--test", "kernel", "--no-run", "--message-format=json", "--profile", profile];
    let mut build = cargo(processor, &words)?;
    println!("$ {}", shell::describe(&build));
    let output = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "kernel");
    let found = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.context("cargo named no program of the kernel tests")
}

/// Cargo, for the agent and that processor.
fn cargo(processor: &Processor, words: &[&str]) -> Result<Command> {
    let mut cargo = shell::cargo();
    cargo.args(words).args(["--package", "qtap-agent"]);
    if !processor.is_the_hosts() {
        cross::build_for(processor, &mut cargo)?;
    }
    Ok(cargo)
}
