//! What the probes must know about this kernel: member offsets, where a system call's registers are, and system-call numbers.
//!
//! In: type information. Out: the [`Layout`] global and the table of system calls. The facts about an architecture are in one place each.

use qtap_common::globals::{Layout, NO_OFFSET};
use qtap_common::state::op;

use super::KernelError;
use crate::capture::btf::{Btf, BtfError, offsets};

/// Offsets in `struct pt_regs`: a system call's number and its six arguments, what identifies a 32-bit caller, and such a caller's first argument.
struct Registers {
    nr: u32,
    args: [u32; 6],
    mode: u32,
    compat_arg: u32,
}

/// x86-64 (`arch/x86/include/asm/ptrace.h`): `orig_ax`, then `di`, `si`, `dx`, `r10`, `r8`, `r9`. `cs` marks a 32-bit caller, with its first in `bx`.
#[cfg(target_arch = "x86_64")]
const REGISTERS: Registers = Registers { nr: 120, args: [112, 104, 96, 56, 72, 64], mode: 136, compat_arg: 40 };

/// aarch64 (`arch/arm64/include/asm/ptrace.h`): `syscallno`; `orig_x0`, since `x0` holds the result, then `x1` to `x5`. `pstate` identifies a 32-bit
/// caller; its arguments are in the same places.
#[cfg(target_arch = "aarch64")]
const REGISTERS: Registers = Registers { nr: 280, args: [272, 8, 16, 24, 32, 40], mode: 264, compat_arg: 272 };

/// Fills the layout from the running kernel's type information.
pub(super) fn layout(btf: &Btf) -> Result<Layout, KernelError> {
    let known = offsets(btf).map_err(KernelError::Btf)?;
    let need = |structure: &str, member: &str| {
        let found = btf.member_offset(structure, member);
        found.ok_or_else(|| KernelError::Btf(BtfError::Missing(format!("{structure}.{member}"))))
    };
    let [uring_file, uring_opcode, uring_result, uring_buffer, uring_done, uring_flags, uring_address, uring_slot] =
        of_requests(btf).unwrap_or([NO_OFFSET; 8]);
    let [tcp_above, above_name] = of_protocols(btf).unwrap_or([NO_OFFSET; 2]);
    Ok(Layout {
        task_files: known.task_files,
        task_mm: known.task_mm,
        task_pid: known.task_pid,
        task_tgid: known.task_tgid,
        task_real_parent: known.task_real_parent,
        task_signal: need("task_struct", "signal")?,
        signal_live: need("signal_struct", "live")?,
        files_fdt: known.files_fdt,
        fdt_max_fds: known.fdtable_max_fds,
        fdt_fd: known.fdtable_fd,
        file_inode: known.file_f_inode,
        file_private: known.file_private_data,
        inode_ino: known.inode_i_ino,
        inode_sb: known.inode_i_sb,
        inode_generation: need("inode", "i_generation")?,
        sb_dev: known.super_block_s_dev,
        socket_file: known.socket_file,
        socket_sk: known.socket_sk,
        sk_family: known.sock_skc_family,
        sk_state: known.sock_skc_state,
        sk_daddr: known.sock_skc_daddr,
        sk_rcv_saddr: known.sock_skc_rcv_saddr,
        sk_dport: known.sock_skc_dport,
        sk_num: known.sock_skc_num,
        sk_v6_daddr: known.sock_skc_v6_daddr,
        sk_v6_rcv_saddr: known.sock_skc_v6_rcv_saddr,
        sk_type: need("sock", "sk_type")?,
        sk_protocol: need("sock", "sk_protocol")?,
        sk_shutdown: need("sock", "sk_shutdown")?,
        sk_flags: need("sock", "__sk_common.skc_flags")?,
        tcp_write_seq: known.tcp_write_seq,
        tcp_snd_una: known.tcp_snd_una,
        tcp_bytes_acked: known.tcp_bytes_acked,
        tcp_bytes_received: known.tcp_bytes_received,
        tcp_rcv_nxt: known.tcp_rcv_nxt,
        tcp_copied_seq: known.tcp_copied_seq,
        tcp_above,
        above_name,
        unix_addr: known.unix_addr,
        unix_peer: known.unix_peer,
        unix_addr_len: known.unix_address_len,
        unix_addr_name: known.unix_address_name,
        mm_arg_start: known.mm_arg_start,
        mm_arg_end: known.mm_arg_end,
        mm_env_start: known.mm_env_start,
        mm_env_end: known.mm_env_end,
        binprm_filename: known.binprm_filename,
        uring_file,
        uring_opcode,
        uring_result,
        uring_buffer,
        uring_done,
        uring_flags,
        uring_address,
        uring_slot,
        regs_nr: REGISTERS.nr,
        regs_arg: REGISTERS.args,
        regs_mode: REGISTERS.mode,
        regs_compat_arg: REGISTERS.compat_arg,
    })
}

