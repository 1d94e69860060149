//! Where events come from: the kernel's probes, a recording, a script.
//!
//! In: what the probes write, the running kernel's type information, the host's processes and the files they map. Out:
//! [`Event`](crate::model::event::Event)s in order. Only this column knows `qtap-common`. It never parses a protocol and never
//! decides what is exported.

pub mod btf;
pub mod decode;
pub mod discover;
pub mod filter;
pub mod host;
pub mod jvm;
#[cfg(feature = "kernel")]
pub mod kernel;
pub mod recording;
pub mod replay;
pub mod runtimes;
pub mod settings;
pub mod sites;
pub mod source;
pub mod unfinished;

/// Version of the contract with the probes. Recordings made with another version can't be read.
pub const ABI: u32 = qtap_common::ABI;
