//! gRPC as the semantic conventions name it: the path of the request → method, the `grpc-status` trailer → status name.

use crate::model::message::Response;

/// Status codes in order of their numbers (gRPC, "Status codes and their use in gRPC").
const STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Whose fault a status is, as the conventions for gRPC servers have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Client,
    Server,
}

/// `rpc.method`: `package.Service/Method`, from a path of the form `/package.Service/Method`.
pub(super) fn method(path: &str) -> Option<String> {
    let name = path.strip_prefix('/')?;
    name.split_once('/').filter(|(service, method)| !service.is_empty() && !method.is_empty())?;
    Some(name.to_owned())
}

/// `rpc.status_code`: the name of the `grpc-status` in the trailers, or in the header fields of a trailers-only answer; the
/// number where it has no name.
pub(super) fn status(response: &Response) -> Option<String> {
    let number = response.trailers.get("grpc-status").or_else(|| response.fields.get("grpc-status"))?;
    let code: u32 = number.parse().ok()?;
    Some(STATUS.get(code as usize).map_or_else(|| code.to_string(), |name| (*name).to_owned()))
}

/// Whose fault the status `name` is.
pub(super) fn fault(name: &str) -> Fault {
    match name {
        "OK" => Fault::None,
        "UNKNOWN" | "DEADLINE_EXCEEDED" | "UNIMPLEMENTED" | "INTERNAL" | "UNAVAILABLE" | "DATA_LOSS" => Fault::Server,
        _ => Fault::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_service_and_method() {
        assert_eq!(method("/helloworld.Greeter/SayHello").as_deref(), Some("helloworld.Greeter/SayHello"));
        for no in ["", "/", "/a", "/a/", "//b", "a/b"] {
            assert_eq!(method(no), None, "{no}");
        }
    }

    #[test]
    fn faults_follow_the_conventions_for_servers() {
        assert_eq!(fault("OK"), Fault::None);
        assert_eq!(fault("NOT_FOUND"), Fault::Client);
        assert_eq!(fault("UNAVAILABLE"), Fault::Server);
        assert_eq!(fault("42"), Fault::Client);
    }
}
