//! Log messages of the probes, with `--bpf-trace`: `aya-log` messages in a ring of their own, logged under the target
//! `probes`. Without it the level is a constant 0 to the verifier, which drops every message. Never addresses, never payload.
//!
//! Each is a function of its own, so that a message under construction has a stack frame of its own.

use aya_log_ebpf::debug;

/// A connection was seen for the first time.
#[inline(never)]
pub fn opened(conn: u64, family: u16, role: u8) {
    debug!((), target: "probes", "connection {} opened: family {}, role {}", conn, family, role);
}

/// A connection's end was reported.
#[inline(never)]
pub fn closed(conn: u64) {
    debug!((), target: "probes", "connection {} closed", conn);
}

/// A TLS session was bound to a connection.
#[inline(never)]
pub fn bound(session: u64, conn: u64, how: u8) {
    debug!((), target: "probes", "session {} is of connection {}: binding {}", session, conn, how);
}
