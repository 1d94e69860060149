//! The facts about this host that the checks judge. In: files of `/proc` and `/sys`, and the kernel. Out: [`Facts`]. The results of trying the
//! probes come from the caller; nothing is judged here.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use super::{HOST_PIDS, mounts};
use crate::capture::btf::VMLINUX;
use crate::capture::discover::maps;

/// Most bytes read from one of these files. The largest is the list of mounts, with a few hundred containers.
const MAX_BYTES: u64 = 1 << 20;
/// Most processes whose maps are opened: enough to include some of other users, and done in milliseconds.
const OTHERS_MAX: usize = 256;

/// What is known about the host, and about what this process may do on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Release of the kernel, as in `uname -r`.
    pub release: String,
    /// Machine, as in `uname -m`.
    pub machine: String,
    /// Whether type information exists and can be opened, or why not.
    pub type_information: Result<(), String>,
    /// The active level in `/sys/kernel/security/lockdown`; `None` if it can't be read.
    pub lockdown: Option<String>,
    /// Effective capabilities, one bit each.
    pub capabilities: u64,
    /// True if this process is under a seccomp filter.
    pub filtered: bool,
    /// True if user ids are those of the host: the process has no user namespace of its own.
    pub host_users: bool,
    /// Whether the kernel offers uprobes through `perf_event_open`.
    pub uprobe_events: bool,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// Whether tracefs is mounted.
    pub tracefs: bool,
    /// How `/proc` hides processes of other users, if it does.
    pub hidepid: Option<String>,
    /// Whether other processes can be inspected.
    pub others: Others,
    /// Inode number of the pid namespace.
    pub pid_namespace: Option<u64>,
    /// Whether the network namespace is the host's; `None` if that can't be determined.
    pub host_network: Option<bool>,
    /// Control groups.
    pub cgroups: Cgroups,
    /// Results of trying the probes.
    pub trial: Trial,
}

/// Result of trying to inspect other processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// How many were tried.
    pub asked: usize,
    /// How many of them were refused.
    pub refused: usize,
    /// The error for the first refused one.
    pub reason: String,
}

/// Which control-group hierarchies are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// None.
    None,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Both.
    Hybrid,
}

/// The result of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tried {
    /// It was not tried.
    #[default]
    Not,
    /// It works.
    Works,
    /// It was refused, for this reason.
    Refused(String),
}

/// What a return probe does to a process under seccomp.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Returns {
    /// It was not tried.
    #[default]
    NotTried,
    /// Nothing: it is safe.
    Safe,
    /// It kills the process.
    Deadly,
    /// It could not be determined, for this reason.
    Unknown(String),
}

/// What was tried with the probes, in this order; nothing was tried after the first refusal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trial {
    /// True if this qtap was built with probes.
    pub built: bool,
    /// Creating a table of the smallest size.
    pub bpf: Tried,
    /// Finding what the probes need in the type information.
    pub layout: Tried,
    /// Creating the ring, with its size in bytes.
    pub ring: Tried,
    /// That size.
    pub ring_bytes: u32,
    /// Loading the probes, which the verifier checks.
    pub probes: Tried,
    /// Attaching the probes on raw tracepoints.
    pub tracepoints: Tried,
    /// Attaching a probe to a function of a program.
    pub uprobes: Tried,
    /// Return probes.
    pub returns: Returns,
}

impl Facts {
    /// Reads the facts; the results of the trial are passed in.
    #[must_use]
    pub fn read(trial: Trial) -> Facts {
        let uname = rustix::system::uname();
        let status = text("/proc/self/status");
        let mounts = text("/proc/self/mountinfo");
        let inode = |path: &str| fs::metadata(path).ok().map(|metadata| metadata.ino());
        let pid_namespace = inode("/proc/self/ns/pid");
        // Kernel threads are in the host's network namespace. In the host's pid namespace the first of them has the id 2.
        let networks =
            (inode("/proc/self/ns/net"), inode("/proc/2/ns/net").filter(|_| pid_namespace == Some(HOST_PIDS)));
        Facts {
            release: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            type_information: opened(VMLINUX),
            lockdown: read("/sys/kernel/security/lockdown").as_deref().and_then(chosen),
            capabilities: field(&status, "CapEff").and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0),
            filtered: field(&status, "Seccomp").is_some_and(|mode| mode != "0"),
            host_users: text("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
            uprobe_events: fs::exists("/sys/bus/event_source/devices/uprobe/type").unwrap_or(false),
            paranoid: read("/proc/sys/kernel/perf_event_paranoid").and_then(|level| level.trim().parse().ok()),
            tracefs: mounts::has(&mounts, "tracefs"),
            hidepid: mounts::hidepid(&mounts),
            others: others(&maps::processes()),
            pid_namespace,
            host_network: networks.0.zip(networks.1).map(|(own, hosts)| own == hosts),
            cgroups: mounts::cgroups(&mounts),
            trial,
        }
    }
}

/// The first bytes of a file; `None` if it can't be read.
fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same; empty if it can't be read.
fn text(path: &str) -> String {
    read(path).unwrap_or_default()
}

/// Whether a file can be opened and read.
fn opened(path: &str) -> Result<(), String> {
    let read = File::open(path).and_then(|mut file| file.read(&mut [0; 16]));
    read.map(|_| ()).map_err(|error| format!("{path}: {error}"))
}

/// Tries to open the maps of processes. One that ended meanwhile does not count as refused.
fn others(pids: &[u32]) -> Others {
    let mut others = Others::default();
    for pid in pids.iter().take(OTHERS_MAX) {
        others.asked += 1;
        let path = format!("/proc/{pid}/maps");
        if let Err(error) = File::open(&path)
            && error.kind() == ErrorKind::PermissionDenied
        {
            others.refused += 1;
            if others.reason.is_empty() {
                others.reason = format!("{path}: {error}");
            }
        }
    }
    others
}

/// The value of a line of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The word in brackets: `none [integrity] confidentiality`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn status_and_lockdown_are_read() {
        let status =
            "Name:\tqtap\nCapPrm:\t0000000000000001\nCapEff:\t0000000000280004\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(field(status, "CapEff"), Some("0000000000280004"));
        assert_eq!(field(status, "Seccomp"), Some("2"), "not the line that only begins so");
        assert_eq!(field(status, "Cap"), None);
        assert_eq!(chosen("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen("none"), None);
    }

    #[test]
    fn this_host_is_read() {
        let facts = Facts::read(Trial::default());
        assert!(facts.release.contains('.') && !facts.machine.is_empty(), "{facts:?}");
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(namespace.to_str(), Some(format!("pid:[{}]", facts.pid_namespace.unwrap()).as_str()));
        assert_eq!(others(&[std::process::id(), u32::MAX]), Others { asked: 2, ..Others::default() }, "one is gone");
        assert!(opened("/proc/none").is_err_and(|reason| reason.starts_with("/proc/none: ")));
    }
}
