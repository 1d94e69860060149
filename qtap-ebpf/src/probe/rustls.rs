//! Programs of rustls: its functions by the rules that Rust calls by on x86-64, which are those of C where it comes to integers and pointers: a large result goes
//! where a hidden first argument says, which comes back in `rax`; `io::Result<usize>` comes in `rax` (0: it went well) and `rdx`.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use qtap_common::state::{Cookie, call};

use super::openssl::{argument_of, cookie, in_scope};
use crate::rustls;

/// At the entry site of a write, or of what encrypts or decrypts a record.
#[uprobe]
pub fn rustls_enter(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        let [first, second, third] = [0, 1, 2].map(|index| argument_of(ctx.regs, cookie, index));
        match cookie.call() {
            call::SEAL => rustls::seals(first, second, third, cookie.library()),
            call::UNSEAL => rustls::unseals(first, second, third, cookie.library()),
            _ => rustls::takes(first, second, cookie.call(), cookie.library()),
        }
    }
    0
}

/// At an exit site: the result is final.
#[uprobe]
pub fn rustls_exit(ctx: ProbeContext) -> u32 {
    if in_scope() {
        left(ctx.regs, cookie(ctx.as_ptr()));
    }
    0
}

/// After the return.
#[uretprobe]
pub fn rustls_return(ctx: RetProbeContext) -> u32 {
    if in_scope() {
        left(ctx.regs, cookie(ctx.as_ptr()));
    }
    0
}

#[inline(always)]
fn left(regs: *mut pt_regs, cookie: Cookie) {
    let [result, more] = results(regs);
    rustls::left(cookie.call(), result, more);
}

#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn results(regs: *mut pt_regs) -> [u64; 2] {
    let regs = unsafe { &*regs };
    [regs.rax, regs.rdx]
}

/// Never attached there, where the place of a large result does not come back: so that the object is built of the same programs everywhere.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn results(regs: *mut pt_regs) -> [u64; 2] {
    let regs = unsafe { &(*regs).regs };
    [regs[0], regs[1]]
}
