//! Values that the loader sets once, before it loads the probes: layouts of the running kernel, and what is wanted.
//! The probes read them as constants, so that the verifier drops the code that they switch off.

/// Offset of a member that this kernel does not have.
pub const NO_OFFSET: u32 = u32::MAX;

/// Byte offsets of kernel structure members, from the running kernel's BTF.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// `task_struct.files`.
    pub task_files: u32,
    /// `task_struct.mm`.
    pub task_mm: u32,
    /// `task_struct.pid`: the thread's id.
    pub task_pid: u32,
    /// `task_struct.tgid`: the process's id.
    pub task_tgid: u32,
    /// `task_struct.real_parent`.
    pub task_real_parent: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.live`: threads alive.
    pub signal_live: u32,
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.max_fds`.
    pub fdt_max_fds: u32,
    /// `fdtable.fd`.
    pub fdt_fd: u32,
    /// `file.f_inode`.
    pub file_inode: u32,
    /// `file.private_data`.
    pub file_private: u32,
    /// `inode.i_ino`.
    pub inode_ino: u32,
    /// `inode.i_sb`.
    pub inode_sb: u32,
    /// `inode.i_generation`.
    pub inode_generation: u32,
    /// `super_block.s_dev`.
    pub sb_dev: u32,
    /// `socket.file`.
    pub socket_file: u32,
    /// `socket.sk`.
    pub socket_sk: u32,
    /// `sock.__sk_common.skc_family`.
    pub sk_family: u32,
    /// `sock.__sk_common.skc_state`.
    pub sk_state: u32,
    /// `sock.__sk_common.skc_daddr`.
    pub sk_daddr: u32,
    /// `sock.__sk_common.skc_rcv_saddr`.
    pub sk_rcv_saddr: u32,
    /// `sock.__sk_common.skc_dport` (network byte order).
    pub sk_dport: u32,
    /// `sock.__sk_common.skc_num` (host byte order).
    pub sk_num: u32,
    /// `sock.__sk_common.skc_v6_daddr`.
    pub sk_v6_daddr: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`.
    pub sk_v6_rcv_saddr: u32,
    /// `sock.sk_type`.
    pub sk_type: u32,
    /// `sock.sk_protocol`.
    pub sk_protocol: u32,
    /// `sock.sk_shutdown`.
    pub sk_shutdown: u32,
    /// `sock.__sk_common.skc_flags`.
    pub sk_flags: u32,
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
    /// `inet_connection_sock.icsk_ulp_ops`; [`NO_OFFSET`]: the kernel has no upper layer protocols.
    pub tcp_above: u32,
    /// `tcp_ulp_ops.name`.
    pub above_name: u32,
    /// `unix_sock.addr`; [`NO_OFFSET`]: UNIX names are not read.
    pub unix_addr: u32,
    /// `unix_sock.peer`.
    pub unix_peer: u32,
    /// `unix_address.len`.
    pub unix_addr_len: u32,
    /// `unix_address.name`.
    pub unix_addr_name: u32,
    /// `mm_struct.arg_start`.
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`.
    pub mm_arg_end: u32,
    /// `mm_struct.env_start`.
    pub mm_env_start: u32,
    /// `mm_struct.env_end`.
    pub mm_env_end: u32,
    /// `linux_binprm.filename`.
    pub binprm_filename: u32,
    /// `io_kiocb.file`; this and the `uring_` offsets below are [`NO_OFFSET`] if the kernel has no io_uring, or one older than Linux 5.19.
    pub uring_file: u32,
    /// `io_kiocb.opcode`.
    pub uring_opcode: u32,
    /// `io_kiocb.cqe.res`.
    pub uring_result: u32,
    /// `io_sr_msg.buf` of a request that sends or receives. (A request begins with the structure of its kind.)
    pub uring_buffer: u32,
    /// `io_sr_msg.done_io`: bytes already moved, which lie before the buffer.
    pub uring_done: u32,
    /// `io_sr_msg.msg_flags`.
    pub uring_flags: u32,
    /// `io_rw.addr` of a request that reads or writes.
    pub uring_address: u32,
    /// `io_accept.file_slot`: not 0 where the connection gets no descriptor.
    pub uring_slot: u32,
    /// `pt_regs`: number of the system call.
    pub regs_nr: u32,
    /// `pt_regs`: the six arguments of a system call.
    pub regs_arg: [u32; 6],
    /// `pt_regs`: two bytes that identify a 32-bit caller: the code segment (x86-64), or the processor's state (aarch64).
    pub regs_mode: u32,
    /// `pt_regs`: the first argument of a 32-bit caller.
    pub regs_compat_arg: u32,
}

