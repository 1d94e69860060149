//! Whether an address is publicly routed. In: an address. Out: yes or no. The probes decide by the same table, so that what they capture as internal
//! traffic is also reported as internal.

use std::net::IpAddr;

use qtap_common::net::Address;

/// True for addresses that are not publicly routed: private (RFC 1918), shared (RFC 6598), loopback, link-local (RFC 3927,
/// RFC 4291 §2.5.6), unique local (RFC 4193), this host. IPv4-mapped addresses are treated as the IPv4 address they contain.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
    .is_private()
}
