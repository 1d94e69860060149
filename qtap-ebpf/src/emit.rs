//! The only writer of the ring: records exactly as long as what they carry, and the policy of waking the agent.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output, bpf_ringbuf_query, bpf_ringbuf_reserve,
    bpf_ringbuf_submit,
};
use core::ffi::c_void;
use qtap_common::record::{Header, why};

use crate::globals::wanted;
use crate::maps::{ASLEEP, LOSSES, RING};

const BPF_RB_AVAIL_DATA: u64 = 0;

#[inline(always)]
pub fn now() -> u64 {
    unsafe { bpf_ktime_get_boot_ns() }
}

/// A header for the current task; `len`: bytes of the whole record.
#[inline(always)]
pub fn header(kind: u8, len: usize, id: u64) -> Header {
    let thread = bpf_get_current_pid_tgid();
    Header {
        time: now(),
        id,
        tgid: (thread >> 32) as u32,
        tid: thread as u32,
        len: len as u32,
        kind,
        flags: 0,
        detail: 0,
        pad: 0,
    }
}

/// Writes a record of fixed size. False: the ring was full; nothing is counted here.
#[inline(always)]
pub fn record<T>(record: &T) -> bool {
    unsafe { bytes((&raw const *record).cast(), size_of::<T>() as u64) }
}

/// Writes `len` bytes as one record. False: the ring was full.
///
/// # Safety
/// The verifier must be able to see that `len` bytes at `from` can be read.
#[inline(always)]
pub unsafe fn bytes(from: *const u8, len: u64) -> bool {
    let ring = (&raw const RING).cast_mut().cast::<c_void>();
    unsafe { bpf_ringbuf_output(ring, from.cast_mut().cast(), len, wake()) == 0 }
}

/// Reserves space in the ring for a record of fixed size, which must be filled and [`submit`]ted on every path. For the larger ones: up to 6.12 a
/// record on the stack takes from the 512 bytes that a whole chain of calls shares. None: the ring was full; nothing is counted here.
#[inline(always)]
pub fn reserve<T>() -> Option<*mut T> {
    let ring = (&raw const RING).cast_mut().cast::<c_void>();
    let room = unsafe { bpf_ringbuf_reserve(ring, size_of::<T>() as u64, 0) };
    if room.is_null() { None } else { Some(room.cast()) }
}

/// Submits a filled record.
#[inline(always)]
pub fn submit<T>(record: *mut T) {
    let flags = wake();
    unsafe { bpf_ringbuf_submit(record.cast(), flags) };
}

/// Flags for the ring: wake the agent when it sleeps, or when much is waiting; else leave it to its own pace, since a wake-up costs
/// the target more than the record does.
#[inline(always)]
fn wake() -> u64 {
    if let Some(asleep) = ASLEEP.get_ptr_mut(0) {
        if unsafe { *asleep } != 0 {
            unsafe { *asleep = 0 };
            return u64::from(BPF_RB_FORCE_WAKEUP);
        }
    }
    let ring = (&raw const RING).cast_mut().cast::<c_void>();
    if unsafe { bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) } > u64::from(wanted!(wake_above)) {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    }
    u64::from(BPF_RB_NO_WAKEUP)
}

/// Counts a loss that no record reports.
#[inline(always)]
pub fn count_loss(reason: u8, bytes: u64) {
    debug_assert!((reason as usize) < why::COUNT);
    if let Some(losses) = LOSSES.get_ptr_mut(u32::from(reason)) {
        unsafe {
            (*losses).count += 1;
            (*losses).bytes += bytes;
        }
    }
}

/// Writes a record of fixed size, or counts it as lost.
#[inline(always)]
pub fn record_or_count<T>(what: &T) -> bool {
    let written = record(what);
    if !written {
        count_loss(why::RING_FULL, 0);
    }
    written
}

/// Number of the current CPU.
#[inline(always)]
pub fn cpu() -> u32 {
    unsafe { bpf_get_smp_processor_id() }
}

/// A number for what begins at `time`, unique within a boot: no CPU opens two things in one nanosecond.
#[inline(always)]
pub fn identity(time: u64) -> u64 {
    time << 10 | u64::from(cpu() & 1023)
}

/// When began what has this number.
#[inline(always)]
pub fn began(identity: u64) -> u64 {
    identity >> 10
}
