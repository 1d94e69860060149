//! Calls of Go's `crypto/tls` under way. A goroutine changes threads while it waits, and its stack moves when it grows: so a call belongs to the
//! goroutine, and places on its stack are stored as distances below the stack's upper end.
//!
//! A call is entered twice if its first instructions find too little stack, and a panic leaves it without a return. Either leaves a frame that is
//! at least as deep as the next one: it is dropped.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::go::{CLOSING, GoCalls, GoFrame, GoKey};
use qtap_common::record::why;
use qtap_common::state::call;

use crate::atomic::fetch_add;
use crate::calls::{Frame, NO_FRAME as NOTHING};
use crate::globals::read;
use crate::maps::{GO_CALLS, SESSIONS};
use crate::session::{self, NOT_WANTED};
use crate::{emit, kernel, scratch};

const NO_FRAME: GoFrame = GoFrame {
    ssl: 0,
    buffer: 0,
    len: 0,
    conn: 0,
    time: 0,
    below: 0,
    library: 0,
    call: 0,
    on_stack: 0,
    known: 0,
    shook: 0,
};

/// A goroutine of the current process.
#[inline(always)]
pub fn key(g: u64) -> GoKey {
    GoKey { g, tgid: (bpf_get_current_pid_tgid() >> 32) as u32, pad: 0 }
}

/// A call begins on a session. False: the session is not known.
#[inline(always)]
pub fn begin(ssl: u64) -> bool {
    let Some(session) = SESSIONS.get_ptr_mut(session::key(ssl)) else { return false };
    unsafe { fetch_add(&raw mut (*session).calls, 1) };
    true
}

/// A call that began on a session is over. If the session was closed meanwhile and this was the last call under way, it ends here: the peer may
/// answer what was written by closing, and the program close in turn, before the call that wrote has returned.
#[inline(never)]
fn over(ssl: u64) {
    let key = session::key(ssl);
    let Some(session) = SESSIONS.get_ptr_mut(&key) else { return };
    let calls = unsafe { &raw mut (*session).calls };
    // Another session, opened at that address since: it has no calls.
    if read(calls) % CLOSING == 0 {
        return;
    }
    let before = unsafe { fetch_add(calls, u64::MAX) };
    if before % CLOSING == 1 && before >= CLOSING {
        session::close(&key);
    }
}

/// `(*Conn).Close`: the session ends now, or with the last call under way.
#[inline(always)]
pub fn close(ssl: u64) {
    let key = session::key(ssl);
    let Some(session) = SESSIONS.get_ptr_mut(&key) else { return };
    if unsafe { fetch_add(&raw mut (*session).calls, CLOSING) } == 0 {
        session::close(&key);
    }
}

/// A call began, or begins once more because its stack had to grow.
#[inline(always)]
pub fn enter(key: &GoKey, frame: &GoFrame) {
    let Some(calls) = GO_CALLS.get_ptr_mut(key) else {
        let calls = GoCalls { depth: 1, frames: [*frame, NO_FRAME] };
        if GO_CALLS.insert(key, calls, 0).is_err() {
            emit::count_loss(why::SESSION_TABLE_FULL, 0);
        }
        return;
    };
    let calls = unsafe { &mut *calls };
    if calls.depth >= 2 && frame.below <= calls.frames[1].below {
        give_way(&calls.frames[1], frame);
        calls.depth = 1;
    }
    if calls.depth == 1 && frame.below <= calls.frames[0].below {
        give_way(&calls.frames[0], frame);
        calls.depth = 0;
    }
    match calls.depth {
        0 => calls.frames[0] = *frame,
        // Whichever call comes first performs the handshake: the sockets that the handshake uses are that call's.
        1 if shakes(frame, &calls.frames[0]) => {
            calls.frames[0].shook = 1;
            return;
        }
        2 if shakes(frame, &calls.frames[1]) => {
            calls.frames[1].shook = 1;
            return;
        }
        1 => calls.frames[1] = *frame,
        _ => {
            emit::count_loss(why::NESTED_TOO_DEEP, 0);
            return;
        }
    }
    calls.depth += 1;
}

/// Drops a former frame: it is an earlier entry of the same call, or the end of its call was not seen, which is counted.
#[inline(always)]
fn give_way(former: &GoFrame, frame: &GoFrame) {
    if former.below != frame.below || former.ssl != frame.ssl || former.call != frame.call {
        emit::count_loss(why::CALL_UNFINISHED, 0);
    }
    if former.known != 0 {
        over(former.ssl);
    }
}

