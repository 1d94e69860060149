//! The state changes of a TCP connection, from which its end is known.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use qtap_common::state::conn_flag;

use crate::globals::layout;
use crate::kernel::{SHUTDOWN_BOTH, at, fin_was_taken, tcp, tcp_sent, tcp_unread_raw};
use crate::maps::CONNS;
use crate::{conn, counts, feedback};

/// raw tracepoint `inet_sock_set_state`: (sock, old, new). Runs before the state changes.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    feedback::state_changes(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    try_state(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// A connection is over for its process when both directions are shut: `close` shuts both before it changes the state, while
/// `shutdown` may, and a FIN does, shut one. A connection that was reset, or still has bytes to read, is over when its `sock` is destroyed: what
/// arrived can be read, and the reset may come in the middle of a call whose bytes are not yet counted.
#[inline(always)]
fn try_state(sock: u64, old: i32, new: i32) -> Option<()> {
    let conn = CONNS.get_ptr_mut(sock)?;
    let state = unsafe { &mut *conn };
    // It has ended, and waits for the agent to read that: this may be another `sock` at the same address.
    if state.flags & conn_flag::CLOSED_UNTOLD != 0 {
        return None;
    }
    if new == tcp::SYN_SENT {
        // The process uses its socket for another connection; this one has ended.
        conn::close(sock, conn, true);
        return None;
    }
    if new == tcp::CLOSE_WAIT || new == tcp::CLOSING {
        state.flags |= conn_flag::FIN;
    }
    if state.flags & conn_flag::UNCOUNTED != 0 {
        if is_left(at(sock, layout!(sk_shutdown))?, old, new) {
            conn::close(sock, conn, true);
        }
        return None;
    }
    let leaving = new == tcp::FIN_WAIT1 || new == tcp::LAST_ACK;
    if !leaving && new != tcp::CLOSE {
        return None;
    }
    let shutdown: u8 = at(sock, layout!(sk_shutdown))?;
    if new == tcp::CLOSE && old == tcp::FIN_WAIT2 && fin_was_taken(sock) {
        state.flags |= conn_flag::FIN;
    }
    if state.dirs[0].kernel_final == 0 {
        // The FIN is about to take a sequence number: the last moment at which every sequence number was a byte of the process.
        state.dirs[0].count.kernel = tcp_sent(sock).wrapping_sub(state.dirs[0].base);
        state.dirs[0].kernel_final = 1;
    }
    if new == tcp::CLOSE {
        counts::keep_read(state, sock);
    }
    let fin = u32::from(state.flags & conn_flag::FIN != 0);
    let unread = tcp_unread_raw(sock) > fin;
    if shutdown == SHUTDOWN_BOTH && leaving && !unread {
        conn::close(sock, conn, true);
    }
    Some(())
}

/// True when a process leaves an MPTCP connection, of which no `tcp_destroy_sock` reports the end: it shuts both directions, and unread data is
/// discarded at once (`__mptcp_close`). If the state need not change, the kernel sets it to what it is.
#[inline(always)]
fn is_left(shutdown: u8, old: i32, new: i32) -> bool {
    let gives_up = new == tcp::CLOSE && (old == tcp::ESTABLISHED || old == tcp::CLOSE_WAIT);
    shutdown == SHUTDOWN_BOTH && (new == tcp::FIN_WAIT1 || new == tcp::LAST_ACK || new == old || gives_up)
}

/// raw tracepoint `tcp_destroy_sock`: (sock). Nothing refers to it any more.
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
pub fn tcp_destroy_sock(ctx: RawTracePointContext) -> i32 {
    let sock = ctx.arg(0);
    if let Some(conn) = CONNS.get_ptr_mut(sock)
        && unsafe { (*conn).flags } & conn_flag::CLOSED_UNTOLD == 0
    {
        conn::close(sock, conn, true);
    }
    0
}
