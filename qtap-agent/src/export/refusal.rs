//! Why a store did not accept something, classified by what can be done about it, in words that an operator can act on. In: answers and
//! errors of every transport. Out: a [`Refusal`]. The classification follows the OTLP specification ("Failures") and extends it: what the
//! specification calls permanent but is the store's own fault (5xx, INTERNAL, UNKNOWN) is retried. A refusal never holds payload or
//! header values.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::Code;

use super::lookup::LookupError;
use super::proxy::ProxyError;

/// Maximum length of a server's own text that is shown, in bytes.
const SERVER_TEXT_BYTES: usize = 200;

/// What can be done about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The data is refused, and waiting does not help. Fewer records may pass; a single one never will.
    Split,
    /// An operator must change the settings, here or at the store. The data is kept.
    Reconfigure,
    /// Wait, then send the same again; for the given time if the store named one.
    Wait(Option<Duration>),
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// What can be done.
    pub remedy: Remedy,
    /// Why, and how to fix it.
    pub why: String,
    /// True when the store only asks for less: however often it does, the data is not to blame.
    pub throttled: bool,
}

impl Refusal {
    /// A refusal with this remedy.
    pub fn of(remedy: Remedy, why: impl Into<String>) -> Refusal {
        Refusal { remedy, why: why.into(), throttled: false }
    }

    /// The store refused the data.
    pub fn split(why: impl Into<String>) -> Refusal {
        Refusal::of(Remedy::Split, why)
    }

    /// The store refused this client, for its settings or credentials.
    pub fn reconfigure(why: impl Into<String>) -> Refusal {
        Refusal::of(Remedy::Reconfigure, why)
    }

    /// A temporary failure.
    pub fn wait(why: impl Into<String>) -> Refusal {
        Refusal::of(Remedy::Wait(None), why)
    }

    /// An HTTP answer that is not 2xx. `text` is the server's message, `after` its Retry-After.
    #[must_use]
    pub fn http(status: http::StatusCode, text: &str, after: Option<Duration>) -> Refusal {
        let cure = match status.as_u16() {
            300..=399 => "; it redirects elsewhere: give that address as the endpoint",
            401 => "; credentials are missing or wrong: see auth and headers",
            403 => "; the credentials may not write here",
            404 => "; is /v1/logs missing from the endpoint, or doubled?",
            405 => "; is the endpoint's path right, and does it want another method (POST, PUT)?",
            407 => "; a proxy wants credentials",
            413 => "; the request was larger than the server takes: see batch.max_bytes",
            415 => "; the server does not take this encoding or compression: see encoding and compression",
            426 | 505 => "; is it a gRPC port (protocol: grpc)?",
            429 => "; the store asks for less",
            _ => "",
        };
        let why = format!("{status}{}{cure}", said(text));
        let remedy = match status.as_u16() {
            401..=407 | 421 | 426 | 451 | 505 => Remedy::Reconfigure,
            408 | 425 | 429 | 500..=599 => Remedy::Wait(after),
            400..=499 => Remedy::Split,
            _ => Remedy::Reconfigure,
        };
        Refusal { remedy, why, throttled: status == http::StatusCode::TOO_MANY_REQUESTS }
    }

    /// A 2xx answer that is no OTLP server's, and so no promise to keep the data. `media_type` is its Content-Type.
    #[must_use]
    pub fn stranger(status: http::StatusCode, media_type: &str) -> Refusal {
        let said = said(media_type);
        Refusal::reconfigure(format!(
            "{status}{said}, but the answer is not OTLP's; is it a login page, a portal, or another server that answers at this endpoint?"
        ))
    }