/// Where an io_uring request has the members that the probes read; `None` unless all of them exist.
fn of_requests(btf: &Btf) -> Option<[u32; 8]> {
    let of = |structure: &str, member: &str| btf.member_offset(structure, member);
    Some([
        of("io_kiocb", "file")?,
        of("io_kiocb", "opcode")?,
        of("io_kiocb", "cqe.res")?,
        of("io_sr_msg", "buf")?,
        of("io_sr_msg", "done_io")?,
        of("io_sr_msg", "msg_flags")?,
        of("io_rw", "addr")?,
        of("io_accept", "file_slot")?,
    ])
}

/// Where a connection has its upper-layer protocol, which the kernel runs on top of TCP (such as TLS), and where that has its name.
fn of_protocols(btf: &Btf) -> Option<[u32; 2]> {
    let of = |structure: &str, member: &str| btf.member_offset(structure, member);
    Some([of("inet_connection_sock", "icsk_ulp_ops")?, of("tcp_ulp_ops", "name")?])
}

/// System calls that the probes inspect, by this architecture's numbers.
pub(super) fn system_calls() -> [(libc::c_long, u8); 19] {
    [
        (libc::SYS_read, op::READ),
        (libc::SYS_write, op::WRITE),
        (libc::SYS_recvfrom, op::RECVFROM),
        (libc::SYS_sendto, op::SENDTO),
        (libc::SYS_readv, op::READV),
        (libc::SYS_writev, op::WRITEV),
        // On a socket these do the same as readv and writev, or fail: a socket has no position.
        (libc::SYS_preadv2, op::READV),
        (libc::SYS_pwritev2, op::WRITEV),
        (libc::SYS_recvmsg, op::RECVMSG),
        (libc::SYS_sendmsg, op::SENDMSG),
        (libc::SYS_recvmmsg, op::RECVMMSG),
        (libc::SYS_sendmmsg, op::SENDMMSG),
        (libc::SYS_sendfile, op::SENDFILE),
        (libc::SYS_splice, op::SPLICE),
        (libc::SYS_connect, op::CONNECT),
        (libc::SYS_accept, op::ACCEPT),
        (libc::SYS_accept4, op::ACCEPT),
        (libc::SYS_mmap, op::MMAP),
        (libc::SYS_setsockopt, op::SETSOCKOPT),
    ]
}

/// The same for 32-bit programs, by i386's numbers (`arch/x86/entry/syscalls/syscall_32.tbl`). None of these is the number of an inspected call on
/// x86-64. (The old `socketcall` has the descriptor elsewhere and is not counted.)
#[cfg(target_arch = "x86_64")]
pub(super) const COMPAT_CALLS: [(libc::c_long, u8); 10] = [
    (3, op::COMPAT | op::READ),
    (4, op::COMPAT | op::WRITE),
    (145, op::COMPAT | op::READV),
    (146, op::COMPAT | op::WRITEV),
    (362, op::COMPAT | op::CONNECT),
    (364, op::COMPAT | op::ACCEPT),
    (369, op::COMPAT | op::SENDTO),
    (370, op::COMPAT | op::SENDMSG),
    (371, op::COMPAT | op::RECVFROM),
    (372, op::COMPAT | op::RECVMSG),
];

/// The same, by arm's numbers (`arch/arm/tools/syscall.tbl`).
#[cfg(target_arch = "aarch64")]
pub(super) const COMPAT_CALLS: [(libc::c_long, u8); 13] = [
    (3, op::COMPAT | op::READ),
    (4, op::COMPAT | op::WRITE),
    (145, op::COMPAT | op::READV),
    (146, op::COMPAT | op::WRITEV),
    (283, op::COMPAT | op::CONNECT),
    (285, op::COMPAT | op::ACCEPT),
    (289, op::COMPAT | op::SENDTO),
    (290, op::COMPAT | op::SENDTO),
    (291, op::COMPAT | op::RECVFROM),
    (292, op::COMPAT | op::RECVFROM),
    (296, op::COMPAT | op::SENDMSG),
    (297, op::COMPAT | op::RECVMSG),
    (366, op::COMPAT | op::ACCEPT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_io_uring_tells_all_of_its_requests() {
        let Ok(btf) = Btf::of_kernel() else { return };
        assert_eq!(btf.member_offset("io_kiocb", "cqe").is_some(), of_requests(&btf).is_some());
    }

    #[test]
    fn no_system_call_has_two_meanings() {
        let all = || system_calls().into_iter().chain(COMPAT_CALLS);
        let mut numbers: Vec<_> = all().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all().count());
    }
}
