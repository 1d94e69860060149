//! What every test needs: the privilege to capture, its own directory, one turn at a time, and bounded waits.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Longest wait for anything that is not a capture, such as a port or an exit.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Factor for all waits, set by the runner where every instruction is emulated (`cargo xtask kernel`).
const SLOWNESS: &str = "QTAP_TEST_SLOWNESS";

/// Set to 1 only by the init of a virtual machine that was started for the tests, where nobody else's traffic could be captured.
const WHOLE_HOST: &str = "QTAP_TEST_WHOLE_HOST";

static TURN: Mutex<()> = Mutex::new(());

/// A limit scaled for this machine. No assertion depends on it, only when a wait gives up.
pub fn slowed(limit: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| {
        std::env::var(SLOWNESS).map_or(1, |text| text.parse().expect("QTAP_TEST_SLOWNESS is a number"))
    });
    limit * *FACTOR
}

/// One test's turn, and its directory.
pub struct Lab {
    _turn: MutexGuard<'static, ()>,
    dir: tempfile::TempDir,
}

impl Lab {
    /// None without root: the test is then skipped, and says so.
    pub fn open() -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: capture needs root");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Lab { _turn: turn, dir: tempfile::tempdir().unwrap() })
    }

    /// The same for a test that captures the whole host. None also where others use the host.
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

/// A child process that is killed when the test ends; no other process is.
pub struct Guarded(pub Child);

impl Guarded {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits for the child to exit, at most `limit`, scaled for this machine.
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

/// Waits until `holds` returns true, or fails the test with `what`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let (start, patience) = (Instant::now(), slowed(PATIENCE));
    while !holds() {
        assert!(start.elapsed() < patience, "after {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that were free a moment ago. All are held until all are known, so they differ.
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

/// Runs a helper command, asserts that it succeeds, and returns its output.
pub fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// SHA-256 as records write it.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Random bytes of that length, the same on each call, which do not compress.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
