//! Programs that use rustls, by Rust's calling convention on x86-64, which is that of C for integers and pointers: a large result is stored where a
//! hidden first argument points, and `rax` returns that address; `io::Result<usize>` is returned in `rax` (0: success) and `rdx`.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use qtap_common::state::{Cookie, call};

use super::openssl::{argument_of, cookie, in_scope};
use crate::rustls;

/// At the entry site of a write, or of a function that encrypts or decrypts a record.
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

/// Never attached on aarch64, where the address of a large result is not returned: so that the object is built of the same programs everywhere.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn results(regs: *mut pt_regs) -> [u64; 2] {
    let regs = unsafe { &(*regs).regs };
    [regs[0], regs[1]]
}
