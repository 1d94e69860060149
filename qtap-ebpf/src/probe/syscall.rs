//! System calls that carry bytes, open connections or map libraries, at their end: by then the result is known, and the saved
//! registers still hold the arguments, so that no state has to be kept between entry and exit.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use qtap_common::globals::NO_OFFSET;
use qtap_common::record::{Mapped, kind, role, why};
use qtap_common::state::{FileKey, class, op};

use crate::carry::{Source, user};
use crate::globals::layout;
use crate::kernel::{Sock, at, file_identity, socket_of};
use crate::maps::{MAPPED, SYSCALLS};
use crate::{conn, emit, scope, session};

const EINPROGRESS: i64 = 115;
/// `__USER32_CS` of x86-64.
const USER32_CS: u64 = 0x23;
const MSG_PEEK: u64 = 2;
const MSG_TRUNC: u64 = 0x20;
const PROT_EXEC: u64 = 4;
/// Messages of one `sendmmsg` or `recvmmsg` that are walked.
const MESSAGES_MAX: u64 = 8;

/// raw tracepoint `sys_exit`: (registers, result).
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    try_sys_exit(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn try_sys_exit(regs: u64, result: i64) -> Option<()> {
    let number: u32 = at(regs, layout!(regs_nr))?;
    let what = *SYSCALLS.get(number)?;
    if what == op::NONE {
        return None;
    }
    let connecting = what == op::CONNECT && (result == 0 || result == -EINPROGRESS);
    let accepted = what == op::ACCEPT && result >= 0;
    if result <= 0 && !connecting && !accepted {
        return None;
    }
    if !scope::includes_current((bpf_get_current_pid_tgid() >> 32) as u32) {
        return None;
    }
    if layout!(regs_cs) != NO_OFFSET && at::<u64>(regs, layout!(regs_cs))? == USER32_CS {
        emit::count_loss(why::COMPAT_CALL, 0);
        return None;
    }
    match what {
        op::CONNECT => opened(at(regs, layout!(regs_arg[0]))?, role::CLIENT),
        op::ACCEPT => opened(result as u64, role::SERVER),
        op::MMAP => mapped(regs),
        op::RECVMMSG | op::SENDMMSG => messages(regs, what, result as u64),
        op::SENDFILE => uncaptured(at(regs, layout!(regs_arg[0]))?, 0, result as u64, why::SENDFILE),
        op::SPLICE => {
            uncaptured(at(regs, layout!(regs_arg[2]))?, 0, result as u64, why::UNCAPTURED_CALL);
            uncaptured(at(regs, layout!(regs_arg[0]))?, 1, result as u64, why::UNCAPTURED_CALL);
        }
        _ => transfer(regs, what, result as u64)?,
    }
    Some(())
}

/// A call that moved `bytes` bytes between a descriptor and memory.
#[inline(always)]
fn transfer(regs: u64, what: u8, bytes: u64) -> Option<()> {
    let received = matches!(what, op::READ | op::RECVFROM | op::READV | op::RECVMSG);
    let mut sock = Sock { address: 0, ino: 0 };
    if !socket_of(at::<u64>(regs, layout!(regs_arg[0]))? as u32, &mut sock) {
        return None;
    }
    let second: u64 = at(regs, layout!(regs_arg[1]))?;
    let source = match what {
        op::READV | op::WRITEV => Source { base: 0, len: 0, iov: second, iov_left: at(regs, layout!(regs_arg[2]))? },
        op::RECVMSG | op::SENDMSG => message_source(second)?,
        _ => Source { base: second, len: bytes, iov: 0, iov_left: 0 },
    };
    let flags: u64 = match what {
        op::RECVFROM => at(regs, layout!(regs_arg[3]))?,
        op::RECVMSG => at(regs, layout!(regs_arg[2]))?,
        _ => 0,
    };
    carry_flagged(&sock, received, &source, bytes, flags);
    Some(())
}

/// `MSG_PEEK` leaves the bytes where they are; `MSG_TRUNC` drops them without copying.
#[inline(always)]
fn carry_flagged(sock: &Sock, received: bool, source: &Source, bytes: u64, flags: u64) {
    if received && flags & MSG_PEEK != 0 {
        return;
    }
    let reason = if received && flags & MSG_TRUNC != 0 { why::UNCAPTURED_CALL } else { 0 };
    if conn::carried(sock, usize::from(received), source, bytes, reason) == class::TLS {
        if let Some(conn) = crate::maps::CONNS.get_ptr(sock.address) {
            session::note_socket(unsafe { (*conn).id });
        }
    }
}

/// The buffers of a `struct msghdr` (64-bit ABI: `msg_iov` at 16, `msg_iovlen` at 24).
#[inline(always)]
fn message_source(header: u64) -> Option<Source> {
    let [iov, count]: [u64; 2] = user(header + 16)?;
    Some(Source { base: 0, len: 0, iov, iov_left: count })
}

/// `sendmmsg`, `recvmmsg`: an array of `struct mmsghdr` (64 bytes each, the length at 56).
#[inline(always)]
fn messages(regs: u64, what: u8, count: u64) {
    let mut sock = Sock { address: 0, ino: 0 };
    let Some(fd) = at::<u64>(regs, layout!(regs_arg[0])) else { return };
    if !socket_of(fd as u32, &mut sock) {
        return;
    }
    let Some(array) = at::<u64>(regs, layout!(regs_arg[1])) else { return };
    let flags: u64 = at(regs, layout!(regs_arg[3])).unwrap_or(0);
    let received = what == op::RECVMMSG;
    for index in 0..MESSAGES_MAX {
        if index >= count {
            return;
        }
        let message = array + index * 64;
        let Some(source) = message_source(message) else { return };
        let Some(bytes) = user::<u32>(message + 56) else { return };
        if bytes > 0 {
            carry_flagged(&sock, received, &source, u64::from(bytes), flags);
        }
    }
    if count > MESSAGES_MAX {
        emit::count_loss(why::TOO_MANY_BUFFERS, 0);
    }
}

/// Bytes that never were in the process's memory.
#[inline(always)]
fn uncaptured(fd: u64, direction: usize, bytes: u64, reason: u8) {
    let mut sock = Sock { address: 0, ino: 0 };
    if socket_of(fd as u32, &mut sock) {
        conn::carried(&sock, direction, &Source::default(), bytes, reason);
    }
}

/// `connect` or `accept` gave a connection.
#[inline(always)]
fn opened(fd: u64, as_role: u8) {
    let mut sock = Sock { address: 0, ino: 0 };
    if socket_of(fd as u32, &mut sock) {
        conn::find_or_open(&sock, as_role, 0, 0);
    }
}

/// A file was mapped as executable: told once, so that the agent can look for TLS functions in it.
#[inline(always)]
fn mapped(regs: u64) {
    let protection: u64 = at(regs, layout!(regs_arg[2])).unwrap_or(0);
    let fd: u64 = at(regs, layout!(regs_arg[4])).unwrap_or(u64::MAX);
    if protection & PROT_EXEC == 0 || (fd as i32) < 0 {
        return;
    }
    let Some((dev, ino)) = file_identity(fd as u32) else { return };
    let key = FileKey { dev, ino };
    if MAPPED.get_ptr(key).is_some() {
        return;
    }
    let header = emit::header(kind::MAPPED, size_of::<Mapped>(), 0);
    if emit::record_or_count(&Mapped { header, dev, ino }) {
        let _ = MAPPED.insert(key, 1u8, 0);
    }
}
