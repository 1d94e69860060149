//! How the probes recognise qtap's own connections at the server's end: otherwise they would capture qtap's exports as a local store receives them.

use crate::net::Address;

/// Client's end, or the connection's sequence numbers → who made it. Writers: probes, agent (connections older than the probes). Reader: probes.
pub const MAP_FOUND_ENDS: &str = "FOUND_ENDS";
/// Process → 1: it accepted a connection of qtap's, or one of another store at an OTLP port. Writer: probes. Readers: both.
pub const MAP_STORES: &str = "STORES";
/// Connections that were excluded, and their bytes: index 0 those with qtap, 1 those that stores made. Writer: probes. Reader: agent.
pub const MAP_FEEDBACK: &str = "FEEDBACK";

/// Made by qtap.
pub const MADE_BY_QTAP: u8 = 1;
/// Made by a store: a process in [`MAP_STORES`].
pub const MADE_BY_STORE: u8 = 2;

/// The client's end of a connection, identified by its address; or the connection, identified by its initial sequence numbers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its address; IPv4 in its IPv4-mapped form, since the two ends may be sockets of different families.
    pub address: [u64; 2],
    /// Its port.
    pub port: u16,
    /// The server's port, if the address is loopback: each network namespace has its own loopback, so the client's end alone is ambiguous.
    /// Else 0: on the way the server's address may be rewritten (a published port, a cluster's service), the client's seldom is.
    pub to: u16,
    /// 1: `address` holds the sequence numbers of a connection, and the ports are 0.
    pub numbered: u32,
}

impl End {
    /// The end of a client at this address and port, connected to that port.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: u16, to: u16) -> End {
        End { address: address.0, port, to: if address.is_loopback() { to } else { 0 }, numbered: 0 }
    }

    /// The connection, identified by the sequence numbers of its two ends' first bytes (RFC 9293 §3.4), which both ends know. They are random, and
    /// do not change when addresses are rewritten on the way.
    #[inline(always)]
    #[must_use]
    pub const fn by_numbers(client: u32, server: u32) -> End {
        End { address: [client as u64, server as u64], port: 0, to: 0, numbered: 1 }
    }
}

/// True for the ports at which OTLP is received: a process that accepts a connection from a store there receives what the store received.
#[inline(always)]
#[must_use]
pub const fn is_passed_on(port: u16) -> bool {
    matches!(port, 4317 | 4318)
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, padding explicit and the size asserted below; any bit pattern is valid.
unsafe impl aya::Pod for End {}

const _: () = assert!(size_of::<End>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_the_same_whatever_kind_of_socket_tells_it() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9];
        assert_eq!(End::new(Address::v4([10, 0, 0, 9]), 40_000, 4317), End::new(Address::v6(mapped), 40_000, 9999));
    }

    #[test]
    fn numbers_are_no_address() {
        let address = End::new(Address([1, 2]), 0, 0);
        assert_ne!(End::by_numbers(1, 2), address);
        assert_ne!(End::by_numbers(1, 2), End::by_numbers(2, 1));
    }

    #[test]
    fn loopback_is_told_apart_by_the_port_it_goes_to() {
        let to = |port| End::new(Address::v4([127, 0, 0, 1]), 40_000, port);
        assert_ne!(to(4317), to(80));
        assert_eq!(to(4317).to, 4317);
    }
}
