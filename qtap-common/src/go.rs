//! Calls of Go programs under way: kept per goroutine, not per thread.

/// [`GoKey`] → [`GoCalls`]. Writer: probes; the agent removes those of processes that ended.
pub const MAP_GO_CALLS: &str = "GO_CALLS";

/// How deep calls can nest: a session whose transport is another session (HTTPS proxies).
pub const GO_NESTED: usize = 2;

/// What a `Close` adds to [`crate::state::Session::calls`]; the bits below count the calls under way.
pub const CLOSING: u64 = 1 << 32;

/// A goroutine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GoKey {
    /// Address of its `runtime.g`.
    pub g: u64,
    /// The process.
    pub tgid: u32,
    /// 0.
    pub pad: u32,
}

/// A call under way.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GoFrame {
    /// The session: address of the `tls.Conn`.
    pub ssl: u64,
    /// Buffer; if `on_stack`, its distance below the stack's upper end, since stacks move.
    pub buffer: u64,
    /// Its length.
    pub len: u64,
    /// Connection of the socket calls seen inside; 0: none.
    pub conn: u64,
    /// When it began.
    pub time: u64,
    /// Distance of the stack pointer below the stack's upper end: the same at entry and at `ret`, larger in nested calls.
    pub below: u64,
    /// Library number.
    pub library: u32,
    /// One of [`crate::state::call`].
    pub call: u8,
    /// 1: the buffer lies on the goroutine's stack.
    pub on_stack: u8,
    /// 1: the session was known when the call began.
    pub known: u8,
    /// 1: the session's handshake ran inside.
    pub shook: u8,
}

/// The calls of one goroutine.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GoCalls {
    /// How many.
    pub depth: u64,
    /// The outer one first.
    pub frames: [GoFrame; GO_NESTED],
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, no padding (asserted below), any bit pattern is valid.
    unsafe impl aya::Pod for super::GoKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::GoCalls {}
}

const _: () = assert!(size_of::<GoKey>() == 16);
const _: () = assert!(size_of::<GoCalls>() == 8 + 2 * 56);
