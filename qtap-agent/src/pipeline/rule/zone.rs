//! Classifies IP addresses. In: an address. Out: its zone. Names and routes are not looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The scope of an address, according to the registries of special-purpose addresses (RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Unspecified,
    Loopback,
    LinkLocal,
    Private,
    Shared,
    Multicast,
    Broadcast,
    Documentation,
    Public,
}

/// All of them, by name.
pub(super) const ZONES: [(&str, Zone); 9] = [
    ("unspecified", Zone::Unspecified),
    ("loopback", Zone::Loopback),
    ("link-local", Zone::LinkLocal),
    ("private", Zone::Private),
    ("shared", Zone::Shared),
    ("multicast", Zone::Multicast),
    ("broadcast", Zone::Broadcast),
    ("documentation", Zone::Documentation),
    ("public", Zone::Public),
];

impl Zone {
    /// The zone of an address; an IPv4-mapped address has the zone of the IPv4 address.
    pub(super) fn of(ip: IpAddr) -> Zone {
        match ip.to_canonical() {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        ZONES.iter().find(|(_, zone)| *zone == self).map_or("", |(name, _)| name)
    }

    /// The zone of that name.
    pub(super) fn named(name: &str) -> Option<Zone> {
        ZONES.iter().find(|(known, _)| *known == name).map(|(_, zone)| *zone)
    }
}

fn of_v4(ip: Ipv4Addr) -> Zone {
    match ip.octets() {
        // RFC 1122 §3.2.1.3: this host on this network.
        [0, ..] => Zone::Unspecified,
        [100, 64..=127, ..] => Zone::Shared,
        _ if ip.is_loopback() => Zone::Loopback,
        _ if ip.is_link_local() => Zone::LinkLocal,
        _ if ip.is_private() => Zone::Private,
        _ if ip.is_multicast() => Zone::Multicast,
        _ if ip.is_broadcast() => Zone::Broadcast,
        _ if ip.is_documentation() => Zone::Documentation,
        _ => Zone::Public,
    }
}

fn of_v6(ip: Ipv6Addr) -> Zone {
    match ip.segments() {
        [0x2001, 0xdb8, ..] => Zone::Documentation,
        _ if ip.is_unspecified() => Zone::Unspecified,
        _ if ip.is_loopback() => Zone::Loopback,
        _ if ip.is_unicast_link_local() => Zone::LinkLocal,
        _ if ip.is_unique_local() => Zone::Private,
        _ if ip.is_multicast() => Zone::Multicast,
        _ => Zone::Public,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_zone() {
        for (ip, zone) in [
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("127.8.9.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("169.254.1.1", "link-local"),
            ("fe80::1", "link-local"),
            ("10.0.0.1", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", "public"),
            ("192.168.1.1", "private"),
            ("fd00::1", "private"),
            ("100.64.0.1", "shared"),
            ("100.128.0.1", "public"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("192.0.2.1", "documentation"),
            ("2001:db8::1", "documentation"),
            ("1.1.1.1", "public"),
            ("2606:4700::1111", "public"),
        ] {
            assert_eq!(Zone::of(ip.parse().unwrap()).name(), zone, "{ip}");
            assert_eq!(Zone::named(zone).map(Zone::name), Some(zone));
        }
        assert_eq!(Zone::named("internet"), None);
    }
}
