//! Plain values copied word by word.

use core::ptr::{read_volatile, write_volatile};

/// Copies the value at `from` to `to`. If the compiler can't prove that the two don't overlap, an assignment becomes a call of `memmove`, which goes
/// byte by byte, and which the verifier walks in both directions.
///
/// # Safety
/// Both can be read and written; `T` is made of whole words.
#[inline(always)]
pub unsafe fn copy<T: Copy>(to: *mut T, from: *const T) {
    const { assert!(size_of::<T>() % size_of::<u64>() == 0) };
    let (to, from) = (to.cast::<u64>(), from.cast::<u64>());
    for index in 0..size_of::<T>() / size_of::<u64>() {
        unsafe { write_volatile(to.add(index), read_volatile(from.add(index))) };
    }
}
