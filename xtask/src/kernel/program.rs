//! The program of the kernel tests, built: by cargo, for the processor that is to run it. In: a processor. Out: the program's path.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::processor::Processor;
use crate::shell;

/// Packages that building for another processor needs and that are not there: what links, and the library of C that is linked.
pub(super) fn missing(processor: &Processor) -> Vec<String> {
    let debian = processor.debian;
    let linker = shell::which(processor.linker).is_none();
    let library = !PathBuf::from(format!("/usr/{}-linux-gnu/include/stdio.h", processor.rust)).exists();
    let compiler = linker.then(|| format!("gcc-{}-linux-gnu", processor.rust));
    compiler.into_iter().chain(library.then(|| format!("libc6-dev-{debian}-cross"))).collect()
}

/// The tests, built, with the programs that they run.
pub(super) fn of_the_tests(processor: &Processor) -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    // With the program of rustls that they capture.
    let what = ["--package", "qtap-agent", "--test", "kernel", "--example", "rustls_talks"];
    cargo.args(["test", "--no-run", "--message-format=json"]).args(what);
    if !processor.is_the_hosts() {
        build_for(processor, &mut cargo)?;
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

/// What cargo has to know beside the target. It builds in a directory of its own, as it would build much of the host's anew for the differences. Where the compiler does not bring the standard library for it, cargo builds that from its source.
fn build_for(processor: &Processor, cargo: &mut Command) -> Result<()> {
    let Processor { target, linker, .. } = processor;
    let words = target.replace('-', "_");
    let home = shell::target_dir()?.join("kernels").join(processor.debian).join("build");
    cargo.args(["--target", target, "--target-dir"]).arg(home);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", words.to_uppercase()), linker).env(format!("CC_{words}"), linker);
    let libraries = shell::capture(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
    if !PathBuf::from(libraries.trim()).exists() {
        // Only a compiler that takes itself for an unstable one does that.
        cargo.args(["-Z", "build-std"]).env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(())
}
