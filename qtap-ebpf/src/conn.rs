//! Connections: how they are first seen, what is wanted of them, what their bytes are, and how they end.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::ptr::write_volatile;
use qtap_common::globals::shed;
use qtap_common::record::{Count, Header, Opened, flag, kind, role, why};
use qtap_common::state::{Conn, Dir, FIRST_BYTES, FIRST_ROOM, HELLO_BYTES, SessionKey, class, conn_flag, scope};

use crate::atomic::fetch_add;
use crate::carry::{self, Span, Transfer, data_header, user};
use crate::classify;
use crate::emit;
use crate::globals::{self, read};
use crate::kernel::{self, Sock, tcp};
use crate::maps::CONNS;
use crate::peer::{filtered_out, is_loopback, learn_role, tell_ends};
use crate::source::Source;
use crate::{advice, calls, counts, dns, feedback, ktls, scratch, session, trace};

/// `BPF_NOEXIST` (`linux/bpf.h`): an entry that is there is not replaced.
pub const ONLY_NEW: u64 = 1;

/// A direction of which nothing is known.
pub const NEW_DIR: Dir = Dir {
    count: Count { carried: 0, copied: 0, encrypted: 0, unwanted: 0, lost: 0, kernel: 0 },
    base: 0,
    pending_offset: 0,
    pending_bytes: 0,
    unwanted_from: u64::MAX,
    first: [0; FIRST_ROOM],
    first_len: 0,
    class: class::UNDECIDED,
    pending_why: 0,
    kernel_final: 0,
    in_kernel: 0,
    shook: 0,
    pad: [0; 2],
};

/// The connection of a socket; opened if it was not known. `carried`: bytes that the current call has just moved in `direction`,
/// which the kernel's counters already include. None: not a stream that qtap follows, the table is full, or new connections are shed.
#[inline(always)]
pub fn find_or_open(area: u32, sock: &Sock, as_role: u8, direction: usize, carried: u64) -> Option<*mut Conn> {
    let conn = lookup(area, sock, as_role, direction, carried);
    if conn.is_null() { None } else { Some(conn) }
}

/// Returns a pointer that may be null, in one register: an `Option` would need space on the caller's stack, and a sixth argument.
#[inline(never)]
fn lookup(area: u32, sock: &Sock, as_role: u8, direction: usize, carried: u64) -> *mut Conn {
    if let Some(conn) = CONNS.get_ptr_mut(sock.address) {
        if is_same(unsafe { &*conn }, sock, as_role) {
            return conn;
        }
        close(sock.address, conn, false);
    }
    if !open(area, sock, as_role, direction, carried) {
        return core::ptr::null_mut();
    }
    let Some(conn) = CONNS.get_ptr_mut(sock.address) else { return core::ptr::null_mut() };
    ktls::look(sock.address, unsafe { &mut *conn });
    conn
}

/// False when this is another `sock` at the same address, because the end of the former was missed. Every end of TCP is reported, and a
/// new `sock` starts with a call that opens it: so the inode number is compared only there, and where not every end is reported.
#[inline(always)]
fn is_same(conn: &Conn, sock: &Sock, as_role: u8) -> bool {
    let certain = as_role == role::UNKNOWN && conn.flags & (conn_flag::UNCOUNTED | conn_flag::CLOSED_UNTOLD) == 0;
    certain || conn.ino == kernel::inode_number(sock)
}

