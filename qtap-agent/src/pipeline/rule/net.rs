//! Networks and hardware addresses, as rules write them. In: text. Out: values to compare with.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

/// A network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3): its first address, its mask, and its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    V4(u32, u32, u8),
    V6(u128, u128, u8),
}

impl Net {
    /// `None` when the prefix is longer than the address, or bits after it are set.
    pub(super) fn new(address: IpAddr, bits: u8) -> Option<Net> {
        Net::around(address, bits).filter(|net| net.first() == address)
    }

    /// The network with this prefix length that contains `address`; `None` when the prefix is longer than the address.
    pub(super) fn around(address: IpAddr, bits: u8) -> Option<Net> {
        match address {
            IpAddr::V4(ip) => {
                let free = u32::BITS.checked_sub(bits.into())?;
                let mask = u32::MAX.checked_shl(free).unwrap_or(0);
                Some(Net::V4(u32::from(ip) & mask, mask, bits))
            }
            IpAddr::V6(ip) => {
                let free = u128::BITS.checked_sub(bits.into())?;
                let mask = u128::MAX.checked_shl(free).unwrap_or(0);
                Some(Net::V6(u128::from(ip) & mask, mask, bits))
            }
        }
    }

    /// True when the network contains `ip`; an IPv4-mapped address counts as the IPv4 address.
    #[inline]
    pub(super) fn contains(&self, ip: &IpAddr) -> bool {
        match (*self, ip) {
            (Net::V4(first, mask, _), IpAddr::V4(ip)) => u32::from(*ip) & mask == first,
            (Net::V4(first, mask, _), IpAddr::V6(ip)) => {
                ip.to_ipv4_mapped().is_some_and(|ip| u32::from(ip) & mask == first)
            }
            (Net::V6(first, mask, _), IpAddr::V6(ip)) => {
                ip.to_ipv4_mapped().is_none() && u128::from(*ip) & mask == first
            }
            (Net::V6(..), IpAddr::V4(_)) => false,
        }
    }

    fn first(self) -> IpAddr {
        match self {
            Net::V4(first, ..) => IpAddr::from(first.to_be_bytes()),
            Net::V6(first, ..) => IpAddr::from(first.to_be_bytes()),
        }
    }
}

impl Display for Net {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (Net::V4(.., bits) | Net::V6(.., bits)) = *self;
        write!(f, "{}/{bits}", self.first())
    }
}

/// A 48-bit hardware address (IEEE 802).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac([u8; 6]);

impl Mac {
    /// Six pairs of hexadecimal digits, joined by `:` or `-`.
    pub(super) fn read(text: &str) -> Option<Mac> {
        let mut octets = [0; 6];
        let sign = if text.contains('-') { '-' } else { ':' };
        let mut parts = text.split(sign);
        for octet in &mut octets {
            let part = parts.next()?;
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            *octet = u8::from_str_radix(part, 16).ok().filter(|_| digits)?;
        }
        parts.next().is_none().then_some(Mac(octets))
    }
}

impl Display for Mac {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_their_prefix_says() {
        let net = |text: &str, bits| Net::new(text.parse().unwrap(), bits);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (address, bits, inside, outside) in [
            ("10.0.0.0", 8, "10.255.255.255", "11.0.0.0"),
            ("192.0.2.1", 32, "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0", 0, "255.255.255.255", "::1"),
            ("2001:db8::", 32, "2001:db8:ffff::1", "2001:db9::"),
            ("::", 0, "2001:db8::1", "10.0.0.1"),
            ("10.0.0.0", 8, "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let net = net(address, bits).unwrap();
            assert!(net.contains(&ip(inside)), "{net} {inside}");
            assert!(!net.contains(&ip(outside)), "{net} {outside}");
        }
        assert_eq!(net("10.0.0.1", 8), None);
        assert_eq!(net("10.0.0.0", 33), None);
        assert_eq!(Net::around(ip("10.1.2.3"), 8).unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Net::around(ip("2001:db8::1"), 32).unwrap().to_string(), "2001:db8::/32");
    }

    #[test]
    fn hardware_addresses() {
        for text in ["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E"] {
            assert_eq!(Mac::read(text).unwrap().to_string(), "00:1a:2b:3c:4d:5e");
        }
        for text in
            ["00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:6f", "0:1a:2b:3c:4d:5e", "00:1a-2b:3c:4d:5e", "+0:1a:2b:3c:4d:5e"]
        {
            assert_eq!(Mac::read(text), None, "{text}");
        }
    }
}
