//! JVMs with qtap's agent in them. JSSE has no functions in a file, so that the agent says what its sessions move: in: messages that a process writes to the
//! null device. Out: sessions, as of any other library.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use qtap_common::jvm::{Jvm, Message, message};
use qtap_common::record::{flag, why};

use crate::carry::{self, user, user_or_zero};
use crate::kernel::{Sock, socket_of};
use crate::maps::{JVMS, SESSIONS};
use crate::source::Source;
use crate::{emit, feedback, hello, scratch, session};

const HEADER: u64 = size_of::<Message>() as u64;
/// Longest call that is believed, in nanoseconds: an hour.
const AGE_MAX: u64 = 3600 * 1_000_000_000;

/// A message, in a work area: the kernel allows 512 bytes of stack to all functions that are in progress.
#[repr(C)]
pub struct Told {
    message: Message,
    source: Source,
    moved: session::Moved,
}

/// The process wrote `bytes` at `address` to something other than a socket.
#[inline(never)]
pub fn wrote(address: u64, bytes: u64) {
    if bytes < HEADER {
        return;
    }
    let Some(jvm) = JVMS.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32) else { return };
    let Some(area) = scratch::take() else { return missed(jvm, address, bytes) };
    hear(area, jvm, address, bytes);
    scratch::give_back(area);
}

#[inline(always)]
fn hear(area: u32, jvm: *const Jvm, address: u64, bytes: u64) -> Option<()> {
    let told = unsafe { &mut (*scratch::get(area)?).told.message };
    let into = (&raw mut *told).cast();
    if unsafe { bpf_probe_read_user(into, HEADER as u32, address as *const _) } != 0 || !is_from(jvm, told, bytes) {
        return None;
    }
    let payload = address + HEADER;
    match told.kind {
        message::DATA => moved(area, jvm, payload),
        message::LOST => lose(told, user_or_zero(payload)),
        message::HELLO => greeted(area, jvm, payload),
        message::SOCKET => is_on(area, jvm, payload),
        message::ENDED => session::close(&session::key(told.session)),
        _ => {}
    }
    Some(())
}

/// It begins with the process's mark, and is as long as it says.
#[inline(always)]
fn is_from(jvm: *const Jvm, told: &Message, bytes: u64) -> bool {
    let mark = unsafe { &(*jvm).mark };
    told.mark[0] == mark[0] && told.mark[1] == mark[1] && u64::from(told.len) == bytes - HEADER
}

/// A message for which there is no work area: what it moved is lost.
#[inline(never)]
fn missed(jvm: *const Jvm, address: u64, bytes: u64) {
    let Some(told) = user::<Message>(address) else { return };
    if !is_from(jvm, &told, bytes) {
        return;
    }
    match told.kind {
        message::DATA => lose(&told, told.len.into()),
        message::LOST => lose(&told, user_or_zero(address + HEADER)),
        _ => {}
    }
}

/// A session moved bytes that nobody told.
#[inline(never)]
fn lose(told: &Message, bytes: u64) {
    let Some(session) = SESSIONS.get_ptr_mut(session::key(told.session)) else { return };
    carry::lose_next(unsafe { &mut (*session).dirs[usize::from(told.direction & 1)] }, bytes, why::SCRATCH_BUSY);
}

/// A session moved the plaintext at `payload`.
#[inline(never)]
fn moved(area: u32, jvm: *const Jvm, payload: u64) {
    let Some(work) = scratch::get(area) else { return };
    let told = unsafe { &mut (*work).told };
    let (message, library) = (&told.message, unsafe { (*jvm).library });
    let bytes = u64::from(message.len);
    told.source = Source::buffer(payload, bytes);
    told.moved.direction = usize::from(message.direction & 1);
    told.moved.bytes = bytes;
    // (A process may say what it likes.)
    let age = if message.age < AGE_MAX { message.age } else { 0 };
    told.moved.began = emit::now().saturating_sub(age);
    let Some(session) = session::find_or_open(area, &session::key(message.session), library, flag::LATE) else {
        return session::no_room(bytes);
    };
    let session = unsafe { &mut *session };
    if session.conn == 0 && feedback::is_store(session.tgid) {
        session.unwanted = 1;
    }
    session::carried(area, session, &told.source, &told.moved);
}

/// A session wrote, or is fed, what may be a hello.
#[inline(never)]
fn greeted(area: u32, jvm: *const Jvm, payload: u64) {
    let Some(work) = scratch::get(area) else { return };
    let told = unsafe { &(*work).told.message };
    hello::passed(told.session, unsafe { (*jvm).library }, told.direction == 1, payload, told.len);
}

/// A session's socket has the descriptor at `payload`.
#[inline(never)]
fn is_on(area: u32, jvm: *const Jvm, payload: u64) {
    let (Some(work), Some(descriptor)) = (scratch::get(area), user::<u32>(payload)) else { return };
    let mut sock = Sock { address: 0, file: 0 };
    if socket_of(descriptor, &mut sock) {
        let (told, jvm) = unsafe { (&(*work).told.message, &*jvm) };
        session::bind_to(area, &sock, &session::key(told.session), jvm.library, jvm.since);
    }
}
