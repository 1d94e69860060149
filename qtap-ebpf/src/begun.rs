//! What is known of a TLS session before its handshake and carries over to it: the socket that the program named, the hello that it was fed.

use qtap_common::record::{SessionOpened, kind};
use qtap_common::state::{Session, SessionKey};

use crate::calls::{self, Frame};
use crate::carry::user;
use crate::emit;
use crate::maps::{BEGUN, SESSIONS};
use crate::session;

/// Offset of `PRFileDesc.secret` (`prio.h` of NSPR), the private data of a descriptor's layer: for the layer that NSS puts on top, its session.
const SECRET: u64 = 8;

/// The session at `ssl` was reset: true when one of its TLS calls is under way on this thread. Then OpenSSL itself called
/// `SSL_clear` at the start of a handshake, possibly inside a read or write: after `SSL_set_accept_state` the program need not ask for it.
#[inline(always)]
pub fn begins(ssl: u64) -> bool {
    let calls = calls::calls_here();
    if calls.is_null() {
        return false;
    }
    let calls = unsafe { &mut *calls };
    if calls.depth >= 2 && calls.frames[1].ssl == ssl {
        calls.frames[1].begins = 1;
    } else if calls.depth >= 1 && calls.frames[0].ssl == ssl {
        calls.frames[0].begins = 1;
    } else {
        return false;
    }
    true
}

/// True when the session has carried no byte: what is known of it (its socket, its client's hello) belongs to the handshake that begins.
#[inline(always)]
pub fn is_unused(key: &SessionKey) -> bool {
    let Some(session) = SESSIONS.get_ptr(key) else { return true };
    let session = unsafe { &*session };
    session.dirs[0].count.carried == 0 && session.dirs[1].count.carried == 0
}

/// Reports a session again that began with a hello in memory, before any call of its library: now the library is known.
#[inline(never)]
pub fn name(session: &mut Session, frame: &Frame) {
    session.library = frame.library;
    let mut header = emit::header(kind::SESSION_OPENED, size_of::<SessionOpened>(), session.id);
    header.flags = session.late;
    emit::record_or_count(&SessionOpened { header, ssl: frame.ssl, library: frame.library, pad: 0 });
}

/// NSS created the session of this descriptor: its handshake is still to come.
#[inline(never)]
pub fn imported(descriptor: u64) {
    if let Some(ssl) = user::<u64>(descriptor.wrapping_add(SECRET)) {
        let _ = BEGUN.insert(&session::key(ssl), &1, 0);
    }
}

/// A call of the session's handshake begins, of which nothing else will be seen. It may be one of many: a session that is known needs no note.
#[inline(never)]
pub fn seen(key: &SessionKey) {
    if SESSIONS.get_ptr(key).is_none() {
        let _ = BEGUN.insert(key, &1, 0);
    }
}

/// True, once, when the probes saw the beginning of a session whose bytes are now seen for the first time.
#[inline(always)]
pub fn was_seen(key: &SessionKey) -> bool {
    BEGUN.remove(key).is_ok()
}
