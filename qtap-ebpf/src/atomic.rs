//! The one atomic operation the probes need: add and fetch (`BPF_ATOMIC | BPF_FETCH`, Linux 5.12).

/// Adds `more` to `*to` and returns what was there before.
///
/// # Safety
/// `to` points into a map value.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn fetch_add(to: *mut u64, more: u64) -> u64 {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // Not relaxed: LLVM then drops the fetch, even where the result is used.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(to, more) }
}

/// For host builds of the workspace, which never run it.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "bpf"))]
pub unsafe fn fetch_add(to: *mut u64, more: u64) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    unsafe { AtomicU64::from_ptr(to) }.fetch_add(more, Ordering::Relaxed)
}
