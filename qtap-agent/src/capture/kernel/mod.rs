//! Live capture: the probes, loaded and attached, and what they write.
//!
//! In: settings. Out: events, in the order of the ring. Compiled with the feature `kernel` only.

mod feedback;
pub mod holder;
mod layout;
mod live;
mod object;
mod people;
mod primer;
mod probed;
mod programs;
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
    /// There is no type information, or it lacks what the probes need.
    #[error("kernel type information: {0}")]
    Btf(BtfError),
    /// The number of CPUs could not be read.
    #[error("number of CPUs: {0}")]
    Cpus(std::io::Error),
    /// The object is not the one this agent was built with.
    #[error("the probes' object has no `{0}`")]
    Object(&'static str),
    /// The kernel refused the object or its maps.
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
    /// A program could not be attached to functions with a link that holds many places.
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
    /// The function's return can be seen only by a return probe, which could kill programs on this kernel, or is not wanted.
    #[error("its ways out are not all known, and return probes are not used: see `qtap doctor` and --return-probes")]
    NoWayOut,
    /// More control groups than the probes can compare with.
    #[error("at most {} control groups can be named", globals::CGROUPS_MAX)]
    TooManyCgroups,
    /// A thread that loads programs could not be started.
    #[error("a thread that loads the probes can't be started: {0}")]
    Thread(std::io::Error),
    /// The thread that asks the container runtimes could not be started.
    #[error("the thread that asks container runtimes can't be started: {0}")]
    Runtimes(std::io::Error),
    /// The recording could not be written.
    #[error("recording: {0}")]
    Recording(crate::capture::recording::RecordingError),
}

/// What to capture, and how.
pub struct Settings {
    /// Which processes are captured.
    pub scope: Scope,
    /// Which of them are left out.
    pub filters: Filters,
    /// What may change while the probes run.
    pub wishes: Wishes,
    /// How much is left out at the receiving end of qtap's own exports, and behind it.
    pub guard: Guard,
    /// The agent may tell the probes that nobody wants a connection.
    pub advice: bool,
    /// Answers of name servers are captured.
    pub dns: bool,
    /// Most bytes of one call that are copied.
    pub call_limit: u64,
    /// Size of the ring in bytes: a power of two, a multiple of the page size.
    pub ring_bytes: u32,
    /// TLS library families that are probed. Empty: TLS is not probed.
    pub tls: Vec<Family>,
    /// qtap's agent is loaded into JVMs.
    pub jvms: bool,
    /// Probes are placed at function entry and return, whatever the code looks like.
    pub plain_sites: bool,
    /// Return probes may be used.
    pub return_probes: bool,
    /// How long probes stay in a file that no process uses any more and that is not on the host's own file system.
    pub release_after: Duration,
    /// The container runtimes to ask.
    pub runtimes: runtimes::Settings,
    /// Names of the environment variables that are read from processes.
    pub variables: Vec<String>,
    /// The node's name in Kubernetes.
    pub node: Option<String>,
    /// The probes' own debug messages are on.
    pub trace: bool,
    /// Where to record everything that comes from the kernel.
    pub recording: Option<Box<dyn std::io::Write + Send>>,
}

/// Which processes are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every process of the host except qtap.
    Everyone,
    /// These processes and their children, now and later; [`Live::include`] adds more.
    Listed(Vec<u32>),
    /// Processes in these control groups and their descendants; at most eight groups.
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

/// The directions in which connections are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    /// All.
    All,
    /// Accepted connections.
    Ingress,
    /// Connections that a process made.
    Egress,
    /// Made to private addresses.
    EgressInternal,
    /// Made to public addresses.
    EgressExternal,
}

/// What may change while the probes run. A change applies to connections opened from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// The directions in which connections are captured.
    pub directions: Directions,
    /// Connections over loopback addresses are not captured.
    pub ignore_loopback: bool,
    /// Payload of HTTP is wanted.
    pub http: bool,
}

impl Wishes {
    /// Converts to what the probes read, with what is shed for now.
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
    /// Converts to what the probes read.
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
                | if self.jvms { globals::option::JVMS } else { 0 }
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
