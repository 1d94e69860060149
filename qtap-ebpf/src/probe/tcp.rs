//! The life of a TCP connection, as its state changes: this tells its end.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use qtap_common::globals::NO_OFFSET;
use qtap_common::state::conn_flag;

use crate::conn;
use crate::globals::layout;
use crate::kernel::{RCV_SHUTDOWN, SHUTDOWN_BOTH, at, tcp, tcp_sent, tcp_unread_raw};
use crate::maps::CONNS;

/// raw tracepoint `inet_sock_set_state`: (sock, old, new). Runs before the state changes.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    try_state(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// True when a system call works on the socket: a reset that came meanwhile is taken at the end of that call, before the bytes
/// it moved were told. On loopback, and between containers of one host, that is the usual answer to a last word.
#[inline(always)]
fn in_a_call(sock: u64) -> bool {
    layout!(sk_lock_owned) != NO_OFFSET && at::<u32>(sock, layout!(sk_lock_owned)).is_some_and(|owned| owned != 0)
}

/// A connection is over for its process when both ways are shut: `close` shuts both before it changes the state, while
/// `shutdown` and a FIN shut one. What arrived before a reset can still be read: such a connection ends when the process closes it.
#[inline(always)]
fn try_state(sock: u64, old: i32, new: i32) -> Option<()> {
    let conn = CONNS.get_ptr_mut(sock)?;
    let state = unsafe { &mut *conn };
    if new == tcp::CLOSE_WAIT || new == tcp::CLOSING {
        state.flags |= conn_flag::FIN;
    }
    let leaving = new == tcp::FIN_WAIT1 || new == tcp::LAST_ACK;
    if !leaving && new != tcp::CLOSE {
        return None;
    }
    let shutdown: u8 = at(sock, layout!(sk_shutdown))?;
    if new == tcp::CLOSE && old == tcp::FIN_WAIT2 && shutdown & RCV_SHUTDOWN != 0 {
        state.flags |= conn_flag::FIN;
    }
    if state.dirs[0].kernel_final == 0 {
        // The FIN is about to take a sequence number: the last moment at which all of them were the process's bytes.
        state.dirs[0].count.kernel = tcp_sent(sock).wrapping_sub(state.dirs[0].base);
        state.dirs[0].kernel_final = 1;
    }
    let fin = u32::from(state.flags & conn_flag::FIN != 0);
    let unread = tcp_unread_raw(sock) > fin;
    let over = match new {
        tcp::LAST_ACK => shutdown == SHUTDOWN_BOTH && !unread,
        tcp::CLOSE => shutdown == SHUTDOWN_BOTH || !unread,
        _ => shutdown == SHUTDOWN_BOTH,
    };
    if over && new == tcp::CLOSE && old != tcp::SYN_SENT && shutdown != SHUTDOWN_BOTH && in_a_call(sock) {
        state.flags |= conn_flag::RESET;
    } else if over {
        conn::close(sock, conn, true);
    }
    Some(())
}
