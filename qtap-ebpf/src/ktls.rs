//! TLS in the kernel (its `Documentation/networking/tls.rst`): given the keys of a direction, a socket encrypts what is written or decrypts what is
//! read: calls move plaintext. In: calls that give keys, files sent through it. Out: one report per direction; a file's bytes in its session.
//!
//! If a library gives the keys, inside a call of a session, its calls still have the plaintext: it is taken there, and the socket's bytes are
//! counted, as before. Only what it sends from a file passes through no library call that returns bytes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::record::{Header, flag, given, kind, role, why};
use qtap_common::state::{Conn, SessionKey, class, conn_flag};

use crate::atomic::fetch_add;
use crate::carry::{self, data_header};
use crate::kernel::{self, AF_UNIX, Sock};
use crate::maps::SESSIONS;
use crate::{calls, conn, emit, scratch};

/// `SOL_TLS`, and its options (`uapi/linux/tls.h`).
const SOL_TLS: u32 = 282;
const TLS_TX: u32 = 1;
const TLS_RX: u32 = 2;

/// Which direction `setsockopt` with this level and name gives keys for: 0 sent, 1 received. None: it is about something else.
#[inline(always)]
pub fn direction_of(level: u32, name: u32) -> Option<usize> {
    match (level, name) {
        (SOL_TLS, TLS_TX) => Some(0),
        (SOL_TLS, TLS_RX) => Some(1),
        _ => None,
    }
}

/// From here on the kernel does TLS for that direction of the socket. (TLS 1.3 also renews keys: this is reported once.)
#[inline(never)]
pub fn turned_on(sock: &Sock, direction: usize) {
    let Some(area) = scratch::take() else { return };
    if let Some(conn) = conn::find_or_open(area, sock, role::UNKNOWN, 0, 0) {
        let conn = unsafe { &mut *conn };
        let before = conn.dirs[direction & 1].in_kernel;
        conn.dirs[direction & 1].in_kernel = 1;
        // Whatever passed before: from here on, what calls move is TLS on the wire.
        conn.dirs[0].class = class::TLS;
        conn.dirs[1].class = class::TLS;
        if before == 0 && conn.flags & conn_flag::UNWANTED == 0 {
            tell(conn.id, direction as u64, if calls::in_call() { given::BY_LIBRARY } else { 0 });
        }
    }
    scratch::give_back(area);
}

/// Checks whether it does already, for a connection that was open before it was first seen. The direction is not known; in neither may what calls
/// move be taken for plaintext on the wire. (All conditions are checked in here: then the verifier has one way back.)
#[inline(never)]
pub fn look(sock: u64, conn: &mut Conn) {
    if conn.flags & conn_flag::LATE != 0 && conn.family != AF_UNIX && kernel::does_tls(sock) {
        for dir in &mut conn.dirs {
            dir.in_kernel = 1;
            dir.class = class::TLS;
        }
        if conn.flags & conn_flag::UNWANTED == 0 {
            tell(conn.id, 0, given::BEFORE);
        }
    }
}

/// Reports it, with bits of [`given`].
#[inline(always)]
fn tell(conn: u64, direction: u64, detail: u8) {
    let mut header = emit::header(kind::KERNEL_TLS, size_of::<Header>(), conn);
    header.flags = if direction == 0 { 0 } else { flag::RECEIVED };
    header.detail = detail;
    emit::record_or_count(&header);
}

/// A file's bytes went through such a socket: they are plaintext of the session that gave it the keys, and were never in the process's memory.
#[inline(never)]
pub fn sent_file(conn: u64, ssl: u64, bytes: u64, reason: u8) {
    let key = SessionKey { ssl, tgid: (bpf_get_current_pid_tgid() >> 32) as u32, ended: 0 };
    let Some(session) = SESSIONS.get_ptr_mut(key) else { return };
    let session = unsafe { &mut *session };
    // Its address may be another session's by now.
    if session.conn != conn {
        return;
    }
    let dir = &mut session.dirs[0];
    let offset = unsafe { fetch_add(&raw mut dir.count.carried, bytes) };
    let header = data_header(session.id, true, 0);
    if session.unwanted != 0 || session.left_alone != 0 || dir.class != class::HTTP {
        return conn::unwanted(dir, &header, offset, bytes);
    }
    if dir.unwanted_from != u64::MAX {
        carry::skip(&header, dir.unwanted_from, offset - dir.unwanted_from, why::UNWANTED);
        dir.unwanted_from = u64::MAX;
    }
    conn::uncopied(dir, &header, offset, bytes, reason);
}
