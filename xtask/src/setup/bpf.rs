//! Sets up the compiler and the linker of the probes. The compiler is a rustup toolchain with `rust-src`, or Debian's `rustc-web`, which
//! ships `core` for the BPF target; bpf-linker comes from crates.io.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::{packages, report};
use crate::{bpf_toolchain, shell};

/// The toolchain to install when rustup has none whose LLVM the linker can read.
const FALLBACK_TOOLCHAIN: &str = "1.95.0";

/// Debian's compiler with `core` for the BPF target.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// Finds or installs both. Returns true when something was installed.
pub(super) fn ensure() -> Result<bool> {
    let mut changed = false;
    if let Err(missing) = bpf_toolchain::find() {
        report("probes", missing);
        changed = install()?;
    }
    let toolchain = match bpf_toolchain::find() {
        Ok(toolchain) => toolchain,
        Err(missing) => bail!("the probes can't be built: {missing}"),
    };
    let linker = shell::capture(Command::new(&toolchain.linker).arg("--version"))?;
    report("probes", format_args!("{toolchain}"));
    report("linker", linker.trim());
    if changed {
        trial(&toolchain)?;
    }
    Ok(changed)
}

fn install() -> Result<bool> {
    if bpf_toolchain::find_linker().is_none() {
        let version = bpf_toolchain::LINKER_VERSION;
        shell::run(shell::cargo().args(["install", "bpf-linker", "--version", version, "--locked"]))?;
    }
    if bpf_toolchain::find().is_err() && !add_rust_src() {
        report("probes", format_args!("rustup can't; trying Debian's {}", DEBIAN_PACKAGES.join(" ")));
        packages::install(&DEBIAN_PACKAGES)?;
    }
    Ok(true)
}

/// Adds the source of `core` to an installed toolchain whose LLVM the linker can read, else to a newly installed one.
/// Returns false when rustup is not available or fails.
fn add_rust_src() -> bool {
    if shell::which("rustup").is_none() {
        return false;
    }
    let fits = |dir: &PathBuf| {
        let llvm = bpf_toolchain::ask(&dir.join("bin/rustc")).map(|(_, llvm)| llvm);
        llvm.is_some_and(|llvm| llvm <= bpf_toolchain::LINKER_LLVM_MAJOR)
    };
    let mut toolchains = bpf_toolchain::rustup_toolchains();
    // Preferably to the toolchain that builds the agent: that surprises least.
    toolchains.sort_by_key(|dir| !is_named(dir, "stable"));
    let mut rustup = Command::new("rustup");
    match toolchains.into_iter().find(fits).and_then(|dir| dir.file_name().map(ToOwned::to_owned)) {
        Some(name) => rustup.args(["component", "add", "rust-src", "--toolchain"]).arg(name),
        None => {
            rustup.args(["toolchain", "install", FALLBACK_TOOLCHAIN, "--profile", "minimal", "--component", "rust-src"])
        }
    };
    shell::run(&mut rustup).is_ok() && bpf_toolchain::find().is_ok()
}

fn is_named(dir: &Path, prefix: &str) -> bool {
    dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

/// Builds the probes once, in the folder that the agent's build uses, so that an unsuitable toolchain is noticed now.
fn trial(toolchain: &bpf_toolchain::Toolchain) -> Result<()> {
    let target = shell::target_dir()?.join("bpf");
    let mut build = toolchain.build_command(&shell::workspace().join("qtap-ebpf"), &target, std::env::consts::ARCH);
    shell::run(build.arg("--quiet"))?;
    report("trial", bpf_toolchain::object_path(&target, "qtap").display());
    Ok(())
}
