//! Live capture: the probes, loaded and attached, and what they write.
//!
//! In: what is wanted. Out: events, in the order of the ring. Present with the feature `kernel` only.

mod layout;
mod live;
mod object;
mod people;
mod ring;
mod tls;

pub use live::Live;
pub use tls::Library;

use qtap_common::globals::Wanted;

use crate::capture::btf::BtfError;

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
    /// A map could not be used.
    #[error("a map of the probes: {0}")]
    Map(#[from] aya::maps::MapError),
    /// The recording could not be written.
    #[error("recording: {0}")]
    Recording(crate::capture::recording::RecordingError),
}

/// What is to be captured, and how.
pub struct Settings {
    /// Scope, direction, loopback, protocols. (The limits below are filled in from here.)
    pub wanted: Wanted,
    /// Processes in scope, with their children, when the scope is a list.
    pub pids: Vec<u32>,
    /// Bytes of one call that are copied at most.
    pub call_limit: u64,
    /// Size of the ring in bytes: a power of two, a multiple of the page size.
    pub ring_bytes: u32,
    /// TLS libraries are probed.
    pub tls: bool,
    /// Probes stand at function entry and return, whatever the code looks like.
    pub plain_sites: bool,
    /// The probes' own debug messages are on.
    pub trace: bool,
    /// Where everything that comes from the kernel is recorded.
    pub recording: Option<Box<dyn std::io::Write + Send>>,
}
