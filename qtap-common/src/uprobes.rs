//! Attaches many uprobes through one link (Linux 6.6, `BPF_TRACE_UPROBE_MULTI`). The bpf(2) calls are made here, because no release of aya that
//! the oldest supported Rust can build makes them.
//!
//! Detaching a probe of perf_event_open(2) waits until every CPU has left it, for each probe again and under a kernel-wide lock: 0.1 s each.
//! A link waits once, however many probes it holds, and under no lock that others need.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{BPF_F_UPROBE_MULTI_RETURN, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type};

/// Where one program is to run: places in one file.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The file.
    pub file: &'a CStr,
    /// Offsets in it, in bytes; at most 2²⁰ (`MAX_UPROBE_MULTI_CNT` of Linux).
    pub offsets: &'a [u64],
    /// What `bpf_get_attach_cookie` returns at each.
    pub cookies: &'a [u64],
    /// Each place is a function entry, and the program is to run when the function returns.
    pub returns: bool,
    /// In this process only; none: in every process that maps the file.
    pub pid: Option<u32>,
}

/// A program whose calls and maps are resolved.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Its name, of which the kernel keeps 15 bytes.
    pub name: &'a str,
    /// Its license: some helpers require the GPL.
    pub license: &'a CStr,
    /// Its code.
    pub instructions: &'a [bpf_insn],
    /// Type information (BTF) of its object, from [`load_types`].
    pub types: BorrowedFd<'a>,
    /// `bpf_func_info` records, by which the kernel finds the callback of a loop.
    pub functions: &'a [u8],
    /// Size of one record, in bytes.
    pub function_size: usize,
}

/// Loads type information (BTF).
///
/// # Errors
/// The kernel's error, when it refuses the type information.
pub fn load_types(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: the union is all zeros, which is valid for every variant.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = btf.len() as u32;
    // SAFETY: the type information outlives the call, and the size is its length.
    unsafe { call(bpf_cmd::BPF_BTF_LOAD, &attr) }
}

/// Loads a program for links with many places.
///
/// # Errors
/// The kernel's error, when it refuses the program. Only [`attach`] shows whether the kernel has such links at all.
pub fn load(program: Program<'_>) -> io::Result<OwnedFd> {
    let mut attr = empty();
    // SAFETY: as in `load_types`.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    load.expected_attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    load.insns = program.instructions.as_ptr() as u64;
    load.insn_cnt = program.instructions.len() as u32;
    load.license = program.license.as_ptr() as u64;
    load.prog_btf_fd = program.types.as_raw_fd() as u32;
    load.func_info = program.functions.as_ptr() as u64;
    load.func_info_cnt = program.functions.len().checked_div(program.function_size).unwrap_or(0) as u32;
    load.func_info_rec_size = program.function_size as u32;
    let room = load.prog_name.len() - 1;
    for (place, byte) in load.prog_name.iter_mut().zip(program.name.bytes().take(room)) {
        *place = byte as _;
    }
    // SAFETY: the parts of the program outlive the call, and the counts are theirs.
    unsafe { call(bpf_cmd::BPF_PROG_LOAD, &attr) }
}

/// Attaches a program of [`load`] to all places; closing the returned descriptor detaches it from all of them.
///
/// # Errors
/// `InvalidInput` when there is not one cookie for each offset; else the kernel's error: if it refuses one place, none is attached.
pub fn attach(program: BorrowedFd<'_>, places: Places<'_>) -> io::Result<OwnedFd> {
    if places.offsets.len() != places.cookies.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut attr = empty();
    // SAFETY: as in `load_types`.
    let link = unsafe { &mut attr.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    link.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    // SAFETY: as in `load_types`.
    let multi = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
    multi.path = places.file.as_ptr() as u64;
    multi.offsets = places.offsets.as_ptr() as u64;
    multi.cookies = places.cookies.as_ptr() as u64;
    multi.cnt = places.offsets.len() as u32;
    multi.flags = if places.returns { BPF_F_UPROBE_MULTI_RETURN } else { 0 };
    multi.pid = places.pid.unwrap_or(0);
    // SAFETY: the path and both lists, which are of one length, outlive the call.
    unsafe { call(bpf_cmd::BPF_LINK_CREATE, &attr) }
}

fn empty() -> bpf_attr {
    // SAFETY: all zeros is valid for a union of integers and of structures of integers.
    unsafe { std::mem::zeroed() }
}

/// Calls bpf(2), for commands that return a descriptor.
///
/// # Safety
/// What the attributes point at must be valid, and as long as they say.
unsafe fn call(command: bpf_cmd, attr: &bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the size passed is that of the attributes, and the caller vouches for what they point at.
    let made = unsafe { libc::syscall(libc::SYS_bpf, command as u32, attr, size_of::<bpf_attr>()) };
    match i32::try_from(made) {
        // SAFETY: the kernel has just created it, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
