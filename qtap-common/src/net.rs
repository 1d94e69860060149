//! Networks that are not publicly routed: the one table by which the probes decide directions and the agent names addresses.
//!
//! In: an address of 16 bytes; IPv4 in its IPv4-mapped form (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2), so that the socket's family makes no
//! difference. Out: whether it is loopback or private. Nothing here reads memory.

/// A network: its first address, and its length in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// First address, as words in network byte order.
    pub first: [u64; 2],
    /// Bits that all its addresses share.
    pub bits: u32,
}

const fn v4(a: u8, b: u8, bits: u32) -> Network {
    Network { first: Address::v4([a, b, 0, 0]).0, bits: 96 + bits }
}

const fn v6(first: u16, bits: u32) -> Network {
    Network { first: [(first as u64) << 48, 0], bits }
}

/// This host, by IPv4 and IPv6 (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
pub const LOOPBACK: [Network; 2] = [v4(127, 0, 8), Network { first: [0, 1], bits: 128 }];

/// The other networks that are not publicly routed.
pub const PRIVATE: [Network; 9] = [
    // RFC 1918.
    v4(10, 0, 8),
    v4(172, 16, 12),
    v4(192, 168, 16),
    // RFC 6598: shared by the customers of a carrier; clouds and clusters use it like RFC 1918.
    v4(100, 64, 10),
    // RFC 3927: link-local; the metadata services of clouds.
    v4(169, 254, 16),
    // RFC 1122 §3.2.1.3, RFC 4291 §2.5.2: the unspecified addresses; connecting to them reaches this host.
    v4(0, 0, 8),
    Network { first: [0, 0], bits: 128 },
    // RFC 4193: unique local.
    v6(0xfc00, 7),
    // RFC 4291 §2.5.6: link-local.
    v6(0xfe80, 10),
];

/// An address, as words in network byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u64; 2]);

impl Address {
    /// From an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Address {
        Address([0, 0xffff << 32 | u32::from_be_bytes(bytes) as u64])
    }

    /// From an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Address {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Address([u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])])
    }

    /// True for a loopback address.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.is_in(LOOPBACK[0]) || self.is_in(LOOPBACK[1])
    }

    /// True when the address is not publicly routed.
    #[inline(always)]
    #[must_use]
    pub const fn is_private(self) -> bool {
        // Returns at the first match: going on would give the verifier two paths through all that follows, for each network again.
        let mut index = 0;
        while index < PRIVATE.len() {
            if self.is_in(PRIVATE[index]) {
                return true;
            }
            index += 1;
        }
        self.is_loopback()
    }

    #[inline(always)]
    const fn is_in(self, network: Network) -> bool {
        let [high, low] = network.mask();
        // One comparison, for the same reason.
        ((self.0[0] ^ network.first[0]) & high) | ((self.0[1] ^ network.first[1]) & low) == 0
    }
}

impl Network {
    /// The bits that are compared.
    #[inline(always)]
    const fn mask(self) -> [u64; 2] {
        if self.bits <= 64 { [ones(self.bits), 0] } else { [u64::MAX, ones(self.bits - 64)] }
    }
}

/// A word whose first `bits` bits are set.
#[inline(always)]
const fn ones(bits: u32) -> u64 {
    if bits == 0 { 0 } else { u64::MAX << (64 - bits) }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn address(text: &str) -> Address {
        match text.parse().expect("an address") {
            IpAddr::V4(ip) => Address::v4(ip.octets()),
            IpAddr::V6(ip) => Address::v6(ip.octets()),
        }
    }

    /// For each network: the address before it, its first, its last, and the one after it.
    #[test]
    fn networks_end_where_their_rfcs_say() {
        let edges = [
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
            ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
            ("255.255.255.255", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
            ("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"),
            ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "::1", "::2"),
        ];
        for (before, first, last, after) in edges {
            let is = [before, first, last, after].map(|text| address(text).is_private());
            assert_eq!(is, [false, true, true, false], "{first} to {last}");
        }
        assert_eq!(edges.len() + 1, LOOPBACK.len() + PRIVATE.len(), "a network without its edges");
    }

    #[test]
    fn an_address_of_ipv4_is_one_however_it_is_written() {
        for (text, private, loopback) in [
            ("::ffff:10.0.0.1", true, false),
            ("::ffff:127.0.0.1", true, true),
            ("127.1.2.3", true, true),
            ("::1", true, true),
            ("::ffff:8.8.8.8", false, false),
            // These look like IPv4-mapped addresses, but are not.
            ("0:1::ffff:a00:1", false, false),
            ("::fffe:a00:1", false, false),
            ("::10.0.0.1", false, false),
            ("::1:0:0:1", false, false),
            ("1::1", false, false),
            ("2001:db8::1", false, false),
            ("203.0.113.1", false, false),
        ] {
            let address = address(text);
            assert_eq!((address.is_private(), address.is_loopback()), (private, loopback), "{text}");
        }
        let words: Vec<u16> = (0..8).collect();
        let Ok(words) = <[u16; 8]>::try_from(words) else { panic!("eight") };
        assert_eq!(Address::v6(Ipv6Addr::from(words).octets()).0, [0x0000_0001_0002_0003, 0x0004_0005_0006_0007]);
    }
}
