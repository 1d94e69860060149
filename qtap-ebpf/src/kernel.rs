//! Reads of kernel memory: descriptor → socket → `sock`, a connection's ends, the kernel's own byte counts. All reads go
//! through offsets that the loader took from the running kernel's BTF.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{self, bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs};

use qtap_common::globals::NO_OFFSET;

use crate::globals::{layout, wanted};

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// TCP states of `include/net/tcp_states.h`.
pub mod tcp {
    pub const ESTABLISHED: i32 = 1;
    pub const SYN_SENT: i32 = 2;
    pub const FIN_WAIT1: i32 = 4;
    pub const FIN_WAIT2: i32 = 5;
    pub const CLOSE: i32 = 7;
    pub const CLOSE_WAIT: i32 = 8;
    pub const LAST_ACK: i32 = 9;
    pub const CLOSING: i32 = 11;
}

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` of `include/net/sock.h`.
pub const SHUTDOWN_BOTH: u8 = 3;
/// `SOCK_DONE` of `enum sock_flags` there: the peer's FIN was processed.
const SOCK_DONE: u64 = 1 << 1;

/// Reads a `T` at `base + offset`.
#[inline(always)]
pub fn at<T: Copy>(base: u64, offset: u32) -> Option<T> {
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// Reads a number, or an array of numbers, at `base + offset`; zeros if it can't be read: where a read fails, the kernel zeroes the destination
/// (`kernel/trace/bpf_trace.c`, since 5.5). Unlike [`at`] it has no branch: each one may double what the verifier walks
/// behind it.
#[inline(always)]
pub fn at_or_zero<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = (base + u64::from(offset)) as *const c_void;
    unsafe { generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from) };
    unsafe { value.assume_init() }
}

/// Reads a `T` at `base + offset`, where `base` is a typed pointer of the kernel (or was read from such memory): the verifier
/// knows what is there, so that this is a load, not a call of a helper.
#[inline(always)]
fn typed<T: Copy>(base: u64, offset: u32) -> T {
    unsafe { read_volatile((base as *const u8).add(offset as usize).cast()) }
}

/// The registers with which the current task entered the kernel, which are at `regs`: the same address, as a typed pointer where that is possible.
#[inline(always)]
pub fn registers(regs: u64) -> u64 {
    if wanted!(has_task_regs) == 0 {
        return regs;
    }
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

/// Reads a `T` from what [`registers`] returned.
#[inline(always)]
pub fn register<T: Copy>(regs: u64, offset: u32) -> Option<T> {
    if wanted!(has_task_regs) == 0 {
        return at(regs, offset);
    }
    Some(typed(regs, offset))
}

/// The goroutine that made the current system call, if the program is one of Go: Go keeps it in `r14` (`abi-internal.md`), the second word of
/// x86-64's `struct pt_regs` (`asm/ptrace.h`). In other programs it is an arbitrary number. 0: not known.
#[cfg(not(bpf_target_arch = "aarch64"))]
#[inline(always)]
pub fn goroutine() -> u64 {
    const R14: u32 = 8;
    if wanted!(has_task_regs) == 0 {
        return 0;
    }
    typed(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }, R14)
}

/// The stack pointer with which the current task entered the kernel (`struct pt_regs`, `struct user_pt_regs`: `asm/ptrace.h`). 0: not known.
#[inline(always)]
pub fn stack_pointer() -> u64 {
    #[cfg(not(bpf_target_arch = "aarch64"))]
    const SP: u32 = 152;
    #[cfg(bpf_target_arch = "aarch64")]
    const SP: u32 = 248;
    if wanted!(has_task_regs) == 0 {
        return 0;
    }
    typed(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }, SP)
}

/// Go is not probed on aarch64.
#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
pub fn goroutine() -> u64 {
    0
}

/// A socket behind a descriptor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sock {
    /// Address of the `sock`.
    pub address: u64,
    /// Address of the `file`.
    pub file: u64,
}

#[inline(always)]
pub fn current_task() -> u64 {
    unsafe { bpf_get_current_task() }
}

/// The current task's descriptor table: its length and its address.
#[inline(always)]
fn descriptors() -> Option<(u32, u64)> {
    if wanted!(has_task_regs) == 0 {
        let files: u64 = at(current_task(), layout!(task_files))?;
        let table: u64 = at(files, layout!(files_fdt))?;
        return Some((at(table, layout!(fdt_max_fds))?, at(table, layout!(fdt_fd))?));
    }
    let files: u64 = typed(unsafe { bpf_get_current_task_btf() } as u64, layout!(task_files));
    let table: u64 = typed(files, layout!(files_fdt));
    Some((typed(table, layout!(fdt_max_fds)), typed(table, layout!(fdt_fd))))
}

/// The `file` behind a descriptor of the current task.
#[inline(always)]
fn file_of(fd: u32) -> Option<u64> {
    let (bound, array) = descriptors()?;
    if fd >= bound {
        return None;
    }
    let file: u64 = at(array + u64::from(fd) * 8, 0)?;
    if file == 0 { None } else { Some(file) }
}

/// The socket behind a descriptor of the current task; none when it is something else.
#[inline(never)]
pub fn socket_of(fd: u32, found: *mut Sock) -> bool {
    match try_socket_of(fd) {
        Some(sock) => {
            unsafe { found.write(sock) };
            true
        }
        None => false,
    }
}

#[inline(always)]
fn try_socket_of(fd: u32) -> Option<Sock> {
    socket_in(file_of(fd)?)
}

/// The socket behind a `file`, if it is one.
#[inline(always)]
pub fn socket_in(file: u64) -> Option<Sock> {
    let socket: u64 = at(file, layout!(file_private))?;
    if socket == 0 {
        return None;
    }
    let [back, address]: [u64; 2] = if layout!(socket_file) + 8 == layout!(socket_sk) {
        at(socket, layout!(socket_file))?
    } else {
        [at(socket, layout!(socket_file))?, at(socket, layout!(socket_sk))?]
    };
    // A socket points back to its file: what does not is some other private data.
    if back != file || address == 0 { None } else { Some(Sock { address, file }) }
}

/// Inode number of a socket: no other socket has it while this one lives, nor soon after.
#[inline(always)]
pub fn inode_number(sock: &Sock) -> u64 {
    at_or_zero(at_or_zero(sock.file, layout!(file_inode)), layout!(inode_ino))
}

/// Device and inode number of the file behind a descriptor of the current task; the inode's generation in the upper half of the device.
#[inline(always)]
pub fn file_identity(fd: u32) -> Option<(u64, u64)> {
    let inode: u64 = at(file_of(fd)?, layout!(file_inode))?;
    let ino: u64 = at(inode, layout!(inode_ino))?;
    let block: u64 = at(inode, layout!(inode_sb))?;
    let dev: u32 = at(block, layout!(sb_dev))?;
    let generation: u32 = at(inode, layout!(inode_generation))?;
    Some((u64::from(dev) | u64::from(generation) << 32, ino))
}

/// The address family of a stream socket qtap follows: TCP or MPTCP over IPv4 or IPv6, or UNIX.
#[inline(always)]
pub fn stream_family(sock: u64) -> Option<u16> {
    let family: u16 = at(sock, layout!(sk_family))?;
    let kind: u16 = at(sock, layout!(sk_type))?;
    if kind != SOCK_STREAM {
        return None;
    }
    match family {
        AF_UNIX => Some(family),
        AF_INET | AF_INET6 => {
            let protocol: u16 = at(sock, layout!(sk_protocol))?;
            if protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP { Some(family) } else { None }
        }
        _ => None,
    }
}

/// True when a stream of [`stream_family`] is TCP itself. (MPTCP runs over a TCP connection for each path, of which no process has a descriptor.)
#[inline(always)]
pub fn is_tcp(sock: u64, family: u16) -> bool {
    family != AF_UNIX && at_or_zero::<u16>(sock, layout!(sk_protocol)) == IPPROTO_TCP
}

/// Bytes the process sent, as TCP counts them: acknowledged so far, plus those between the last acknowledged and the last
/// written. Starts at 0 or 1 (the SYN): only differences mean something.
#[inline(always)]
pub fn tcp_sent(sock: u64) -> u64 {
    let acked: u64 = at_or_zero(sock, layout!(tcp_bytes_acked));
    let written: u32 = at_or_zero(sock, layout!(tcp_write_seq));
    let unacked: u32 = at_or_zero(sock, layout!(tcp_snd_una));
    acked.wrapping_add(u64::from(written.wrapping_sub(unacked)))
}

/// Bytes the process read, as TCP counts them: received in order, less those not yet copied to it. `fin`: a FIN was received;
/// it counts as one byte once the process has read up to it.
#[inline(always)]
pub fn tcp_read(sock: u64, fin: bool) -> u64 {
    let received: u64 = at_or_zero(sock, layout!(tcp_bytes_received));
    let unread = tcp_unread_raw(sock);
    let fin_read = fin && unread == 0;
    received.wrapping_sub(u64::from(unread)).wrapping_sub(u64::from(fin_read))
}

/// True when the kernel does TLS above that TCP connection, in one direction or both: its upper layer protocol is `tls` (`net/tls/tls_main.c`).
#[inline(always)]
pub fn does_tls(sock: u64) -> bool {
    if layout!(tcp_above) == NO_OFFSET {
        return false;
    }
    let above: u64 = at_or_zero(sock, layout!(tcp_above));
    above != 0 && at::<[u8; 4]>(above, layout!(above_name)) == Some(*b"tls\0")
}

/// The connection's state: one of [`tcp`].
#[inline(always)]
pub fn state(sock: u64) -> i32 {
    i32::from(at_or_zero::<u8>(sock, layout!(sk_state)))
}

/// True for a TCP socket that has no peer: programs that give it to a TLS session do so before they connect it, or after.
#[inline(always)]
pub fn never_connected(sock: u64, family: u16) -> bool {
    is_tcp(sock, family) && state(sock) == tcp::CLOSE && at::<u16>(sock, layout!(sk_dport)) == Some(0)
}

/// True when the peer's FIN has been received in this state.
#[inline(always)]
pub fn fin_came(state: i32) -> bool {
    matches!(state, tcp::CLOSE_WAIT | tcp::LAST_ACK | tcp::CLOSING)
}

/// The same at the end of a connection that was only waiting for that FIN. The state does not show it there: a process that closes then (`tcp_close`)
/// causes the same change of state as the FIN (`tcp_fin`), but only the latter sets the flag.
#[inline(always)]
pub fn fin_was_taken(sock: u64) -> bool {
    let flags: u64 = at_or_zero(sock, layout!(sk_flags));
    flags & SOCK_DONE != 0
}

/// Sequence numbers between what the process read and what arrived; a FIN is one.
#[inline(always)]
pub fn tcp_unread_raw(sock: u64) -> u32 {
    let next: u32 = at_or_zero(sock, layout!(tcp_rcv_nxt));
    let copied: u32 = at_or_zero(sock, layout!(tcp_copied_seq));
    next.wrapping_sub(copied)
}