#[inline(never)]
fn open(area: u32, sock: &Sock, as_role: u8, direction: usize, carried: u64) -> bool {
    let Some(family) = kernel::stream_family(sock.address) else { return false };
    if as_role == role::UNKNOWN && carried == 0 && kernel::never_connected(sock.address, family) {
        return false;
    }
    if globals::shed() >= shed::CONNECTIONS {
        emit::count_loss(why::SHED, carried);
        return false;
    }
    let Some(work) = scratch::get(area) else { return false };
    let work = unsafe { &mut *work };
    let record = unsafe { &mut work.record.opened };
    let header = &mut record.head.header;
    *header = emit::header(kind::OPENED, size_of::<Opened>(), 0);
    header.id = emit::identity(header.time);
    let conn = &mut work.conn;
    conn.id = header.id;
    conn.ino = kernel::inode_number(sock);
    conn.told = header.time;
    conn.tgid = header.tgid;
    conn.family = family;
    conn.role = as_role;
    conn.ssl = 0;
    conn.dirs[0] = NEW_DIR;
    conn.dirs[1] = NEW_DIR;
    let mut late = as_role == role::UNKNOWN;
    let counted = kernel::is_tcp(sock.address, family);
    let state = kernel::state(sock.address);
    // The peer's FIN may have come before the process accepted.
    let fin = counted && kernel::fin_came(state);
    if counted {
        let sent = if as_role == role::CLIENT && state == tcp::SYN_SENT {
            // The SYN. If it waits for the first bytes (`TCP_FASTOPEN_CONNECT`), the kernel has not begun to count.
            1
        } else {
            kernel::tcp_sent(sock.address).wrapping_sub(if direction == 0 { carried } else { 0 })
        };
        let received = kernel::tcp_read(sock.address, fin).wrapping_sub(if direction == 1 { carried } else { 0 });
        conn.dirs[0].base = sent;
        conn.dirs[1].base = received;
        if state == tcp::CLOSE {
            // Refused before it was first seen: it sends nothing, and a `connect` that tries again moves the kernel's count.
            conn.dirs[0].kernel_final = 1;
        }
        // Not late if nothing has passed yet (a SYN counts as one): then it was opened by a call that is not probed, or before the probes.
        late &= sent > 1 || received > 0;
    }
    conn.flags = if late { conn_flag::LATE } else { 0 } | if fin { conn_flag::FIN } else { 0 };
    conn.flags |= if counted { 0 } else { conn_flag::UNCOUNTED };
    // Read again: the verifier then takes it for any number, and walks what follows once for all families.
    let family = read(&raw const conn.family);
    let wishes = globals::wishes();
    if as_role != role::UNKNOWN && filtered_out(wishes.direction, sock.address, family, as_role) {
        conn.flags |= conn_flag::UNWANTED;
    }
    if wishes.ignore_loopback != 0 && is_loopback(sock.address, family) {
        conn.flags |= conn_flag::UNWANTED;
    }
    let feedback = feedback::look(area, sock.address, u64::from(family), u64::from(as_role));
    if feedback != 0 {
        conn.flags |= conn_flag::UNWANTED | feedback;
    }
    let unwanted = conn.flags & conn_flag::UNWANTED != 0;
    if CONNS.insert(sock.address, &*conn, ONLY_NEW).is_err() {
        // Another thread may have seen it first, at the same moment: then that one reports it.
        let is_known = CONNS.get_ptr(sock.address).is_some();
        if !is_known {
            emit::count_loss(why::CONN_TABLE_FULL, carried);
        }
        return is_known;
    }
    if unwanted {
        return true;
    }
    if read(&raw const conn.flags) & conn_flag::LATE != 0 {
        record.head.header.flags |= flag::LATE;
    }
    record.head.header.detail = as_role;
    record.head.ino = conn.ino;
    record.head.family = family;
    record.head.local_port = 0;
    record.head.peer_port = 0;
    record.head.pad = 0;
    blank(&mut record.head.local);
    blank(&mut record.head.peer);
    tell_ends(record, sock.address, family);
    trace::opened(conn.id, family, as_role);
    true
}

/// Zeroes an address as two words: zeroing an array of bytes would become a loop over them.
#[inline(always)]
fn blank(address: &mut [u8; 16]) {
    let words = address.as_mut_ptr().cast::<u64>();
    unsafe {
        write_volatile(words, 0);
        write_volatile(words.add(1), 0);
    }
}

