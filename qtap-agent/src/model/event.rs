//! Events: single facts, each reported once, as owned data. Everything the tap ever learns arrives as one of these.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::conn::{Binding, Channel, ConnId, Direction, Endpoint, Random, Role, SessionId, Transport};
use super::loss::Loss;
use super::process::{Container, Pod, Process};
use super::time::{KernelTime, WallClock};

/// A fact from the probes, or from the agent's own inspection of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first event of every source: the host and its clock.
    Started(Arc<Host>),
    /// A process exists: reported at start, at `fork`, at `exec` (again, under its new name), or at its first traffic.
    ProcessSeen(Arc<Process>),
    /// A process ended.
    ProcessGone {
        /// Its thread-group id.
        pid: u32,
        /// When.
        time: KernelTime,
    },
    /// The awaited facts about a container arrived, or never will.
    ContainerSeen(ContainerSeen),
    /// A connection was opened, or seen for the first time.
    Opened(Opened),
    /// Bytes passed and were copied.
    Passed(Passed),
    /// Bytes passed and were not copied.
    Skipped(Skipped),
    /// A datagram from a name server was received.
    Datagram(Datagram),
    /// The kernel's counts of a connection that is still open: at most one per second, and only when they changed.
    Progress(Counts),
    /// A connection was closed; the counts are final.
    Closed(Counts),
    /// A TLS session was seen for the first time.
    SessionOpened(SessionOpened),
    /// A TLS session that reads and writes memory instead of a socket wrote its hello, or was given its peer's.
    SessionHello(SessionHello),
    /// A TLS session was matched to its connection.
    Bound {
        /// The session.
        session: SessionId,
        /// The connection.
        conn: ConnId,
        /// How they were matched.
        how: Binding,
        /// When.
        time: KernelTime,
    },
    /// The kernel was given the keys of a connection: from here on it does TLS in one direction.
    KernelTls(KernelTls),
    /// It became known to which session a part belongs; the part was first reported as a session of its own.
    SessionJoined(SessionJoined),
    /// A TLS session ended; the counts are final.
    SessionClosed(SessionCounts),
    /// The probes lost something that they could not report in place.
    Lost {
        /// Why.
        reason: Loss,
        /// How often since the last such event.
        count: u64,
        /// How many bytes since the last such event.
        bytes: u64,
        /// When the counter was read.
        time: KernelTime,
    },
    /// Time passed: sent by the source at a steady pace, even when nothing else happens.
    Tick(KernelTime),
}

impl Event {
    /// When it happened, or was found; none for events that carry no time.
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

/// The kernel was given TLS keys (kTLS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTls {
    /// The connection.
    pub conn: ConnId,
    /// The direction in which the kernel does TLS. None: one or both; it was already so when the connection was first seen.
    pub direction: Option<Direction>,
    /// True when a TLS library passed the keys: its calls still see the plaintext.
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
    /// `k8s.node.name`: the node's name in Kubernetes.
    #[serde(default)]
    pub node: Option<String>,
    /// Id of this boot: kernel times of two boots must never be mixed.
    pub boot_id: String,
    /// `os.type`.
    pub os_type: String,
    /// Kernel release.
    pub kernel: String,
    /// Converts kernel time to wall-clock time.
    pub clock: WallClock,
}

/// A container about which more was awaited: from now on this holds for every process in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSeen {
    /// The container, no longer awaited.
    pub container: Arc<Container>,
    /// The pod it belongs to.
    pub pod: Option<Arc<Pod>>,
    /// False when no runtime answered: only what the control group says is known.
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
    /// The local endpoint.
    pub local: Endpoint,
    /// The peer's endpoint.
    pub peer: Endpoint,
    /// Whether the process is the client or the server.
    pub role: Role,
    /// True when the connection was already open when first seen: its earlier bytes are unknown.
    pub joined_late: bool,
}

/// Bytes passed and were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Where they were seen.
    pub channel: Channel,
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first byte in this direction of the channel, counted from when the channel was first seen.
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

/// A datagram from a name server was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its own id, from the same number space as connections.
    pub id: u64,
    /// When the call that received it ended.
    pub time: KernelTime,
    /// The process that received it.
    pub pid: u32,
    /// The local endpoint.
    pub local: Endpoint,
    /// The name server.
    pub peer: Endpoint,
    /// Bytes received.
    pub len: u64,
    /// The bytes that were copied.
    pub payload: Bytes,
}

/// Why bytes were not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Ciphertext: the plaintext is captured at the TLS library.
    Encrypted,
    /// Belongs to a protocol, direction or peer that was not asked for.
    Unwanted,
    /// Wanted, but lost.
    Lost(Loss),
}

/// The counts of one direction of a connection or session, from when it was first seen.
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
    /// Of these, wanted and lost in the kernel (all reasons together; [`Event::Skipped`] gives each reason if the ring had room for it).
    pub lost: u64,
    /// The kernel's own count of the bytes that the process moved through the socket; none where the kernel keeps no count.
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
    /// Bytes that arrived but that the process never read.
    pub unread: u64,
    /// TLS records of it passed inside a library's handshake, whose session is not known.
    #[serde(default)]
    pub shook: bool,
}

/// The hello of a TLS session, as it passed through memory.
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
    /// The random that identifies it.
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
    /// True when it is a part: plaintext written under a key whose session is not known yet. [`SessionJoined`] will name the session.
    pub is_part: bool,
    /// Number of the library, when its functions were found by their code alone: a connection has yet to confirm them.
    pub on_trial: Option<u32>,
}

/// It became known to which session a part belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionJoined {
    /// The part.
    pub part: SessionId,
    /// The session it belongs to; none when that session's connection was not asked for.
    pub session: Option<SessionId>,
    /// Offset in the session's sent stream at which the part begins.
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
