//! The qtap program: run with a command, or beside processes that already run.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::lab::{Guarded, Lab, free_ports, slowed, wait_until};
use super::records::{Records, parse};

/// Longest time a capture may take, its command included.
const LIMIT: Duration = Duration::from_secs(100);

/// The same for captures that need minutes.
const LONG_LIMIT: Duration = Duration::from_secs(600);

/// The results of a qtap run.
pub struct Captured {
    pub records: Records,
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What qtap and the command printed.
    pub stdout: String,
    /// What qtap logged, and what the command wrote there.
    pub stderr: String,
}

/// Runs qtap with these arguments, with a time limit, and collects its output.
pub fn run<A: AsRef<OsStr>>(lab: &Lab, arguments: impl IntoIterator<Item = A>) -> Captured {
    run_command(lab, command().args(arguments))
}

/// qtap, without the environment variables of this process that it would read.
pub fn command() -> Command {
    command_by([])
}

/// The same, started through another program, given by name and arguments.
pub fn command_by<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut words = words.into_iter().chain([env!("CARGO_BIN_EXE_qtap")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    for name in [
        "QTAP_CONFIG",
        "LOG_LEVEL",
        "QTAP_TAGS",
        "HTTP_BUFFER_SIZE",
        "JAVA_AGENT",
        "TLS_PROBES",
        "BPF_TRACE",
        "DATA_DIR",
        "QTAP_CONFIG_WATCH",
        "HTTPD_LISTEN",
        "DOCKER_SOCKET_ENDPOINT",
        "CONTAINERD_SOCKET_ENDPOINT",
        "CRI_RUNTIME_SOCKET_ENDPOINT",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a qtap command that the test prepared.
pub fn run_command(lab: &Lab, command: &mut Command) -> Captured {
    run_within(LIMIT, lab, command)
}

/// The same for runs that need minutes.
pub fn run_long(lab: &Lab, command: &mut Command) -> Captured {
    run_within(LONG_LIMIT, lab, command)
}

fn run_within(limit: Duration, lab: &Lab, command: &mut Command) -> Captured {
    let (out, err) = (lab.path("qtap.out"), lab.path("qtap.err"));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = Guarded(command.spawn().unwrap());
    let status = child.end_within(limit).unwrap_or_else(|| panic!("no end after {limit:?}: {}", text(&err)));
    let (stdout, stderr) = (text(&out), text(&err));
    assert!(!stderr.contains("panicked"), "{stderr}");
    Captured { records: Records::default(), code: status.code(), stdout, stderr }
}

/// Parses the records and asserts the conservation law, which every capture must keep.
fn lawful(lines: &str) -> Records {
    let records = parse(lines);
    records.assert_conserved();
    records
}

/// Runs `qtap exec` on a command line, with further arguments for qtap.
pub fn exec<A: AsRef<OsStr>, C: AsRef<OsStr>>(
    lab: &Lab,
    arguments: impl IntoIterator<Item = A>,
    line: impl IntoIterator<Item = C>,
) -> Captured {
    let records = lab.path("records.jsonl");
    let captured = run_exec(lab, arguments, &records, line);
    Captured { records: lawful(&text(&records)), ..captured }
}

/// The same, leaving the records in a file.
pub fn run_exec<A: AsRef<OsStr>, C: AsRef<OsStr>>(
    lab: &Lab,
    arguments: impl IntoIterator<Item = A>,
    records: &Path,
    line: impl IntoIterator<Item = C>,
) -> Captured {
    let _ = std::fs::remove_file(records);
    let mut qtap = command();
    qtap.arg("exec").arg("-o").arg(records).args(arguments).arg("--").args(line);
    run_within(LONG_LIMIT, lab, &mut qtap)
}

/// Runs `qtap exec` on a shell script.
pub fn exec_script(lab: &Lab, arguments: &[&str], script: &str) -> Captured {
    let captured = exec(lab, arguments, ["sh", "-c", script]);
    assert_eq!(captured.code, Some(0), "{}\n{}", captured.stderr, captured.stdout);
    captured
}

/// Shell lines for [`exec_script`] that wait until a file whose path contains `library` has its probes. Needs `--log-level info`. The probes that an
/// earlier qtap released may prolong the wait.
pub fn until_attached(lab: &Lab, library: &str) -> String {
    let log = lab.path("qtap.err");
    format!(
        "for try in $(seq 600); do grep -q 'TLS library attached.*{library}' '{}' && break; sleep 0.1; done\n",
        log.display()
    )
}

/// A `qtap run` that captures.
pub struct Agent {
    qtap: Guarded,
    out: PathBuf,
    err: PathBuf,
    pub port: u16,
}

impl Agent {
    /// Starts it and waits until it reports ready.
    pub fn start<A: AsRef<OsStr>>(lab: &Lab, arguments: impl IntoIterator<Item = A>) -> Agent {
        Agent::start_by(lab, command(), arguments)
    }

    /// The same, with a command that the test prepared.
    pub fn start_by<A: AsRef<OsStr>>(lab: &Lab, mut qtap: Command, arguments: impl IntoIterator<Item = A>) -> Agent {
        let (out, err) = (lab.path("agent.out"), lab.path("agent.err"));
        let [port] = free_ports();
        qtap.arg("run").arg("--httpd-listen").arg(format!("127.0.0.1:{port}"));
        qtap.arg("--data-dir").arg(lab.path("data")).args(arguments);
        qtap.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut agent = Agent { qtap: Guarded(qtap.spawn().unwrap()), out, err, port };
        wait_until("the agent is ready", || {
            if let Some(status) = agent.qtap.0.try_wait().unwrap() {
                panic!("qtap run ended with {status}: {}", text(&agent.err));
            }
            get(port, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
                && text(&agent.err).contains("ready: capturing")
        });
        agent
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.qtap.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        self.qtap.signal(signal);
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        text(&self.out)
    }

    /// Waits until its output contains `part` this often.
    pub fn wait_for(&self, part: &str, times: usize) {
        wait_until(part, || self.printed().matches(part).count() >= times);
    }

    /// What it has logged so far.
    pub fn logged(&self) -> String {
        text(&self.err)
    }

    /// Ends it with SIGTERM, and parses its records.
    pub fn stop(self) -> Captured {
        let ended = self.end();
        Captured { records: lawful(&ended.stdout), ..ended }
    }

    /// The same without parsing, for output that is not records alone.
    pub fn end(mut self) -> Captured {
        self.qtap.signal(rustix::process::Signal::TERM);
        let status = self.qtap.end_within(LIMIT).expect("qtap ends when told");
        let (stdout, stderr) = (text(&self.out), text(&self.err));
        assert!(!stderr.contains("panicked"), "{stderr}");
        Captured { records: Records::default(), code: status.code(), stdout, stderr }
    }
}

/// The HTTP response of the agent's page, as sent.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(slowed(Duration::from_secs(5)))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The contents of a file; empty when there is none.
pub fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
