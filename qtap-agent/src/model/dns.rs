//! What a name server answered.

use std::net::IpAddr;

/// An answer, as far as qtap reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsAnswer {
    /// The name that was asked for, in lower case, without the final dot.
    pub question: String,
    /// Type that was asked for: 1 A, 28 AAAA, … (the registry of RFC 6895).
    pub kind: u16,
    /// Response code: 0 no error, 3 no such name, … (the same registry).
    pub code: u8,
    /// True when the server had more to say than fitted: the asker asks again over TCP.
    pub truncated: bool,
    /// Addresses of that name, each with the seconds that it may be remembered.
    pub addresses: Vec<(IpAddr, u32)>,
    /// Other names on the way to them (CNAME).
    pub aliases: Vec<String>,
}

impl DnsAnswer {
    /// The type by its name; none for one that is rarely asked for.
    #[must_use]
    pub fn kind_name(&self) -> Option<&'static str> {
        Some(match self.kind {
            1 => "A",
            2 => "NS",
            5 => "CNAME",
            6 => "SOA",
            12 => "PTR",
            15 => "MX",
            16 => "TXT",
            28 => "AAAA",
            33 => "SRV",
            64 => "SVCB",
            65 => "HTTPS",
            255 => "ANY",
            _ => return None,
        })
    }

    /// The response code by its name.
    #[must_use]
    pub fn code_name(&self) -> &'static str {
        match self.code {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            _ => "OTHER",
        }
    }
}
