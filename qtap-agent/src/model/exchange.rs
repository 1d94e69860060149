//! A paired request and response; one variant per protocol.

use super::conn::Protocol;
use super::message::{Request, Response, Version};

/// An exchange of one of the known protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// An HTTP request and its response.
    Http(Box<HttpExchange>),
}

/// An HTTP request and its response, or whichever half of them was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpExchange {
    /// [`Protocol::Http1`], [`Protocol::Http2`] or [`Protocol::Grpc`].
    pub protocol: Protocol,
    /// Number of the exchange on its channel, from 0, in the order in which requests began (HTTP/2: by stream id).
    pub ordinal: u64,
    /// True when the probed process made the request, false when it answered it.
    pub outgoing: bool,
    /// Thread-group id of the process that sent or received the request (if no request was seen, the response).
    pub pid: u32,
    /// The request, or as much of it as was seen.
    pub request: Option<Request>,
    /// The response, or as much of it as was seen.
    pub response: Option<Response>,
    /// Why the exchange is incomplete; none for a whole one. An exchange with bodies cut at the body limit counts as whole.
    pub incomplete: Option<Incomplete>,
    /// Which part this is of an exchange reported in parts; none when it is reported whole, at its end.
    pub part: Option<Part>,
}

impl HttpExchange {
    /// The version of the request, else that of the response.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let response = self.response.as_ref().map(|response| response.version);
        self.request.as_ref().map(|request| request.version).or(response)
    }
}

/// One part of an exchange that is reported while it is still running, because it may never end (`text/event-stream`, gRPC streams,
/// WebSocket) or takes long. Every part has both heads, as far as they have arrived, and the body bytes since the previous part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of the part, from 0.
    pub number: u32,
    /// True for the last part: the exchange has ended. Only the last part sets `incomplete`.
    pub last: bool,
    /// True for a part of an exchange whose body is too large for memory: the parts are to be joined, and the exchange reported whole at
    /// its end.
    pub large: bool,
}

/// Why an exchange is not whole (`qtap.incomplete`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Incomplete {
    /// Capture began in the middle of it.
    JoinedLate,
    /// The connection closed before the response.
    NoResponse,
    /// A response whose request was not seen.
    NoRequest,
    /// The connection closed before the message was complete.
    ClosedEarly,
    /// The stream was reset (HTTP/2 RST_STREAM, GOAWAY).
    Reset,
    /// Bytes of it were lost; the messages say which ones.
    BytesLost,
    /// A message could not be parsed.
    Unparsed,
    /// A limit of the agent ended it.
    Limit,
    /// Header fields are unknown (HPACK entries sent before capture began).
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
