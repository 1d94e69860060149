//! gRPC in the terms of the semantic conventions: the path of the request → method, the `grpc-status` trailer → status name, the
//! `grpc-message` trailer → status message.

use super::cut::cut;
use crate::model::message::Response;

/// Maximum length of a reported status message in bytes: a server may put a stack trace there.
const MESSAGE: usize = 4096;

/// Names of the status codes, indexed by code (gRPC, "Status codes and their use in gRPC").
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

/// Whose fault a status is, according to the conventions for gRPC servers.
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

/// `rpc.status_code`: the name of the `grpc-status` in the trailers, or in the header fields of a trailers-only response; the
/// number if it has no name.
pub(super) fn status(response: &Response) -> Option<String> {
    let number = trailer(response, "grpc-status")?;
    let code: u32 = number.parse().ok()?;
    Some(STATUS.get(code as usize).map_or_else(|| code.to_string(), |name| (*name).to_owned()))
}

/// `rpc.status_message`: the percent-decoded `grpc-message` of the status. Invalid encodings are left as they are, as the
/// specification ("gRPC over HTTP2", Responses) demands.
pub(super) fn message(response: &Response) -> Option<String> {
    let encoded = trailer(response, "grpc-message")?;
    let message = percent_decoded(encoded.as_bytes());
    Some(cut(&message, MESSAGE).to_owned()).filter(|message| !message.is_empty())
}

/// A trailer; taken from the header fields if the response has no trailers (Trailers-Only).
fn trailer<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.trailers.get(name).or_else(|| response.fields.get(name))
}

fn percent_decoded(text: &[u8]) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, after)) = rest.split_first() {
        match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned())
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
    fn messages_are_percent_decoded_and_what_is_broken_stays() {
        for (encoded, wanted) in [
            ("Some message", "Some message"),
            ("user %22a%22 not found%0Atry again", "user \"a\" not found\ntry again"),
            ("\u{61}%E4%BD%A0%e5%A5%BD", "a你好"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%25", "%zz%"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decoded(encoded.as_bytes()), wanted);
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
