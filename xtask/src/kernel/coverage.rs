//! `cargo xtask kernel coverage`: which programs' HTTPS is seen, how, and at what price. In: words that programs' names hold. Out: the table that the test
//! `coverage::of_each_program` prints; with `--keep`, in `docs/coverage.md` too.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{setup, shell};

/// The page, and the lines between which the table stands.
const PAGE: &str = "docs/coverage.md";
const MARKS: [&str; 2] = ["<!-- cargo xtask kernel coverage --keep -->\n", "<!-- as printed -->\n"];

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
    let mut tests = Command::new(super::program()?);
    tests.current_dir(shell::workspace().join("qtap-agent")).env("QTAP_COVERAGE_ONLY", options.filter.join(","));
    tests.args(["--ignored", "--exact", "coverage::of_each_program", "--nocapture"]);
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
    if options.keep { keep(&table) } else { Ok(()) }
}

/// Puts the table where the page has it.
fn keep(table: &str) -> Result<()> {
    let path = shell::workspace().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("{PAGE} can't be read"))?;
    std::fs::write(&path, placed(&page, table)?).with_context(|| format!("{PAGE} can't be written"))
}

fn placed(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(MARKS[0]).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).context("the place for the table has no end")?;
    Ok(format!("{before}{}\n{table}\n{}{after}", MARKS[0], MARKS[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_goes_between_the_marks() {
        let page = format!("before\n{}\n| old |\n\n{}after\n", MARKS[0], MARKS[1]);
        let placed = placed(&page, "| new |\n").unwrap_or_default();
        assert_eq!(placed, format!("before\n{}\n| new |\n\n{}after\n", MARKS[0], MARKS[1]));
        assert!(super::placed("before", "").is_err());
    }
}
