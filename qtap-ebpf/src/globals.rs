//! What the loader sets before loading; constants to the verifier.

use core::ptr::read_volatile;

use qtap_common::globals::{Layout, Wanted, Wishes};

use crate::maps::WISHES;

#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout {
    task_files: 0,
    task_mm: 0,
    task_pid: 0,
    task_tgid: 0,
    task_real_parent: 0,
    task_signal: 0,
    signal_live: 0,
    files_fdt: 0,
    fdt_max_fds: 0,
    fdt_fd: 0,
    file_inode: 0,
    file_private: 0,
    inode_ino: 0,
    inode_sb: 0,
    inode_generation: 0,
    sb_dev: 0,
    socket_file: 0,
    socket_sk: 0,
    sk_family: 0,
    sk_state: 0,
    sk_daddr: 0,
    sk_rcv_saddr: 0,
    sk_dport: 0,
    sk_num: 0,
    sk_v6_daddr: 0,
    sk_v6_rcv_saddr: 0,
    sk_type: 0,
    sk_protocol: 0,
    sk_shutdown: 0,
    sk_flags: 0,
    tcp_write_seq: 0,
    tcp_snd_una: 0,
    tcp_bytes_acked: 0,
    tcp_bytes_received: 0,
    tcp_rcv_nxt: 0,
    tcp_copied_seq: 0,
    tcp_above: 0,
    above_name: 0,
    unix_addr: 0,
    unix_peer: 0,
    unix_addr_len: 0,
    unix_addr_name: 0,
    mm_arg_start: 0,
    mm_arg_end: 0,
    mm_env_start: 0,
    mm_env_end: 0,
    binprm_filename: 0,
    uring_file: 0,
    uring_opcode: 0,
    uring_result: 0,
    uring_buffer: 0,
    uring_done: 0,
    uring_flags: 0,
    uring_address: 0,
    uring_slot: 0,
    regs_nr: 0,
    regs_arg: [0; 6],
    regs_mode: 0,
    regs_compat_arg: 0,
};

#[unsafe(no_mangle)]
static WANTED: Wanted = Wanted {
    call_limit: 0,
    cgroups: [0; 8],
    cgroup_levels: [0; 8],
    scope: 0,
    has_loop: 0,
    wake_above: 0,
    has_task_regs: 0,
    options: 0,
    pad: 0,
};

/// Reads one member of the layout.
macro_rules! layout {
    ($member:ident) => {
        $crate::globals::read(unsafe { &raw const (*$crate::globals::layout_ptr()).$member })
    };
    ($member:ident[$index:expr]) => {
        $crate::globals::read(unsafe { &raw const (*$crate::globals::layout_ptr()).$member[$index] })
    };
}

/// Reads one member of what is wanted.
macro_rules! wanted {
    ($member:ident) => {
        $crate::globals::read(unsafe { &raw const (*$crate::globals::wanted_ptr()).$member })
    };
}

pub(crate) use {layout, wanted};

/// What is wanted now.
#[inline(always)]
pub fn wishes() -> Wishes {
    match WISHES.get(0) {
        Some(wishes) => {
            let at = &raw const *wishes;
            unsafe {
                Wishes {
                    direction: read(&raw const (*at).direction),
                    ignore_loopback: read(&raw const (*at).ignore_loopback),
                    http: read(&raw const (*at).http),
                    shed: read(&raw const (*at).shed),
                }
            }
        }
        // Never reached: an array has all its entries.
        None => Wishes { direction: 0, ignore_loopback: 0, http: 1, shed: 0 },
    }
}

/// One of [`qtap_common::globals::shed`].
#[inline(always)]
pub fn shed() -> u32 {
    match WISHES.get(0) {
        Some(wishes) => read(&raw const wishes.shed),
        None => 0,
    }
}

#[inline(always)]
pub fn layout_ptr() -> *const Layout {
    &raw const LAYOUT
}

#[inline(always)]
pub fn wanted_ptr() -> *const Wanted {
    &raw const WANTED
}

/// A volatile read, so that the compiler does not take the placeholder for the value.
#[inline(always)]
pub fn read<T: Copy>(from: *const T) -> T {
    unsafe { read_volatile(from) }
}

/// The value, limited to `most` in a way that every verifier recognises. The compiler may compare a copy of a number, or a difference, and then
/// use the number itself: only newer kernels know that the two are linked (6.12 does not yet). A value that was just read has no copy.
#[inline(always)]
pub fn bounded(value: u64, most: u64) -> u64 {
    let value = read(&raw const value);
    if value > most { most } else { value }
}
