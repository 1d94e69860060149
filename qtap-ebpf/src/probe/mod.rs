//! Entry points of the probes: one file per family of hooks.

pub mod go;
pub mod openssl;
pub mod process;
pub mod rustls;
pub mod syscall;
pub mod tcp;
pub mod uring;
