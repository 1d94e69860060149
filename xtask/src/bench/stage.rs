//! What watches the server during a measurement: nothing, empty programs, or qtap. A stage is a command line; it reports on
//! standard error when it is ready, and ends at SIGTERM.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};

use super::sink::{Otlp, Sink};
use crate::{nginx, shell};

/// How long a stage may take to become ready, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The stage under which nothing watches.
pub(super) const BARE: &str = "bare";

/// The word by which a stage reports that it is ready.
const READY: &str = "ready";

/// One way of watching.
pub(super) struct Stage {
    /// Name in the table and on the command line.
    pub(super) name: &'static str,
    /// Program and arguments; `{pid}` is the server's. `None`: nothing watches.
    command: Option<(PathBuf, Vec<String>)>,
    /// The file for its standard output; `None`: discarded.
    out: Option<PathBuf>,
}

/// The stage that exports everything.
pub(super) const FULL: &str = "qtap-full";

/// Every stage, in the table's order. qtap sends its records to the sink, and serves its metrics at `admin_port`.
pub(super) fn all(sink: &Sink, otlp: Otlp, admin_port: u16) -> Result<Vec<Stage>> {
    let release = shell::target_dir()?.join("release");
    let settings = shell::target_dir()?.join("qtap-bench");
    fs::create_dir_all(&settings)?;
    let empty = |mode: &str| {
        let arguments = ["--probes", mode, "--pid", "{pid}"].map(ToOwned::to_owned).to_vec();
        Some((release.join("examples/empty_probes"), arguments))
    };
    let admin = format!("127.0.0.1:{admin_port}");
    // Records that an earlier run left in its queues must not be delivered in this one.
    let data = settings.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let data = data.to_string_lossy().into_owned();
    let qtap = |level: &str| {
        let file = settings.join(format!("{level}.yaml"));
        fs::write(&file, configuration(level, otlp, sink.port(otlp)))?;
        let file = file.to_string_lossy().into_owned();
        let arguments = ["run", "--config", &file, "--pid", "{pid}", "--httpd-listen", &admin, "--data-dir", &data];
        anyhow::Ok(Some((release.join("qtap"), arguments.map(ToOwned::to_owned).to_vec())))
    };
    Ok(vec![
        Stage { name: BARE, command: None, out: None },
        Stage { name: "empty-entry-ret", command: empty("entry-ret"), out: None },
        Stage { name: "empty-sites", command: empty("sites"), out: None },
        Stage { name: "empty-tracepoints", command: empty("tracepoints"), out: None },
        Stage { name: "qtap-summary", command: qtap("summary")?, out: None },
        Stage { name: FULL, command: qtap("full")?, out: None },
    ])
}

fn configuration(level: &str, otlp: Otlp, port: u16) -> String {
    let protocol = otlp.name();
    format!(
        "version: 2
services:
  event_stores:
    - {{type: otel, protocol: {protocol}, compression: none, endpoint: \"http://127.0.0.1:{port}\"}}
  object_stores:
    - {{type: otel, protocol: {protocol}, compression: none, endpoint: \"http://127.0.0.1:{port}\"}}
stacks:
  bench:
    plugins:
      - {{type: http_capture, config: {{level: {level}}}}}
      - {{type: redact}}
tap:
  http: {{stack: bench}}
"
    )
}

impl Stage {
    /// qtap with these arguments; its standard output goes to `out`.
    pub(super) fn qtap(arguments: Vec<String>, out: &Path) -> Result<Stage> {
        let program = shell::target_dir()?.join("release/qtap");
        Ok(Stage { name: "qtap", command: Some((program, arguments)), out: Some(out.to_owned()) })
    }

    /// True when it sends what it sees to the sink.
    pub(super) fn exports(&self) -> bool {
        self.name.starts_with("qtap")
    }

    /// Starts the watcher of the process `pid`, and waits until it is ready.
    pub(super) fn start(&self, pid: u32) -> Result<Option<Watcher>> {
        self.start_with(pid, &[])
    }

    /// The same, with more flags for qtap.
    pub(super) fn start_with(&self, pid: u32, flags: &[&str]) -> Result<Option<Watcher>> {
        let Some((program, arguments)) = &self.command else { return Ok(None) };
        let flags = if self.exports() { flags } else { &[] };
        let printed = self.out.as_ref().map(fs::File::create).transpose()?;
        let mut child = Command::new(program)
            .args(arguments.iter().map(|argument| argument.replace("{pid}", &pid.to_string())))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(printed.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let watcher = Watcher { child };
        let (say, said) = mpsc::channel();
        // Reads until the end, so that a full pipe never blocks the watcher.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        let start = Instant::now();
        let mut last = String::new();
        while let Ok(line) = said.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            if line.contains(READY) {
                return Ok(Some(watcher));
            }
            last = line;
        }
        bail!("{} was never ready: {last}", program.display())
    }
}

/// The watching process; ended when dropped.
pub(super) struct Watcher {
    child: Child,
}

impl Watcher {
    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        nginx::end(&mut self.child, PATIENCE);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Stage;

    fn stage(script: &str) -> Stage {
        let arguments = ["-c", script, "{pid}"].map(ToOwned::to_owned).to_vec();
        Stage { name: "test", command: Some(("sh".into(), arguments)), out: None }
    }

    #[test]
    fn a_watcher_is_started_when_it_says_so_and_ended_when_dropped() {
        let watcher = stage("echo starting >&2; echo pid $0 ready >&2; exec sleep 60").start(7).unwrap().unwrap();
        let pid = watcher.pid();
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(watcher);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn one_that_ends_first_is_an_error_with_its_last_word() {
        let Err(error) = stage("echo no kernel >&2; exit 3").start(7) else { panic!("it was taken for ready") };
        assert!(error.to_string().contains("no kernel"), "{error}");
    }
}
