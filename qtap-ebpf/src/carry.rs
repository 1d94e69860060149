//! The bytes of one call → records: exactly sized, in as many pieces as it takes, with losses reported in place.
//!
//! A call's bytes are in one buffer or in an `iovec`. `copy` walks them piece by piece (`bpf_loop`, so that a call of any size
//! is one small program), reads each piece into a scratch area and puts it into the ring. Small buffers of one call, such as a head and a short
//! body, are gathered into one record: a record costs the target more than its bytes do. What cannot be delivered (`ring_full`,
//! `fault`) stays pending on the direction and is reported as a `SKIP` before the next record that fits.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user as read_user};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use qtap_common::globals::shed;
use qtap_common::record::{Data, Header, Skip, flag, kind, why};
use qtap_common::state::{Dir, GATHER, PIECE};

use crate::atomic::fetch_add;
use crate::globals::{self, read, wanted};
use crate::kernel::Sock;
use crate::source::{MESSAGE, MESSAGES, Source};
use crate::{calls, emit, scratch, words};

/// Bound on `iovec` entries of a call: the kernel's own (`UIO_MAXIOV`).
const BUFFERS_MAX: u64 = 1024;
/// Maximum pieces without `bpf_loop`: the verifier walks each, and twice as many take 600,000 of the million instructions that 6.1 allows.
const PIECES_WITHOUT_LOOP: u32 = 32;

/// What a system call moved through a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Transfer {
    pub sock: Sock,
    pub source: Source,
    pub bytes: u64,
    /// 0 sent, 1 received.
    pub direction: u64,
    /// Why the bytes can't be copied, or 0.
    pub reason: u64,
    /// The verdict on the process.
    pub verdict: u64,
    /// Where in the process's memory the call stored the sender's address; 0: it did not.
    pub name: u64,
}

/// A call whose bytes are being copied: state of the walk.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// Header of every record of the call.
    pub header: Header,
    /// Where the bytes are.
    pub source: Source,
    /// Stream offset of the next byte to be read.
    pub offset: u64,
    /// Bytes before it that were read and are not yet written.
    pub gathered: u64,
    /// Bytes of the call that are not yet accounted for.
    pub left: u64,
    /// Bytes that may still be copied.
    pub quota: u64,
    /// Bytes copied.
    pub copied: u64,
    /// Bytes lost and not reported yet.
    pub pending_offset: u64,
    pub pending_bytes: u64,
    pub pending_why: u64,
    /// Bytes lost by this call.
    pub lost: u64,
    /// Next message of an array of them, and how many are left.
    pub message: u64,
    pub messages_left: u64,
    /// Bytes of the current message that are not yet taken.
    pub of_message: u64,
    /// 1: stop, with nothing done, when the first bytes are a TLS record and the thread is in a TLS call. 2: that was the case.
    pub watch_tls: u64,
}

/// One `struct iovec` of the 64-bit ABI.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoVec {
    base: u64,
    len: u64,
}

/// Reads a value of the process's memory.
#[inline(always)]
pub fn user<T: Copy>(address: u64) -> Option<T> {
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Reads a number, or an array of numbers, of the process's memory; zeros if it can't be read, as [`kernel::at_or_zero`](crate::kernel::at_or_zero) does.
#[inline(always)]
pub fn user_or_zero<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    unsafe { read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const c_void) };
    unsafe { value.assume_init() }
}

/// Context of the walk's callback.
#[repr(C)]
struct Walk {
    area: u32,
    pad: u32,
}

/// Which bytes of a stream a call moved.
#[derive(Clone, Copy)]
pub struct Span {
    /// Stream offset of the first.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// See [`Call::watch_tls`].
    pub watch_tls: bool,
}

/// Copies a call's bytes from `source` into records, by way of the work area. True: the first bytes were a TLS record that was
/// watched for ([`Call::watch_tls`]), and nothing was done.
#[inline(never)]
pub fn copy(area: u32, dir: &mut Dir, header: &Header, source: &Source, span: &Span) -> bool {
    let bytes = span.bytes;
    let Some(work) = scratch::get(area) else { return false };
    let call = unsafe { &mut (*work).call };
    *call = Call {
        header: *header,
        source: *source,
        offset: span.offset,
        gathered: 0,
        left: bytes,
        quota: quota(),
        copied: 0,
        pending_offset: dir.pending_offset,
        pending_bytes: dir.pending_bytes,
        pending_why: u64::from(dir.pending_why),
        lost: 0,
        message: source.iov,
        messages_left: 0,
        of_message: u64::MAX,
        watch_tls: u64::from(span.watch_tls),
    };
    if source.is_messages() {
        call.messages_left = source.iov_left & !MESSAGES;
        call.source.iov_left = 0;
    }
    let mut buffers = source.iov_left;
    if buffers > BUFFERS_MAX {
        buffers = BUFFERS_MAX;
    }
    let mut copied_at_most = bytes;
    if copied_at_most > call.quota {
        copied_at_most = call.quota;
    }
    let pieces = (buffers + copied_at_most / PIECE as u64 + 2) as u32;
    walk(area, pieces);
    let Some(work) = scratch::get(area) else { return false };
    let call = unsafe { &mut (*work).call };
    if call.watch_tls == 2 {
        return true;
    }
    write(area);
    let Some(work) = scratch::get(area) else { return false };
    let call = unsafe { &mut (*work).call };
    if call.left > 0 {
        let limit = if quota() < wanted!(call_limit) { why::SHED } else { why::CALL_LIMIT };
        let reason = if call.quota == 0 { limit } else { why::TOO_MANY_BUFFERS };
        lose_in(call, call.left, reason);
    }
    dir.count.copied += call.copied;
    dir.count.lost += call.lost;
    dir.pending_offset = call.pending_offset;
    dir.pending_bytes = call.pending_bytes;
    dir.pending_why = call.pending_why as u8;
    false
}

