//! The contract between qtap's probes and its agent: ring records, map values, load-time globals, names.
//!
//! Everything is `#[repr(C)]` with explicit padding and has its size asserted below; a change of any of it is a change of
//! [`ABI`]. Numbers are in the machine's byte order (the recording names it through its ABI number: little-endian only).
//! Nothing here does anything, but for `uprobes`: `unsafe` has its place in this crate and in that of the probes only.

#![cfg_attr(not(any(feature = "user", test)), no_std)]

pub mod feedback;
pub mod globals;
pub mod go;
pub mod net;
pub mod record;
pub mod state;
#[cfg(feature = "user")]
pub mod uprobes;

/// Number of this contract: stands in recordings and in `qtap version`. Raised by every change of a layout in this crate.
pub const ABI: u32 = 1;
