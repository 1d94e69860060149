//! TLS sessions: how they are first seen, which connection they are bound to, what their calls carry, and how they end.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::globals::shed;
use qtap_common::record::{Bound, Counts, SessionOpened, binding, flag, kind, role, why};
use qtap_common::state::{Session, SessionKey, call, class};

use crate::atomic::fetch_add;
use crate::calls::{Frame, leave, way};
use crate::carry::{self, Span, data_header, user_or_zero};
use crate::conn::{self, NEW_DIR, ONLY_NEW, class_of, unwanted};
use crate::emit;
use crate::globals;
use crate::kernel::Sock;
use crate::maps::SESSIONS;
use crate::source::Source;
use crate::{advice, begun, feedback, scratch, trace, words};

/// `PR_MSG_PEEK`, of `prio.h`.
const PEEK: u64 = 2;

/// Stands for a connection that is filtered out.
pub const NOT_WANTED: u64 = u64::MAX;

/// A TLS call returned `result`.
#[inline(always)]
pub fn finish(of: u8, result: u64, stack: u64) {
    let Some(frame) = leave(of, stack) else { return };
    if of == call::IMPORT {
        return begun::imported(result);
    }
    let bytes = bytes_of(&frame, of, result as i32);
    // A session that begins is reported, even if no bytes came yet: it does not begin a second time.
    let is_told = of == call::OTHER || frame.begins != 0;
    if bytes == 0 && frame.conn == 0 && !is_told {
        return;
    }
    let Some(area) = scratch::take() else { return missed(&frame, of, bytes) };
    account(area, &frame, of, bytes, !is_told);
    scratch::give_back(area);
}

/// The same without a work area: the bytes are lost, and the session says where.
#[inline(never)]
fn missed(frame: &Frame, of: u8, bytes: u64) {
    if bytes == 0 {
        return;
    }
    let Some(session) = SESSIONS.get_ptr_mut(key(frame.ssl)) else { return };
    carry::lose_next(unsafe { &mut (*session).dirs[usize::from(way(of) == 1)] }, bytes, why::SCRATCH_BUSY);
}

/// Accounts for a TLS call: binds its session to the socket seen inside, and counts its bytes. `late`: if the session is not known, its
/// handshake was not seen.
#[inline(always)]
pub fn account(area: u32, frame: &Frame, of: u8, bytes: u64, late: bool) {
    let key = key(frame.ssl);
    let Some(session) = find_or_open(area, &key, frame.library, if late { flag::LATE } else { 0 }) else {
        return no_room(bytes);
    };
    let session = unsafe { &mut *session };
    if session.library == 0 {
        begun::name(session, frame);
    }
    session.unwanted = match frame.conn {
        // If a session of a store is bound to no socket, its peer is not known.
        0 if session.conn == 0 && feedback::is_store(session.tgid) => 1,
        0 => session.unwanted,
        NOT_WANTED => 1,
        conn => {
            bind(session, conn, binding::NESTED);
            0
        }
    };
    if bytes > 0 {
        let direction = if way(of) == 1 { 1 } else { 0 };
        let source = Source::buffer(frame.buffer, bytes);
        carried(area, session, &source, &Moved { direction, bytes, began: frame.time });
    }
}

/// A session that is not known moved bytes, and can't be added.
#[inline(always)]
pub fn no_room(bytes: u64) {
    emit::count_loss(if sheds() { why::SHED } else { why::SESSION_TABLE_FULL }, bytes);
}

/// Bytes a call moved: what it returned, or what it stored when it returned 1.
#[inline(always)]
fn bytes_of(frame: &Frame, of: u8, result: i32) -> u64 {
    match of {
        call::READ | call::WRITE => {
            if result > 0 {
                result as u64
            } else {
                0
            }
        }
        // What is only peeked at (`PR_MSG_PEEK`) will be read again.
        call::RECV if result > 0 && frame.out & PEEK == 0 => result as u64,
        call::READ_EX | call::WRITE_EX | call::WRITE_EX2 if result == 1 => user_or_zero::<u64>(frame.out),
        _ => 0,
    }
}

/// The key of a session of the current process.
#[inline(always)]
pub fn key(ssl: u64) -> SessionKey {
    SessionKey { ssl, tgid: (bpf_get_current_pid_tgid() >> 32) as u32, ended: 0 }
}

/// The session; opened if it was not known. `flags`: those of its record: `LATE` when its first call is not a handshake, `PART`.
#[inline(always)]
pub fn find_or_open(area: u32, key: &SessionKey, library: u32, flags: u8) -> Option<*mut Session> {
    if let Some(session) = SESSIONS.get_ptr_mut(key) {
        return Some(session);
    }
    if !open(area, key, library, flags) {
        return None;
    }
    SESSIONS.get_ptr_mut(key)
}

#[inline(never)]
fn open(area: u32, key: &SessionKey, library: u32, flags: u8) -> bool {
    if sheds() {
        return false;
    }
    let Some(work) = scratch::get(area) else { return false };
    let session = unsafe { &mut (*work).session };
    let flags = if flags & flag::LATE != 0 && begun::was_seen(key) { flags & !flag::LATE } else { flags };
    let mut header = emit::header(kind::SESSION_OPENED, size_of::<SessionOpened>(), 0);
    header.id = emit::identity(header.time);
    header.flags = flags;
    // Field by field: a whole value would be built on the stack first.
    session.id = header.id;
    session.conn = 0;
    session.dirs[0] = NEW_DIR;
    session.dirs[1] = NEW_DIR;
    session.tgid = header.tgid;
    session.library = library;
    session.binding = binding::NONE;
    session.late = flags & flag::LATE;
    session.unwanted = 0;
    session.left_alone = 0;
    session.pad = [0; 4];
    session.calls = 0;
    if SESSIONS.insert(key, &*session, ONLY_NEW).is_err() {
        // Another thread may have opened it at the same moment: then that one reports it.
        return SESSIONS.get_ptr(key).is_some();
    }
    emit::record_or_count(&SessionOpened { header, ssl: key.ssl, library, pad: 0 });
    true
}

