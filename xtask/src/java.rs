//! `cargo xtask java`: compiles the agent that qtap loads into JVMs (`qtap-agent/java`) into the archive that is part of qtap. It is committed, so that nobody
//! needs a JDK to build qtap; a test compares the digest in it with that of the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// The oldest JVM that the agent runs in.
const RELEASE: &str = "8";
/// What the archive's entries have for a date: the earliest that the format has.
const DATE: &str = "1980-01-01T00:00:02Z";

pub(crate) fn run() -> Result<()> {
    let folder = shell::workspace().join("qtap-agent/java");
    let built = shell::target_dir()?.join("java");
    let _ = fs::remove_dir_all(&built);
    let sources = files(&folder.join("qtap/jsse"))?;
    shell::run(
        Command::new("javac")
            .args(["-Xlint:all", "-Xlint:-options", "-Werror", "-g:none", "--release", RELEASE, "-d"])
            .arg(&built)
            .args(&sources),
    )
    .context("a JDK from 17 on (apt-get install default-jdk-headless)")?;
    let all: Vec<String> = sources.iter().map(|source| shell::quoted(&source.display().to_string())).collect();
    let sum = shell::capture(Command::new("sh").args(["-c", &format!("cat {} | sha256sum", all.join(" "))]))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    // A line of a manifest has 72 bytes.
    let (first, second) = sum.split_at(sum.len() / 2);
    let manifest = built.join("manifest");
    fs::write(
        &manifest,
        format!(
            "Agent-Class: qtap.jsse.Agent\nCan-Retransform-Classes: true\nQtap-Sources-1: {first}\nQtap-Sources-2: {second}\n"
        ),
    )?;
    let classes = files(&built.join("qtap/jsse"))?;
    let classes = classes.iter().filter_map(|class| class.strip_prefix(&built).ok());
    let mut archive = Command::new("jar");
    archive.current_dir(&built).args(["--create", "--no-compress", "--date", DATE, "--manifest"]).arg(&manifest);
    shell::run(archive.arg("--file").arg(folder.join("agent.jar")).args(classes))
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}
