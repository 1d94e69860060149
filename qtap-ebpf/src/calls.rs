//! The TLS calls under way on a thread, or, in a program that switches stacks, on a stack. In: functions of TLS libraries begin and end, and socket calls are
//! made inside them. Out: the call that ends, with the socket seen inside. What calls mean to their sessions is `session`'s.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use qtap_common::record::why;
use qtap_common::state::call;

use crate::carry::user;
use crate::maps::{CALLS, FIBER_CALLS};
use crate::{emit, fibers, goroutine, kernel};

/// How deep TLS calls can nest on one thread: a session whose transport is another session (HTTPS proxies).
pub const NESTED: usize = 2;

/// Most that a probed function has on the stack at an exit site, in bytes. They have some hundreds, and a stack on which a TLS call can run is larger
/// than this: a handshake alone takes several KiB.
const OWN_STACK: u64 = 16 << 10;

/// A TLS call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    /// The session.
    pub ssl: u64,
    /// Buffer.
    pub buffer: u64,
    /// Where an `_ex` function stores the number of bytes.
    pub out: u64,
    /// Stack pointer at function entry: that of a nested call is lower.
    pub stack: u64,
    /// Connection of the socket calls seen inside; 0: none; or [`NOT_WANTED`].
    pub conn: u64,
    /// When it began.
    pub time: u64,
    /// Library number.
    pub library: u32,
    /// One of [`call`].
    pub call: u8,
    /// 1: the session's handshake begins inside this call, so a session that it opens was not joined mid-stream.
    pub begins: u8,
    /// Nested calls of the same session that have not ended: this call accounts for their work.
    pub inner: u16,
}

/// The TLS calls of one thread or, in a program that switches stacks, of one stack.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Calls {
    pub depth: u64,
    /// The stack pointer where the last call was entered, if its end can't be seen: a handshake. 0: it can.
    pub unseen: u64,
    /// Where that call returns to: as long as this is on the stack there, it is under way.
    pub returns_to: u64,
    pub frames: [Frame; NESTED],
}

pub const NO_FRAME: Frame =
    Frame { ssl: 0, buffer: 0, out: 0, stack: 0, conn: 0, time: 0, library: 0, call: 0, begins: 0, inner: 0 };

