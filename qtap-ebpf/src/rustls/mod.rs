//! Programs that use rustls. Its connections work in memory and know no socket; what keeps its address is the object that encrypts the records
//! of one direction under one key, and the one that decrypts the other's. Ciphertext proves a key's socket: what was encrypted leaves through it,
//! what is decrypted was received from it, on the same thread. Then plaintext is reported under the session of that connection.
//!
//! - A **write** is plaintext; a record encrypted inside it identifies the key. One encrypted outside of any is its own plaintext, unless that is
//!   of the handshake, or an alert: the compiler may inline any function but the encrypting one, which is called through a table. Until something
//!   encrypted under a key has left, its socket is not known: plaintext is reported as a part ([`flag::PART`]), and `JOINED` follows.
//! - What is **decrypted** replaces the ciphertext in place. It is recognised by where it lies, how long it is, and its content type: that of the
//!   record (RFC 5246 §6.2.1), or the octet behind it (RFC 8446 §5.2).
//!
//! The address of such bytes is searched for among the first words of a message or a result; it must be that of the ciphertext which the socket
//! had, or of plaintext as long as such a record's. A record outside of any write is read in the message layout of rustls up to 0.23 (`record`), and
//! checked by the same lengths. Each key counts its records from 0: a number other than the next means another key, or missed records.

mod record;
mod state;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::record::{Joined, binding, flag, kind, why};
use qtap_common::state::{Session, SessionKey, call};

use self::record::{
    LONGEST, NEAR, Sealed, TAG, Text, ciphertext, is_application_data, is_of_handshake, is_plaintext, leaves, outbound,
    protected,
};
pub use self::state::{Key, Said, Thread};
use self::state::{NEW, Received, Sealing, Unsealing, Write};
use crate::carry::user;
use crate::maps::{RUSTLS_KEYS, RUSTLS_SEEN, RUSTLS_THREADS, RUSTLS_USERS, SESSIONS};
use crate::session::{self, Moved, NOT_WANTED};
use crate::source::Source;
use crate::{emit, scratch, words};

/// True when the current process uses rustls. Called for each socket call of any process, so the cheaper check comes first: does any process?
#[inline(always)]
pub fn is_known() -> bool {
    if !RUSTLS_SEEN.get(0).is_some_and(|seen| *seen != 0) {
        return false;
    }
    RUSTLS_USERS.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32).is_some()
}

#[inline(always)]
fn this_thread() -> Option<&'static mut Thread> {
    RUSTLS_THREADS.get_ptr_mut(bpf_get_current_pid_tgid()).map(|thread| unsafe { &mut *thread })
}

/// Registers the current thread, which calls rustls, or receives what may be for it.
#[inline(never)]
fn met() {
    let thread = bpf_get_current_pid_tgid();
    let _ = RUSTLS_USERS.insert((thread >> 32) as u32, 1u8, 0);
    if let Some(seen) = RUSTLS_SEEN.get_ptr_mut(0) {
        unsafe { *seen = 1 };
    }
    if RUSTLS_THREADS.get_ptr(thread).is_none() {
        let _ = RUSTLS_THREADS.insert(thread, &NEW, 0);
    }
}

/// The key of the record numbered `number`, with its connection, as far as that is known. Any number but the next begins another key.
#[inline(always)]
fn under(key: &SessionKey, number: u64) -> Key {
    if let Some(known) = RUSTLS_KEYS.get_ptr_mut(key) {
        let known = unsafe { &mut *known };
        if known.next == number {
            known.next += 1;
            return *known;
        }
    }
    let new = Key { conn: 0, next: number + 1, first: number, word: 0, shakes: 0 };
    let _ = RUSTLS_KEYS.insert(key, new, 0);
    new
}

/// A write begins: of one buffer, whose length is `count`, or of `count` buffers.
#[inline(always)]
pub fn takes(buffer: u64, count: u64, of: u8, library: u32) {
    met();
    let Some(thread) = this_thread() else { return };
    thread.write = Write { began: emit::now(), buffer, count, key: 0, library, call: u32::from(of) };
}

