//! Work areas. A uprobe can be preempted by another one on the same CPU, so an area is taken and given back: once, at the probe's entry point.

use qtap_common::feedback::End;
use qtap_common::record::{DNS_BYTES, Data, Datagram, EXEC_ARGS, EXEC_ENV, EXEC_NAME, Exec, Opened, UNIX_NAME, why};
use qtap_common::state::{Conn, GATHER, PIECE, SCRATCH_SLOTS, Session};

use crate::atomic::fetch_add;
use crate::carry::{Call, Transfer};
use crate::emit;
use crate::goroutine::Done;
use crate::jvm::Told;
use crate::maps::SCRATCH;
use crate::rustls::Said;

/// One work area.
#[repr(C)]
pub struct Scratch {
    /// Above 0 while taken.
    pub taken: u64,
    /// What a system call moved. Here, not on the stack: the verifier takes what is read from a map for any number, so that the
    /// many paths to this point are one path from here on.
    pub moved: Transfer,
    /// A call whose bytes are being copied.
    pub call: Call,
    /// Connection to insert.
    pub conn: Conn,
    /// Session to insert.
    pub session: Session,
    /// A call of Go that ended: here for the same reason as `moved`.
    pub go: Done,
    /// Plaintext of rustls, sent or received: here for the same reason.
    pub said: Said,
    /// A message from a JVM: here because the stack is short.
    pub told: Told,
    /// End of a connection to look up.
    pub end: End,
    /// Record under construction.
    pub record: Record,
}

/// The larger records, one at a time.
#[repr(C)]
pub union Record {
    pub data: DataRecord,
    pub exec: ExecRecord,
    pub opened: OpenedRecord,
    pub datagram: DatagramRecord,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct DataRecord {
    pub head: Data,
    /// A piece is at most [`PIECE`] bytes. The space after it is for the verifier, which bounds the offset of a piece's last buffer and its length
    /// separately.
    pub payload: [u8; PIECE + GATHER],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExecRecord {
    pub head: Exec,
    /// The name, the arguments, the environment; as long as their bounds together.
    pub text: [u8; EXEC_NAME + EXEC_ARGS + EXEC_ENV],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenedRecord {
    pub head: Opened,
    pub local: [u8; UNIX_NAME],
    pub peer: [u8; UNIX_NAME],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct DatagramRecord {
    pub head: Datagram,
    pub payload: [u8; DNS_BYTES],
}

/// Takes an area and returns its index. None, which is counted, only if more probes preempted one another than there are areas.
#[inline(always)]
pub fn take() -> Option<u32> {
    let first = emit::cpu() * SCRATCH_SLOTS;
    for slot in 0..SCRATCH_SLOTS {
        let Some(area) = get(first + slot) else { continue };
        let taken = unsafe { &raw mut (*area).taken };
        if unsafe { fetch_add(taken, 1) } == 0 {
            return Some(first + slot);
        }
        unsafe { fetch_add(taken, u64::MAX) };
    }
    emit::count_loss(why::SCRATCH_BUSY, 0);
    None
}

/// Gives an area back.
#[inline(always)]
pub fn give_back(index: u32) {
    if let Some(area) = get(index) {
        unsafe { fetch_add(&raw mut (*area).taken, u64::MAX) };
    }
}

/// The area at `index`.
#[inline(always)]
pub fn get(index: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(index)
}