    /// A gRPC status. `after` is the delay of its RetryInfo.
    #[must_use]
    pub fn grpc(code: Code, text: &str, after: Option<Duration>) -> Refusal {
        let cure = match code {
            Code::Unauthenticated => "; credentials are missing or wrong: see auth and headers",
            Code::PermissionDenied => "; the credentials may not write here",
            Code::Unimplemented | Code::NotFound => {
                "; there is no OTLP logs service at this endpoint: is it an HTTP port (protocol: http, 4318)?"
            }
            Code::ResourceExhausted | Code::OutOfRange if too_large(text) => "; see batch.max_bytes",
            _ => "",
        };
        let why = format!("{}{}{cure}", grpc_name(code), said(text));
        let remedy = match code {
            Code::ResourceExhausted | Code::OutOfRange if too_large(text) && after.is_none() => Remedy::Split,
            Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => Remedy::Split,
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound => {
                Remedy::Reconfigure
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Remedy::Wait(after),
        };
        Refusal { remedy, why, throttled: code == Code::ResourceExhausted }
    }

    /// No answer: the connection could not be made, or it broke.
    #[must_use]
    pub fn transport(error: &(dyn Error + 'static), target: &str) -> Refusal {
        let why = explain(error, target);
        // As with 407, an operator must act.
        if why.ends_with(PROXY_AUTH) { Refusal::reconfigure(why) } else { Refusal::wait(why) }
    }
}

/// The server's text in parentheses, as [`shortened`].
pub(super) fn said(text: &str) -> String {
    let text = shortened(text);
    if text.is_empty() { text } else { format!(" ({text})") }
}

/// A server's text on one line, truncated to [`SERVER_TEXT_BYTES`].
pub(super) fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    let mut end = line.len().min(SERVER_TEXT_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    match line.get(..end) {
        Some("") | None => String::new(),
        Some(cut) => format!("{cut}{}", if end < line.len() { "…" } else { "" }),
    }
}

/// True for the phrases with which gRPC servers in several languages say that a message exceeds their limit.
fn too_large(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["larger than max", "too large", "exceeds maximum", "message length", "message size"]
        .iter()
        .any(|w| text.contains(w))
}

/// The name of a code as in the gRPC documentation.
fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A transport error in words: of the first known cause in the chain, else of the last cause.
#[must_use]
pub fn explain(error: &(dyn Error + 'static), target: &str) -> String {
    let mut last = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(words) = known(cause, target) {
            return words;
        }
        last = cause.to_string();
        next = cause.source();
    }
    format!("{target}: {last}")
}

fn known(cause: &(dyn Error + 'static), target: &str) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        // `source()` skips the error that an io::Error wraps, so look at it explicitly.
        let inner = error.get_ref().and_then(|inner| known(inner, target));
        return inner.or_else(|| io_words(error, target));
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls_words(tls, target));
    }
    if let Some(lookup) = cause.downcast_ref::<LookupError>() {
        return Some(lookup_words(lookup, target));
    }
    if let Some(proxy) = cause.downcast_ref::<ProxyError>() {
        return Some(proxy_words(proxy, target));
    }
    let text = cause.to_string();
    let words = PROTOCOL_WORDS.iter().find(|(said, _)| text.contains(said))?.1;
    Some(format!("{target} {words}"))
}

/// Messages of hyper and h2 when the peer speaks another protocol, and what they mean. Which of the first three occurs depends on
/// whether the server's first bytes arrive before the request is written.
const PROTOCOL_WORDS: [(&str, &str); 11] = [
    ("received fatal alert", ALERT),
    ("proxy authorization required", PROXY_AUTH),
    ("tunnel error: unsuccessful", PROXY_NO),
    ("tunnel error: unexpected end of file", PROXY_CLOSED),
    ("invalid HTTP version", NOT_HTTP1),
    ("invalid HTTP status-line", NOT_HTTP1),
    ("unexpected message from connection", NOT_HTTP1),
    ("connection closed", CLOSED),
    // Closed between the handshake and the request: with TLS 1.3 a server refuses a client certificate only then.
    ("connection was not ready", CLOSED),
    ("frame with invalid size", NOT_GRPC),
    ("invalid preface", NOT_GRPC),
];
const ALERT: &str =
    "ended the TLS handshake: does it want a client certificate (tls.cert_file), or another one than it is shown?";
const PROXY_AUTH: &str =
    "is not connected: the proxy wants a user name and password (HTTPS_PROXY=http://user:password@host:port)";
const PROXY_NO: &str = "is not connected: the proxy refuses, or cannot reach it";
const PROXY_CLOSED: &str = "is not connected: the proxy closed the connection without an answer";
const CLOSED: &str = "closed the connection without an answer: does the port speak this protocol, does it want TLS (tls.enabled: true) or a client certificate (tls.cert_file)?";
const NOT_HTTP1: &str =
    "does not answer in HTTP/1: is it a gRPC port (protocol: grpc, 4317) or a TLS port (tls.enabled: true)?";
const NOT_GRPC: &str =
    "does not speak gRPC in the clear: is it an HTTP port (protocol: http, 4318) or a TLS port (tls.enabled: true)?";

fn lookup_words(error: &LookupError, target: &str) -> String {
    match error {
        LookupError::Silent(_) | LookupError::Trouble(_) => {
            format!("{target}: {error}: is it reachable from here (/etc/resolv.conf)?")
        }
        LookupError::Unknown(_) => format!("{target}: {error}: is the endpoint spelt right?"),
    }
}

fn io_words(error: &io::Error, target: &str) -> Option<String> {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nothing listens there",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => return Some(format!("{target} {CLOSED}")),
        io::ErrorKind::TimedOut => "no answer in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it",
        io::ErrorKind::PermissionDenied => "this host does not permit the connection (firewall?)",
        _ => return None,
    };
    Some(format!("{target}: {words}"))
}

fn proxy_words(error: &ProxyError, target: &str) -> String {
    match error {
        ProxyError::Refused(_, 407) => format!("{target} {PROXY_AUTH}"),
        ProxyError::Refused(_, code) => format!("{target} {PROXY_NO} ({code})"),
        ProxyError::Closed(_) => format!("{target} {PROXY_CLOSED}"),
        ProxyError::Unreadable(_) | ProxyError::Malformed(_) | ProxyError::Scheme(..) => format!("{target}: {error}"),
    }
}