/// Bytes of a call that may be copied. A separate function, called twice: a value kept across the walk would take stack, and none is left.
#[inline(never)]
fn quota() -> u64 {
    let limit = wanted!(call_limit);
    if globals::shed() >= shed::BODIES && limit > shed::HEAD_BYTES { shed::HEAD_BYTES } else { limit }
}

#[inline(always)]
fn walk(area: u32, pieces: u32) {
    let mut state = Walk { area, pad: 0 };
    if wanted!(has_loop) != 0 {
        let callback = copy_piece as unsafe extern "C" fn(u32, *mut c_void) -> i64;
        unsafe { bpf_loop(pieces, callback as *mut c_void, (&raw mut state).cast(), 0) };
        return;
    }
    for _ in 0..PIECES_WITHOUT_LOOP {
        if unsafe { copy_piece(0, (&raw mut state).cast()) } != 0 {
            return;
        }
    }
}

/// One step of the walk: the next piece of the current buffer, or the next buffer. 1: done.
#[inline(never)]
unsafe extern "C" fn copy_piece(_index: u32, state: *mut c_void) -> i64 {
    let area = unsafe { (*state.cast::<Walk>()).area };
    let Some(work) = scratch::get(area) else { return 1 };
    let work = unsafe { &mut *work };
    let call = &mut work.call;
    if call.left == 0 || call.quota == 0 {
        return 1;
    }
    if (call.source.len == 0 || call.of_message == 0) && !next_buffer(call) {
        return 1;
    }
    let mut take = call.source.len;
    if take > call.of_message {
        take = call.of_message;
    }
    if take > call.left {
        take = call.left;
    }
    if take > call.quota {
        take = call.quota;
    }
    if take > PIECE as u64 {
        take = PIECE as u64;
    }
    if take == 0 {
        return 0;
    }
    let mut at = call.gathered;
    if at >= GATHER as u64 || at + take > PIECE as u64 {
        write(area);
        at = 0;
    }
    let payload = unsafe { &raw mut work.record.data.payload };
    // Masked where it is used: of a value that was compared as part of a sum, the 6.12 verifier concludes that it is 0, but does not rely on it.
    let to = unsafe { payload.cast::<u8>().add(read(&raw const at) as usize & (GATHER - 1)) };
    let refused = unsafe { read_user(to.cast(), take as u32, call.source.base as *const c_void) };
    if call.watch_tls == 1 {
        let bytes = unsafe { &work.record.data.payload };
        let is_tls = refused == 0 && take >= 3 && (0x14..=0x17).contains(&bytes[0]) && bytes[1] == 3 && bytes[2] <= 4;
        if is_tls && calls::in_call() {
            call.watch_tls = 2;
            return 1;
        }
        call.watch_tls = 0;
    }
    if refused == 0 {
        call.gathered = at + take;
    } else {
        write(area);
        lose_at(call, call.offset, take, why::FAULT);
    }
    call.source.base += take;
    call.source.len -= take;
    call.offset += take;
    call.left -= take;
    call.of_message -= take;
    call.quota -= take;
    0
}

/// Writes the gathered bytes as one record.
#[inline(never)]
fn write(area: u32) {
    let Some(work) = scratch::get(area) else { return };
    let work = unsafe { &mut *work };
    let call = &mut work.call;
    let mut bytes = call.gathered;
    if bytes > PIECE as u64 {
        bytes = PIECE as u64;
    }
    if bytes == 0 {
        return;
    }
    call.gathered = 0;
    let start = call.offset - bytes;
    tell_pending(call);
    if call.pending_bytes == 0 {
        let record = unsafe { &mut work.record.data };
        let len = bytes + size_of::<Data>() as u64;
        record.head = Data { header: call.header, offset: start };
        record.head.header.len = len as u32;
        if unsafe { emit::bytes((&raw const *record).cast(), len) } {
            call.copied += bytes;
            return;
        }
    }
    lose_at(call, start, bytes, why::RING_FULL);
}

