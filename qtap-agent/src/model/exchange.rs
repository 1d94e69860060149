//! What two ends said to one another, paired: one variant a protocol.

use super::conn::Protocol;
use super::message::{Request, Response, Version};

/// An exchange of some protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// An HTTP request and its response.
    Http(Box<HttpExchange>),
}

/// An HTTP request and its response, or the half of it that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpExchange {
    /// [`Protocol::Http1`], [`Protocol::Http2`] or [`Protocol::Grpc`].
    pub protocol: Protocol,
    /// Number of the exchange on its channel, from 0, in the order in which requests began. (HTTP/2: by stream id.)
    pub ordinal: u64,
    /// True when the probed process made the request, false when it answered it.
    pub outgoing: bool,
    /// The process that sent (or received) the request, else the response: thread-group id.
    pub pid: u32,
    /// The request, or as much of it as was seen.
    pub request: Option<Request>,
    /// The response, or as much of it as was seen.
    pub response: Option<Response>,
    /// Why a part is missing; none for a whole exchange. Bodies cut at the body limit are whole exchanges.
    pub incomplete: Option<Incomplete>,
    /// Which piece of an exchange told in parts this is; none for one told whole, at its end.
    pub part: Option<Part>,
}

impl HttpExchange {
    /// The version of the request, else of the response.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let response = self.response.as_ref().map(|response| response.version);
        self.request.as_ref().map(|request| request.version).or(response)
    }
}

/// A piece of an exchange that is told while it runs: of one that may never end (`text/event-stream`, gRPC streams,
/// WebSocket), or takes long. Every part has both heads, as far as they came, and what of the bodies came since the part before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of the part, from 0.
    pub number: u32,
    /// True for the last one: the exchange has ended. `incomplete` is told with it alone.
    pub last: bool,
    /// True for a piece of an exchange with a body too large for memory: the pieces are to be put together, and the exchange
    /// told whole at its end.
    pub large: bool,
}

/// Why an exchange is not whole (`qtap.incomplete`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// The probes began to look in the middle of it.
    JoinedLate,
    /// The connection closed before the response.
    NoResponse,
    /// A response that no request was seen for.
    NoRequest,
    /// The connection closed before the message was complete.
    ClosedEarly,
    /// The stream was reset (HTTP/2 RST_STREAM, GOAWAY).
    Reset,
    /// Bytes of it were lost; the messages say which.
    BytesLost,
    /// A message could not be parsed.
    Unparsed,
    /// A bound of the agent ended it.
    Limit,
    /// Header fields are unknown (HPACK entries sent before the probes looked).
    FieldsUnknown,
    /// It was still running when the agent stopped.
    StillOpen,
}

impl Incomplete {
    /// The attribute's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Incomplete::JoinedLate => "joined_late",
            Incomplete::NoResponse => "no_response",
            Incomplete::NoRequest => "no_request",
            Incomplete::ClosedEarly => "closed_early",
            Incomplete::Reset => "reset",
            Incomplete::BytesLost => "bytes_lost",
            Incomplete::Unparsed => "unparsed",
            Incomplete::Limit => "limit",
            Incomplete::FieldsUnknown => "fields_unknown",
            Incomplete::StillOpen => "still_open",
        }
    }
}
