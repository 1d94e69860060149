//! TLS calls under way in programs that switch stacks inside them (fibers, coroutines): there a thread leaves a call by going on on another stack, and
//! may come back to it after others, on another thread even. So a call belongs to the stack that it is on, not to the thread.
//!
//! In: a stack pointer. Out: the calls of the stack that it points into. The bounds of stacks are not known: a call is looked for among those whose
//! functions began on the same, or on the next higher, [`BUCKET`] of memory, and not more than [`REACH`] above the stack pointer.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::calls::{Calls, NESTED};
use crate::maps::{FIBER_CALLS, FIBER_SEEN, FIBER_USERS};

/// Bytes of memory whose calls are kept under one key: not more than the smallest stacks that TLS calls are made on.
const BUCKET: u64 = 64 << 10;
/// Most bytes between the stack pointers at the beginning of a call and inside it: of two stacks side by side, the calls of the one must not be found
/// from the other.
const REACH: u64 = 32 << 10;

/// True when the current process switches stacks. The cheaper check comes first: does any process?
#[inline(always)]
pub fn are_used() -> bool {
    if !FIBER_SEEN.get(0).is_some_and(|seen| *seen != 0) {
        return false;
    }
    FIBER_USERS.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32).is_some()
}

/// A child's program is its parent's.
#[inline(always)]
pub fn inherit(parent: u32, child: u32) {
    if FIBER_SEEN.get(0).is_some_and(|seen| *seen != 0) && FIBER_USERS.get_ptr(parent).is_some() {
        let _ = FIBER_USERS.insert(child, 1u8, 0);
    }
}

/// The key of calls that began at `stack`.
#[inline(always)]
pub fn key(stack: u64) -> u64 {
    (bpf_get_current_pid_tgid() & !0xffff_ffff) | (stack / BUCKET) & 0xffff_ffff
}

/// The calls that were under way when the stack pointer was `stack`. Null: none.
#[inline(always)]
pub fn calls(stack: u64) -> *mut Calls {
    let own = among(stack, stack);
    if own.is_null() { among(stack, stack + BUCKET) } else { own }
}

#[inline(always)]
fn among(stack: u64, place: u64) -> *mut Calls {
    let Some(calls) = FIBER_CALLS.get_ptr_mut(key(place)) else { return core::ptr::null_mut() };
    let last = match unsafe { (*calls).depth } {
        0 => return core::ptr::null_mut(),
        1 => 0,
        _ => NESTED - 1,
    };
    // The stack pointer after the return is 8 above the one at the beginning.
    let above = unsafe { (*calls).frames[last].stack }.wrapping_add(8).wrapping_sub(stack);
    if above <= REACH { calls } else { core::ptr::null_mut() }
}
