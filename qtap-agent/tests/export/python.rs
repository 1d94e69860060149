//! Receivers in Python, each a child of the test, ended by closing its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The interpreter that has the packages: QTAP_TEST_PYTHON, else what `cargo xtask setup` made. None: the test is skipped,
/// and says so.
pub(crate) fn interpreter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QTAP_TEST_PYTHON") {
        return Some(named.into());
    }
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let made = target.join("qtap-tools/python/bin/python");
    if made.exists() {
        return Some(made);
    }
    println!("skipped: no Python with the test packages (cargo xtask setup, or QTAP_TEST_PYTHON)");
    None
}

/// The OTLP receiver. What it says is read by a thread of its own, so that it never waits for the test.
pub(crate) struct Receiver {
    child: Child,
    lines: mpsc::Receiver<Value>,
    pub(crate) grpc: u64,
    pub(crate) http: u64,
}

impl Receiver {
    /// Starts it with its plan; none when there is no Python.
    pub(crate) fn start(plan: &Value) -> Option<Receiver> {
        Receiver::run("otlp_receiver.py", plan)
    }

    /// Starts another script that talks the same way.
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

    /// Gives it another plan; what it said until now is forgotten.
    pub(crate) fn plan(&mut self, plan: &Value) {
        self.tell(&plan.to_string());
    }

    /// What it has said until now.
    pub(crate) fn said(&mut self) -> Vec<Value> {
        self.tell("")
    }

    /// Says a line to it, and gives what it said before it had read that.
    fn tell(&mut self, line: &str) -> Vec<Value> {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
        std::iter::from_fn(|| Some(self.next()).filter(|line| line["ready"] != true)).collect()
    }

    /// What it says next.
    pub(crate) fn next(&mut self) -> Value {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// Closes its input and gives the rest of what it says.
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
