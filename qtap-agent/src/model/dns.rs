//! An answer of a name server.

use std::net::IpAddr;

/// The parts of an answer that qtap reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsAnswer {
    /// The name queried, in lower case, without the final dot.
    pub question: String,
    /// The type queried: 1 A, 28 AAAA, … (the registry of RFC 6895).
    pub kind: u16,
    /// Response code: 0 no error, 3 no such name, … (the same registry).
    pub code: u8,
    /// True when the answer did not fit: the resolver repeats the query over TCP.
    pub truncated: bool,
    /// Addresses of that name, each with its TTL in seconds.
    pub addresses: Vec<(IpAddr, u32)>,
    /// Intermediate names that lead to them (CNAME).
    pub aliases: Vec<String>,
}

impl DnsAnswer {
    /// The name of the type; none for rarely used types.
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

    /// The name of the response code.
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