#[inline(always)]
fn shakes(inner: &GoFrame, outer: &GoFrame) -> bool {
    inner.call == call::OTHER && inner.ssl == outer.ssl
}

/// A call ended, `below` bytes below the stack's upper end: returns its frame, if its beginning was seen.
#[inline(always)]
fn leave(key: &GoKey, of: u8, below: u64) -> Option<GoFrame> {
    let calls = GO_CALLS.get_ptr_mut(key)?;
    let calls = unsafe { &mut *calls };
    if calls.depth == 2 {
        let frame = calls.frames[1];
        if frame.below < below {
            // A nested call that has no frame of its own.
            return None;
        }
        calls.depth = 1;
        if frame.below == below && frame.call == of {
            return Some(frame);
        }
        give_way(&frame, &NO_FRAME);
    }
    let frame = calls.frames[0];
    if frame.below < below {
        return None;
    }
    let _ = GO_CALLS.remove(key);
    if frame.below == below && frame.call == of {
        return Some(frame);
    }
    give_way(&frame, &NO_FRAME);
    None
}

/// The outcome of a call that ended.
#[repr(C)]
pub struct Done {
    /// The call, in the form of the other families.
    pub frame: Frame,
    /// Bytes it moved.
    pub bytes: u64,
    /// 1: if the session is not known, its handshake was not seen.
    pub late: u32,
    /// 1: the session was known when the call began.
    pub known: u32,
}

/// A call of kind `of` returned `result`. `below`: how far the stack pointer is below the stack's upper end; `upper`: where that end is now.
#[inline(always)]
pub fn finish(of: u8, g: u64, result: u64, below: u64, upper: u64) {
    let Some(area) = scratch::take() else { return };
    if let Some(work) = scratch::get(area) {
        let done = unsafe { &mut (*work).go };
        done.frame = NOTHING;
        done.frame.call = of;
        done.known = 0;
        if ended(done, g, result, below, upper) {
            session::account(area, &done.frame, of, done.bytes, done.late != 0);
        }
        if done.known != 0 {
            over(done.frame.ssl);
        }
    }
    scratch::give_back(area);
}

/// False: there is nothing to account for. (A function of its own, so that its stack is free again before bytes are copied.)
#[inline(never)]
fn ended(done: &mut Done, g: u64, result: u64, below: u64, upper: u64) -> bool {
    let of = done.frame.call as u8;
    let Some(frame) = leave(&key(g), of, below) else { return false };
    done.frame.ssl = frame.ssl;
    done.known = u32::from(frame.known);
    let bytes = if of == call::OTHER || result as i64 <= 0 || result > frame.len { 0 } else { result };
    let shook = of == call::OTHER || frame.shook != 0;
    if bytes == 0 && frame.conn == 0 && !shook {
        return false;
    }
    let session = session::key(frame.ssl);
    match SESSIONS.get_ptr(&session) {
        Some(known) => {
            // A `tls.Conn` keeps its connection for life: this is another one at the address of one that was dropped without `Close`.
            let bound = unsafe { (*known).conn };
            if bound != 0 && frame.conn != 0 && frame.conn != NOT_WANTED && bound != frame.conn {
                session::close(&session);
            }
        }
        // The session ended meanwhile: the TLS of its process was excluded, or it was closed twice.
        None if frame.known != 0 && !shook => {
            if bytes > 0 {
                emit::count_loss(why::CALL_UNFINISHED, bytes);
            }
            return false;
        }
        None if bytes == 0 && !shook => return false,
        None => {}
    }
    done.frame.buffer = if frame.on_stack != 0 { upper.wrapping_sub(frame.buffer) } else { frame.buffer };
    done.frame.conn = frame.conn;
    done.frame.time = frame.time;
    done.frame.library = frame.library;
    done.bytes = bytes;
    done.late = u32::from(!shook);
    true
}

/// True while the goroutine that makes this system call is inside a TLS call.
#[inline(never)]
pub fn in_call() -> bool {
    GO_CALLS.get_ptr(key(kernel::goroutine())).is_some()
}

/// A system call of a goroutine moved TLS records of connection `conn`: its calls are bound to that connection, as in [`session::note_socket`].
#[inline(never)]
pub fn note_socket(conn: u64) {
    let Some(calls) = GO_CALLS.get_ptr_mut(key(kernel::goroutine())) else { return };
    let calls = unsafe { &mut *calls };
    if calls.depth >= 2 {
        calls.frames[1].conn = conn;
        if calls.frames[0].conn == 0 {
            calls.frames[0].conn = conn;
        }
    } else {
        calls.frames[0].conn = conn;
    }
}
