//! LibreSSL, which no distribution at hand packages: an old version, whose sources a crate contains, built below the target directory as a
//! library, with its own client. Nothing is installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::report;
use crate::shell;

/// A package that only depends on that crate.
const MANIFEST: &str = r#"[package]
name = "sources"
version = "0.0.0"
edition = "2024"

[lib]
path = "lib.rs"

[dependencies]
libressl-pnacl-sys = "=2.1.6"

[workspace]
"#;

/// Builds it, after restoring what a crate does not keep: which files are executable, and the order of their timestamps.
const BUILD: &str = "set -e
chmod +x configure install-sh compile config.guess config.sub depcomp missing
find . -name '*.am' -exec touch -r configure.ac {} +
touch aclocal.m4
find . -name 'Makefile.in' -exec touch {} +
touch configure
sh ./configure --disable-static --disable-dependency-tracking CFLAGS='-O2 -w -fcommon'
for folder in crypto ssl apps; do make -C $folder; done";

/// The build's results that are used.
const MADE: [&str; 3] = ["ssl/.libs/libssl.so.26", "crypto/.libs/libcrypto.so.29", "apps/.libs/openssl"];

/// Builds it where it is missing. On a host where that is not possible, it stays missing.
pub(super) fn ensure() -> Result<()> {
    let home = shell::target_dir()?.join("qtap-tools/libressl");
    if home.join("openssl").exists() {
        return Ok(());
    }
    match build(&home) {
        Ok(()) => report("LibreSSL", format!("built in {}", home.display())),
        Err(reason) => report("LibreSSL", format!("none, which has no row: {reason:#}")),
    }
    Ok(())
}

fn build(home: &Path) -> Result<()> {
    let made = home.join("made");
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| made.display().to_string())?;
    }
    fs::create_dir_all(&made)?;
    fs::write(made.join("Cargo.toml"), MANIFEST)?;
    fs::write(made.join("lib.rs"), "")?;
    shell::run(shell::cargo().current_dir(&made).args(["vendor", "--quiet"]))?;
    let sources = made.join("vendor/libressl-pnacl-sys/libressl");
    shell::capture(Command::new("sh").args(["-c", BUILD]).current_dir(&sources))?;
    for file in MADE {
        let file = sources.join(file);
        fs::copy(&file, home.join(file.file_name().context("a file has a name")?))?;
    }
    fs::remove_dir_all(&made).with_context(|| made.display().to_string())
}
