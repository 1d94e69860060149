//! System calls that carry bytes, open connections or map libraries, probed at their end: by then the result is known, and the saved
//! registers still hold the arguments, so that no state has to be kept between entry and exit.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use core::mem::MaybeUninit;
use qtap_common::globals::option;
use qtap_common::record::{Mapped, kind, role, shaken, why};
use qtap_common::state::scope::{NO_DATA, NO_HTTP, NO_TLS};
use qtap_common::state::{Conn, FileKey, class, conn_flag, op};

use crate::carry::{Transfer, user};
use crate::globals::{layout, wanted};
use crate::kernel::{Sock, file_identity, register, registers, socket_of};
use crate::maps::{CONNS, MAPPED, SYSCALLS};
use crate::source::{MESSAGE, MESSAGE_BUFFERS, MESSAGE_LEN, Source};
use crate::{calls, conn, emit, jvm, ktls, rustls, scope, scratch, session};

const EINPROGRESS: i64 = 115;
/// `__USER32_CS` of x86-64: the code segment of 32-bit callers.
#[cfg(not(bpf_target_arch = "aarch64"))]
const USER32_CS: u16 = 0x23;
/// `PSR_MODE32_BIT` of aarch64: set in the state of 32-bit callers.
#[cfg(bpf_target_arch = "aarch64")]
const PSR_MODE32_BIT: u16 = 0x10;
pub const MSG_PEEK: u64 = 2;
pub const MSG_TRUNC: u64 = 0x20;
pub const MSG_ERRQUEUE: u64 = 0x2000;
const PROT_EXEC: u64 = 4;
/// Messages of one `sendmmsg` or `recvmmsg` whose bytes are added up.
const MESSAGES_MAX: u64 = 8;

