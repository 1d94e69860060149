//! Identifies a session that uses memory instead of a socket, by the random of a hello (RFC 8446 §4.1.2, §4.1.3) that the session writes or is
//! fed. The same 32 bytes pass a socket of the process, where the agent looks for them.
//!
//! In: a hello, as a JVM's agent tells it; or what `BIO_write` writes to memory. Inside a TLS call that is a record of the session's own; else it is what the program feeds to the session that
//! was seen to read from there, or from the other of a pair; or, to a BIO of the program's own, a record of the session that was seen to write there.
//! Out: a record `HELLO`, once or twice a session. What is no hello costs one read of the program's memory.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::record::{Hello, RETRY_RANDOM, flag, kind, why};
use qtap_common::state::SessionKey;

use crate::carry::user;
use crate::maps::{FED, PAIRS};
use crate::{calls, emit, scratch, session};

/// Bytes up to the end of the random: header of the record, header of the message, version, random.
const UP_TO_RANDOM: i32 = 5 + 4 + 2 + 32;
/// Where the message's type is, and where the random begins.
const TYPE: u64 = 5;
const RANDOM: u64 = 5 + 4 + 2;
/// Content type of a record.
const HANDSHAKE: u8 = 22;
/// Major version of every record, and of every hello.
const MAJOR: u8 = 3;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// In a value of [`FED`], whose other bits are the session's address: the session writes its records to that memory.
const WRITES: u64 = 1;

/// Session `ssl` reads its records from `bio`, or writes them to it.
#[inline(always)]
pub fn uses(ssl: u64, bio: u64, writes: bool) {
    if bio != 0 {
        let _ = FED.insert(session::key(bio), ssl | u64::from(writes), 0);
    }
}

/// The thread creates a pair of BIOs (`BIO_new_bio_pair`), and will find them at these addresses.
#[inline(always)]
pub fn will_pair(one: u64, other: u64) {
    let _ = PAIRS.insert(bpf_get_current_pid_tgid(), [one, other], 0);
}

/// Session `ssl` reads its records from `bio`. If that is one of the pair that the thread has just created, then what is written to the other.
#[inline(always)]
pub fn reads(ssl: u64, bio: u64) {
    uses(ssl, bio, false);
    let thread = bpf_get_current_pid_tgid();
    let Some(pair) = PAIRS.get_ptr(thread) else { return };
    let [one, other] = unsafe { *pair };
    let _ = PAIRS.remove(thread);
    let (Some(one), Some(other)) = (user::<u64>(one), user::<u64>(other)) else { return };
    if bio == one {
        uses(ssl, other, false);
    } else if bio == other {
        uses(ssl, one, false);
    }
}

/// `len` bytes at `data` are about to be written to `bio`.
#[inline(always)]
pub fn written(bio: u64, data: u64, len: i32) {
    if len < UP_TO_RANDOM {
        return;
    }
    let Some(first) = user::<[u8; 16]>(data) else { return };
    if !is_hello(&first) {
        return;
    }
    let Some(random) = user::<[u64; 4]>(data + RANDOM) else { return };
    if is_retry(&random) {
        return;
    }
    if let Some((ssl, library)) = calls::current() {
        tell(&session::key(ssl), library, 0, first[5], &random);
        return;
    }
    let fed = session::key(bio);
    let Some(used) = FED.get_ptr(fed) else { return };
    let used = unsafe { *used };
    let direction = if used & WRITES != 0 { 0 } else { flag::RECEIVED };
    tell(&session::key(used & !WRITES), 0, direction, first[5], &random);
    let _ = FED.remove(fed);
}

/// Session `ssl` wrote the hello at `data`, or is fed it: of `len` bytes, which reach to the end of its random.
#[inline(always)]
pub fn passed(ssl: u64, library: u32, is_received: bool, data: u64, len: u32) {
    if len < UP_TO_RANDOM as u32 {
        return;
    }
    let (Some(which), Some(random)) = (user::<u8>(data + TYPE), user::<[u64; 4]>(data + RANDOM)) else { return };
    if !is_retry(&random) {
        tell(&session::key(ssl), library, if is_received { flag::RECEIVED } else { 0 }, which, &random);
    }
}

/// True for a handshake record that begins with a hello: type and version of the record, type and length of the message, and its version. In a
/// protected record these bytes may have any value, so the type alone is not enough.
#[inline(always)]
fn is_hello(first: &[u8; 16]) -> bool {
    let which = first[5] == CLIENT_HELLO || first[5] == SERVER_HELLO;
    first[0] == HANDSHAKE && first[1] == MAJOR && which && first[6] == 0 && first[9] == MAJOR && first[10] <= 4
}

/// [`RETRY_RANDOM`] as words.
const RETRY: [u64; 4] = {
    let mut words = [0; 4];
    let mut at = 0;
    while at < RETRY_RANDOM.len() {
        words[at / 8] |= (RETRY_RANDOM[at] as u64) << (8 * (at % 8));
        at += 1;
    }
    words
};

/// (Word by word: comparing the whole would become a call of a function that does not exist here.)
#[inline(always)]
fn is_retry(random: &[u64; 4]) -> bool {
    random[0] == RETRY[0] && random[1] == RETRY[1] && random[2] == RETRY[2] && random[3] == RETRY[3]
}

/// Reports a hello of a session, which is opened if it was not known. `library`: 0 if none was called yet.
#[inline(never)]
fn tell(key: &SessionKey, library: u32, direction: u8, which: u8, random: &[u64; 4]) {
    let Some(area) = scratch::take() else { return };
    let session = session::find_or_open(area, key, library, 0);
    scratch::give_back(area);
    // The table is full, or new sessions are shed: the session's next call that carries bytes counts them.
    let Some(session) = session else { return };
    // If its socket is known, there is nothing to look for.
    let (id, conn) = unsafe { ((*session).id, (*session).conn) };
    if conn != 0 {
        return;
    }
    let Some(room) = emit::reserve::<Hello>() else { return emit::count_loss(why::RING_FULL, 0) };
    let hello = unsafe { &mut *room };
    hello.header = emit::header(kind::HELLO, size_of::<Hello>(), id);
    hello.header.flags = flag::SESSION | direction;
    hello.header.detail = which;
    unsafe { (&raw mut hello.random).cast::<[u64; 4]>().write(*random) };
    emit::submit(room);
}
