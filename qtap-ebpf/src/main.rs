//! qtap's probes. In: what processes do with sockets and TLS libraries. Out: records in the ring (`emit` is their only
//! writer) and counts. Never: a write to a target, a sleep, a change to what a call does.
//!
//! A probe (`probe/`) is an entry point of two lines that calls a `try_…`; the modules behind it are `scope` (which processes are captured),
//! `kernel` (reads of kernel memory), `conn`, `session`, `calls`, `fibers`, `goroutine`, `rustls` and `hello` (state), `ktls` (TLS in the kernel), `peer`
//! (the ends of a connection), `classify` (what the first bytes are), `source` and `carry` (bytes of a call → records), `trace` (log messages).

#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))] // atomic_xadd: the target has no compare-and-swap in core, the kernel has BPF_FETCH
#![allow(clippy::undocumented_unsafe_blocks)] // every line of a BPF program is unsafe in Rust's sense; the verifier is the proof
#![allow(unreachable_pub)] // a binary: nothing is public

mod advice;
mod atomic;
mod begun;
mod calls;
mod carry;
mod classify;
mod conn;
mod counts;
mod dns;
mod emit;
mod feedback;
mod fibers;
mod globals;
mod goroutine;
mod hello;
mod jvm;
mod kernel;
mod ktls;
mod maps;
mod peer;
mod probe;
mod rustls;
mod scope;
mod scratch;
mod session;
mod source;
mod trace;
mod words;

/// Licence of the object, as the kernel wants it named: some helpers are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses a program in which this can be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

/// So that host builds of the workspace (documentation, lints) have something to link.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
