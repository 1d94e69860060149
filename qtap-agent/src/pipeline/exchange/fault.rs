//! Whether an exchange failed, and whose fault it was. In: an exchange, its HTTP status and gRPC status. Out: `error.type`, and the
//! severity of its records.

use super::rpc::{self, Fault};
use crate::model::exchange::{HttpExchange, Incomplete};
use crate::model::record::Severity;

/// `error.type`: the HTTP status of a server error, or of a client error if this process is the client; else the gRPC status if that
/// is an error; else how the exchange failed. What qtap failed to observe is reported only in `qtap.incomplete`.
pub(super) fn error_type(http: &HttpExchange, status: Option<u16>, rpc_status: Option<&str>) -> Option<String> {
    let is_error = |fault| fault == Fault::Server || (fault == Fault::Client && http.outgoing);
    let http_error = status.filter(|status| is_error(http_fault(*status))).map(|status| status.to_string());
    let rpc_error = || rpc_status.filter(|name| is_error(rpc::fault(name))).map(str::to_owned);
    let failure = || http.incomplete.filter(|reason| is_failure(*reason)).map(|reason| reason.name().to_owned());
    http_error.or_else(rpc_error).or_else(failure)
}

/// True when the exchange itself failed.
fn is_failure(reason: Incomplete) -> bool {
    match reason {
        Incomplete::NoResponse | Incomplete::ClosedEarly | Incomplete::Reset => true,
        Incomplete::JoinedLate
        | Incomplete::NoRequest
        | Incomplete::BytesLost
        | Incomplete::Unparsed
        | Incomplete::Limit
        | Incomplete::FieldsUnknown
        | Incomplete::StillOpen => false,
    }
}

pub(super) fn http_fault(status: u16) -> Fault {
    match status {
        500.. => Fault::Server,
        400..=499 => Fault::Client,
        0..=399 => Fault::None,
    }
}

/// ERROR: the server or the exchange failed. WARN: the client's request was refused. What qtap failed to observe is not a
/// failure of the exchange.
pub(super) fn severity(http: &HttpExchange, status: Option<u16>, rpc_status: Option<&str>) -> Severity {
    let failed = http.incomplete.is_some_and(is_failure);
    let http_fault = status.map_or(Fault::None, http_fault);
    let rpc_fault = rpc_status.map_or(Fault::None, rpc::fault);
    match (http_fault, rpc_fault) {
        _ if failed => Severity::Error,
        (Fault::Server, _) | (_, Fault::Server) => Severity::Error,
        (Fault::Client, _) | (_, Fault::Client) => Severity::Warn,
        (Fault::None, Fault::None) => Severity::Info,
    }
}
