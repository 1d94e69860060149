//! `cargo xtask kernel coverage`: which programs' HTTPS is captured, how, and at what cost. In: parts of programs' names. Out: the table
//! that the test `coverage::of_each_program` prints; with `--keep`, in `docs/coverage.md` too.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::page::Place;
use crate::processor::Processor;
use crate::{setup, shell};

const PLACE: Place = Place {
    page: "docs/coverage.md",
    marks: ["<!-- cargo xtask kernel coverage --keep -->\n", "<!-- as printed -->\n"],
};

/// Not a row of its own: no packaged program uses it, and its test builds one.
const GRPC_GO: &str = "grpc-go";
const GRPC_GO_TEST: &str = "grpc::calls_of_every_kind_by_go_over_tls";

/// What `cargo xtask kernel coverage` is told.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Writes the table into docs/coverage.md.
    #[arg(long, conflicts_with = "filter")]
    keep: bool,
    /// Only programs whose names hold one of these.
    filter: Vec<String>,
}

/// Installs what is missing, and prints the table.
pub(super) fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("the programs are captured: please run as root");
    }
    setup::for_coverage()?;
    let mut tests = Command::new(super::program::of_the_tests(Processor::of(super::HOST).0, super::program::QUICKEST)?);
    tests.current_dir(shell::workspace().join("qtap-agent")).env("QTAP_COVERAGE_ONLY", options.filter.join(","));
    tests.args(["--ignored", "--exact", "--nocapture", "--test-threads", "1", "coverage::of_each_program"]);
    if options.filter.is_empty() || options.filter.iter().any(|word| GRPC_GO.contains(word)) {
        tests.arg(GRPC_GO_TEST);
    }
    println!("$ {}", shell::describe(&tests));
    let mut child = tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the test does not start")?;
    let mut table = String::new();
    for line in BufReader::new(child.stdout.take().context("the test says nothing")?).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with("| ") {
            table += &format!("{line}\n");
        }
    }
    if !child.wait()?.success() {
        bail!("the test failed: a row is neither whole nor says why, or a program could not be talked to");
    }
    if options.keep { PLACE.keep(&table) } else { Ok(()) }
}
