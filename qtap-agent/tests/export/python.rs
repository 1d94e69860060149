//! Receivers in Python, each a child of the test, which ends it by closing its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The interpreter that has the packages: QTAP_TEST_PYTHON, else the one that `cargo xtask setup` installed. None: the test is skipped,
/// and says so.
pub(crate) fn interpreter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QTAP_TEST_PYTHON") {
        return Some(named.into());
    }
    let made = tools().join("python/bin/python");
    if made.exists() {
        return Some(made);
    }
    println!("skipped: no Python with the test packages (cargo xtask setup, or QTAP_TEST_PYTHON)");
    None
}

/// Where `cargo xtask setup` puts what it does not install.
pub(crate) fn tools() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("qtap-tools")
}

/// The OTLP receiver. Its own thread reads its output, so that it never waits for the test.
pub(crate) struct Receiver {
    child: Child,
    lines: mpsc::Receiver<Value>,
    pub(crate) grpc: u64,
    pub(crate) http: u64,
}

impl Receiver {
    /// Starts it with its plan. None when there is no Python.
    pub(crate) fn start(plan: &Value) -> Option<Receiver> {
        Receiver::run("otlp_receiver.py", plan)
    }

    /// Starts another script with the same protocol.
    pub(crate) fn run(script: &str, plan: &Value) -> Option<Receiver> {
        let python = interpreter()?;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/export").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .arg(plan.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (teller, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = serde_json::from_str(&line.unwrap()).unwrap();
                if teller.send(line).is_err() {
                    return;
                }
            }
        });
        let mut receiver = Receiver { child, lines, grpc: 0, http: 0 };
        let ports = receiver.next();
        receiver.grpc = ports["grpc"].as_u64().unwrap();
        receiver.http = ports["http"].as_u64().unwrap();
        Some(receiver)
    }

    /// Gives it another plan; its output so far is discarded.
    pub(crate) fn plan(&mut self, plan: &Value) {
        self.tell(&plan.to_string());
    }

    /// Its output so far.
    pub(crate) fn said(&mut self) -> Vec<Value> {
        self.tell("")
    }

    /// Sends it a line, and returns what it printed before it read that line.
    fn tell(&mut self, line: &str) -> Vec<Value> {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
        std::iter::from_fn(|| Some(self.next()).filter(|line| line["ready"] != true)).collect()
    }

    /// The next line of its output.
    pub(crate) fn next(&mut self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// Closes its input and returns the rest of its output.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
