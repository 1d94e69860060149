//! What every test has: the right to capture, a directory of its own, one turn at a time, and waits that end.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Longest wait for anything that is not a capture: a port, an end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many times longer waits are allowed to be: set by who runs the tests where every instruction is translated (`cargo xtask kernel`).
const SLOWNESS: &str = "QTAP_TEST_SLOWNESS";

/// Set, to 1, only by the init of a virtual machine that was started for the tests: there is nobody else whose traffic could be captured.
const WHOLE_HOST: &str = "QTAP_TEST_WHOLE_HOST";

static TURN: Mutex<()> = Mutex::new(());

/// A limit as it holds on this machine. What is asserted never depends on it, only when is given up.
pub fn slowed(limit: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| {
        std::env::var(SLOWNESS).map_or(1, |text| text.parse().expect("QTAP_TEST_SLOWNESS is a number"))
    });
    limit * *FACTOR
}

/// One test's turn and directory.
pub struct Lab {
    _turn: MutexGuard<'static, ()>,
    dir: tempfile::TempDir,
}

impl Lab {
    /// None without root: the test is skipped, and says so.
    pub fn open() -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: capture needs root");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Lab { _turn: turn, dir: tempfile::tempdir().unwrap() })
    }

    /// The same, for a test that captures everyone. None also where there is somebody else.
    pub fn open_alone() -> Option<Lab> {
        if std::env::var_os(WHOLE_HOST).is_none_or(|value| value != "1") {
            println!("skipped: everyone is captured only where nobody else is (cargo xtask kernel)");
            return None;
        }
        Lab::open()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// A child that is killed when the test ends, and nobody else.
pub struct Guarded(pub Child);

impl Guarded {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits for its end, at most `limit`, as it holds on this machine.
    pub fn end_within(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let (start, limit) = (Instant::now(), slowed(limit));
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `holds`, or ends the test with `what`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let (start, patience) = (Instant::now(), slowed(PATIENCE));
    while !holds() {
        assert!(start.elapsed() < patience, "after {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that were free a moment ago, all held until all are known.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.each_ref().map(|listener| listener.local_addr().unwrap().port())
}

pub fn wait_for_port(port: u16) {
    wait_until("the port answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// The OpenSSL that curl uses.
pub fn libssl() -> PathBuf {
    let libraries = output_of(Command::new("sh").args(["-c", "ldd \"$(command -v curl)\""]));
    let path = libraries.lines().find_map(|line| line.trim().strip_prefix("libssl.so")?.split_whitespace().nth(2));
    PathBuf::from(path.expect("curl has an OpenSSL"))
}

/// Runs a command that is no test of its own, and gives what it printed.
pub fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// SHA-256 as records write it.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Bytes that no compression and no luck makes alike.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