/// A record is about to be encrypted. It gives the plaintext if no write surrounds it (that was inlined, or waited for the handshake to end).
#[inline(always)]
pub fn seals(address: u64, message: u64, number: u64, library: u32) {
    met();
    let Some(thread) = this_thread() else { return };
    thread.write.key = address;
    let mut known = under(&session::key(address), number);
    if known.first == number {
        // Another key at the address of one that is gone: what the old one left behind is not the new one's.
        session::close(&session::key(address));
        if thread.leaving == address {
            thread.leaving = 0;
        }
    }
    let speaks = thread.write.began == 0;
    let proves = known.conn == 0 && thread.leaving != address;
    thread.sealing.key = 0;
    if !speaks && !proves {
        return;
    }
    let Some(words) = user::<[u64; 4]>(message) else { return };
    if number == 0 && is_of_handshake(&words) {
        known.shakes = 1;
        let _ = RUSTLS_KEYS.insert(&session::key(address), known, 0);
    }
    thread.sealing = Sealing {
        key: address,
        conn: known.conn,
        message: words,
        began: emit::now(),
        library,
        late: u16::from(known.first != 0),
        speaks: u8::from(speaks && known.shakes == 0),
        proves: u8::from(proves),
    };
}

/// A record was encrypted: `result` names the ciphertext that will leave. True: no write reports its plaintext, so it is reported here.
#[inline(never)]
fn sealed(area: u32, result: u64) -> bool {
    let Some(thread) = this_thread() else { return false };
    let key = core::mem::replace(&mut thread.sealing.key, 0);
    if key == 0 {
        return false;
    }
    let Some(words) = user::<[u64; 6]>(result) else { return false };
    let Some((text, len)) = ciphertext(&words) else { return false };
    if thread.sealing.proves != 0
        && let Some(text) = user::<Text>(text)
    {
        thread.leaving = key;
        thread.leaving_text = text;
    }
    if thread.sealing.speaks == 0 {
        return false;
    }
    let Some(work) = scratch::get(area) else { return false };
    let said = unsafe { &mut (*work).said };
    said.source = Source::buffer(0, 0);
    let bytes = outbound(&thread.sealing.message, len, &mut said.source);
    if bytes == 0 {
        return false;
    }
    let of = &thread.sealing;
    said.moved = Moved { direction: 0, bytes, began: of.began };
    said.conn = of.conn;
    said.part = key;
    said.library = of.library;
    said.flags = if of.late != 0 { u32::from(flag::LATE) } else { 0 };
    true
}

/// A call returned `result` and `more`: reports what it moved.
#[inline(always)]
pub fn left(of: u8, result: u64, more: u64) {
    let Some(area) = scratch::take() else { return };
    let is_said = match of {
        call::SEAL => sealed(area, result),
        call::UNSEAL => unsealed(area, result),
        _ => took(area, if result == 0 { more } else { 0 }),
    };
    if is_said {
        tell(area);
    }
    scratch::give_back(area);
}

/// A write took `bytes`.
#[inline(never)]
fn took(area: u32, bytes: u64) -> bool {
    let Some(thread) = this_thread() else { return false };
    let write = thread.write;
    thread.write.began = 0;
    if write.began == 0 || bytes == 0 {
        return false;
    }
    if write.key == 0 {
        // It waits for the handshake: it is reported when it is encrypted.
        return false;
    }
    let Some(known) = RUSTLS_KEYS.get_ptr(session::key(write.key)) else {
        emit::count_loss(why::SESSION_TABLE_FULL, bytes);
        return false;
    };
    let Some(work) = scratch::get(area) else { return false };
    let said = unsafe { &mut (*work).said };
    said.source = if write.call == u32::from(call::TAKE_VECTORED) {
        Source::vector(write.buffer, write.count)
    } else {
        Source::buffer(write.buffer, bytes)
    };
    said.moved = Moved { direction: 0, bytes, began: write.began };
    said.conn = unsafe { (*known).conn };
    said.part = write.key;
    said.library = write.library;
    said.flags = if unsafe { (*known).first } != 0 { u32::from(flag::LATE) } else { 0 };
    true
}

