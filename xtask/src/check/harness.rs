//! Runs `cargo test`, passes its output on as it comes, and counts the results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Tally;
use crate::shell;

/// Tests of the running kernel: the files of `qtap-agent/tests` with this prefix.
const KERNEL_TESTS: &str = "kernel";

/// Runs `cargo test` with these arguments. The tests' output is shown: figures, and why tests are skipped.
pub(super) fn run(arguments: &[&str]) -> Result<Tally> {
    run_with(arguments, &[])
}

/// The same, with additional arguments for the test harness.
fn run_with(arguments: &[&str], own: &[&str]) -> Result<Tally> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--no-fail-fast"]).args(arguments).args(["--", "--show-output"]).args(own);
    let (tally, success) = count(&mut cargo)?;
    if !success && tally.failed == 0 {
        bail!("the tests do not build or did not end");
    }
    Ok(tally)
}

/// Runs every test except those of the running kernel.
pub(super) fn run_all_but_kernel() -> Result<Tally> {
    let mut arguments = vec!["--lib", "--bins", "--examples"];
    let names = integration_tests()?;
    for name in names.iter().filter(|name| !name.starts_with(KERNEL_TESTS)) {
        arguments.extend(["--test", name]);
    }
    let mut tally = run(&arguments)?;
    tally.add(run(&["--doc"])?);
    Ok(tally)
}

/// Runs the kernel tests that take minutes, in a release build.
pub(super) fn run_long_kernel() -> Result<Tally> {
    run_with(&["--release", "--package", "qtap-agent", "--test", "kernel*"], &["--ignored", "a_million"])
}

/// Runs the test with a body larger than any memory limit, in a release build.
pub(super) fn run_long_bodies() -> Result<Tally> {
    let arguments = ["--release", "--no-default-features", "--package", "qtap-agent", "--test", "large_bodies"];
    run_with(&arguments, &["--ignored", "a_body_of_a_gibibyte"])
}

/// Runs the tests of the running kernel when root; otherwise builds them, and counts them as skipped.
pub(super) fn run_kernel() -> Result<Tally> {
    if !integration_tests()?.iter().any(|name| name.starts_with(KERNEL_TESTS)) {
        println!("there are none");
        return Ok(Tally::default());
    }
    let arguments = ["--package", "qtap-agent", "--test", "kernel*"];
    if shell::is_root() {
        // The rustls program that they capture.
        let build = ["build", "--package", "qtap-agent", "--example", "rustls_talks"];
        shell::run(shell::cargo().args(build))?;
        return run(&arguments);
    }
    let list = shell::capture(shell::cargo().arg("test").args(arguments).args(["--", "--list"]))?;
    let skipped = list.lines().filter(|line| line.ends_with(": test")).count() as u64;
    println!("{skipped} kernel tests skipped: they need root");
    Ok(Tally { skipped, ..Tally::default() })
}

/// Names of the integration tests of the workspace.
fn integration_tests() -> Result<Vec<String>> {
    let text = shell::capture(shell::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&metadata["packages"]).into_iter().flat_map(|package| list(&package["targets"]));
    let tests = targets.filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"));
    Ok(tests.filter_map(|target| target["name"].as_str().map(ToOwned::to_owned)).collect())
}

