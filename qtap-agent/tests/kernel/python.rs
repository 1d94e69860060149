//! Clients and servers that other people wrote: in Python, or installed with its packages or next to them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use super::lab::{Guarded, Lab, digest, output_of};

/// The interpreter that has the packages: QTAP_TEST_PYTHON, else the one that `cargo xtask setup` installed. None: the test is
/// skipped, and says so.
pub fn interpreter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QTAP_TEST_PYTHON") {
        return Some(named.into());
    }
    let made = tools().join("python/bin/python");
    if made.exists() {
        return Some(made);
    }
    println!("skipped: no Python with the test packages (cargo xtask setup --for check, or QTAP_TEST_PYTHON)");
    None
}

/// A program installed with the Python packages, as go and Caddy are. None: the test is skipped, and says so.
pub fn installed(name: &str) -> Option<PathBuf> {
    let program = interpreter()?.with_file_name(name);
    if program.exists() {
        return Some(program);
    }
    println!("skipped: no {name} beside the Python of the tests (cargo xtask setup --for check)");
    None
}

/// Node. None: the test is skipped, and says so.
pub fn node() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("node")).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no node (cargo xtask setup --for check)");
    }
    found
}

/// Where xtask puts what it installs.
pub fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../qtap-tools")
}

/// Prefix of the flag that gives the GOPATH of the sources.
const GOPATH: &str = "gopath=";

/// A Go program of this directory, built. The result and the build cache are kept beside the packages; the first build takes half a minute. None:
/// the test is skipped, and says so. That is also so in a virtual machine, which can't write there, for a program that was not built before.
pub fn go_program(lab: &Lab, source: &str) -> Option<PathBuf> {
    go_program_with(lab, source, source.trim_end_matches(".go"), &[])
}

/// The same under another name, with compiler flags. Two are not the compiler's: `cgo`, and `gopath=…`, the place of imported sources.
pub fn go_program_with(lab: &Lab, source: &str, name: &str, flags: &[&str]) -> Option<PathBuf> {
    go_program_by(&installed("go")?, lab, source, name, flags)
}

/// The same with another compiler; the name must be unique to it.
pub fn go_program_by(go: &Path, lab: &Lab, source: &str, name: &str, flags: &[&str]) -> Option<PathBuf> {
    let tools = tools();
    let text = std::fs::read(script(source)).unwrap();
    let of = digest(&[&text[..], flags.join(" ").as_bytes()].concat());
    let kept = tools.join("go-programs").join(format!("{name}-{}", &of[of.len() - 16..]));
    if !kept.exists() {
        let folder = tools.join("go-programs");
        let _ = std::fs::create_dir_all(&folder);
        let Ok(made) = tempfile::Builder::new().prefix("building-").tempdir_in(&folder) else {
            println!("skipped: {source} was not built before, and can't be here (run the test on the host first)");
            return None;
        };
        let mut build = Command::new(go);
        let cgo = if flags.contains(&"cgo") { "1" } else { "0" };
        build.env("GOCACHE", tools.join("go")).env("CGO_ENABLED", cgo).env("GOFLAGS", "-mod=mod");
        build.env("GOTOOLCHAIN", "local").args(["build", "-o"]).arg(made.path().join(name));
        if let Some(path) = flags.iter().find_map(|flag| flag.strip_prefix(GOPATH)) {
            build.env("GO111MODULE", "off").env("GOFLAGS", "").env("GOPATH", path);
        }
        let is_own = |flag: &&&str| **flag != "cgo" && !flag.starts_with(GOPATH);
        output_of(build.args(flags.iter().filter(is_own)).arg(script(source)));
        std::fs::rename(made.path().join(name), &kept).unwrap();
    }
    let program = lab.path(name);
    std::fs::copy(&kept, &program).unwrap();
    Some(program)
}

/// A script of this directory.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernel").join(name)
}

/// A script that exchanges lines with the test, and is killed with it.
pub struct Script {
    pub child: Guarded,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// A Python script.
    pub fn start(name: &str, arguments: &[&str]) -> Option<Script> {
        Some(Script::run_by(interpreter()?, name, arguments))
    }

    /// A script for this interpreter.
    pub fn run_by(interpreter: PathBuf, name: &str, arguments: &[&str]) -> Script {
        let mut command = Command::new(interpreter);
        Script::talk(command.arg(script(name)).args(arguments))
    }

    fn talk(command: &mut Command) -> Script {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Script { child: Guarded(child), input, output }
    }

    /// A Python script in a network namespace.
    pub fn run_in(namespace: &str, name: &str, arguments: &[&str]) -> Option<Script> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(interpreter()?).arg(script(name)).args(arguments);
        Some(Script::talk(&mut command))
    }

    /// The next line it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Sends it a line, and returns its answer.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.line()
    }
}
