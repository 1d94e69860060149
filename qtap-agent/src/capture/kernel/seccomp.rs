//! Whether a return probe is safe for programs under a seccomp filter.
//!
//! Since Linux 6.11, a uretprobe on x86-64 returns by a system call of its own (`uretprobe`, 335). Some of those kernels submit it to the program's
//! filter, which does not know the call and kills the program. Which ones do is tried, not derived from a version: a child of qtap puts itself
//! under a filter that kills on this one call, and calls a function that has a return probe.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use qtap_common::state::Cookie;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

use super::KernelError;
use super::object::Probes;
use super::trial::words;
use super::uprobes::{Link, Place};
use crate::capture::discover::elf::Elf;
use crate::capture::discover::maps;
use crate::capture::host::{Returns, Tried};

/// First argument of a qtap process that is to be this child.
pub const CANARY: &str = "__call-a-probed-function-under-seccomp";
/// The function that is probed and called: every C library has it, and Rust's standard library calls it.
const FUNCTION: &str = "getpid";
/// `uretprobe` of x86-64.
#[cfg(target_arch = "x86_64")]
const URETPROBE_CALL: i64 = 335;

/// The child's work: it waits for its probe, puts itself under the filter and calls the function. Returns 0 if it survives.
#[must_use]
pub fn canary() -> u8 {
    let _ = kill_process(getpid(), Signal::STOP);
    u8::from(!filtered() || std::process::id() == 0)
}

/// Puts this process under the filter.
#[cfg(target_arch = "x86_64")]
fn filtered() -> bool {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let rules = [(URETPROBE_CALL, Vec::new())].into_iter().collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, TargetArch::x86_64);
    let filter = filter.ok().and_then(|filter| BpfProgram::try_from(filter).ok());
    filter.is_some_and(|filter| apply_filter(&filter).is_ok())
}

/// On other architectures a return probe returns by a breakpoint: there is no call to be killed for.
#[cfg(not(target_arch = "x86_64"))]
fn filtered() -> bool {
    true
}

/// Why there is no verdict.
enum Untold {
    /// The kernel refused the probe.
    Refused(String),
    /// The trial did not get that far.
    NotTried(&'static str),
}

impl From<&'static str> for Untold {
    fn from(reason: &'static str) -> Untold {
        Untold::NotTried(reason)
    }
}

/// Whether a function can be probed, and whether a probe on its return kills nobody. What can't be determined is not assumed to be safe.
pub(super) fn try_return_probe(probes: &mut Probes) -> (Tried, Returns) {
    let (uprobes, reason) = match ask(probes) {
        Ok(safe) => {
            tracing::debug!(safe, "return probes under seccomp");
            return (Tried::Works, if safe { Returns::Safe } else { Returns::Deadly });
        }
        Err(Untold::Refused(reason)) => {
            (Tried::Refused(reason.clone()), format!("the probe can't be attached: {reason}"))
        }
        Err(Untold::NotTried(reason)) => (Tried::Refused(format!("not tried: {reason}")), reason.to_owned()),
    };
    // Return probes can kill on x86-64 only.
    if cfg!(not(target_arch = "x86_64")) {
        return (uprobes, Returns::Safe);
    }
    tracing::warn!(reason, "return probes could not be tried under seccomp: done without");
    (uprobes, Returns::Unknown(reason))
}

fn ask(probes: &mut Probes) -> Result<bool, Untold> {
    let qtap = std::env::current_exe().map_err(|_| "qtap's own executable is not known")?;
    let mut child = Command::new(qtap)
        .arg(CANARY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // While a process of a group is stopped, the kernel may send SIGHUP to the whole group (kill_orphaned_pgrp).
        .process_group(0)
        .spawn()
        .map_err(|_| "the child does not start")?;
    let pid = Pid::from_child(&child);
    match waitpid(Some(pid), WaitOptions::UNTRACED) {
        Ok(Some((_, status))) if status.stopped() => {}
        // The child has ended and its id may have been reused, so it gets no signal.
        Ok(_) => return Err("the child did not wait".into()),
        Err(_) => return Err("the child can't be waited for".into()),
    }
    let probed = probe(probes, child.id());
    let _ = kill_process(pid, if probed.is_ok() { Signal::CONT } else { Signal::KILL });
    let status = child.wait().map_err(|_| "the child can't be waited for")?;
    // The probe is detached only here, after the child has made its call.
    probed?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(true),
        (None, Some(signal)) if signal == Signal::SYS.as_raw() => Ok(false),
        _ => Err("the child failed for another reason".into()),
    }
}

/// A return probe on the function, in the child only. It is detached when the returned value is dropped.
fn probe(probes: &mut Probes, pid: u32) -> Result<impl Drop, Untold> {
    let (path, file_offset) = function(pid).ok_or("the child's C library is not found")?;
    let place = Place { file_offset, cookie: Cookie(0) };
    let link = probes.put("tls_return", &path, &[place], Some(pid)).map_err(|error| {
        Untold::Refused(match &error {
            KernelError::Attach { error, .. } => words(error),
            KernelError::Link { error, .. } => words(error),
            other => words(other),
        })
    })?;
    Ok(Attached(link))
}

/// A link that is dropped in the background: detaching takes a while, and nobody needs to wait for it.
struct Attached(Vec<Link>);

impl Drop for Attached {
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.0);
        std::thread::spawn(move || drop(links));
    }
}

/// Path and file offset of the function, in the files that the process has mapped.
fn function(pid: u32) -> Option<(PathBuf, u64)> {
    maps::executable_mappings(pid).iter().find_map(|mapping| {
        let name = mapping.path.file_name()?.to_str()?;
        if !name.starts_with("libc.") && !name.starts_with("ld-musl") {
            return None;
        }
        let path = maps::path_from_here(pid, mapping)?;
        let symbol = Elf::open(&path).ok()?.functions(&[FUNCTION]).ok()?.into_iter().next()?;
        Some((path, symbol.file_offset))
    })
}
