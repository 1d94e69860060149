//! The members of kernel structures that the probes read, by one name each.
//!
//! In: type information. Out: [`KernelOffsets`], in bytes. Adding a member is one line in the table below.

use super::{Btf, BtfError};

/// Stands for an optional member that this kernel doesn't have, or has as a bit-field.
pub const ABSENT: u32 = u32::MAX;

macro_rules! kernel_offsets {
    ($($(#[$doc:meta])* $field:ident: $need:ident $structure:literal $path:literal,)*) => {
        /// Offsets in bytes of what the probes read, each from the start of the structure it is named after.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct KernelOffsets {
            $($(#[$doc])* pub $field: u32,)*
        }

        /// Looks all of them up.
        ///
        /// # Errors
        /// [`BtfError::Missing`] names the first required member that is not there.
        pub fn offsets(btf: &Btf) -> Result<KernelOffsets, BtfError> {
            Ok(KernelOffsets { $($field: $need(btf, $structure, $path)?,)* })
        }
    };
}

kernel_offsets! {
    /// `task_struct.files`.
    task_files: required "task_struct" "files",
    /// `task_struct.mm`.
    task_mm: required "task_struct" "mm",
    /// `task_struct.tgid`.
    task_tgid: required "task_struct" "tgid",
    /// `task_struct.pid`.
    task_pid: required "task_struct" "pid",
    /// `task_struct.real_parent`.
    task_real_parent: required "task_struct" "real_parent",
    /// `task_struct.comm`.
    task_comm: required "task_struct" "comm",
    /// `task_struct.cred`.
    task_cred: optional "task_struct" "cred",
    /// `cred.uid`.
    cred_uid: optional "cred" "uid",
    /// `cred.euid`.
    cred_euid: optional "cred" "euid",
    /// `files_struct.fdt`.
    files_fdt: required "files_struct" "fdt",
    /// `fdtable.max_fds`.
    fdtable_max_fds: required "fdtable" "max_fds",
    /// `fdtable.fd`.
    fdtable_fd: required "fdtable" "fd",
    /// `file.f_inode`.
    file_f_inode: required "file" "f_inode",
    /// `file.private_data`.
    file_private_data: required "file" "private_data",
    /// `file.f_path.dentry`.
    file_f_path_dentry: optional "file" "f_path.dentry",
    /// `file.f_count` (before Linux 6.13).
    file_f_count: optional "file" "f_count",
    /// `file.f_ref` (since Linux 6.13).
    file_f_ref: optional "file" "f_ref",
    /// `inode.i_mode`.
    inode_i_mode: required "inode" "i_mode",
    /// `inode.i_ino`.
    inode_i_ino: required "inode" "i_ino",
    /// `inode.i_sb`.
    inode_i_sb: required "inode" "i_sb",
    /// `super_block.s_dev`.
    super_block_s_dev: required "super_block" "s_dev",
    /// `socket.sk`.
    socket_sk: required "socket" "sk",
    /// `socket.type`.
    socket_type: required "socket" "type",
    /// `sock.__sk_common.skc_family`.
    sock_skc_family: required "sock" "__sk_common.skc_family",
    /// `sock.__sk_common.skc_state`.
    sock_skc_state: required "sock" "__sk_common.skc_state",
    /// `sock.__sk_common.skc_daddr`.
    sock_skc_daddr: required "sock" "__sk_common.skc_daddr",
    /// `sock.__sk_common.skc_rcv_saddr`.
    sock_skc_rcv_saddr: required "sock" "__sk_common.skc_rcv_saddr",
    /// `sock.__sk_common.skc_dport` (network byte order).
    sock_skc_dport: required "sock" "__sk_common.skc_dport",
    /// `sock.__sk_common.skc_num` (host byte order).
    sock_skc_num: required "sock" "__sk_common.skc_num",
    /// `sock.__sk_common.skc_v6_daddr`; kernels without IPv6 have none.
    sock_skc_v6_daddr: optional "sock" "__sk_common.skc_v6_daddr",
    /// `sock.__sk_common.skc_v6_rcv_saddr`; kernels without IPv6 have none.
    sock_skc_v6_rcv_saddr: optional "sock" "__sk_common.skc_v6_rcv_saddr",
    /// `sock.sk_type`; a bit-field before Linux 5.6.
    sock_sk_type: optional "sock" "sk_type",
    /// `sock.sk_protocol`; a bit-field before Linux 5.6.
    sock_sk_protocol: optional "sock" "sk_protocol",
    /// `sock.sk_shutdown`.
    sock_sk_shutdown: optional "sock" "sk_shutdown",
    /// `sock.sk_socket`.
    sock_sk_socket: required "sock" "sk_socket",
    /// `tcp_sock.write_seq`.
    tcp_write_seq: required "tcp_sock" "write_seq",
    /// `tcp_sock.snd_una`.
    tcp_snd_una: required "tcp_sock" "snd_una",
    /// `tcp_sock.bytes_acked`.
    tcp_bytes_acked: required "tcp_sock" "bytes_acked",
    /// `tcp_sock.bytes_received`.
    tcp_bytes_received: required "tcp_sock" "bytes_received",
    /// `tcp_sock.rcv_nxt`.
    tcp_rcv_nxt: required "tcp_sock" "rcv_nxt",
    /// `tcp_sock.copied_seq`.
    tcp_copied_seq: required "tcp_sock" "copied_seq",
    /// `unix_sock.addr`; a kernel without UNIX sockets, or with them in a module, has none.
    unix_addr: optional "unix_sock" "addr",
    /// `unix_sock.peer`; as `unix_addr`.
    unix_peer: optional "unix_sock" "peer",
    /// `unix_address.len`; as `unix_addr`.
    unix_address_len: optional "unix_address" "len",
    /// `unix_address.name`; as `unix_addr`.
    unix_address_name: optional "unix_address" "name",
    /// `mm_struct.arg_start`.
    mm_arg_start: required "mm_struct" "arg_start",
    /// `mm_struct.arg_end`.
    mm_arg_end: required "mm_struct" "arg_end",
    /// `mm_struct.env_start`.
    mm_env_start: required "mm_struct" "env_start",
    /// `mm_struct.env_end`.
    mm_env_end: required "mm_struct" "env_end",
    /// `mm_struct.exe_file`.
    mm_exe_file: optional "mm_struct" "exe_file",
    /// `linux_binprm.filename`.
    binprm_filename: required "linux_binprm" "filename",
}

fn optional(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    Ok(btf.member_offset(structure, path).unwrap_or(ABSENT))
}

fn required(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    btf.member_offset(structure, path).ok_or_else(|| BtfError::Missing(format!("{structure}.{path}")))
}