/// Accounts for what a call moved, as the work area says. Returns what the direction carries.
#[inline(never)]
pub fn carried(area: u32) -> u8 {
    let Some(work) = scratch::get(area) else { return class::OTHER };
    // A reference, not a copy: the stack is short.
    let Transfer { sock, source, bytes, direction, reason, verdict, name: _ } = unsafe { &(*work).moved };
    let (bytes, direction, reason, verdict) = (*bytes, *direction as usize & 1, *reason as u8, *verdict);
    let Some(conn) = find_or_open(area, sock, role::UNKNOWN, direction, bytes) else {
        return if dns::is_wanted() { dns::datagram(area) } else { class::OTHER };
    };
    let conn = unsafe { &mut *conn };
    let peer_class = conn.dirs[1 - (direction & 1)].class;
    let dir = &mut conn.dirs[direction & 1];
    let offset = unsafe { fetch_add(&raw mut dir.count.carried, bytes) };
    let before = dir.class;
    let no_data = verdict & u64::from(scope::NO_DATA) != 0;
    if reason == 0 && conn.flags & conn_flag::UNWANTED == 0 && !no_data {
        decide(dir, peer_class, source, bytes, conn.flags & conn_flag::LATE != 0);
    }
    // After `decide`, which is expensive to verify: before it, this would give the verifier two paths into it.
    let answers = direction == 1 && verdict & u64::from(scope::NO_DNS | scope::NO_DATA) == 0;
    if dns::is_wanted() && answers && (dir.class == class::OTHER || dir.class == class::UNDECIDED) {
        dns::name_server(dir, sock.address, conn.family);
    }
    if conn.role == role::UNKNOWN && before != dir.class && dir.class != class::OTHER {
        learn_role(conn, sock.address, direction);
    }
    if reason == 0 && conn.flags & (conn_flag::UNWANTED | conn_flag::LEFT_ALONE) == 0 && !no_data {
        classify::turn(conn, direction, source, bytes);
    }
    let header = data_header(conn.id, false, direction);
    let dir = &mut conn.dirs[direction & 1];
    if conn.flags & conn_flag::UNWANTED != 0 {
        dir.count.unwanted += bytes;
        feedback::count_bytes(conn.flags, bytes);
        calls::note_socket(session::NOT_WANTED);
        return class::OTHER;
    }
    conn.tgid = header.tgid;
    // Read again: the verifier then takes the class for any number, whichever path led here, and walks the rest once.
    let mut is = read(&raw const dir.class);
    if is == class::HTTP && conn.flags & conn_flag::LEFT_ALONE == 0 && advice::leaves_alone(conn.id) {
        conn.flags |= conn_flag::LEFT_ALONE;
    }
    let no_http = verdict & u64::from(scope::NO_HTTP) != 0 && (is == class::HTTP || is == class::UNDECIDED);
    if no_data || no_http || conn.flags & conn_flag::LEFT_ALONE != 0 {
        is = class::OTHER;
    }
    let mut reason = reason;
    if (is == class::HTTP || is == class::UNDECIDED) && globals::shed() >= shed::HEADS {
        reason = why::SHED;
    }
    let span = Span { offset, bytes, watch_tls: is == class::HTTP };
    account(area, dir, &header, source, span, Ways { is, before, reason });
    let is = read(&raw const dir.class);
    if is == class::TLS {
        conn.dirs[0].class = class::TLS;
        conn.dirs[1].class = class::TLS;
    }
    if header.time.wrapping_sub(conn.told) > 1_000_000_000 {
        conn.told = header.time;
        let feedback = feedback::look(area, sock.address, u64::from(conn.family), u64::from(conn.role));
        if feedback != 0 {
            let_go(conn, sock.address, feedback);
            calls::note_socket(session::NOT_WANTED);
            return class::OTHER;
        }
        counts::tell(conn, sock.address, kind::PROGRESS);
    }
    is
}

/// The connection was reported so far, and is excluded from now on: reports its end. If that does not fit in the ring, the next check reports it.
#[inline(never)]
fn let_go(conn: &mut Conn, sock: u64, feedback: u8) -> bool {
    session::leave_alone(&SessionKey { ssl: conn.id, tgid: conn.tgid, ended: 0 });
    let mut header = data_header(conn.id, false, 0);
    header.tgid = conn.tgid;
    let sent = carry::flush(&mut conn.dirs[0], &header);
    header.flags |= flag::RECEIVED;
    let received = carry::flush(&mut conn.dirs[1], &header);
    let told = sent && received && counts::tell(conn, sock, kind::CLOSED);
    if told {
        conn.flags |= conn_flag::UNWANTED | feedback;
    }
    told
}

