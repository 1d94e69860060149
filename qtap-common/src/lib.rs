//! The contract between qtap's probes and its agent: ring records, map values, load-time globals, names.
//!
//! Everything is `#[repr(C)]` with explicit padding, its size asserted at compile time; any change of it is a change of [`ABI`].
//! Numbers are in the machine's byte order, which is little-endian only (the ABI number in a recording implies it).
//! Nothing here has side effects, except for `uprobes`: `unsafe` is allowed only in this crate and in that of the probes.

#![cfg_attr(not(any(feature = "user", test)), no_std)]

pub mod feedback;
pub mod globals;
pub mod go;
pub mod jvm;
pub mod net;
pub mod record;
pub mod state;
#[cfg(feature = "user")]
pub mod uprobes;

/// Version of this contract, written into recordings and shown by `qtap version`. Every change of a layout in this crate raises it.
pub const ABI: u32 = 1;
