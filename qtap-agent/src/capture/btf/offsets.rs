//! The members of kernel structures that the probes read, each under one name.
//!
//! In: type information. Out: [`KernelOffsets`], in bytes. Each member is named twice in this file and nowhere else.

use super::{Btf, BtfError};

/// Marks an optional member that this kernel doesn't have, or has as a bit-field.
pub const ABSENT: u32 = u32::MAX;

/// Offsets in bytes of the members that the probes read, each from the start of the structure in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `task_struct.files`.
    pub task_files: u32,
    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.pid`.
    pub task_pid: u32,
    /// `task_struct.real_parent`.
    pub task_real_parent: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.cred`.
    pub task_cred: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `cred.euid`.
    pub cred_euid: u32,
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.max_fds`.
    pub fdtable_max_fds: u32,
    /// `fdtable.fd`.
    pub fdtable_fd: u32,
    /// `file.f_inode`.
    pub file_f_inode: u32,
    /// `file.private_data`.
    pub file_private_data: u32,
    /// `file.f_path.dentry`.
    pub file_f_path_dentry: u32,
    /// `file.f_count` (before Linux 6.13).
    pub file_f_count: u32,
    /// `file.f_ref` (since Linux 6.13).
    pub file_f_ref: u32,
    /// `inode.i_ino`.
    pub inode_i_ino: u32,
    /// `inode.i_sb`.
    pub inode_i_sb: u32,
    /// `super_block.s_dev`.
    pub super_block_s_dev: u32,
    /// `socket.sk`.
    pub socket_sk: u32,
    /// `socket.file`.
    pub socket_file: u32,
    /// `sock.__sk_common.skc_family`.
    pub sock_skc_family: u32,
    /// `sock.__sk_common.skc_state`.
    pub sock_skc_state: u32,
    /// `sock.__sk_common.skc_daddr`.
    pub sock_skc_daddr: u32,
    /// `sock.__sk_common.skc_rcv_saddr`.
    pub sock_skc_rcv_saddr: u32,
    /// `sock.__sk_common.skc_dport` (network byte order).
    pub sock_skc_dport: u32,
    /// `sock.__sk_common.skc_num` (host byte order).
    pub sock_skc_num: u32,
    /// `sock.__sk_common.skc_v6_daddr`; kernels without IPv6 have none.
    pub sock_skc_v6_daddr: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`; kernels without IPv6 have none.
    pub sock_skc_v6_rcv_saddr: u32,
    /// `sock.sk_type`; a bit-field before Linux 5.6.
    pub sock_sk_type: u32,
    /// `sock.sk_protocol`; a bit-field before Linux 5.6.
    pub sock_sk_protocol: u32,
    /// `sock.sk_shutdown`.
    pub sock_sk_shutdown: u32,
    /// `sock.sk_socket`.
    pub sock_sk_socket: u32,
    /// `tcp_sock.write_seq`.
    pub tcp_write_seq: u32,
    /// `tcp_sock.snd_una`.
    pub tcp_snd_una: u32,
    /// `tcp_sock.bytes_acked`.
    pub tcp_bytes_acked: u32,
    /// `tcp_sock.bytes_received`.
    pub tcp_bytes_received: u32,
    /// `tcp_sock.rcv_nxt`.
    pub tcp_rcv_nxt: u32,
    /// `tcp_sock.copied_seq`.
    pub tcp_copied_seq: u32,
    /// `unix_sock.addr`; a kernel without UNIX sockets, or with them in a module, has none.
    pub unix_addr: u32,
    /// `unix_sock.peer`; as `unix_addr`.
    pub unix_peer: u32,
    /// `unix_address.len`; as `unix_addr`.
    pub unix_address_len: u32,
    /// `unix_address.name`; as `unix_addr`.
    pub unix_address_name: u32,
    /// `mm_struct.arg_start`.
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`.
    pub mm_arg_end: u32,
    /// `mm_struct.env_start`.
    pub mm_env_start: u32,
    /// `mm_struct.env_end`.
    pub mm_env_end: u32,
    /// `mm_struct.exe_file`.
    pub mm_exe_file: u32,
    /// `linux_binprm.filename`.
    pub binprm_filename: u32,
}

/// Looks all of them up.
///
/// # Errors
/// [`BtfError::Missing`] names the first required member that does not exist.
pub fn offsets(btf: &Btf) -> Result<KernelOffsets, BtfError> {
    Ok(KernelOffsets {
        task_files: required(btf, "task_struct", "files")?,
        task_mm: required(btf, "task_struct", "mm")?,
        task_tgid: required(btf, "task_struct", "tgid")?,
        task_pid: required(btf, "task_struct", "pid")?,
        task_real_parent: required(btf, "task_struct", "real_parent")?,
        task_comm: required(btf, "task_struct", "comm")?,
        task_cred: optional(btf, "task_struct", "cred"),
        cred_uid: optional(btf, "cred", "uid"),
        cred_euid: optional(btf, "cred", "euid"),
        files_fdt: required(btf, "files_struct", "fdt")?,
        fdtable_max_fds: required(btf, "fdtable", "max_fds")?,
        fdtable_fd: required(btf, "fdtable", "fd")?,
        file_f_inode: required(btf, "file", "f_inode")?,
        file_private_data: required(btf, "file", "private_data")?,
        file_f_path_dentry: optional(btf, "file", "f_path.dentry"),
        file_f_count: optional(btf, "file", "f_count"),
        file_f_ref: optional(btf, "file", "f_ref"),
        inode_i_ino: required(btf, "inode", "i_ino")?,
        inode_i_sb: required(btf, "inode", "i_sb")?,
        super_block_s_dev: required(btf, "super_block", "s_dev")?,
        socket_sk: required(btf, "socket", "sk")?,
        socket_file: required(btf, "socket", "file")?,
        sock_skc_family: required(btf, "sock", "__sk_common.skc_family")?,
        sock_skc_state: required(btf, "sock", "__sk_common.skc_state")?,
        sock_skc_daddr: required(btf, "sock", "__sk_common.skc_daddr")?,
        sock_skc_rcv_saddr: required(btf, "sock", "__sk_common.skc_rcv_saddr")?,
        sock_skc_dport: required(btf, "sock", "__sk_common.skc_dport")?,
        sock_skc_num: required(btf, "sock", "__sk_common.skc_num")?,
        sock_skc_v6_daddr: optional(btf, "sock", "__sk_common.skc_v6_daddr"),
        sock_skc_v6_rcv_saddr: optional(btf, "sock", "__sk_common.skc_v6_rcv_saddr"),
        sock_sk_type: optional(btf, "sock", "sk_type"),
        sock_sk_protocol: optional(btf, "sock", "sk_protocol"),
        sock_sk_shutdown: optional(btf, "sock", "sk_shutdown"),
        sock_sk_socket: required(btf, "sock", "sk_socket")?,
        tcp_write_seq: required(btf, "tcp_sock", "write_seq")?,
        tcp_snd_una: required(btf, "tcp_sock", "snd_una")?,
        tcp_bytes_acked: required(btf, "tcp_sock", "bytes_acked")?,
        tcp_bytes_received: required(btf, "tcp_sock", "bytes_received")?,
        tcp_rcv_nxt: required(btf, "tcp_sock", "rcv_nxt")?,
        tcp_copied_seq: required(btf, "tcp_sock", "copied_seq")?,
        unix_addr: optional(btf, "unix_sock", "addr"),
        unix_peer: optional(btf, "unix_sock", "peer"),
        unix_address_len: optional(btf, "unix_address", "len"),
        unix_address_name: optional(btf, "unix_address", "name"),
        mm_arg_start: required(btf, "mm_struct", "arg_start")?,
        mm_arg_end: required(btf, "mm_struct", "arg_end")?,
        mm_env_start: required(btf, "mm_struct", "env_start")?,
        mm_env_end: required(btf, "mm_struct", "env_end")?,
        mm_exe_file: optional(btf, "mm_struct", "exe_file"),
        binprm_filename: required(btf, "linux_binprm", "filename")?,
    })
}

fn optional(btf: &Btf, structure: &str, path: &str) -> u32 {
    btf.member_offset(structure, path).unwrap_or(ABSENT)
}

fn required(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    btf.member_offset(structure, path).ok_or_else(|| BtfError::Missing(format!("{structure}.{path}")))
}