/// The class of a direction, its class before this call, and why the call's bytes can't be copied, or 0.
struct Ways {
    is: u8,
    before: u8,
    reason: u8,
}

/// Accounts for every byte of the call under exactly one count: copied, lost, encrypted or unwanted.
#[inline(always)]
fn account(area: u32, dir: &mut Dir, header: &Header, source: &Source, mut span: Span, ways: Ways) {
    let Ways { is, before, reason } = ways;
    let bytes = span.bytes;
    if is == class::OTHER {
        return unwanted(dir, header, span.offset, bytes);
    }
    if dir.unwanted_from != u64::MAX {
        carry::skip(header, dir.unwanted_from, span.offset - dir.unwanted_from, why::UNWANTED);
        dir.unwanted_from = u64::MAX;
    }
    let hello = is == class::TLS;
    if hello {
        dir.count.encrypted += bytes;
        // After payload it is the hello of a tunnel, which is reported inside its session: nothing of it is copied at the socket.
        let tunneled = before == class::HTTP || dir.count.copied != 0 || dir.count.lost != 0;
        if tunneled && before != class::TLS && reason == 0 {
            carry::flush(dir, header);
            carry::skip(header, span.offset, bytes, why::ENCRYPTED);
        }
        if span.offset >= HELLO_BYTES || tunneled || reason != 0 || dir.in_kernel != 0 {
            return;
        }
        if span.bytes > HELLO_BYTES {
            span.bytes = HELLO_BYTES;
        }
    } else if reason == why::SHED {
        return carry::shed(dir, header, span.offset, bytes);
    } else if reason != 0 {
        return uncopied(dir, header, span.offset, bytes, reason);
    }
    let (copied, lost) = (dir.count.copied, dir.count.lost);
    let pending_from = if dir.pending_bytes == 0 { u64::MAX } else { dir.pending_offset };
    let turned_tls = carry::copy(area, dir, header, source, &span);
    if hello {
        // The plaintext part of a handshake is copied, but is not counted as payload.
        dir.count.copied = copied;
        dir.count.lost = lost;
        if dir.pending_offset != pending_from {
            // Nor is it counted as lost payload if it did not fit in the ring.
            dir.pending_why = why::ENCRYPTED;
        }
    } else if turned_tls {
        dir.class = class::TLS;
        dir.count.encrypted += bytes;
        carry::flush(dir, header);
        carry::skip(header, span.offset, bytes, why::ENCRYPTED);
    }
}

/// Decides what a direction carries, where that is not yet decided.
#[inline(never)]
fn decide(dir: &mut Dir, peer_class: u8, source: &Source, bytes: u64, late: bool) {
    let decided = dir.class == class::HTTP || dir.class == class::TLS || dir.class == class::DNS;
    if decided || (dir.class == class::OTHER && !late) {
        return;
    }
    if dir.class == class::UNDECIDED && (peer_class == class::HTTP || peer_class == class::TLS) {
        dir.class = peer_class;
    } else {
        if dir.class == class::OTHER {
            dir.first_len = 0;
        }
        dir.class = class_of(dir, source, bytes, late);
    }
    if dir.class == class::HTTP && globals::wishes().http == 0 {
        dir.class = class::OTHER;
    }
}

/// Adds the call's first bytes to those of the direction and classifies them.
#[inline(never)]
pub fn class_of(dir: &mut Dir, source: &Source, bytes: u64, late: bool) -> u8 {
    let before = dir.first_len;
    gather(dir, source, bytes);
    let verdict = classify::first_bytes(&dir.first, u32::from(dir.first_len), late);
    if verdict == class::HTTP && before == 0 && classify::ends_introduction(dir, source, bytes) {
        dir.first_len = 0;
        return class::UNDECIDED;
    }
    // Of many small buffers, and of several messages, not all is examined.
    let is_all = bytes < FIRST_BYTES as u64 && u64::from(before) + bytes == u64::from(dir.first_len);
    if verdict == class::UNDECIDED && !is_all { class::HTTP } else { verdict }
}

