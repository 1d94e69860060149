//! Programs that do nothing, in an object of their own: they show what the mere call of a probe costs. The baseline of
//! `cargo xtask bench`, never part of the agent.

#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![allow(clippy::undocumented_unsafe_blocks)] // the verifier is the proof
#![allow(missing_docs, unreachable_pub)] // a binary: nothing is public; and the programs that the macros generate have no docs

use aya_ebpf::macros::{raw_tracepoint, uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RawTracePointContext, RetProbeContext};

/// Anywhere in a function.
#[uprobe]
pub fn empty_uprobe(_ctx: ProbeContext) -> u32 {
    0
}

/// At its return.
#[uretprobe]
pub fn empty_uretprobe(_ctx: RetProbeContext) -> u32 {
    0
}

/// At the beginning of every system call.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn empty_enter(_ctx: RawTracePointContext) -> i32 {
    0
}

/// At its end.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn empty_exit(_ctx: RawTracePointContext) -> i32 {
    0
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing here panics.
    unsafe { core::hint::unreachable_unchecked() }
}

/// So that host builds of the workspace have something to link.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