#[inline(never)]
fn tell(area: u32) {
    let Some(work) = scratch::get(area) else { return };
    let said = unsafe { &(*work).said };
    if said.conn == NOT_WANTED {
        return;
    }
    let session = if said.conn == 0 {
        session::find_or_open(area, &session::key(said.part), said.library, said.flags as u8 | flag::PART)
    } else {
        session_of(area, said.conn, said.library, said.flags as u8)
    };
    match session {
        Some(session) => session::carried(area, unsafe { &mut *session }, &said.source, &said.moved),
        None => emit::count_loss(why::SESSION_TABLE_FULL, said.moved.bytes),
    }
}

/// The session of a connection, whose key is the connection's identity.
#[inline(always)]
fn session_of(area: u32, conn: u64, library: u32, flags: u8) -> Option<*mut Session> {
    let session = session::find_or_open(area, &session::key(conn), library, flags)?;
    session::bind(unsafe { &mut *session }, conn, binding::CIPHERTEXT);
    Some(session)
}

/// The record that `message` describes is about to be decrypted.
#[inline(always)]
pub fn unseals(address: u64, message: u64, number: u64, library: u32) {
    met();
    let Some(thread) = this_thread() else { return };
    thread.unsealing.conn = 0;
    let key = session::key(address);
    let mut known = under(&key, number);
    let Some(words) = user::<[u64; 5]>(message) else { return };
    let mut text = 0;
    let mut len = 0;
    for at in 0..4 {
        let is_it = if known.conn == 0 {
            text == 0 && is_received(&thread.received, words[at], words[at + 1])
        } else {
            known.word == at as u32
        };
        if is_it {
            text = words[at];
            len = words[at + 1];
            known.word = at as u32;
        }
    }
    if text == 0 || len > LONGEST {
        return;
    }
    if known.conn == 0 {
        known.conn = thread.received.conn;
        thread.received.proven = 1;
        let _ = RUSTLS_KEYS.insert(&key, known, 0);
        begins(known.conn, library, known.first != 0);
    }
    thread.unsealing = Unsealing { conn: known.conn, text, len, library, late: u32::from(known.first != 0) };
}

/// A connection is now known to be one of rustls: it gets a session even if it never carries data.
#[inline(never)]
fn begins(conn: u64, library: u32, late: bool) {
    if conn == NOT_WANTED {
        return;
    }
    let Some(area) = scratch::take() else { return };
    session_of(area, conn, library, if late { flag::LATE } else { 0 });
    scratch::give_back(area);
}

/// True when the ciphertext of `len` octets at `text` came with what the thread received last: it lies in that buffer; or it begins
/// like the first protected record there; or an earlier record was found to have come with it, and this one lies nearby.
#[inline(always)]
fn is_received(received: &Received, text: u64, len: u64) -> bool {
    if received.conn == 0 || len <= TAG || len > LONGEST {
        return false;
    }
    let Some(first) = user::<Text>(text) else { return false };
    let lies_there = text < received.base + received.len && text + len > received.base;
    // Earlier records may have been removed from the buffer that holds both, and the rest moved.
    let lies_near = text < received.base + received.len && text + NEAR > received.base;
    lies_there || (received.proven == 1 && lies_near) || (first[0] == received.text[0] && first[1] == received.text[1])
}

