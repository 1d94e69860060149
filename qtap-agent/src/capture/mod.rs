//! Where events come from: the kernel's probes, a recording, a script.
//!
//! What comes in: what the probes write, the running kernel's type information, the processes of the host and the files they
//! map. What goes out: [`Event`](crate::model::event::Event)s in order. This column alone knows `qtap-common`; it never parses a
//! protocol and never decides what is exported.

pub mod btf;
pub mod decode;
pub mod discover;
pub mod filter;
pub mod host;
#[cfg(feature = "kernel")]
pub mod kernel;
pub mod recording;
pub mod replay;
pub mod runtimes;
pub mod settings;
pub mod sites;
pub mod source;
pub mod unfinished;

/// Number of the contract with the probes: recordings of another one can't be read.
pub const ABI: u32 = qtap_common::ABI;