/// How long to wait for the last output lines after the tests ended.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs the command, passes its lines on and sums up the results in them; also returns whether it succeeded. A program that a test left
/// running may keep the output open: what it writes after the tests' end is not waited for.
fn count(command: &mut Command) -> Result<(Tally, bool)> {
    println!("$ {}", shell::describe(command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo does not start")?;
    let output = child.stdout.take().context("cargo says nothing")?;
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).split(b'\n').map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    let mut tally = Tally::default();
    let mut said = Said::default();
    let mut ended = None;
    loop {
        match lines.recv_timeout(LAST_LINES) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                said.hear(&line);
                tally.names.extend(failed_in(&line));
                if let Some(result) = result_in(&line) {
                    said.explain(&mut tally.names);
                    tally.add(said.correct(result));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if ended.is_some() => {
                println!("a program that a test started still runs: it is left alone");
                break;
            }
            Err(RecvTimeoutError::Timeout) => ended = child.try_wait()?,
        }
    }
    Ok((tally, child.wait()?.success()))
}

/// What tests print: under one heading per test, before the result. The harness counts a test that prints `skipped: …` as passed.
#[derive(Debug, Default)]
struct Said {
    skipped: u64,
    /// The test of the current heading has been counted.
    counted: bool,
    /// The test of the current heading.
    heading: String,
    /// How many more lines to keep of the reason why it failed.
    kept: usize,
    /// Why tests failed: by test, the place of the panic and the first lines of its message.
    reasons: BTreeMap<String, String>,
}

/// Maximum lines of the reason why a test failed, and characters of each: the summary, which is read first, must stay short.
const REASON: (usize, usize) = (4, 500);

impl Said {
    fn hear(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            (self.counted, self.kept) = (false, 0);
            name.clone_into(&mut self.heading);
        } else if line.contains(" panicked at ") && !self.reasons.contains_key(&self.heading) {
            self.kept = REASON.0;
            self.reasons.insert(self.heading.clone(), String::new());
        }
        if let Some(reason) = self.reasons.get_mut(&self.heading).filter(|_| self.kept > 0) {
            self.kept -= 1;
            let _ = write!(reason, "\n    {}", line.chars().take(REASON.1).collect::<String>());
        }
        if line.starts_with("skipped: ") && !self.counted {
            self.counted = true;
            self.skipped += 1;
        }
    }

    /// Appends to the names of failed tests the reason.
    fn explain(&mut self, names: &mut [String]) {
        for name in names {
            if let Some(reason) = self.reasons.remove(name.as_str()) {
                name.push_str(&reason);
            }
        }
    }

    /// The result with skipped tests counted as such; resets the state.
    fn correct(&mut self, result: Tally) -> Tally {
        let skipped = std::mem::take(self).skipped.min(result.passed);
        Tally { passed: result.passed - skipped, skipped: result.skipped + skipped, ..result }
    }
}

/// Parses `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn result_in(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let found = counts.split("; ").find_map(|part| part.strip_suffix(word));
        found.and_then(|number| number.trim().parse().ok())
    };
    let (passed, failed, skipped) = (count("passed")?, count("failed")?, count("ignored")?);
    Some(Tally { passed, failed, skipped, names: Vec::new() })
}

/// The name in `test a::b ... FAILED`.
fn failed_in(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Said, Tally, failed_in, result_in};

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped, names: Vec::new() }
    }

    #[test]
    fn the_one_that_failed_is_named() {
        assert_eq!(failed_in("test a::b ... FAILED").as_deref(), Some("a::b"));
        assert_eq!(failed_in("test a::b ... ok"), None);
        assert_eq!(failed_in("test result: FAILED. 1 passed; 2 failed; 0 ignored"), None);
    }

    #[test]
    fn the_harness_line_is_read() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.02s";
        assert_eq!(result_in(line), Some(tally(12, 0, 3)));
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_in(line), Some(tally(1, 2, 0)));
    }

    #[test]
    fn a_test_that_says_so_is_skipped_once() {
        let mut said = Said::default();
        for line in [
            "---- a::b stdout ----",
            "skipped: no node",
            "skipped: no go",
            "---- c stdout ----",
            "it was not skipped: it ran",
            "---- d stdout ----",
            "skipped: no root",
        ] {
            said.hear(line);
        }
        let result = tally(5, 1, 1);
        assert_eq!(said.correct(result.clone()), tally(3, 1, 3));
        assert_eq!(said.correct(result.clone()), result, "the next begins anew");
    }

    #[test]
    fn a_test_that_failed_says_why() {
        let mut said = Said::default();
        for line in [
            "---- a stdout ----",
            "first",
            "thread 'a' (7) panicked at tests/a.rs:3:4:",
            "assertion `left == right` failed",
            "  left: 1",
            " right: 2",
            "note: run with `RUST_BACKTRACE=1`",
            "---- b stdout ----",
            "said",
        ] {
            said.hear(line);
        }
        let mut names = ["a".to_owned(), "b".to_owned()];
        said.explain(&mut names);
        let why = "thread 'a' (7) panicked at tests/a.rs:3:4:\n    assertion `left == right` failed\n      left: 1\n     right: 2";
        assert_eq!(names, [format!("a\n    {why}"), "b".to_owned()]);
    }

    #[test]
    fn other_lines_are_not_results() {
        assert_eq!(result_in("test check::tests::x ... ok"), None);
        assert_eq!(result_in("test result: "), None);
    }
}
