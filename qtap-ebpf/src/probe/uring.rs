//! What io_uring moves, when a request completes: its buffer is still the request's then, since the program has not been notified yet. Whichever
//! thread completes it, its memory is the program's: it is one of the program's own, or one that the kernel created beside them.
//!
//! Not seen: completions of a multishot request other than its last, since the kernel does not say here which request they belong to; and requests
//! that ask for completions of failures only. The kernel's count of the connection includes their bytes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use qtap_common::record::{role, why};

use crate::globals::layout;
use crate::kernel::{at, socket_in};
use crate::probe::syscall::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, opened};
use crate::source::Source;
use crate::{conn, scope, scratch};

/// Opcodes of requests (`include/uapi/linux/io_uring.h`).
mod ask {
    pub const READV: u8 = 1;
    pub const WRITEV: u8 = 2;
    pub const READ_FIXED: u8 = 4;
    pub const WRITE_FIXED: u8 = 5;
    pub const SENDMSG: u8 = 9;
    pub const RECVMSG: u8 = 10;
    pub const ACCEPT: u8 = 13;
    pub const CONNECT: u8 = 16;
    pub const READ: u8 = 22;
    pub const WRITE: u8 = 23;
    pub const SEND: u8 = 26;
    pub const RECV: u8 = 27;
    pub const SEND_ZC: u8 = 47;
    pub const SENDMSG_ZC: u8 = 48;
}

/// raw tracepoint `io_uring_complete`: (ring, request, …).
#[raw_tracepoint(tracepoint = "io_uring_complete")]
pub fn io_uring_complete(ctx: RawTracePointContext) -> i32 {
    try_complete(ctx.arg(1));
    0
}

#[inline(always)]
fn try_complete(request: u64) -> Option<()> {
    if request == 0 {
        return None;
    }
    let result: i32 = at(request, layout!(uring_result))?;
    if result < 0 {
        return None;
    }
    let asked: u8 = at(request, layout!(uring_opcode))?;
    let sends = matches!(
        asked,
        ask::WRITEV | ask::WRITE_FIXED | ask::SENDMSG | ask::WRITE | ask::SEND | ask::SEND_ZC | ask::SENDMSG_ZC
    );
    let receives = matches!(asked, ask::READV | ask::READ_FIXED | ask::RECVMSG | ask::READ | ask::RECV);
    let moves = (sends || receives) && result > 0;
    if !moves && asked != ask::ACCEPT && asked != ask::CONNECT {
        return None;
    }
    let verdict = scope::of_what_it_says((bpf_get_current_pid_tgid() >> 32) as u32);
    if verdict == 0 {
        return None;
    }
    if asked == ask::ACCEPT {
        // Without a descriptor the connection is first seen with its first bytes.
        let slot: u32 = at(request, layout!(uring_slot))?;
        if slot == 0 {
            opened(result as u64, role::SERVER);
        }
        return None;
    }
    let sock = socket_in(at(request, layout!(uring_file))?)?;
    let area = scratch::take()?;
    if asked == ask::CONNECT {
        conn::find_or_open(area, &sock, role::CLIENT, 0, 0);
    } else {
        let moved = unsafe { &mut (*scratch::get(area)?).moved };
        moved.sock = sock;
        moved.direction = u64::from(receives);
        moved.verdict = u64::from(verdict);
        moved.bytes = result as u64;
        moved.name = 0;
        if place(area, request, asked) {
            conn::carried(area);
        }
    }
    scratch::give_back(area);
    Some(())
}

/// Notes where the bytes are. False: they stay in the socket. Lists of buffers are not read: they may be gone by now.
#[inline(never)]
fn place(area: u32, request: u64, asked: u8) -> bool {
    let Some(work) = scratch::get(area) else { return false };
    let moved = unsafe { &mut (*work).moved };
    let mut buffer = 0u64;
    if matches!(asked, ask::SEND | ask::RECV | ask::SEND_ZC) {
        let done: u32 = at(request, layout!(uring_done)).unwrap_or(0);
        let flags: u32 = at(request, layout!(uring_flags)).unwrap_or(0);
        if moved.direction == 1 && u64::from(flags) & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
            return false;
        }
        if moved.direction == 0 || u64::from(flags) & MSG_TRUNC == 0 {
            buffer = at(request, layout!(uring_buffer)).unwrap_or(0u64);
        }
        // What an earlier attempt moved lies before it.
        if buffer != 0 {
            buffer -= u64::from(done);
        }
    } else if matches!(asked, ask::READ | ask::WRITE | ask::READ_FIXED | ask::WRITE_FIXED) {
        buffer = at(request, layout!(uring_address)).unwrap_or(0);
    }
    moved.source = Source::buffer(buffer, moved.bytes);
    moved.reason = if buffer == 0 { u64::from(why::UNCAPTURED_CALL) } else { 0 };
    true
}
