//! One fact, told once, owned. All that the tap ever learns comes in as one of these.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::conn::{Binding, Channel, ConnId, Direction, Endpoint, Random, Role, SessionId, Transport};
use super::loss::Loss;
use super::process::{Container, Pod, Process};
use super::time::{KernelTime, WallClock};

/// A fact from the probes or from the agent's look at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// First of all events of a source: the host and its clock.
    Started(Arc<Host>),
    /// A process is there: seen at start, at `fork`, at `exec` (again, under its new name), or when it first spoke.
    ProcessSeen(Arc<Process>),
    /// A process ended.
    ProcessGone {
        /// Its thread-group id.
        pid: u32,
        /// When.
        time: KernelTime,
    },
    /// What was awaited of a container was told, or never will be.
    ContainerSeen(ContainerSeen),
    /// A connection was opened, or seen for the first time.
    Opened(Opened),
    /// Bytes passed and were copied.
    Passed(Passed),
    /// Bytes passed and were not copied.
    Skipped(Skipped),
    /// A datagram came from a name server.
    Datagram(Datagram),
    /// The kernel's counts of a connection that is still open; at most one a second, and only when they changed.
    Progress(Counts),
    /// A connection was closed; the counts are final.
    Closed(Counts),
    /// A TLS session was seen for the first time.
    SessionOpened(SessionOpened),
    /// A TLS session that is given memory instead of a socket wrote its hello, or was fed that of its peer.
    SessionHello(SessionHello),
    /// A TLS session was joined to its connection.
    Bound {
        /// The session.
        session: SessionId,
        /// The connection.
        conn: ConnId,
        /// How that is known.
        how: Binding,
        /// When.
        time: KernelTime,
    },
    /// The kernel was given the keys of a connection: it does TLS of one direction from here on.
    KernelTls(KernelTls),
    /// It is known whose a part is that was told as a session.
    SessionJoined(SessionJoined),
    /// A TLS session ended; the counts are final.
    SessionClosed(SessionCounts),
    /// The probes lost something that they could not tell in place.
    Lost {
        /// Why.
        reason: Loss,
        /// How often since the last such event.
        count: u64,
        /// How many bytes since the last such event.
        bytes: u64,
        /// When it was read.
        time: KernelTime,
    },
    /// Time passed: told by the source at a steady pace, also when nothing else happens.
    Tick(KernelTime),
}

impl Event {
    /// When it happened, or was found; none for what has no time of its own.
    #[must_use]
    pub fn time(&self) -> Option<KernelTime> {
        match self {
            Event::Started(_) | Event::ProcessSeen(_) => None,
            Event::ProcessGone { time, .. } | Event::Bound { time, .. } | Event::Lost { time, .. } => Some(*time),
            Event::ContainerSeen(seen) => Some(seen.time),
            Event::Opened(opened) => Some(opened.time),
            Event::Passed(passed) => Some(passed.time),
            Event::Skipped(skipped) => Some(skipped.time),
            Event::Datagram(datagram) => Some(datagram.time),
            Event::Progress(counts) | Event::Closed(counts) => Some(counts.time),
            Event::SessionOpened(opened) => Some(opened.time),
            Event::SessionHello(hello) => Some(hello.time),
            Event::SessionJoined(joined) => Some(joined.time),
            Event::KernelTls(given) => Some(given.time),
            Event::SessionClosed(counts) => Some(counts.time),
            Event::Tick(time) => Some(*time),
        }
    }
}

/// Keys of TLS were given to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTls {
    /// The connection.
    pub conn: ConnId,
    /// What it does TLS of. None: one or both; it was so before the connection was first seen.
    pub direction: Option<Direction>,
    /// True when a TLS library gave them, whose calls have the plaintext as before.
    pub by_library: bool,
    /// When.
    pub time: KernelTime,
}

/// The host and its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Host {
    /// `host.name`.
    pub name: String,
    /// `host.id`: machine id.
    pub id: String,
    /// `k8s.node.name`: what Kubernetes calls it.
    #[serde(default)]
    pub node: Option<String>,
    /// Id of this boot, so that kernel times of two boots are never mixed.
    pub boot_id: String,
    /// `os.type`.
    pub os_type: String,
    /// Kernel release.
    pub kernel: String,
    /// Kernel time to wall-clock time.
    pub clock: WallClock,
}