/// True while sessions that are not known yet are ignored.
#[inline(always)]
fn sheds() -> bool {
    globals::shed() >= shed::CONNECTIONS
}

/// Binds a session to a connection; a more certain binding replaces a less certain one, and a new socket an old one.
#[inline(always)]
pub fn bind(session: &mut Session, conn: u64, how: u8) {
    if session.conn == conn && session.binding >= how {
        return;
    }
    session.conn = conn;
    session.binding = how;
    let mut header = emit::header(kind::BOUND, size_of::<Bound>(), session.id);
    header.detail = how;
    emit::record_or_count(&Bound { header, conn });
    trace::bound(session.id, conn, how);
}

/// Binds a session to the socket that its program named. `since`: sessions of a connection that is older were not seen from their beginning.
#[inline(always)]
pub fn bind_to(area: u32, sock: &Sock, key: &SessionKey, library: u32, since: u64) -> Option<()> {
    let id = unsafe { (*conn::find_or_open(area, sock, role::UNKNOWN, 0, 0)?).id };
    let session = find_or_open(area, key, library, if emit::began(id) < since { flag::LATE } else { 0 })?;
    bind(unsafe { &mut *session }, id, binding::SET_FD);
    Some(())
}

/// What a TLS call moved.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Moved {
    /// 0 sent, 1 received.
    pub direction: usize,
    pub bytes: u64,
    /// When the call began.
    pub began: u64,
}

/// A TLS call moved plaintext.
#[inline(never)]
pub fn carried(area: u32, session: &mut Session, source: &Source, moved: &Moved) {
    let Moved { direction, bytes, began } = *moved;
    let late = session.late != 0;
    let peer_class = session.dirs[1 - (direction & 1)].class;
    let dir = &mut session.dirs[direction & 1];
    let offset = unsafe { fetch_add(&raw mut dir.count.carried, bytes) };
    let mut header = data_header(session.id, true, direction);
    if direction == 0 {
        // Written bytes leave at the beginning of the call; read bytes are there at its end.
        header.time = began;
    }
    if session.left_alone == 0 && advice::leaves_alone(session.id) {
        session.left_alone = 1;
    }
    if session.unwanted != 0 || session.left_alone != 0 {
        return unwanted(dir, &header, offset, bytes);
    }
    if dir.class == class::UNDECIDED || (dir.class == class::OTHER && late) {
        if peer_class == class::HTTP {
            dir.class = class::HTTP;
        } else {
            if dir.class == class::OTHER {
                dir.first_len = 0;
            }
            dir.class = class_of(dir, source, bytes, late);
        }
        // TLS inside TLS: the inner session reports its own payload.
        if dir.class == class::TLS || (dir.class == class::HTTP && globals::wishes().http == 0) {
            dir.class = class::OTHER;
        }
    }
    if dir.class == class::OTHER {
        return unwanted(dir, &header, offset, bytes);
    }
    if dir.unwanted_from != u64::MAX {
        carry::skip(&header, dir.unwanted_from, offset - dir.unwanted_from, why::UNWANTED);
        dir.unwanted_from = u64::MAX;
    }
    if globals::shed() >= shed::HEADS {
        return carry::shed(dir, &header, offset, bytes);
    }
    carry::copy(area, dir, &header, source, &Span { offset, bytes, watch_tls: false });
}

/// No payload of the session is wanted any more.
#[inline(always)]
pub fn leave_alone(key: &SessionKey) {
    if let Some(session) = SESSIONS.get_ptr_mut(key) {
        unsafe { (*session).unwanted = 1 };
    }
}

/// Ends a session: reports what is pending, then its counts.
#[inline(never)]
pub fn close(key: &SessionKey) {
    let Some(session) = SESSIONS.get_ptr_mut(key) else { return };
    let session = unsafe { &mut *session };
    let mut header = data_header(session.id, true, 0);
    // If the kernel reports the end, any process may be the current one.
    header.tgid = session.tgid;
    let sent = carry::flush(&mut session.dirs[0], &header);
    header.flags |= flag::RECEIVED;
    let received = carry::flush(&mut session.dirs[1], &header);
    if !(sent && received && tell_counts(session)) {
        emit::count_loss(why::RING_FULL, 0);
        // Another session may get its address before the agent has looked: it is kept under its identity.
        let kept = SessionKey { ssl: session.id, tgid: session.tgid, ended: 1 };
        let _ = SESSIONS.insert(&kept, &*session, 0);
    }
    let _ = SESSIONS.remove(key);
}

/// Writes the counts of a session. The kernel keeps none for it.
#[inline(always)]
fn tell_counts(session: &Session) -> bool {
    let Some(room) = emit::reserve::<Counts>() else { return false };
    let counts = unsafe { &mut *room };
    counts.header = emit::header(kind::SESSION_CLOSED, size_of::<Counts>(), session.id);
    counts.header.tgid = session.tgid;
    for direction in 0..2 {
        unsafe { words::copy(&raw mut counts.dirs[direction], &raw const session.dirs[direction].count) };
    }
    counts.dirs[0].kernel = u64::MAX;
    counts.dirs[1].kernel = u64::MAX;
    counts.unread = 0;
    emit::submit(room);
    true
}