/// All processes are in scope.
pub const SCOPE_ALL: u32 = 0;
/// Only processes listed in [`crate::state::MAP_SCOPE`], and their children.
pub const SCOPE_LISTED: u32 = 1;
/// Only processes in the cgroups of [`Wanted::cgroups`], or below them.
pub const SCOPE_CGROUP: u32 = 2;

/// Every direction is wanted.
pub const DIRECTION_ALL: u32 = 0;
/// Only connections that the process accepted.
pub const DIRECTION_INGRESS: u32 = 1;
/// Only connections that the process made.
pub const DIRECTION_EGRESS: u32 = 2;
/// Only connections that the process made to private addresses.
pub const DIRECTION_EGRESS_INTERNAL: u32 = 3;
/// Only connections that the process made to public addresses.
pub const DIRECTION_EGRESS_EXTERNAL: u32 = 4;

/// Bound on cgroups of [`SCOPE_CGROUP`].
pub const CGROUPS_MAX: usize = 8;

/// What is wanted, fixed when the probes are loaded.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Maximum bytes copied of one call; the rest is counted as lost (`call_limit`).
    pub call_limit: u64,
    /// cgroup v2 ids, with [`SCOPE_CGROUP`]; 0 ends the list.
    pub cgroups: [u64; CGROUPS_MAX],
    /// Their depth below the root of the hierarchy.
    pub cgroup_levels: [u32; CGROUPS_MAX],
    /// One of the `SCOPE_` numbers.
    pub scope: u32,
    /// 1: `bpf_loop` is available (Linux 5.17).
    pub has_loop: u32,
    /// Bytes waiting in the ring above which the agent is woken even while it is not asleep.
    pub wake_above: u32,
    /// 1: the current task and its registers can be read as typed memory (`bpf_task_pt_regs`, Linux 5.15).
    pub has_task_regs: u32,
    /// Bits of [`option`].
    pub options: u32,
    /// 0.
    pub pad: u32,
}

/// What is wanted and may change while the probes run, in [`crate::state::MAP_WISHES`]. The probes read it when a connection is opened and when
/// its first bytes are classified, so that earlier connections keep what was decided for them.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// One of the `DIRECTION_` numbers.
    pub direction: u32,
    /// 1: connections over loopback addresses are not captured.
    pub ignore_loopback: u32,
    /// 1: payload of HTTP is wanted.
    pub http: u32,
    /// One of [`shed`]: what is given up at present.
    pub shed: u32,
}

/// What is given up so that the agent stays within its limits; each level includes those before it.
pub mod shed {
    /// Nothing.
    pub const NOTHING: u32 = 0;
    /// No more than [`HEAD_BYTES`] of a call are copied.
    pub const BODIES: u32 = 1;
    /// No payload of HTTP is copied.
    pub const HEADS: u32 = 2;
    /// Connections and sessions that are not known yet are ignored.
    pub const CONNECTIONS: u32 = 3;
    /// Bytes of a call that contain most heads whole.
    pub const HEAD_BYTES: u64 = 4096;
}

/// Bits of [`Wanted::options`].
pub mod option {
    /// The agent may mark connections and sessions as wanted by no stack.
    pub const ADVICE: u32 = 1;
    /// Answers of name servers are captured.
    pub const DNS: u32 = 2;
    /// The server's ends of qtap's own connections are excluded.
    pub const GUARD_OWN: u32 = 4;
    /// So are connections made by the processes that accept those.
    pub const GUARD_STORES: u32 = 8;
    /// JVMs may have qtap's agent in them.
    pub const JVMS: u32 = 16;
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no padding (asserted below), any bit pattern is valid.
    unsafe impl aya::Pod for super::Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Wanted {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Wishes {}
}

const _: () = assert!(size_of::<Layout>() == 64 * 4);
const _: () = assert!(size_of::<Wanted>() == 8 + 64 + 32 + 24);
