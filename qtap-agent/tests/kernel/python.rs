//! Python, which plays other people's clients and servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::lab::Guarded;

/// The interpreter that has the packages: QTAP_TEST_PYTHON, else what `cargo xtask setup` made. None: the test is skipped, and
/// says so.
pub fn interpreter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QTAP_TEST_PYTHON") {
        return Some(named.into());
    }
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../qtap-tools/python/bin/python");
    if made.exists() {
        return Some(made);
    }
    println!("skipped: no Python with the test packages (cargo xtask setup --for check, or QTAP_TEST_PYTHON)");
    None
}

/// A script of this directory.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernel").join(name)
}

/// A script that talks with the test by lines, and is killed with it.
pub struct Script {
    pub child: Guarded,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    pub fn start(name: &str, arguments: &[&str]) -> Option<Script> {
        let mut command = Command::new(interpreter()?);
        command.arg(script(name)).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Script { child: Guarded(child), input, output })
    }

    /// The next line it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Sends it a line, and gives its answer.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.line()
    }
}
