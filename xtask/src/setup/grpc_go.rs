//! grpc-go, as Debian packages it for builds without modules: its sources and those of its imports, unpacked (not installed) below the target directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{releases, report};
use crate::{apt, shell};

/// The Debian release, and the packages.
const RELEASE: &str = "trixie";
const PACKAGES: [&str; 7] = [
    "golang-github-golang-protobuf-1-5-dev",
    "golang-golang-x-net-dev",
    "golang-golang-x-sys-dev",
    "golang-golang-x-text-dev",
    "golang-google-genproto-dev",
    "golang-google-grpc-dev",
    "golang-google-protobuf-dev",
];

/// Unpacks the packages where they are missing. On a host whose apt has no Debian source, they stay missing.
pub(super) fn ensure() -> Result<()> {
    let home = shell::target_dir()?.join("qtap-tools/grpc-go");
    if home.join("src").exists() {
        return Ok(());
    }
    match unpack(&home) {
        Ok(()) => report("grpc-go", format!("unpacked in {}", home.display())),
        Err(reason) => report("grpc-go", format!("none, and its test is skipped: {reason:#}")),
    }
    Ok(())
}

fn unpack(home: &Path) -> Result<()> {
    let (made, root) = (home.join("made"), home.join("made/root"));
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| made.display().to_string())?;
    }
    fs::create_dir_all(&root)?;
    let config = releases::lists_of(&made, RELEASE)?;
    for file in apt::fetch(&config, &PACKAGES, &made)? {
        shell::capture(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
    }
    fs::rename(root.join("usr/share/gocode/src"), home.join("src"))?;
    fs::remove_dir_all(&made).with_context(|| made.display().to_string())
}
