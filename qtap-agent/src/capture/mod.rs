//! Where events come from: the kernel's probes, a recording, a script.
//!
//! What comes in: the running kernel's type information, the processes of the host and the files they map. What goes out:
//! where probes are to stand, what processes are called, and (with the `kernel` feature) the events of the ring. This
//! column alone knows `qtap-common`; it never parses a protocol and never decides what is exported.

pub mod btf;
pub mod discover;
#[cfg(feature = "kernel")]
pub mod kernel;
pub mod sites;
