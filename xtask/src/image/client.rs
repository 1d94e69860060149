//! An image with only a client: curl, with a TLS library that no other container and no program of the host maps. In: this machine's curl.
//! Out: an image, and a shell that runs containers of it one after the other, once told to start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::{Engine, layout};
use crate::shell;

/// Name of the image.
const IMAGE: &str = "qtap-trial-client";

/// Waits for the start signal, then runs container after container. `$0`: the signal file; `$1`: how many; the rest: the command.
const SCRIPT: &str = "while ! [ -e \"$0\" ]; do sleep 0.1; done
n=$1; shift; i=0
while [ $i -lt $n ]; do \"$@\" || exit 1; i=$((i+1)); done";

/// A shell that will run the containers.
pub(super) struct Clients {
    shell: Child,
    tells: PathBuf,
}

impl Clients {
    /// Builds the image below `home`; each of its containers sends `requests` requests to `url`, two per second, and ends.
    pub(super) fn prepare(engine: Engine, home: &Path, url: &str, containers: u32, requests: u32) -> Result<Clients> {
        let (folder, tells) = (home.join("client"), home.join("go"));
        let _ = fs::remove_file(&tells);
        let curl = shell::which("curl").context("curl is not installed")?;
        // The image's entry point is the path where qtap's own image has qtap.
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

    /// The process that all containers descend from.
    pub(super) fn pid(&self) -> u32 {
        self.shell.id()
    }

    /// Runs the containers, and waits until the last has ended; true when all succeeded.
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
