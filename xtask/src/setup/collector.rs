//! A real OpenTelemetry Collector for the tests of the exporters, built with the tests' Go from its sources as Debian packages them. They and
//! their imports take hundreds of megabytes, so that only `cargo xtask setup --for collector` builds it; `cargo xtask check` uses it where it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{python, releases, report};
use crate::{apt, shell};

/// The Debian release, and the package.
const RELEASE: &str = "sid";
const PACKAGE: &str = "golang-opentelemetry-collector-dev";
const MAIN: &str = include_str!("../../collector/main.go");

/// Builds it where it is missing. Returns true when it had to.
pub(super) fn ensure() -> Result<bool> {
    let home = shell::target_dir()?.join("qtap-tools/otelcol");
    let program = home.join("otelcol");
    if program.exists() {
        report("collector", format!("{}, complete", program.display()));
        return Ok(false);
    }
    let made = home.join("made");
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| made.display().to_string())?;
    }
    fs::create_dir_all(&made)?;
    build(&made, &program).context("the Collector could not be built")?;
    fs::remove_dir_all(&made).with_context(|| made.display().to_string())?;
    report("collector", format!("built {}", program.display()));
    Ok(true)
}

fn build(made: &Path, program: &Path) -> Result<()> {
    let (root, config) = (made.join("root"), releases::lists_of(made, RELEASE)?);
    for file in apt::download(&config, &[PACKAGE])? {
        shell::capture(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
    }
    // As Debian builds Go programs: no modules, all sources below one folder.
    let sources = root.join("usr/share/gocode");
    let main = sources.join("src/otelcol");
    fs::create_dir_all(&main)?;
    fs::write(main.join("main.go"), MAIN)?;
    let mut go = Command::new(python::environment()?.join("bin/go"));
    go.args(["build", "-o"]).arg(program).arg("otelcol").env("GOPATH", &sources).env("GOCACHE", made.join("cache"));
    shell::run(go.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0"))
}