/// webpki's name for a CA certificate that is used as a server certificate.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

fn tls_words(error: &rustls::Error, target: &str) -> String {
    use rustls::CertificateError as Certificate;
    let words = match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "its certificate is signed by an authority that is not trusted here: name it in tls.ca_file".to_owned()
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => "its certificate is for another name: see tls.server_name".to_owned(),
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: is this host's clock right?".to_owned()
        }
        // rustls has no variant of its own for this; `openssl req -x509` creates such certificates.
        rustls::Error::InvalidCertificate(Certificate::Other(other)) if format!("{other:?}").contains(CA_AS_SERVER) => {
            "its certificate is an authority's own (CA:TRUE), which stands for no server: make it one with CA:FALSE, or have \
             that authority sign another; or set tls.insecure_skip_verify"
                .to_owned()
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS: set tls.enabled: false or use http:// if that is meant".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            return format!("{target} {ALERT} ({alert:?})");
        }
        rustls::Error::NoApplicationProtocol => "it does not offer HTTP/2 over TLS, which gRPC needs".to_owned(),
        other => format!("TLS: {other}"),
    };
    format!("{target}: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(code: u16) -> Remedy {
        Refusal::http(http::StatusCode::from_u16(code).expect("a status"), "", None).remedy
    }

    /// OTLP specification, "OTLP/HTTP Response", and the contract's table of bad input: data, client, or temporary.
    #[test]
    fn http_statuses_are_sorted() {
        for code in [400, 413, 415, 422] {
            assert_eq!(http(code), Remedy::Split, "{code}");
        }
        for code in [301, 401, 403, 404, 405] {
            assert_eq!(http(code), Remedy::Reconfigure, "{code}");
        }
        for code in [408, 429, 500, 502, 503, 504] {
            assert_eq!(http(code), Remedy::Wait(None), "{code}");
        }
    }

    /// OTLP specification, "OTLP/gRPC Response": the retryable codes.
    #[test]
    fn grpc_codes_are_sorted() {
        let remedy = |code| Refusal::grpc(code, "", None).remedy;
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
            Code::ResourceExhausted,
        ] {
            assert_eq!(remedy(code), Remedy::Wait(None), "{code:?}");
        }
        assert_eq!(remedy(Code::InvalidArgument), Remedy::Split);
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented] {
            assert_eq!(remedy(code), Remedy::Reconfigure, "{code:?}");
        }
    }

    /// Messages of grpc-go, grpc-core and tonic for a message beyond their limit.
    #[test]
    fn too_large_is_told_from_throttled() {
        let remedy = |code, text| Refusal::grpc(code, text, None).remedy;
        let exhausted = Code::ResourceExhausted;
        assert_eq!(remedy(exhausted, "grpc: received message larger than max (5242880 vs. 4194304)"), Remedy::Split);
        assert_eq!(remedy(exhausted, "CLIENT: Received message larger than max (5 vs. 4)"), Remedy::Split);
        let tonic = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes";
        assert_eq!(remedy(Code::OutOfRange, tonic), Remedy::Split);
        assert_eq!(remedy(exhausted, "too many requests"), Remedy::Wait(None));
    }

    #[test]
    fn a_servers_words_are_shown_short_and_on_one_line() {
        let refusal = Refusal::http(http::StatusCode::BAD_REQUEST, &format!("bad\n{}", "é".repeat(300)), None);
        assert!(refusal.why.starts_with("400 Bad Request (bad é"), "{}", refusal.why);
        assert!(refusal.why.len() < 260 && !refusal.why.contains('\n'), "{}", refusal.why);
    }

    /// The verifier's error for a self-signed CA certificate that a server presents as its own.
    fn self_signed_authority() -> rustls::Error {
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::{ServerName, UnixTime};
        let mut params = rcgen::CertificateParams::new(vec!["h".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(own.der().clone()).expect("a root");
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(std::sync::Arc::new(roots), provider);
        let verifier = verifier.build().expect("a verifier");
        let name = ServerName::try_from("h").expect("a name");
        verifier.verify_server_cert(own.der(), &[], &name, &[], UnixTime::now()).expect_err("no server's")
    }

    #[test]
    fn causes_are_found_inside_the_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let refused = Outer(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(explain(&refused, "h:1"), "h:1: connection refused: nothing listens there");
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let tls = Outer(io::Error::other(unknown));
        assert!(explain(&tls, "h:1").contains("tls.ca_file"));
        let own = self_signed_authority();
        assert!(explain(&Outer(io::Error::other(own)), "h:1").contains("(CA:TRUE)"));
        let nested = Outer(io::Error::other(io::Error::other(rustls::Error::NoApplicationProtocol)));
        assert!(explain(&nested, "h:1").contains("HTTP/2 over TLS"));
    }
}
