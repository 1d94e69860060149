//! Releases probes without making anyone wait.
//!
//! Detaching a link waits until every CPU has left its probes: tens of milliseconds for a link of many places. Where each probe has its own link,
//! these waits add up to a second or two per TLS library, at the end of a command that took milliseconds. So a child process of qtap takes over the
//! probes' descriptors, waits for qtap's end and then ends itself; nobody waits for that. Meanwhile the probes find no process in scope.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getppid, pidfd_getfd, pidfd_open};

/// First argument of a qtap process that is to be this child.
pub const HOLDER: &str = "__hold-probes-until-qtap-ended";
/// What the child writes when it holds the descriptors.
const HELD: &str = "held";
/// Longest time that the child waits for qtap's end.
const LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// Links that are closed in parallel.
const AT_ONCE: usize = 32;

/// The child's work. If any of it fails, qtap waits for its probes itself; nothing is lost.
#[must_use]
pub fn hold() -> u8 {
    u8::from(take_over().is_none())
}

fn take_over() -> Option<()> {
    let qtap = getppid()?;
    let process = pidfd_open(qtap, PidfdFlags::empty()).ok()?;
    let held: Vec<_> =
        probes_of(qtap).into_iter().filter_map(|fd| pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).ok()).collect();
    writeln!(std::io::stdout(), "{HELD}").ok()?;
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    poll(&mut ends, Some(&LIMIT)).ok()?;
    let held = Mutex::new(held);
    // The threads wait in parallel, except for links of perf events.
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            // If none can be started, the remaining links are closed when `held` is dropped.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || while let_go_of_one(&held) {});
        }
    });
    Some(())
}

/// Closes one link. False if none is left.
fn let_go_of_one(held: &Mutex<Vec<OwnedFd>>) -> bool {
    // The lock is released before the link is closed.
    let link = held.lock().unwrap_or_else(PoisonError::into_inner).pop();
    link.is_some()
}

/// Numbers of a process's descriptors that are attached probes.
fn probes_of(pid: Pid) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let is_probe = |entry: &std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("anon_inode:bpf_link") || target.as_os_str() == "anon_inode:[perf_event]"
    };
    entries.filter(is_probe).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Starts a child that takes the probes over; returns when it holds them, or can't.
pub(super) fn hand_over() {
    let Ok(qtap) = std::env::current_exe() else { return };
    let mut command = Command::new(qtap);
    command.arg(HOLDER).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return };
    let Some(said) = child.stdout.take() else { return };
    let mut line = String::new();
    if BufReader::new(said).read_line(&mut line).is_err() || line.trim_end() != HELD {
        tracing::debug!("probes are detached by qtap itself");
        // Nobody reads its reason, but it must not be left as a zombie.
        let _ = child.wait();
    }
}
