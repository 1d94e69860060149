//! `cargo xtask kernel sites`: where probes are placed in the TLS functions of what this host has, and what they cost. In: more files, if any.
//! Out: the table that the test `sites_as_a_table` prints; with `--keep`, in `docs/sites.md` too. Nothing is attached.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Result, bail};

use super::page::Place;
use crate::{setup, shell};

const PLACE: Place =
    Place { page: "docs/sites.md", marks: ["<!-- cargo xtask kernel sites --keep -->\n", "<!-- as printed -->\n"] };

/// What `cargo xtask kernel sites` is told.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Writes the table into docs/sites.md.
    #[arg(long, conflicts_with = "file")]
    keep: bool,
    /// More programs and libraries.
    file: Vec<PathBuf>,
}

/// Builds what is missing, and prints the table.
pub(super) fn run(options: &Options) -> Result<()> {
    setup::run(setup::Purpose::Check)?;
    let mut build = shell::cargo();
    shell::run(build.args(["build", "--package", "qtap-agent", "--example", "rustls_talks"]))?;
    let files: Vec<String> = programs()?.iter().chain(&options.file).map(|file| file.display().to_string()).collect();
    let mut test = shell::cargo();
    test.args(["test", "--package", "qtap-agent", "--lib", "--", "--ignored", "--exact", "--nocapture"]);
    test.arg("capture::discover::plan::tests::sites_as_a_table").env("QTAP_TEST_TLS_FILES", files.join(":"));
    println!("$ {}", shell::describe(&test));
    let output = test.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let table: String = said.lines().filter(|line| line.starts_with("| ")).map(|line| format!("{line}\n")).collect();
    print!("{table}");
    if !output.status.success() || table.lines().count() < 3 {
        bail!("the test failed, or there is no TLS library here");
    }
    if options.keep { PLACE.keep(&table) } else { Ok(()) }
}

/// The available programs with built-in TLS: those of the tests and of the coverage table, and the tests' example.
fn programs() -> Result<Vec<PathBuf>> {
    let (target, python) = (shell::target_dir()?, setup::python_dir()?);
    let named = ["caddy", "traefik"].into_iter();
    let named = named.map(|name| shell::which(name).unwrap_or_else(|| python.join("bin").join(name)));
    // `envoy` beside Python is a script that runs this program.
    let modules = fs::read_dir(python.join("lib")).into_iter().flatten().flatten();
    let envoy = modules.map(|version| version.path().join("site-packages/envoy/_bin/envoy"));
    let older = ["1.23", "1.24"].map(|number| target.join(format!("qtap-tools/kubectl-{number}/kubectl")));
    let all = named
        .chain(older)
        .chain(shell::which("envoy"))
        .chain(envoy)
        .chain([target.join("debug/examples/rustls_talks")]);
    Ok(all.filter(|file| file.exists()).collect())
}
