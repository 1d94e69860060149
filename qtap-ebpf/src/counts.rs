//! The kernel's byte counts of a connection: reported with the probes' own counts, and saved where the kernel would forget them.

use qtap_common::record::Counts;
use qtap_common::state::{Conn, conn_flag};

use crate::emit;
use crate::kernel;

/// Writes the counts of a connection, with the kernel's own. False: the ring was full.
#[inline(never)]
pub fn tell(conn: &mut Conn, sock: u64, record_kind: u8) -> bool {
    // Saved while the `sock` was alive.
    let (kept, fin) = (conn.dirs[0].kernel_final != 0, conn.flags & conn_flag::FIN != 0);
    let mut sent = if kept { conn.dirs[0].count.kernel } else { u64::MAX };
    let mut received = if conn.dirs[1].kernel_final != 0 { conn.dirs[1].count.kernel } else { u64::MAX };
    let mut unread = 0;
    if conn.flags & conn_flag::UNCOUNTED != 0 {
        (sent, received) = (u64::MAX, u64::MAX);
    } else if sock != 0 {
        if !kept {
            sent = kernel::tcp_sent(sock).wrapping_sub(conn.dirs[0].base);
        }
        received = read_by_now(conn, sock, fin);
        unread = u64::from(kernel::tcp_unread_raw(sock));
        if fin && unread > 0 {
            unread -= 1;
        }
    }
    let Some(room) = emit::reserve::<Counts>() else { return false };
    let counts = unsafe { &mut *room };
    counts.header = emit::header(record_kind, size_of::<Counts>(), conn.id);
    counts.header.tgid = conn.tgid;
    counts.header.detail = conn.dirs[0].shook;
    counts.dirs[0] = conn.dirs[0].count;
    counts.dirs[1] = conn.dirs[1].count;
    counts.dirs[0].kernel = sent;
    counts.dirs[1].kernel = received;
    counts.unread = unread;
    emit::submit(room);
    true
}

/// Saves the kernel's counts for the agent, which will read them from the table.
#[inline(always)]
pub fn keep(conn: &mut Conn, sock: u64) {
    if conn.flags & conn_flag::UNCOUNTED != 0 {
        return;
    }
    let fin = conn.flags & conn_flag::FIN != 0;
    if conn.dirs[0].kernel_final == 0 {
        conn.dirs[0].count.kernel = kernel::tcp_sent(sock).wrapping_sub(conn.dirs[0].base);
        conn.dirs[0].kernel_final = 1;
    }
    conn.dirs[1].count.kernel = read_by_now(conn, sock, fin);
    conn.dirs[1].kernel_final = 1;
}

/// The `sock` is closed. Saves what was read so far: the process may still read the rest, or the kernel is about to forget its counts
/// (`tcp_disconnect`, which a close with `SO_LINGER` 0 and a `connect` to `AF_UNSPEC` go through).
#[inline(always)]
pub fn keep_read(conn: &mut Conn, sock: u64) {
    conn.dirs[1].count.kernel = read_by_now(conn, sock, conn.flags & conn_flag::FIN != 0);
    conn.dirs[1].kernel_final = 2;
}

/// Bytes that the process read.
#[inline(always)]
fn read_by_now(conn: &Conn, sock: u64, fin: bool) -> u64 {
    let now = kernel::tcp_read(sock, fin).wrapping_sub(conn.dirs[1].base);
    let kept = conn.dirs[1].count.kernel;
    let forgotten = conn.dirs[1].kernel_final == 2 && (now.wrapping_sub(kept) as i64) < 0;
    if forgotten { kept } else { now }
}
