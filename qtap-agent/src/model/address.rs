//! What an address says of where it leads. In: an address. Out: whether it is routed in public. The table is the one that the probes decide by:
//! what is captured as internal is told as internal.

use std::net::IpAddr;

use qtap_common::net::Address;

/// True for addresses that are not routed in public: private (RFC 1918), shared (RFC 6598), loopback, link-local (RFC 3927,
/// RFC 4291 §2.5.6), unique local (RFC 4193), this host; IPv4-mapped ones as what they stand for.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
    .is_private()
}
