//! What kernel memory says: descriptor → socket → `sock`, a connection's ends, the kernel's own byte counts. All reads go
//! through offsets that the loader took from the running kernel's BTF.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task};

use crate::globals::layout;

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const S_IFMT: u16 = 0xf000;
const S_IFSOCK: u16 = 0xc000;

/// TCP states of `include/net/tcp_states.h`.
pub mod tcp {
    pub const FIN_WAIT1: i32 = 4;
    pub const FIN_WAIT2: i32 = 5;
    pub const CLOSE: i32 = 7;
    pub const CLOSE_WAIT: i32 = 8;
    pub const LAST_ACK: i32 = 9;
    pub const CLOSING: i32 = 11;
}

/// `RCV_SHUTDOWN | SEND_SHUTDOWN` of `include/net/sock.h`.
pub const SHUTDOWN_BOTH: u8 = 3;
pub const RCV_SHUTDOWN: u8 = 1;

/// Reads a `T` at `base + offset`.
#[inline(always)]
pub fn at<T: Copy>(base: u64, offset: u32) -> Option<T> {
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}

/// A stream socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sock {
    /// Address of the `sock`.
    pub address: u64,
    /// Inode number of the socket.
    pub ino: u64,
}

#[inline(always)]
pub fn current_task() -> u64 {
    unsafe { bpf_get_current_task() }
}

/// The `file` behind a descriptor of the current task.
#[inline(always)]
fn file_of(fd: u32) -> Option<u64> {
    let files: u64 = at(current_task(), layout!(task_files))?;
    let table: u64 = at(files, layout!(files_fdt))?;
    let bound: u32 = at(table, layout!(fdt_max_fds))?;
    if fd >= bound {
        return None;
    }
    let array: u64 = at(table, layout!(fdt_fd))?;
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
    let file = file_of(fd)?;
    let inode: u64 = at(file, layout!(file_inode))?;
    let mode: u16 = at(inode, layout!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let ino: u64 = at(inode, layout!(inode_ino))?;
    let socket: u64 = at(file, layout!(file_private))?;
    let address: u64 = at(socket, layout!(socket_sk))?;
    if address == 0 { None } else { Some(Sock { address, ino }) }
}

/// Device and inode number of the file behind a descriptor of the current task.
#[inline(always)]
pub fn file_identity(fd: u32) -> Option<(u64, u64)> {
    let inode: u64 = at(file_of(fd)?, layout!(file_inode))?;
    let ino: u64 = at(inode, layout!(inode_ino))?;
    let block: u64 = at(inode, layout!(inode_sb))?;
    let dev: u32 = at(block, layout!(sb_dev))?;
    Some((u64::from(dev), ino))
}

/// The address family of a stream socket qtap follows: TCP over IPv4 or IPv6, or UNIX.
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
            if protocol == IPPROTO_TCP { Some(family) } else { None }
        }
        _ => None,
    }
}

/// Bytes the process sent, as TCP counts them: acknowledged so far, plus those between the last acknowledged and the last
/// written. Starts at 0 or 1 (the SYN): only differences mean something.
#[inline(always)]
pub fn tcp_sent(sock: u64) -> u64 {
    let acked: u64 = at(sock, layout!(tcp_bytes_acked)).unwrap_or(0);
    let written: u32 = at(sock, layout!(tcp_write_seq)).unwrap_or(0);
    let unacked: u32 = at(sock, layout!(tcp_snd_una)).unwrap_or(0);
    acked.wrapping_add(u64::from(written.wrapping_sub(unacked)))
}

/// Bytes the process read, as TCP counts them: received in order, less those not yet copied to it. `fin`: a FIN was received;
/// it counts as one byte once the process has read up to it.
#[inline(always)]
pub fn tcp_read(sock: u64, fin: bool) -> u64 {
    let received: u64 = at(sock, layout!(tcp_bytes_received)).unwrap_or(0);
    let unread = tcp_unread_raw(sock);
    let fin_read = fin && unread == 0;
    received.wrapping_sub(u64::from(unread)).wrapping_sub(u64::from(fin_read))
}

/// Sequence numbers between what the process read and what arrived; a FIN is one.
#[inline(always)]
pub fn tcp_unread_raw(sock: u64) -> u32 {
    let next: u32 = at(sock, layout!(tcp_rcv_nxt)).unwrap_or(0);
    let copied: u32 = at(sock, layout!(tcp_copied_seq)).unwrap_or(0);
    next.wrapping_sub(copied)
}
