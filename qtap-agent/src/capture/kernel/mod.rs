//! Live capture: the probes, loaded and attached, and what they write.
//!
//! In: what is wanted. Out: events, in the order of the ring. Present with the feature `kernel` only.

mod feedback;
pub mod holder;
mod layout;
mod live;
mod object;
mod people;
mod primer;
mod probed;
mod ring;
pub mod seccomp;
pub mod standing;
mod tables;
mod tls;
pub mod trial;
mod unheard;
mod unix;
mod uprobes;

pub use feedback::{Feedback, Guard};
pub use live::Live;
pub use tls::Library;

use std::time::Duration;

use qtap_common::globals::{self, Wanted};

use crate::capture::btf::BtfError;
use crate::capture::discover::call::Family;
use crate::capture::runtimes;
use crate::capture::settings::Filters;
use crate::model::shed::Shed;

/// Why the probes could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No type information, or not what the probes need.
    #[error("kernel type information: {0}")]
    Btf(BtfError),
    /// The number of CPUs could not be read.
    #[error("number of CPUs: {0}")]
    Cpus(std::io::Error),
    /// The object is not the one this agent was built with.
    #[error("the probes' object has no `{0}`")]
    Object(&'static str),
    /// The object or its maps were refused.
    #[error("the kernel refused the probes: {0}")]
    Refused(#[from] aya::EbpfError),
    /// A program was refused.
    #[error("the kernel refused the probe `{name}`: {error}")]
    Load {
        /// Program.
        name: &'static str,
        /// The kernel's reason, with the verifier's log.
        error: aya::programs::ProgramError,
    },
    /// A program could not be attached.
    #[error("the probe `{name}` can't be attached: {error}")]
    Attach {
        /// Program.
        name: &'static str,
        /// Why.
        error: aya::programs::ProgramError,
    },
    /// A program could not be attached to functions, by a link of many places.
    #[error("the probe `{name}` can't be attached: {error}")]
    Link {
        /// Program.
        name: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// A map could not be used.
    #[error("a map of the probes: {0}")]
    Map(#[from] aya::maps::MapError),
    /// A function whose return can't be seen without a return probe, which could kill programs on this kernel.
    #[error("its ways out are not all known, and this kernel's return probes can kill programs under seccomp")]
    NoWayOut,
    /// More control groups than the probes compare with.
    #[error("at most {} control groups can be named", globals::CGROUPS_MAX)]
    TooManyCgroups,
    /// The thread that asks the container runtimes could not be started.
    #[error("the thread that asks container runtimes can't be started: {0}")]
    Runtimes(std::io::Error),
    /// The recording could not be written.
    #[error("recording: {0}")]
    Recording(crate::capture::recording::RecordingError),
}

/// What is to be captured, and how.
pub struct Settings {
    /// Who.
    pub scope: Scope,
    /// Processes that are left out all the same.
    pub filters: Filters,
    /// What may change.
    pub wishes: Wishes,
    /// What of qtap's own exports is left out at their other end, and behind it.
    pub guard: Guard,
    /// It may be said of connections that nobody wants them.
    pub advice: bool,
    /// Answers of name servers are read.
    pub dns: bool,
    /// Bytes of one call that are copied at most.
    pub call_limit: u64,
    /// Size of the ring in bytes: a power of two, a multiple of the page size.
    pub ring_bytes: u32,
    /// Families of TLS libraries that are probed; none: TLS is left alone.
    pub tls: Vec<Family>,
    /// Probes stand at function entry and return, whatever the code looks like.
    pub plain_sites: bool,
    /// How long probes stay in a file that no process uses any more and that is not of the host's own system.
    pub release_after: Duration,
    /// Container runtimes that are asked.
    pub runtimes: runtimes::Settings,
    /// Names of the variables that are read of the environments of processes.
    pub variables: Vec<String>,
    /// What Kubernetes calls the node.
    pub node: Option<String>,
    /// The probes' own debug messages are on.
    pub trace: bool,
    /// Where everything that comes from the kernel is recorded.
    pub recording: Option<Box<dyn std::io::Write + Send>>,
}

/// Who is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every process of the host but qtap.
    Everyone,
    /// These processes and their children, now and later; [`Live::include`] adds to them.
    Listed(Vec<u32>),
    /// Processes in these control groups and in those below; at most eight.
    Cgroups(Vec<Cgroup>),
}

/// A control group of the version 2 hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Its depth: 0 for the root.
    pub level: u32,
}

/// Connections in which directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    /// All.
    All,
    /// Accepted ones.
    Ingress,
    /// Ones that a process made.
    Egress,
    /// Made to private addresses.
    EgressInternal,
    /// Made to public addresses.
    EgressExternal,
}

/// What may change while the probes run, for connections that are opened from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Connections in which directions.
    pub directions: Directions,
    /// Connections over loopback addresses are left alone.
    pub ignore_loopback: bool,
    /// Payload of HTTP is wanted.
    pub http: bool,
}

impl Wishes {
    /// The same, as the probes read it, with what is given up for now.
    fn told(self, shed: Shed) -> globals::Wishes {
        globals::Wishes {
            direction: match self.directions {
                Directions::All => globals::DIRECTION_ALL,
                Directions::Ingress => globals::DIRECTION_INGRESS,
                Directions::Egress => globals::DIRECTION_EGRESS,
                Directions::EgressInternal => globals::DIRECTION_EGRESS_INTERNAL,
                Directions::EgressExternal => globals::DIRECTION_EGRESS_EXTERNAL,
            },
            ignore_loopback: u32::from(self.ignore_loopback),
            http: u32::from(self.http),
            shed: match shed {
                Shed::Nothing => globals::shed::NOTHING,
                Shed::Bodies => globals::shed::BODIES,
                Shed::Heads => globals::shed::HEADS,
                Shed::Connections => globals::shed::CONNECTIONS,
            },
        }
    }
}

impl Settings {
    /// The same, as the probes read it.
    fn wanted(&self) -> Result<Wanted, KernelError> {
        let mut wanted = Wanted {
            call_limit: self.call_limit,
            scope: match &self.scope {
                Scope::Everyone => globals::SCOPE_ALL,
                Scope::Listed(_) => globals::SCOPE_LISTED,
                Scope::Cgroups(_) => globals::SCOPE_CGROUP,
            },
            wake_above: self.ring_bytes / 4,
            options: if self.advice { globals::option::ADVICE } else { 0 }
                | if self.dns { globals::option::DNS } else { 0 }
                | self.guard.told(),
            ..Wanted::default()
        };
        if let Scope::Cgroups(cgroups) = &self.scope {
            if cgroups.len() > globals::CGROUPS_MAX {
                return Err(KernelError::TooManyCgroups);
            }
            let places = wanted.cgroups.iter_mut().zip(&mut wanted.cgroup_levels);
            for ((id, level), cgroup) in places.zip(cgroups) {
                (*id, *level) = (cgroup.id, cgroup.level);
            }
        }
        Ok(wanted)
    }
}
