//! OpenSSL and its kin, and GnuTLS and NSS, whose functions take the same arguments: the cookie says which registers hold them at a probe's site.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use qtap_common::state::scope::{NO_DATA, NO_HTTP, NO_TLS};
use qtap_common::state::{Cookie, call};

use crate::calls::{self, Frame};
use crate::kernel::{Sock, socket_of};
use crate::session;
use crate::{begun, emit, hello, scope, scratch};

/// At the entry site of a function that moves bytes or performs a handshake.
#[uprobe]
pub fn tls_enter(ctx: ProbeContext) -> u32 {
    try_enter(&ctx);
    0
}

#[inline(always)]
fn try_enter(ctx: &ProbeContext) -> Option<()> {
    if !in_scope() {
        return None;
    }
    let cookie = cookie(ctx.as_ptr());
    let registers = registers(ctx.regs);
    calls::enter(&Frame {
        ssl: argument(&registers, cookie, 0),
        buffer: argument(&registers, cookie, 1),
        out: argument(&registers, cookie, 3),
        stack: stack(ctx.regs) + cookie.depth(),
        conn: 0,
        time: emit::now(),
        library: cookie.library(),
        call: cookie.call(),
        begins: 0,
        inner: 0,
    });
    Some(())
}

/// At the entry site of a handshake whose end can't be seen: the session begins here.
#[uprobe]
pub fn tls_begin(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        begun::seen(&session::key(argument_of(ctx.regs, cookie, 0)));
        calls::handshakes(stack(ctx.regs) + cookie.depth());
    }
    0
}

/// At an exit site: the result is final.
#[uprobe]
pub fn tls_exit(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        session::finish(cookie.call(), result(ctx.regs), stack(ctx.regs) + cookie.depth());
    }
    0
}

/// After the return.
#[uretprobe]
pub fn tls_return(ctx: RetProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        session::finish(cookie.call(), result(ctx.regs), stack(ctx.regs));
    }
    0
}

/// `SSL_set_fd(ssl, fd)`, `SSL_set_rfd`, `SSL_set_wfd`, `gnutls_transport_set_int2(session, recv_fd, …)`: the program names the socket itself.
#[uprobe]
pub fn tls_set_fd(ctx: ProbeContext) -> u32 {
    try_set_fd(&ctx);
    0
}

#[inline(always)]
fn try_set_fd(ctx: &ProbeContext) -> Option<()> {
    if !in_scope() {
        return None;
    }
    let cookie = cookie(ctx.as_ptr());
    let mut sock = Sock { address: 0, file: 0 };
    if !socket_of(argument_of(ctx.regs, cookie, 1) as u32, &mut sock) {
        return None;
    }
    let area = scratch::take()?;
    let key = session::key(argument_of(ctx.regs, cookie, 0));
    let bound = session::bind_to(area, &sock, &key, cookie.library(), 0);
    scratch::give_back(area);
    bound
}

/// `SSL_free(ssl)`, `SSL_clear(ssl)`, `gnutls_deinit(session)`, `ssl_DefClose(session)`: the session ends.
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    // Also for a process that has been excluded since: the beginning of the session was seen.
    if scope::was_met((bpf_get_current_pid_tgid() >> 32) as u32) {
        let cookie = cookie(ctx.as_ptr());
        let ssl = argument_of(ctx.regs, cookie, 0);
        let key = session::key(ssl);
        let begins = begun::begins(ssl);
        let is_cleared = cookie.call() == call::CLEAR;
        if !((begins || is_cleared) && begun::is_unused(&key)) {
            session::close(&key);
            if !is_cleared {
                // Forgets the beginning of a session that was never used.
                begun::was_seen(&key);
            }
        }
    }
    0
}

/// `SSL_set_bio(ssl, rbio, wbio)` and its kin, in a file that feeds sessions from memory, and `BIO_new_bio_pair(&bio, size, &other, size)`, which may come before
/// it. The cookie says which of them it is, which BIO counts, and why.
#[uprobe]
pub fn tls_set_bio(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        let [first, second] = [0, 1].map(|index| argument_of(ctx.regs, cookie, index));
        match cookie.call() {
            call::BIO_PAIR => hello::will_pair(first, second),
            call::OWN_BIO => hello::uses(first, second, true),
            _ => hello::reads(first, second),
        }
    }
    0
}

/// `BIO_write(bio, data, len)`.
#[uprobe]
pub fn tls_bio_write(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        let [bio, data, len] = [0, 1, 2].map(|index| argument_of(ctx.regs, cookie, index));
        hello::written(bio, data, len as i32);
    }
    0
}

#[inline(always)]
pub fn in_scope() -> bool {
    let verdict = scope::of_what_it_says((bpf_get_current_pid_tgid() >> 32) as u32);
    verdict != 0 && verdict & (NO_TLS | NO_DATA | NO_HTTP) == 0
}

#[inline(always)]
pub fn cookie(ctx: *mut core::ffi::c_void) -> Cookie {
    Cookie(unsafe { bpf_get_attach_cookie(ctx) })
}

/// The registers that can hold a site's arguments, as [`qtap_common::state::register`] numbers them. All are loaded, and one is taken
/// from the copy: the verifier allows reads of the context at constant offsets only.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn registers(regs: *mut pt_regs) -> [u64; 16] {
    let regs = unsafe { &*regs };
    [
        regs.rdi, regs.rsi, regs.rdx, regs.rcx, regs.r8, regs.r9, regs.rax, regs.rbx, regs.rbp, regs.r10, regs.r11,
        regs.r12, regs.r13, regs.r14, regs.r15, 0,
    ]
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn registers(regs: *mut pt_regs) -> [u64; 16] {
    let regs = unsafe { &(*regs).regs };
    [
        regs[0], regs[1], regs[2], regs[3], regs[4], regs[5], regs[6], regs[7], regs[8], regs[9], regs[10], regs[11],
        regs[12], regs[13], regs[14], regs[15],
    ]
}

/// Argument `index` of the cookie (0 to 3), from the register that the cookie names.
#[inline(always)]
fn argument(registers: &[u64; 16], cookie: Cookie, index: u32) -> u64 {
    registers[(cookie.arg(index) & 15) as usize]
}

/// The same, for callers that need one argument and call much afterwards: the copy of the registers does not stay on the stack meanwhile.
#[inline(never)]
pub fn argument_of(regs: *mut pt_regs, cookie: Cookie, index: u32) -> u64 {
    argument(&registers(regs), cookie, index)
}

#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn result(regs: *mut pt_regs) -> u64 {
    unsafe { (*regs).rax }
}

#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn stack(regs: *mut pt_regs) -> u64 {
    unsafe { (*regs).rsp }
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn result(regs: *mut pt_regs) -> u64 {
    unsafe { (*regs).regs[0] }
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn stack(regs: *mut pt_regs) -> u64 {
    unsafe { (*regs).sp }
}