/// raw tracepoint `sys_exit`: (registers, result).
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    try_sys_exit(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn try_sys_exit(regs: u64, result: i64) -> Option<()> {
    // A call that failed moved nothing; but EINPROGRESS means that a connection is being made.
    if result < 0 && result != -EINPROGRESS {
        return None;
    }
    let regs = registers(regs);
    let number: u32 = register(regs, layout!(regs_nr))?;
    let entry = *SYSCALLS.get(number)?;
    if entry == op::NONE {
        return None;
    }
    let what = entry & !op::COMPAT;
    let connecting = what == op::CONNECT && (result == 0 || result == -EINPROGRESS);
    let accepted = what == op::ACCEPT && result >= 0;
    let set = what == op::SETSOCKOPT && result == 0;
    if result <= 0 && !connecting && !accepted && !set {
        return None;
    }
    let verdict = scope::of_what_it_says((bpf_get_current_pid_tgid() >> 32) as u32);
    if verdict == 0 {
        return None;
    }
    let of_32_bits = is_of_32_bits(register(regs, layout!(regs_mode))?);
    if of_32_bits != (entry & op::COMPAT != 0) {
        return None;
    }
    let first: u64 = register(regs, if of_32_bits { layout!(regs_compat_arg) } else { layout!(regs_arg[0]) })?;
    match what {
        op::CONNECT => opened(first, role::CLIENT),
        op::ACCEPT => opened(result as u64, role::SERVER),
        op::MMAP => mapped(regs),
        op::SETSOCKOPT => {
            let [level, name] = [register(regs, layout!(regs_arg[1]))?, register(regs, layout!(regs_arg[2]))?];
            let direction = ktls::direction_of(level, name)?;
            ktls::turned_on(&socket(first)?, direction);
        }
        _ => transfer(regs, entry, first, result as u64, verdict)?,
    }
    Some(())
}

/// True when the caller ran in 32-bit mode.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
fn is_of_32_bits(mode: u16) -> bool {
    mode == USER32_CS
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn is_of_32_bits(mode: u16) -> bool {
    mode & PSR_MODE32_BIT != 0
}

/// The socket behind a descriptor, if there is one.
#[inline(always)]
fn socket(fd: u64) -> Option<Sock> {
    let mut sock = MaybeUninit::uninit();
    if socket_of(fd as u32, sock.as_mut_ptr()) { Some(unsafe { sock.assume_init() }) } else { None }
}

/// Accounts for what a call moved, in one place for all calls.
#[inline(always)]
fn transfer(regs: u64, entry: u8, first: u64, result: u64, verdict: u8) -> Option<()> {
    let what = entry & !op::COMPAT;
    let received = matches!(what, op::READ | op::RECVFROM | op::READV | op::RECVMSG | op::RECVMMSG);
    let mut direction = u64::from(received);
    let sock = match socket(first) {
        Some(sock) => {
            if what == op::SPLICE {
                direction = 1;
            }
            sock
        }
        // `splice` moves between a pipe and a socket: the output may be the socket.
        None if what == op::SPLICE => socket(register(regs, layout!(regs_arg[2]))?)?,
        None => {
            let may_say = verdict & (NO_TLS | NO_DATA | NO_HTTP) == 0;
            if what == op::WRITE && may_say && wanted!(options) & option::JVMS != 0 {
                jvm::wrote(register(regs, layout!(regs_arg[1]))?, result);
            }
            return None;
        }
    };
    let area = scratch::take()?;
    let work = unsafe { &mut *scratch::get(area)? };
    work.moved.sock = sock;
    work.moved.direction = direction;
    work.moved.verdict = u64::from(verdict);
    let done = if note_moved(area, regs, entry, result) { carry(area) } else { None };
    scratch::give_back(area);
    done
}

/// Notes in the work area what the call moved, and where that is: not on the stack, which all functions called later share. False: nothing was moved.
#[inline(never)]
fn note_moved(area: u32, regs: u64, entry: u8, result: u64) -> bool {
    let Some(work) = scratch::get(area) else { return false };
    let moved = unsafe { &mut (*work).moved };
    moved.source = Source::buffer(0, result);
    moved.bytes = result;
    moved.reason = 0;
    moved.name = 0;
    match entry {
        op::SENDFILE => moved.reason = u64::from(why::SENDFILE),
        op::SPLICE => moved.reason = u64::from(why::UNCAPTURED_CALL),
        _ if entry & op::COMPAT != 0 => moved.reason = u64::from(why::COMPAT_CALL),
        _ => return place(regs, entry, moved).is_some(),
    }
    true
}

#[inline(always)]
fn carry(area: u32) -> Option<()> {
    let is = conn::carried(area);
    let rustls = rustls::is_known();
    if is != class::TLS && !rustls {
        return Some(());
    }
    let address = unsafe { (*scratch::get(area)?).moved.sock.address };
    let mut id = session::NOT_WANTED;
    if let Some(conn) = CONNS.get_ptr_mut(address) {
        let conn = unsafe { &mut *conn };
        if is == class::TLS {
            if calls::note_socket(conn.id) {
                conn.dirs[0].shook = shaken::BY_LIBRARY;
            }
            if conn.dirs[0].in_kernel != 0 {
                ktls_moved(area, conn);
            }
        }
        if conn.flags & conn_flag::UNWANTED == 0 {
            id = conn.id;
        }
    }
    if rustls {
        // Also for a connection that is not reported: what the thread received before is then not what it decrypts next.
        rustls::passed(area, id);
    }
    Some(())
}

/// The kernel does TLS for what this connection sends. A sent file is reported in the session that gave the keys: no library call returned its bytes.
#[inline(always)]
fn ktls_moved(area: u32, conn: &mut Conn) {
    if let Some((ssl, _)) = calls::current() {
        conn.ssl = ssl;
        return;
    }
    let Some(work) = scratch::get(area) else { return };
    let moved = unsafe { &(*work).moved };
    if moved.direction == 0 && moved.reason != 0 && conn.ssl != 0 && conn.flags & conn_flag::UNWANTED == 0 {
        ktls::sent_file(conn.id, conn.ssl, moved.bytes, moved.reason as u8);
    }
}

/// Notes where the bytes are. None: they stay in the socket (`MSG_PEEK`), are not part of the stream (`MSG_ERRQUEUE`), or nothing was moved.
#[inline(always)]
fn place(regs: u64, what: u8, moved: &mut Transfer) -> Option<()> {
    let second: u64 = register(regs, layout!(regs_arg[1]))?;
    let third: u64 = register(regs, layout!(regs_arg[2]))?;
    let mut flags = 0;
    match what {
        op::READV | op::WRITEV => {
            moved.source = Source::vector(second, third);
        }
        op::RECVMSG | op::SENDMSG => {
            moved.source = message(second)?;
            moved.name = user(second).unwrap_or(0);
            flags = third;
        }
        op::RECVMMSG | op::SENDMMSG => {
            let count = moved.bytes;
            moved.source = if count > 1 { Source::messages(second, count) } else { message(second)? };
            moved.name = user(second).unwrap_or(0);
            moved.bytes = messages(second, count)?;
            flags = register(regs, layout!(regs_arg[3]))?;
        }
        _ => moved.source = Source::buffer(second, moved.bytes),
    }
    if what == op::RECVFROM {
        moved.name = register(regs, layout!(regs_arg[4]))?;
        flags = register(regs, layout!(regs_arg[3]))?;
    }
    // What is read from the error queue was sent, not received.
    if moved.direction == 1 && flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return None;
    }
    if moved.direction == 1 && flags & MSG_TRUNC != 0 {
        // The bytes were dropped, not copied.
        moved.reason = u64::from(why::UNCAPTURED_CALL);
    }
    Some(())
}

/// The buffers of a `struct msghdr`, with which a `struct mmsghdr` begins.
#[inline(always)]
fn message(header: u64) -> Option<Source> {
    let [iov, count]: [u64; 2] = user(header + MESSAGE_BUFFERS)?;
    Some(Source::vector(iov, count))
}

/// Total bytes of `count` messages of an array of `struct mmsghdr`, up to [`MESSAGES_MAX`]: more would give the loop more exits than 6.1 can verify.
#[inline(always)]
fn messages(array: u64, count: u64) -> Option<u64> {
    let mut bytes = 0;
    for index in 0..MESSAGES_MAX {
        if index < count {
            bytes += u64::from(user::<u32>(array + index * MESSAGE + MESSAGE_LEN)?);
        }
    }
    if count > MESSAGES_MAX {
        emit::count_loss(why::TOO_MANY_BUFFERS, 0);
    }
    if bytes == 0 { None } else { Some(bytes) }
}

/// `connect` or `accept` opened a connection.
#[inline(never)]
pub fn opened(fd: u64, as_role: u8) {
    let Some(sock) = socket(fd) else { return };
    if let Some(area) = scratch::take() {
        conn::find_or_open(area, &sock, as_role, 0, 0);
        scratch::give_back(area);
    }
}

/// A file was mapped as executable: reported once, so that the agent can look for TLS functions in it.
#[inline(never)]
fn mapped(regs: u64) {
    let protection: u64 = register(regs, layout!(regs_arg[2])).unwrap_or(0);
    let fd: u64 = register(regs, layout!(regs_arg[4])).unwrap_or(u64::MAX);
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
