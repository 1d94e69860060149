//! Connections: their identity, their two ends, and what is known of them.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::time::KernelTime;

/// One connection (one generation of one kernel `sock`), as the probes number it. Unique within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnId(pub u64);

/// One TLS session (one `SSL*` of one process, from first sight to its end), as the probes number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Where plaintext was observed: at the socket itself, or above it in a TLS library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// At the system calls of the connection's socket.
    Socket(ConnId),
    /// At the calls of a TLS library.
    Session(SessionId),
}

/// Direction of the bytes, from the point of view of the probed process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// The process wrote them.
    Sent,
    /// The process read them.
    Received,
}

impl Direction {
    /// The opposite direction.
    #[must_use]
    pub fn flip(self) -> Direction {
        match self {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
        }
    }

    /// 0 for sent, 1 for received: an index into two-element tables.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Direction::Sent => 0,
            Direction::Received => 1,
        }
    }
}

/// Which end of the connection the probed process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum Role {
    /// It connected.
    Client,
    /// It accepted.
    Server,
    /// Opened before capture began; the first request decides.
    #[default]
    Unknown,
}

/// The transport protocol (`network.transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP: one datagram.
    Udp,
    /// A UNIX stream socket.
    Unix,
    /// A TLS session whose socket is not known.
    Unknown,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum Endpoint {
    /// Not known (an unbound TLS session).
    #[default]
    Unknown,
    /// Address and port. A v4-mapped IPv6 address is given as the IPv4 address it contains.
    Inet(SocketAddr),
    /// The path of a UNIX socket. Abstract names begin with `@`; empty when unnamed.
    Unix(String),
}

impl Endpoint {
    /// The IP address, where there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Endpoint::Inet(addr) => Some(addr.ip()),
            Endpoint::Unix(_) | Endpoint::Unknown => None,
        }
    }

    /// The port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Inet(addr) => Some(addr.port()),
            Endpoint::Unix(_) | Endpoint::Unknown => None,
        }
    }

    /// The IP address or UNIX path as text; none when unknown or unnamed.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        match self {
            Endpoint::Inet(addr) => Some(addr.ip().to_string()),
            Endpoint::Unix(path) if !path.is_empty() => Some(path.clone()),
            Endpoint::Unix(_) | Endpoint::Unknown => None,
        }
    }
}

/// The random of a ClientHello or ServerHello (RFC 8446 §4.1.2): unique to each handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Random(pub [u8; 32]);

/// How a TLS session was matched to its socket, most certain first (`connection.binding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Binding {
    /// A socket call was nested inside a TLS call, on the same thread or goroutine. Kept for later calls of the session.
    Nested,
    /// The program passed the file descriptor (`SSL_set_fd` and its kin).
    SetFd,
    /// The session's ciphertext matches the socket's.
    Ciphertext,
    /// Not matched.
    None,
}

impl Binding {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Binding::Nested => "nested",
            Binding::SetFd => "set_fd",
            Binding::Ciphertext => "ciphertext",
            Binding::None => "none",
        }
    }
}

/// `connection.id`: a UUIDv7-shaped id (RFC 9562 §5.7): 48 bits of Unix milliseconds at opening, then bits derived
/// from host, boot and kernel identity. It is unique across hosts, sorts by time, and is the same in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionUid(pub [u8; 16]);

impl std::fmt::Display for ConnectionUid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What TLS reveals in cleartext, and how much of the session qtap could read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFacts {
    /// Negotiated version as the semantic conventions write it (`1.2`, `1.3`), from the ServerHello.
    pub version: Option<String>,
    /// Negotiated application protocol (ALPN, RFC 7301), where it was visible.
    pub alpn: Option<String>,
    /// Server name of the ClientHello (RFC 6066 §3).
    pub sni: Option<String>,
    /// True when plaintext of the session was captured.
    pub inspected: bool,
    /// The library whose calls were observed, e.g. `libssl.so.3`.
    pub library: Option<String>,
    /// Why no plaintext was captured, in words.
    pub uninspected_reason: Option<String>,
    /// Directions in which the kernel does TLS.
    pub in_kernel: KernelTls,
    /// True when one of its sessions was first seen after its handshake: the earlier plaintext is not reported, and its amount is unknown.
    pub joined_late: bool,
}

/// Directions of a connection in which the kernel encrypts or decrypts the TLS records (kTLS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelTls {
    /// The kernel encrypts what is sent.
    pub sent: bool,
    /// The kernel decrypts what is received.
    pub received: bool,
    /// One direction or both: it was already so when the connection was first seen.
    pub unknown: bool,
    /// True when the program itself passed the keys to the kernel: no TLS library has had the plaintext since.
    pub by_program: bool,
}

impl KernelTls {
    /// True when the kernel does, or may do, TLS in that direction.
    #[must_use]
    pub fn of(self, direction: Direction) -> bool {
        match direction {
            Direction::Sent => self.sent || self.unknown,
            Direction::Received => self.received || self.unknown,
        }
    }

    /// The value used in records; none when the kernel does TLS in neither direction.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match (self.sent, self.received) {
            (false, false) => self.unknown.then_some("unknown"),
            (true, false) => Some("sent"),
            (false, true) => Some("received"),
            (true, true) => Some("both"),
        }
    }
}

/// The application protocol as far as it is known (`connection.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Not recognised yet, or a protocol that qtap does not know.
    #[default]
    Unknown,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// TLS whose plaintext was not captured.
    Tls,
    /// An answer of a name server.
    Dns,
}

/// What is known of a connection when something on it is reported. Shared by everything observed on it until a fact changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnFacts {
    /// The connection's id in every record.
    pub uid: ConnectionUid,
    /// When it was opened, or first seen.
    pub opened: KernelTime,
    /// The process that uses it; the last one seen, after `fork` or `SCM_RIGHTS`.
    pub pid: u32,
    /// Transport.
    pub transport: Transport,
    /// The local endpoint.
    pub local: Endpoint,
    /// The peer's endpoint.
    pub peer: Endpoint,
    /// Whether the process is the client or the server.
    pub role: Role,
    /// Set for a TLS connection.
    pub tls: Option<TlsFacts>,
    /// Application protocol.
    pub protocol: Protocol,
    /// How the TLS session was matched to the socket; none for a plaintext connection.
    pub binding: Option<Binding>,
    /// True when the opening was not seen.
    pub joined_late: bool,
    /// Name of the peer's address, from an observed DNS answer.
    pub domain: Option<String>,
}

impl ConnFacts {
    /// The client's endpoint: the local one, unless the process is the server.
    #[must_use]
    pub fn client(&self) -> &Endpoint {
        match self.role {
            Role::Client | Role::Unknown => &self.local,
            Role::Server => &self.peer,
        }
    }

    /// The server's endpoint: the peer, unless the process is the server.
    #[must_use]
    pub fn server(&self) -> &Endpoint {
        match self.role {
            Role::Client | Role::Unknown => &self.peer,
            Role::Server => &self.local,
        }
    }
}
