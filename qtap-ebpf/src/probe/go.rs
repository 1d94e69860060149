//! Go's `crypto/tls`: `(*Conn).Read`, `Write`, `Close` and the handshakes, in Go's own calling convention (`abi-internal.md` of `cmd/compile`):
//! arguments in `rax`, `rbx`, `rcx`, the goroutine in `r14`, the result in `rax`.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use qtap_common::go::GoFrame;
use qtap_common::state::call;

use super::openssl::{cookie, in_scope};
use crate::carry::user;
use crate::{emit, goroutine, scope};

/// At the entry site of `Read`, `Write`, or a handshake.
#[uprobe]
pub fn go_enter(ctx: ProbeContext) -> u32 {
    try_enter(&ctx);
    0
}

#[inline(always)]
fn try_enter(ctx: &ProbeContext) -> Option<()> {
    if !in_scope() {
        return None;
    }
    let cookie = cookie(ctx.as_ptr());
    let at = registers(ctx.regs);
    let [lower, upper] = stack_of(&at)?;
    let on_stack = cookie.call() != call::OTHER && at.buffer >= lower && at.buffer < upper;
    let frame = GoFrame {
        ssl: at.session,
        buffer: if on_stack { upper - at.buffer } else { at.buffer },
        len: at.len,
        conn: 0,
        time: emit::now(),
        below: upper - at.stack,
        library: cookie.library(),
        call: cookie.call(),
        on_stack: u8::from(on_stack),
        known: u8::from(goroutine::begin(at.session)),
        shook: 0,
    };
    goroutine::enter(&goroutine::key(at.goroutine), &frame);
    Some(())
}

/// At a `ret`.
#[uprobe]
pub fn go_exit(ctx: ProbeContext) -> u32 {
    try_exit(&ctx);
    0
}

#[inline(always)]
fn try_exit(ctx: &ProbeContext) -> Option<()> {
    if !in_scope() {
        return None;
    }
    let at = registers(ctx.regs);
    let [_, upper] = stack_of(&at)?;
    let of = cookie(ctx.as_ptr()).call();
    goroutine::finish(of, at.goroutine, at.session, upper - at.stack, upper);
    Some(())
}

/// `(*Conn).Close`: the session ends.
#[uprobe]
pub fn go_close(ctx: ProbeContext) -> u32 {
    // Also for a process that has been excluded since: the beginning of the session was seen.
    if scope::was_met((bpf_get_current_pid_tgid() >> 32) as u32) {
        goroutine::close(registers(ctx.regs).session);
    }
    0
}

/// The registers that matter.
struct Registers {
    /// First argument: the `tls.Conn`; at a `ret` the result.
    session: u64,
    buffer: u64,
    len: u64,
    goroutine: u64,
    stack: u64,
}

/// Lower and upper end of the goroutine's stack, with which `runtime.g` begins. None: the stack pointer is not in it.
#[inline(always)]
fn stack_of(at: &Registers) -> Option<[u64; 2]> {
    let [lower, upper]: [u64; 2] = user(at.goroutine)?;
    if at.stack >= lower && at.stack < upper { Some([lower, upper]) } else { None }
}

#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn registers(regs: *mut pt_regs) -> Registers {
    let regs = unsafe { &*regs };
    Registers { session: regs.rax, buffer: regs.rbx, len: regs.rcx, goroutine: regs.r14, stack: regs.rsp }
}

/// Never attached on aarch64 (`sites::go`): present so that the object is built of the same programs everywhere.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn registers(regs: *mut pt_regs) -> Registers {
    let (regs, sp) = unsafe { (&(*regs).regs, (*regs).sp) };
    Registers { session: regs[0], buffer: regs[1], len: regs[2], goroutine: regs[28], stack: sp }
}