/// Goes to the next `iovec` entry, or to the next message. False: there is none, or it can't be read.
#[inline(always)]
fn next_buffer(call: &mut Call) -> bool {
    if call.source.iov_left == 0 || call.of_message == 0 {
        return next_message(call);
    }
    let Some(entry) = user::<IoVec>(call.source.iov) else { return false };
    call.source.iov += size_of::<IoVec>() as u64;
    call.source.iov_left -= 1;
    call.source.base = entry.base;
    call.source.len = entry.len;
    true
}

/// Goes to the next message, before its first buffer.
#[inline(always)]
fn next_message(call: &mut Call) -> bool {
    if call.messages_left == 0 {
        return false;
    }
    call.source.iov = call.message;
    call.of_message = call.source.enter_message();
    call.message += MESSAGE;
    call.messages_left -= 1;
    true
}

/// Marks `bytes` bytes at `offset` as lost. All before `offset` is written or pending; the walk goes on after them.
#[inline(always)]
fn lose_at(call: &mut Call, offset: u64, bytes: u64, reason: u8) {
    if call.pending_bytes == 0 {
        call.pending_offset = offset;
        call.pending_why = u64::from(reason);
    }
    (call.pending_offset, call.pending_bytes) = joined(call.pending_offset, call.pending_bytes, offset, bytes);
    call.lost += bytes;
}

/// What is pending, with `bytes` more at `offset`, as one range. These may lie before it: two threads can write to one stream at once.
#[inline(always)]
fn joined(pending_offset: u64, pending_bytes: u64, offset: u64, bytes: u64) -> (u64, u64) {
    let (from, end) = (pending_offset.min(offset), (pending_offset + pending_bytes).max(offset + bytes));
    (from, end - from)
}

/// Marks the rest of the call as lost, and reports it if the ring has space.
#[inline(always)]
fn lose_in(call: &mut Call, bytes: u64, reason: u8) {
    lose_at(call, call.offset, bytes, reason);
    call.offset += bytes;
    call.left = 0;
    tell_pending(call);
}

#[inline(always)]
fn tell_pending(call: &mut Call) {
    if call.pending_bytes == 0 {
        return;
    }
    let Some(room) = emit::reserve::<Skip>() else { return };
    let skip = unsafe { &mut *room };
    unsafe { words::copy(&raw mut skip.header, &raw const call.header) };
    skip.header.kind = kind::SKIP;
    skip.header.len = size_of::<Skip>() as u32;
    skip.header.detail = call.pending_why as u8;
    skip.offset = call.pending_offset;
    skip.bytes = call.pending_bytes;
    emit::submit(room);
    call.pending_bytes = 0;
}

/// Marks the next `bytes` of a stream as lost.
#[inline(always)]
pub fn lose_next(dir: &mut Dir, bytes: u64, reason: u8) {
    let offset = unsafe { fetch_add(&raw mut dir.count.carried, bytes) };
    lose(dir, offset, bytes, reason);
}

/// Marks bytes of a direction as lost without copying any: they are reported before the direction's next record.
#[inline(always)]
pub fn lose(dir: &mut Dir, offset: u64, bytes: u64, reason: u8) {
    if dir.pending_bytes == 0 {
        dir.pending_offset = offset;
        dir.pending_why = reason;
    }
    (dir.pending_offset, dir.pending_bytes) = joined(dir.pending_offset, dir.pending_bytes, offset, bytes);
    dir.count.lost += bytes;
}

/// Marks bytes as shed. They are reported when copying resumes, or at the end, since a record for each call would be the very load to avoid.
/// Bytes lost before for another reason are reported first, under that reason.
#[inline(never)]
pub fn shed(dir: &mut Dir, header: &Header, offset: u64, bytes: u64) {
    if dir.pending_why != why::SHED {
        flush(dir, header);
    }
    lose(dir, offset, bytes, why::SHED);
}

/// Reports what is pending on a direction. True: nothing is pending any more.
#[inline(always)]
pub fn flush(dir: &mut Dir, header: &Header) -> bool {
    if dir.pending_bytes == 0 {
        return true;
    }
    let told = skip(header, dir.pending_offset, dir.pending_bytes, dir.pending_why);
    if told {
        dir.pending_bytes = 0;
    }
    told
}

/// Writes a `SKIP` record.
#[inline(never)]
pub fn skip(header: &Header, offset: u64, bytes: u64, reason: u8) -> bool {
    let mut skip = Skip { header: *header, offset, bytes };
    skip.header.kind = kind::SKIP;
    skip.header.len = size_of::<Skip>() as u32;
    skip.header.detail = reason;
    emit::record(&skip)
}

/// The header of a channel's data: `session` or socket, direction 0 sent, 1 received.
#[inline(always)]
pub fn data_header(id: u64, session: bool, direction: usize) -> Header {
    let mut header = emit::header(kind::DATA, 0, id);
    header.flags = (if session { flag::SESSION } else { 0 }) | (if direction == 1 { flag::RECEIVED } else { 0 });
    header
}
