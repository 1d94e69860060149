//! Observations: what the tap produces from events.

use std::sync::Arc;

use super::conn::ConnFacts;
use super::dns::DnsAnswer;
use super::event::{Count, Host};
use super::exchange::Exchange;
use super::loss::Tally;
use super::message::Version;
use super::process::Process;
use super::time::KernelTime;

/// An observation.
#[derive(Debug, Clone)]
pub enum Observation {
    /// An exchange on a connection.
    Exchange(Box<ExchangeSeen>),
    /// A report on a connection.
    Connection(Box<ConnectionSeen>),
}

/// An exchange, with everything that is known about its connection, process and host.
#[derive(Debug, Clone)]
pub struct ExchangeSeen {
    /// The host.
    pub host: Arc<Host>,
    /// The connection, as known when the exchange ended.
    pub conn: Arc<ConnFacts>,
    /// The process; none when it could not be determined.
    pub process: Option<Arc<Process>>,
    /// Number of the exchange on its connection, from 0. Together with the connection's uid it identifies the exchange.
    pub number: u64,
    /// The exchange.
    pub exchange: Exchange,
    /// When qtap observed it: the time of the event that completed it.
    pub observed: KernelTime,
}

/// State of a connection at a report (`connection.state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// First report of an open connection.
    Open,
    /// A later report of a connection that is still open.
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
    /// The process; none when it could not be determined.
    pub process: Option<Arc<Process>>,
    /// State.
    pub state: ConnState,
    /// Number of this report, from 0.
    pub part: u32,
    /// What the process sent at the socket.
    pub sent: Count,
    /// What it received at the socket.
    pub received: Count,
    /// Plaintext bytes that are in exchanges or were parsed as framing, both directions.
    pub captured_bytes: u64,
    /// Losses by reason, including [`super::loss::Loss::Unaccounted`] when the sums do not match.
    pub losses: Tally,
    /// Exchanges seen so far.
    pub requests: u64,
    /// Authority of the first request, for `connection.endpoint_id`.
    pub authority: Option<String>,
    /// HTTP version of the last exchange reported.
    pub version: Option<Version>,
    /// The last answer from a name server on this connection, when such answers are reported.
    pub dns: Option<Arc<DnsAnswer>>,
    /// Time of the report.
    pub observed: KernelTime,
}