/// Adds the call's first bytes, from up to four buffers, to those of the direction. A function of its own: the verifier goes on from it only once.
#[inline(never)]
fn gather(dir: &mut Dir, source: &Source, bytes: u64) {
    let mut here = *source;
    let mut left = bytes;
    if here.is_messages() {
        left = here.enter_message().min(left);
    }
    for _ in 0..4 {
        if here.len == 0 {
            if here.iov_left == 0 {
                return;
            }
            let Some(entry) = user::<[u64; 2]>(here.iov) else { return };
            here.iov += 16;
            here.iov_left -= 1;
            here.base = entry[0];
            here.len = entry[1];
        }
        let mut some = if here.len < left { here.len } else { left };
        if some > FIRST_BYTES as u64 {
            some = FIRST_BYTES as u64;
        }
        add_first(dir, here.base, some);
        left -= some;
        here.len = 0;
        if left == 0 || dir.first_len as usize >= FIRST_BYTES {
            return;
        }
    }
}

/// Appends up to [`FIRST_BYTES`] bytes at `base` to the direction's first bytes.
#[inline(always)]
fn add_first(dir: &mut Dir, base: u64, some: u64) {
    let before = u64::from(dir.first_len);
    if before >= FIRST_BYTES as u64 || some > FIRST_BYTES as u64 {
        return;
    }
    let to = unsafe { dir.first.as_mut_ptr().add(before as usize) };
    if unsafe { bpf_probe_read_user(to.cast(), some as u32, base as *const _) } == 0 {
        dir.first_len = (before + some) as u8;
    }
}

/// Unwanted bytes: counted, and reported once.
#[inline(always)]
pub fn unwanted(dir: &mut Dir, header: &Header, offset: u64, bytes: u64) {
    dir.count.unwanted += bytes;
    if dir.unwanted_from == u64::MAX {
        carry::skip(header, offset, bytes, why::UNWANTED);
        dir.unwanted_from = offset + bytes;
    }
}

/// Wanted bytes, but carried by a call whose bytes can't be read.
#[inline(always)]
pub fn uncopied(dir: &mut Dir, header: &Header, offset: u64, bytes: u64, reason: u8) {
    carry::flush(dir, header);
    if dir.pending_bytes != 0 || !carry::skip(header, offset, bytes, reason) {
        carry::lose(dir, offset, bytes, reason);
    } else {
        dir.count.lost += bytes;
    }
}

/// Ends a connection: reports what is pending, then the counts. `alive`: the `sock` can still be read. If the end does not fit in the ring, the agent
/// finds it in the table.
#[inline(never)]
pub fn close(sock: u64, conn: *mut Conn, alive: bool) {
    let conn = unsafe { &mut *conn };
    // For rustls: the session whose key is the connection's identity.
    session::close(&SessionKey { ssl: conn.id, tgid: conn.tgid, ended: 0 });
    if conn.flags & conn_flag::UNWANTED == 0 {
        let mut header = data_header(conn.id, false, 0);
        header.tgid = conn.tgid;
        let sent = carry::flush(&mut conn.dirs[0], &header);
        header.flags |= flag::RECEIVED;
        let received = carry::flush(&mut conn.dirs[1], &header);
        let told = sent && received && counts::tell(conn, if alive { sock } else { 0 }, kind::CLOSED);
        if !told {
            conn.flags |= conn_flag::CLOSED_UNTOLD;
            emit::count_loss(why::RING_FULL, 0);
            if alive {
                counts::keep(conn, sock);
                return;
            }
            // Another `sock` has its address: it is kept under its identity.
            let _ = CONNS.insert(conn.id, &*conn, 0);
        }
        trace::closed(conn.id);
    }
    let _ = CONNS.remove(sock);
}
