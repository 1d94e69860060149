//! The Python that runs third-party clients, servers and receivers in the tests: a virtual environment below the target
//! directory, with the packages and versions of `xtask/python-requirements.txt`.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::report;
use crate::shell;

const REQUIREMENTS: &str = include_str!("../../python-requirements.txt");

/// Retries for a package index that is temporarily unavailable.
const RETRIES: u32 = 2;

/// The path of the environment.
pub(super) fn environment() -> Result<PathBuf> {
    Ok(shell::target_dir()?.join("qtap-tools/python"))
}

/// True when the environment exists with exactly the packages required.
pub(super) fn is_ready() -> bool {
    let stamp = environment().map(|dir| dir.join("installed.txt"));
    stamp.is_ok_and(|stamp| fs::read_to_string(stamp).is_ok_and(|text| text == REQUIREMENTS))
}

/// Creates the environment. Returns true when it had to.
pub(super) fn ensure() -> Result<bool> {
    let dir = environment()?;
    if is_ready() {
        report("python", format_args!("{}, complete", dir.display()));
        return Ok(false);
    }
    // `--clear` would empty the link's target, which belongs to someone else.
    if dir.is_symlink() {
        bail!(
            "{} is a link to an environment with other packages: remove the link, or use what it leads to",
            dir.display()
        );
    }
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    let list = shell::workspace().join("xtask/python-requirements.txt");
    install(&[OsStr::new("--requirement"), list.as_os_str()])?;
    fs::write(dir.join("installed.txt"), REQUIREMENTS).context("the list of what was installed")?;
    report("python", format_args!("installed {}", dir.display()));
    Ok(true)
}

/// Runs `pip install` with these arguments.
pub(super) fn install(words: &[&OsStr]) -> Result<()> {
    pip(&[&["install".as_ref()], words].concat())
}

/// Runs `pip` with these arguments.
pub(super) fn pip(words: &[&OsStr]) -> Result<()> {
    let python = environment()?.join("bin/python");
    let mut attempt = 0;
    loop {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(words);
        match shell::run(&mut pip) {
            Ok(()) => return Ok(()),
            Err(error) if attempt == RETRIES => return Err(error.context("the Python packages could not be had")),
            Err(error) => report("python", format_args!("{error}; trying again")),
        }
        attempt += 1;
        thread::sleep(Duration::from_secs(5));
    }
}