/// A container of which more was awaited: of every process in it this holds from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSeen {
    /// The container; no longer awaited.
    pub container: Arc<Container>,
    /// The pod it belongs to.
    pub pod: Option<Arc<Pod>>,
    /// False: no runtime told, and what its control group tells is all.
    pub told: bool,
    /// When.
    pub time: KernelTime,
}

/// A connection was opened, or seen for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection.
    pub conn: ConnId,
    /// When.
    pub time: KernelTime,
    /// The process (thread-group id).
    pub pid: u32,
    /// Transport.
    pub transport: Transport,
    /// This end.
    pub local: Endpoint,
    /// The far end.
    pub peer: Endpoint,
    /// Which end the process is.
    pub role: Role,
    /// True when the connection was already open at first sight: its earlier bytes are unknown.
    pub joined_late: bool,
}

/// Bytes passed and were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Where they were seen.
    pub channel: Channel,
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first byte in the direction's stream of this channel, counted from first sight.
    pub offset: u64,
    /// When the call that carried them ended.
    pub time: KernelTime,
    /// The process that made the call.
    pub pid: u32,
    /// The bytes.
    pub payload: Bytes,
}

/// Bytes passed and were not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where they were seen.
    pub channel: Channel,
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// Why they were not copied.
    pub why: Skip,
    /// When.
    pub time: KernelTime,
    /// The process that made the call.
    pub pid: u32,
}

/// A datagram came from a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// A number of its own, from those of connections.
    pub id: u64,
    /// When the call that received it ended.
    pub time: KernelTime,
    /// The process that received it.
    pub pid: u32,
    /// This end.
    pub local: Endpoint,
    /// The name server.
    pub peer: Endpoint,
    /// Bytes that were received.
    pub len: u64,
    /// Those that were copied.
    pub payload: Bytes,
}

/// Why bytes were not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Ciphertext: the plaintext is looked for at the TLS library.
    Encrypted,
    /// Not a protocol, direction or peer that was asked for.
    Unwanted,
    /// Wanted, but lost.
    Lost(Loss),
}

/// The counts of one direction of a connection or session, from first sight on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// Bytes that the probed calls reported as carried.
    pub carried: u64,
    /// Of these, copied into records.
    pub copied: u64,
    /// Of these, ciphertext that was only counted.
    pub encrypted: u64,
    /// Of these, not asked for and only counted.
    pub unwanted: u64,
    /// Of these, wanted and lost in the kernel (all reasons together; [`Event::Skipped`] names them where the ring had room).
    pub lost: u64,
    /// The kernel's own count of bytes the process moved through the socket; none where the kernel keeps none.
    pub kernel: Option<u64>,
}

/// Counts of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The connection.
    pub conn: ConnId,
    /// When they were taken.
    pub time: KernelTime,
    /// What the process sent.
    pub sent: Count,
    /// What the process received.
    pub received: Count,
    /// Bytes that arrived and that the process never read.
    pub unread: u64,
}

/// A TLS session's hello passed through memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionHello {
    /// The session.
    pub session: SessionId,
    /// When.
    pub time: KernelTime,
    /// The process.
    pub pid: u32,
    /// Whether the session wrote it or read it.
    pub direction: Direction,
    /// What it is known by.
    pub random: Random,
}

/// A TLS session was seen for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// When.
    pub time: KernelTime,
    /// The process.
    pub pid: u32,
    /// The library or executable whose calls are probed, e.g. `libssl.so.3`.
    pub library: Option<String>,
    /// True when its handshake was not seen: its earlier bytes are unknown.
    pub joined_late: bool,
    /// True when it is what was written under a key of which it is not known whose it is: [`SessionJoined`] will tell.
    pub is_part: bool,
    /// The library's number, when its functions were found by their code alone: it is to be confirmed by a connection.
    pub on_trial: Option<u32>,
}

/// It is known whose a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionJoined {
    /// The part.
    pub part: SessionId,
    /// The session whose it is; none: that of a connection that nobody asked for.
    pub session: Option<SessionId>,
    /// Where in what the session sent the part begins.
    pub offset: u64,
    /// When.
    pub time: KernelTime,
}

/// Counts of a TLS session: plaintext, as the library's calls returned it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounts {
    /// The session.
    pub session: SessionId,
    /// When they were taken.
    pub time: KernelTime,
    /// Plaintext written.
    pub sent: Count,
    /// Plaintext read.
    pub received: Count,
}
