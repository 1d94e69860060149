//! What was seen: the tap's answer to events.

use std::sync::Arc;

use super::conn::ConnFacts;
use super::dns::DnsAnswer;
use super::event::{Count, Host};
use super::exchange::Exchange;
use super::loss::Tally;
use super::message::Version;
use super::process::Process;
use super::time::KernelTime;

/// What was seen.
#[derive(Debug, Clone)]
pub enum Observation {
    /// An exchange on a connection.
    Exchange(Box<ExchangeSeen>),
    /// A report on a connection.
    Connection(Box<ConnectionSeen>),
}

/// An exchange, with all that is known about where it happened.
#[derive(Debug, Clone)]
pub struct ExchangeSeen {
    /// The host.
    pub host: Arc<Host>,
    /// The connection, as known when the exchange ended.
    pub conn: Arc<ConnFacts>,
    /// The process; none when it could not be learnt.
    pub process: Option<Arc<Process>>,
    /// Number of the exchange on its connection, from 0: with the connection's uid it names the exchange.
    pub number: u64,
    /// The exchange.
    pub exchange: Exchange,
    /// When qtap observed it: the time of the event that completed it.
    pub observed: KernelTime,
}

/// State of a connection at a report (`connection.state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// First report of a connection that is open.
    Open,
    /// A later report of one that still is.
    Active,
    /// Last report.
    Closed,
}

/// A report on a connection: first after 0.5 s (or at its close), then every 10 s while it is open, then at its close.
#[derive(Debug, Clone)]
pub struct ConnectionSeen {
    /// The host.
    pub host: Arc<Host>,
    /// The connection.
    pub conn: Arc<ConnFacts>,
    /// The process; none when it could not be learnt.
    pub process: Option<Arc<Process>>,
    /// State.
    pub state: ConnState,
    /// Number of this report, from 0.
    pub part: u32,
    /// What the process sent at the socket.
    pub sent: Count,
    /// What it received at the socket.
    pub received: Count,
    /// Bytes that stand in exchanges or were parsed as framing, both directions: plaintext.
    pub captured_bytes: u64,
    /// What was lost, by reason, [`super::loss::Loss::Unaccounted`] included when the sums don't meet.
    pub losses: Tally,
    /// Exchanges seen so far.
    pub requests: u64,
    /// Authority of the first request, for `connection.endpoint_id`.
    pub authority: Option<String>,
    /// Version of HTTP of the last exchange told.
    pub version: Option<Version>,
    /// The last answer of a name server on it, where those are told.
    pub dns: Option<Arc<DnsAnswer>>,
    /// Time of the report.
    pub observed: KernelTime,
}
