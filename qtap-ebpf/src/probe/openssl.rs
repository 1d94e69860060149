//! OpenSSL and its kin: where a probe stands in each function, and which register holds what there, comes in the cookie.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use qtap_common::record::{binding, role};
use qtap_common::state::{Cookie, call, register};

use crate::kernel::{Sock, socket_of};
use crate::session::{self, Frame};
use crate::{conn, scope};

/// At the entry site of a function that moves bytes or shakes hands.
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
    let regs = ctx.regs;
    let of = cookie.call();
    let out = match of {
        call::READ_EX | call::WRITE_EX => argument(regs, cookie, 3),
        call::WRITE_EX2 => argument_4(regs, cookie),
        _ => 0,
    };
    session::enter(&Frame {
        ssl: argument(regs, cookie, 0),
        buffer: if of == call::OTHER { 0 } else { argument(regs, cookie, 1) },
        out,
        stack: stack(regs) + cookie.depth(),
        conn: 0,
        library: cookie.library(),
        call: u32::from(of),
    });
    Some(())
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

/// `SSL_set_fd(ssl, fd)`, `SSL_set_rfd`, `SSL_set_wfd`: the program itself names the socket.
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
    let mut sock = Sock { address: 0, ino: 0 };
    if !socket_of(argument(ctx.regs, cookie, 1) as u32, &mut sock) {
        return None;
    }
    let conn = conn::find_or_open(&sock, role::UNKNOWN, 0, 0)?;
    let conn = unsafe { (*conn).id };
    let key = session::key(argument(ctx.regs, cookie, 0));
    let session = session::find_or_open(&key, cookie.library(), false)?;
    session::bind(unsafe { &mut *session }, conn, binding::SET_FD);
    Some(())
}

/// `SSL_free(ssl)`, `SSL_clear(ssl)`: the session ends.
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    if in_scope() {
        let cookie = cookie(ctx.as_ptr());
        session::close(&session::key(argument(ctx.regs, cookie, 0)));
    }
    0
}

#[inline(always)]
fn in_scope() -> bool {
    scope::includes_current((bpf_get_current_pid_tgid() >> 32) as u32)
}

#[inline(always)]
fn cookie(ctx: *mut core::ffi::c_void) -> Cookie {
    Cookie(unsafe { bpf_get_attach_cookie(ctx) })
}

/// Argument `index` (0 to 3), wherever the cookie says it is.
#[inline(always)]
fn argument(regs: *mut pt_regs, cookie: Cookie, index: u32) -> u64 {
    value(regs, cookie.arg(index))
}

/// The fifth argument; only `SSL_write_ex2` has one, and then the fourth's place in the cookie names it.
#[inline(always)]
fn argument_4(regs: *mut pt_regs, cookie: Cookie) -> u64 {
    value(regs, cookie.arg(3))
}

#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn value(regs: *mut pt_regs, place: u8) -> u64 {
    let regs = unsafe { &*regs };
    match place {
        0 => regs.rdi,
        1 => regs.rsi,
        2 => regs.rdx,
        3 => regs.rcx,
        register::RAX => regs.rax,
        register::RBX => regs.rbx,
        register::RBP => regs.rbp,
        register::R8 => regs.r8,
        register::R9 => regs.r9,
        register::R10 => regs.r10,
        register::R11 => regs.r11,
        register::R12 => regs.r12,
        register::R13 => regs.r13,
        register::R14 => regs.r14,
        _ => regs.r15,
    }
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
fn value(regs: *mut pt_regs, place: u8) -> u64 {
    let regs = unsafe { &*regs };
    match place {
        0 => regs.regs[0],
        1 => regs.regs[1],
        2 => regs.regs[2],
        3 => regs.regs[3],
        _ => regs.regs[4],
    }
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