/// A TLS call began.
#[inline(always)]
pub fn enter(frame: &Frame) {
    let calls = calls_at(frame.stack);
    if calls.is_null() {
        return begin(frame);
    }
    let calls = unsafe { &mut *calls };
    calls.unseen = 0;
    // A frame that is not above this one on the stack was left without a return (longjmp, a return that was not seen).
    if calls.depth >= 2 && calls.frames[1].stack <= frame.stack {
        calls.depth = 1;
        count_unfinished(&calls.frames[1], frame);
    }
    if calls.depth == 1 && calls.frames[0].stack <= frame.stack {
        calls.depth = 0;
        count_unfinished(&calls.frames[0], frame);
    }
    match calls.depth {
        0 => calls.frames[0] = *frame,
        // A function that serves another one of the same session (SSL_connect calls SSL_do_handshake, SSL_write_ex jumps to
        // SSL_write_ex2): the outer one counts. (A write inside a read is a callback's: it counts itself.)
        1 if serves(frame, &calls.frames[0]) => {
            calls.frames[0].inner += 1;
            return;
        }
        2 if serves(frame, &calls.frames[1]) => {
            calls.frames[1].inner += 1;
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

/// The first call of a thread or, in a program that switches stacks, of a stack.
#[inline(always)]
fn begin(frame: &Frame) {
    if !keep(&Calls { depth: 1, unseen: 0, returns_to: 0, frames: [*frame, NO_FRAME] }, frame.stack) {
        emit::count_loss(why::SESSION_TABLE_FULL, 0);
    }
}

#[inline(always)]
fn keep(calls: &Calls, stack: u64) -> bool {
    if fibers::are_used() {
        return FIBER_CALLS.insert(fibers::key(stack), calls, 0).is_ok();
    }
    CALLS.insert(bpf_get_current_pid_tgid(), calls, 0).is_ok()
}

/// A handshake begins, whose end can't be seen.
#[inline(always)]
pub fn handshakes(stack: u64) {
    let Some(returns_to) = user::<u64>(stack) else { return };
    let calls = calls_at(stack);
    if calls.is_null() {
        keep(&Calls { depth: 0, unseen: stack, returns_to, frames: [NO_FRAME; NESTED] }, stack);
        return;
    }
    let calls = unsafe { &mut *calls };
    (calls.unseen, calls.returns_to) = (stack, returns_to);
}

/// True while a handshake whose end can't be seen seems to be under way: enough to believe that what looks like TLS is that, but not to say whose it is.
#[inline(never)]
fn is_in_unseen(calls: *mut Calls) -> bool {
    if calls.is_null() {
        return false;
    }
    let calls = unsafe { &*calls };
    calls.unseen > kernel::stack_pointer() && user::<u64>(calls.unseen) == Some(calls.returns_to)
}

/// The calls that the current thread may be in when its stack pointer is `stack`. Null: none.
#[inline(never)]
fn calls_at(stack: u64) -> *mut Calls {
    if fibers::are_used() {
        return fibers::calls(stack);
    }
    CALLS.get_ptr_mut(bpf_get_current_pid_tgid()).unwrap_or(core::ptr::null_mut())
}

/// The same, now.
#[inline(always)]
pub fn calls_here() -> *mut Calls {
    calls_at(kernel::stack_pointer())
}

/// Counts a call whose return was not seen, now that `next` began. Not counted: a call that jumped to another function, which returns in its
/// place (SSL_connect to SSL_do_handshake), and one that carries no payload.
#[inline(always)]
fn count_unfinished(left: &Frame, next: &Frame) {
    let jumped = left.stack == next.stack && left.call != next.call && serves(next, left);
    if !jumped && way(left.call) != 0 {
        emit::count_loss(why::CALL_UNFINISHED, 0);
    }
}

/// True when `inner` does the work of `outer`: the same session, and the same way.
#[inline(always)]
fn serves(inner: &Frame, outer: &Frame) -> bool {
    inner.ssl == outer.ssl && way(inner.call) == way(outer.call)
}

/// 0 no payload, 1 reads, 2 writes.
#[inline(always)]
pub fn way(of: u8) -> u8 {
    match of {
        call::READ | call::READ_EX | call::RECV => 1,
        call::WRITE | call::WRITE_EX | call::WRITE_EX2 | call::FLUSH => 2,
        _ => 0,
    }
}

/// A TLS call ended: returns its frame, if its beginning was seen. `stack`: the stack pointer where the end was seen.
#[inline(always)]
pub fn leave(of: u8, stack: u64) -> Option<Frame> {
    let calls = calls_at(stack);
    if calls.is_null() {
        return None;
    }
    let calls = unsafe { &mut *calls };
    if calls.depth == 2 {
        if calls.frames[1].inner > 0 {
            calls.frames[1].inner -= 1;
            return None;
        }
        calls.depth = 1;
        let frame = calls.frames[1];
        if is_frame_of(&frame, of, stack) {
            return Some(frame);
        }
        emit::count_loss(why::CALL_UNFINISHED, 0);
    }
    if calls.depth == 1 {
        if calls.frames[0].inner > 0 {
            calls.frames[0].inner -= 1;
            return None;
        }
        calls.depth = 0;
        let frame = calls.frames[0];
        if is_frame_of(&frame, of, stack) {
            return Some(frame);
        }
        emit::count_loss(why::CALL_UNFINISHED, 0);
    }
    None
}

/// After a return, `stack` is 8 above the stack pointer at function entry; at an exit site it is lower, by what the function has on the stack there. A
/// frame further below belongs to a nested call whose end was not seen; one far above to a call on another stack, in a program that switches
/// stacks inside its calls.
#[inline(always)]
fn is_frame_of(frame: &Frame, of: u8, stack: u64) -> bool {
    frame.call == of && frame.stack + 8 >= stack && frame.stack.wrapping_sub(stack).wrapping_add(8) < OWN_STACK
}

/// The session, and the library, of the innermost TLS call under way on this thread.
#[inline(always)]
pub fn current() -> Option<(u64, u32)> {
    let calls = calls_here();
    if calls.is_null() {
        return None;
    }
    let calls = unsafe { &*calls };
    let frame = match calls.depth {
        0 => return None,
        1 => &calls.frames[0],
        _ => &calls.frames[1],
    };
    Some((frame.ssl, frame.library))
}

/// True while the current thread, or the goroutine on it, is inside a TLS call.
#[inline(always)]
pub fn in_call() -> bool {
    let calls = calls_here();
    if !calls.is_null() && unsafe { (*calls).depth } > 0 {
        return true;
    }
    is_in_unseen(calls) || goroutine::in_call()
}

/// A socket call moved TLS records of connection `conn` on this thread: the TLS call around it is bound to that connection. So is a
/// call around that one, if it has seen no socket of its own: a session that travels inside another. (If it has, the inner call
/// is a callback that opens a connection of its own.) True: it was made inside a handshake whose end can't be seen, as it seems.
#[inline(never)]
pub fn note_socket(conn: u64) -> bool {
    let calls = calls_here();
    if calls.is_null() {
        goroutine::note_socket(conn);
        return false;
    }
    let these = unsafe { &mut *calls };
    if these.depth >= 2 {
        these.frames[1].conn = conn;
        if these.frames[0].conn == 0 {
            these.frames[0].conn = conn;
        }
    } else if these.depth == 1 {
        these.frames[0].conn = conn;
    } else if these.unseen != 0 && is_in_unseen(calls) {
        return true;
    } else {
        goroutine::note_socket(conn);
    }
    false
}
