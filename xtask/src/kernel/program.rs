//! Builds the program of the kernel tests with cargo, for the processor that will run it. In: a processor, a profile. Out: the program's path.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::processor::Processor;
use crate::{cross, shell};

/// The profile that is built quickest, and the one for all tests in a machine, which pays for its build there.
pub(super) const QUICKEST: &str = "dev";
pub(super) const TRANSLATED: &str = "machine";

/// Builds the tests, with the programs that they run.
pub(super) fn of_the_tests(processor: &Processor, profile: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    // The rustls program that they capture.
    let what = ["--package", "qtap-agent", "--test", "kernel", "--example", "rustls_talks"];
    cargo.args(["test", "--no-run", "--message-format=json", "--profile", profile]).args(what);
    if !processor.is_the_hosts() {
        cross::build_for(processor, &mut cargo)?;
    }
    println!("$ {}", shell::describe(&cargo));
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "kernel");
    let found = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.context("cargo named no program of the kernel tests")
}
