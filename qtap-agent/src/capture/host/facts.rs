//! The facts about this host that the checks judge, as read from `/proc`, `/sys` and the kernel. In: those files. Out: [`Facts`]. What was
//! tried with the probes is told by whoever tried it; nothing is judged here.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use super::{HOST_PIDS, mounts};
use crate::capture::btf::VMLINUX;
use crate::capture::discover::maps;

/// Most that is read of one of these files: the largest is the list of mounts, of a few hundred containers.
const MAX_BYTES: u64 = 1 << 20;
/// Most processes that are looked into: enough to meet those of other users, and done in milliseconds.
const OTHERS_MAX: usize = 256;

/// What is known of the host, and of what this process may do on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Release of the kernel, as `uname -r` has it.
    pub release: String,
    /// Machine, as `uname -m` has it.
    pub machine: String,
    /// Whether type information is there and can be opened, or why not.
    pub type_information: Result<(), String>,
    /// What `/sys/kernel/security/lockdown` says; none where it can't be read.
    pub lockdown: Option<String>,
    /// Capabilities in effect, a bit each.
    pub capabilities: u64,
    /// True under a seccomp filter.
    pub filtered: bool,
    /// True where user ids are those of the host: no user namespace of its own.
    pub host_users: bool,
    /// Whether the kernel has uprobes for `perf_event_open`.
    pub uprobe_events: bool,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i32>,
    /// Whether tracefs is mounted.
    pub tracefs: bool,
    /// How `/proc` hides processes of others, where it does.
    pub hidepid: Option<String>,
    /// Which processes can be looked into.
    pub others: Others,
    /// Inode number of the pid namespace.
    pub pid_namespace: Option<u64>,
    /// Whether the network namespace is the host's; none where that can't be seen.
    pub host_network: Option<bool>,
    /// Control groups.
    pub cgroups: Cgroups,
    /// What was tried.
    pub trial: Trial,
}

/// Processes that were looked into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// How many were.
    pub asked: usize,
    /// How many of them can't be.
    pub refused: usize,
    /// What was said of the first of those.
    pub reason: String,
}

/// Which hierarchies of control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    /// None is.
    None,
    /// Those of version 1 only.
    V1,
    /// That of version 2 only.
    V2,
    /// Both.
    Hybrid,
}

/// What became of something that was tried.
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
    /// Nothing.
    Safe,
    /// It kills it.
    Deadly,
    /// That could not be found out, for this reason.
    Unknown(String),
}

/// What was tried with the probes, in this order; what follows the first refusal was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trial {
    /// True when this qtap has probes at all.
    pub built: bool,
    /// A table of the smallest size.
    pub bpf: Tried,
    /// Type information that has what the probes need.
    pub layout: Tried,
    /// The ring, at its size in bytes.
    pub ring: Tried,
    /// See above.
    pub ring_bytes: u32,
    /// The probes, as the verifier sees them.
    pub probes: Tried,
    /// The probes on raw tracepoints, attached.
    pub tracepoints: Tried,
    /// A probe on a function of a program, attached.
    pub uprobes: Tried,
    /// Return probes.
    pub returns: Returns,
}

impl Facts {
    /// Reads them.
    #[must_use]
    pub fn read(trial: Trial) -> Facts {
        let uname = rustix::system::uname();
        let status = text("/proc/self/status");
        let mounts = text("/proc/self/mountinfo");
        let inode = |path: &str| fs::metadata(path).ok().map(|metadata| metadata.ino());
        let pid_namespace = inode("/proc/self/ns/pid");
        // The kernel's own threads are in the host's; the first of them has this number there.
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

/// The first bytes of a file.
fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same; nothing where it can't be read.
fn text(path: &str) -> String {
    read(path).unwrap_or_default()
}

/// Whether a file can be opened and something of it read.
fn opened(path: &str) -> Result<(), String> {
    let read = File::open(path).and_then(|mut file| file.read(&mut [0; 16]));
    read.map(|_| ()).map_err(|error| format!("{path}: {error}"))
}

/// Looks into processes. One that ended meanwhile refuses nothing.
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

/// A line of `/proc/PID/status`.
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
