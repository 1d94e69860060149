//! Life of processes: which there are, what they execute, and when they end.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_uid_gid, bpf_probe_read_kernel_str, bpf_probe_read_user};
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use qtap_common::record::{EXEC_ARGS, EXEC_ENV, EXEC_NAME, Exec, Fork, Header, kind, why};

use crate::globals::{bounded, layout};
use crate::kernel::{at, current_task};
use crate::maps::CALLS;
use crate::{emit, scope, scratch};

/// raw tracepoint `sched_process_exec`: (task, old pid, `linux_binprm`).
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    try_exec(ctx.arg(2));
    0
}

#[inline(always)]
fn try_exec(binprm: u64) -> Option<()> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let verdict = scope::verdict(tgid);
    if verdict == 0 {
        return None;
    }
    scope::executed(tgid, verdict);
    let area = scratch::take()?;
    let told = tell_exec(area, binprm);
    scratch::give_back(area);
    told
}

/// Reports name, arguments and environment as they are now: a short-lived process is gone before the agent could read them from /proc.
#[inline(always)]
fn tell_exec(area: u32, binprm: u64) -> Option<()> {
    let work = unsafe { &mut *scratch::get(area)? };
    let record = unsafe { &mut work.record.exec };
    let name: u64 = at(binprm, layout!(binprm_filename))?;
    let text = record.text.as_mut_ptr();
    let read = unsafe { bpf_probe_read_kernel_str(text.cast(), EXEC_NAME as u32, name as *const _) };
    let name_len = bounded(if read > 0 { read as u64 } else { 0 }, EXEC_NAME as u64);
    let mm: u64 = at(current_task(), layout!(task_mm))?;
    let args = unsafe { text.add(name_len as usize) };
    let (start, end) = (at(mm, layout!(mm_arg_start))?, at(mm, layout!(mm_arg_end))?);
    let args_len = copy(args, start, end, EXEC_ARGS as u64);
    let (start, end) = (at(mm, layout!(mm_env_start))?, at(mm, layout!(mm_env_end))?);
    let env_len = copy(unsafe { args.add(args_len as usize) }, start, end, EXEC_ENV as u64);
    let len = size_of::<Exec>() as u64 + name_len + args_len + env_len;
    record.head = Exec {
        header: emit::header(kind::EXEC, len as usize, 0),
        parent: parent().unwrap_or(0),
        uid: unsafe { bpf_get_current_uid_gid() } as u32,
        name_len: name_len as u32,
        args_len: args_len as u32,
    };
    if len <= (size_of::<Exec>() + EXEC_NAME + EXEC_ARGS + EXEC_ENV) as u64
        && !unsafe { emit::bytes((&raw const *record).cast(), len) }
    {
        emit::count_loss(why::RING_FULL, 0);
    }
    Some(())
}

/// Copies a process's memory from `start` to `end`, at most `most` bytes, and returns how many; 0 if it can't be read.
#[inline(always)]
fn copy(to: *mut u8, start: u64, end: u64, most: u64) -> u64 {
    let len = bounded(end.wrapping_sub(start), most);
    if unsafe { bpf_probe_read_user(to.cast(), len as u32, start as *const _) } == 0 { len } else { 0 }
}

#[inline(always)]
fn parent() -> Option<u32> {
    let parent: u64 = at(current_task(), layout!(task_real_parent))?;
    at(parent, layout!(task_tgid))
}

/// raw tracepoint `sched_process_fork`: (parent, child); for threads too.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    try_fork(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn try_fork(parent: u64, child: u64) -> Option<()> {
    let parent_tgid: u32 = at(parent, layout!(task_tgid))?;
    let child_tgid: u32 = at(child, layout!(task_tgid))?;
    if parent_tgid == child_tgid || !scope::inherit(parent_tgid, child_tgid) {
        return None;
    }
    let mut header = emit::header(kind::FORK, size_of::<Fork>(), 0);
    header.tgid = child_tgid;
    header.tid = child_tgid;
    emit::record_or_count(&Fork { header, parent: parent_tgid, pad: 0 });
    Some(())
}

/// raw tracepoint `sched_process_exit`: (task); for threads too.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    try_exit(ctx.arg(0));
    0
}

#[inline(always)]
fn try_exit(task: u64) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let _ = CALLS.remove(thread);
    let tgid = (thread >> 32) as u32;
    let signal: u64 = at(task, layout!(task_signal))?;
    let alive: u32 = at(signal, layout!(signal_live))?;
    if alive != 0 {
        return None;
    }
    if scope::was_met(tgid) {
        emit::record_or_count(&emit::header(kind::EXIT, size_of::<Header>(), 0));
    }
    scope::forget(tgid);
    Some(())
}
