//! An image with nothing but a client: curl, with a TLS library that no other container and no program of the host maps. In: this machine's curl. Out:
//! an image, and a shell that runs containers of it, one after the other, once it is told to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::{Engine, layout};
use crate::shell;

/// Its name.
const IMAGE: &str = "qtap-trial-client";

/// Waits to be told, then runs container after container. `$0`: the file that tells; `$1`: how many; the rest: the command.
const SCRIPT: &str = "while ! [ -e \"$0\" ]; do sleep 0.1; done
n=$1; shift; i=0
while [ $i -lt $n ]; do \"$@\" || exit 1; i=$((i+1)); done";

/// Containers to come.
pub(super) struct Clients {
    shell: Child,
    tells: PathBuf,
}

impl Clients {
    /// Builds the image below `home`; each container of it asks for `url` this often, twice a second, and ends.
    pub(super) fn prepare(engine: Engine, home: &Path, url: &str, containers: u32, requests: u32) -> Result<Clients> {
        let (folder, tells) = (home.join("client"), home.join("go"));
        let _ = fs::remove_file(&tells);
        let curl = shell::which("curl").context("curl is not installed")?;
        // The entry of the image is the program that stands where qtap stands in its own.
        layout::program(&folder.join("root"), &curl, super::PROGRAM_INSIDE)?;
        engine.build(IMAGE, &folder, None)?;
        let mut run = engine.run();
        run.args(["--network=host", IMAGE, "-sk", "--rate", "2/s"]);
        for _ in 0..requests {
            run.args(["-o", "/dev/null", url]);
        }
        let mut shell = Command::new("timeout");
        shell
            .args(["900", "sh", "-c", SCRIPT])
            .arg(&tells)
            .arg(containers.to_string())
            .arg(run.get_program())
            .args(run.get_args());
        let shell = shell.stdin(Stdio::null()).spawn().context("sh")?;
        Ok(Clients { shell, tells })
    }

    /// The process that all of them descend from.
    pub(super) fn pid(&self) -> u32 {
        self.shell.id()
    }

    /// Runs them, and waits until the last has ended.
    pub(super) fn run(&mut self) -> Result<bool> {
        fs::write(&self.tells, b"")?;
        Ok(self.shell.wait()?.success())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