/// A record was decrypted: `result` names the plaintext, which is in place of the ciphertext.
#[inline(never)]
fn unsealed(area: u32, result: u64) -> bool {
    let Some(thread) = this_thread() else { return false };
    let of = thread.unsealing;
    thread.unsealing.conn = 0;
    if of.conn == 0 || of.conn == NOT_WANTED {
        return false;
    }
    let Some(words) = user::<[u64; 6]>(result) else { return false };
    let record = Sealed { text: of.text, len: of.len };
    for at in 0..5 {
        let (plain, bytes) = (words[at], words[at + 1]);
        if !is_plaintext(&record, plain, bytes) {
            continue;
        }
        if bytes == 0 || !is_application_data(&record, plain, bytes) {
            return false;
        }
        let Some(work) = scratch::get(area) else { return false };
        let said = unsafe { &mut (*work).said };
        said.source = Source::buffer(plain, bytes);
        said.moved = Moved { direction: 1, bytes, began: 0 };
        said.conn = of.conn;
        said.part = 0;
        said.library = of.library;
        said.flags = if of.late != 0 { u32::from(flag::LATE) } else { 0 };
        return true;
    }
    false
}

/// A system call of a process that uses rustls moved what the work area says through the socket of `conn`; [`NOT_WANTED`]: one that is filtered out.
#[inline(never)]
pub fn passed(area: u32, conn: u64) {
    met();
    let Some(thread) = this_thread() else { return };
    let Some(work) = scratch::get(area) else { return };
    let moved = unsafe { &(*work).moved };
    if moved.direction == 1 {
        let Some([base, len]) = buffer(&moved.source, 0) else { return };
        let len = if moved.bytes < len { moved.bytes } else { len };
        let text = protected(base, len).unwrap_or_default();
        thread.received = Received { conn, base, len, text, proven: 0 };
        return;
    }
    if thread.leaving == 0 {
        return;
    }
    let key = core::mem::replace(&mut thread.leaving, 0);
    for index in 0..4 {
        let Some([base, len]) = buffer(&moved.source, index) else { break };
        if leaves(&thread.leaving_text, base, len) {
            return join(area, key, conn);
        }
    }
}

/// One of a call's buffers.
#[inline(always)]
fn buffer(source: &Source, index: u64) -> Option<[u64; 2]> {
    if source.iov_left == 0 {
        return if index == 0 { Some([source.base, source.len]) } else { None };
    }
    if index < source.iov_left && !source.is_messages() { user(source.iov + 16 * index) } else { None }
}

/// The connection of a key is now known: what was reported as a part belongs to it.
#[inline(never)]
fn join(area: u32, address: u64, conn: u64) {
    let part = session::key(address);
    let Some(key) = RUSTLS_KEYS.get_ptr_mut(&part) else { return };
    unsafe { (*key).conn = conn };
    let Some(of) = SESSIONS.get_ptr_mut(&part) else { return };
    let (id, library, late) = unsafe { ((*of).id, (*of).library, (*of).late) };
    let mut joined = Joined { header: emit::header(kind::JOINED, size_of::<Joined>(), id), session: 0, offset: 0 };
    if conn != NOT_WANTED {
        let flags = if late != 0 { flag::LATE } else { 0 };
        let Some(session) = session_of(area, conn, library, flags) else {
            return emit::count_loss(why::SESSION_TABLE_FULL, 0);
        };
        let (session, of) = unsafe { (&mut *session, &*of) };
        joined.session = session.id;
        joined.offset = session.dirs[0].count.carried;
        if joined.offset == 0 {
            unsafe { words::copy(&raw mut session.dirs[0], &raw const of.dirs[0]) };
        } else {
            // One key follows another: the session goes on.
            session.dirs[0].count.carried += of.dirs[0].count.carried;
            session.dirs[0].count.copied += of.dirs[0].count.copied;
            session.dirs[0].count.unwanted += of.dirs[0].count.unwanted;
            session.dirs[0].count.lost += of.dirs[0].count.lost;
        }
    }
    emit::record_or_count(&joined);
    let _ = SESSIONS.remove(&part);
}
