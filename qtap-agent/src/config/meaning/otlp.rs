//! An otel store: endpoint, headers, authentication, TLS, and the bounds of what is sent. Says so where keys contradict one
//! another: what a transport can't do is a fault, what merely has no effect a note.

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::{Around, stores};
use crate::config::fields::{At, Given, twice};
use crate::config::file::services as typed;
use crate::config::file::services::{AuthKind, Protocol};
use crate::config::place::Span;
use crate::config::wording::{self, brief, listed};
use crate::export::settings::{
    Auth, BatchSettings, Compression, OtlpProtocol, OtlpSettings, RetrySettings, Secret, StoreKind, TlsSettings,
};
use crate::model::record::Severity;

/// What the store is, and the URL of an object in it.
pub(crate) fn settle(typed: &typed::Otel, around: &Around<'_>) -> (StoreKind, String) {
    let protocol = typed.protocol.as_ref().map_or(Protocol::Grpc, |at| at.value);
    let resource = stores::resource(&typed.resource);
    let json = typed.json.as_ref().is_some_and(|at| at.value);
    let (protocol, default) = match (protocol, json) {
        (Protocol::Stdout, _) => return (StoreKind::Stdout(resource), stores::STDOUT_URL.to_owned()),
        (Protocol::Grpc, _) => (OtlpProtocol::Grpc, "localhost:4317"),
        (Protocol::Http, false) => (OtlpProtocol::HttpProtobuf, "localhost:4318"),
        (Protocol::Http, true) => (OtlpProtocol::HttpJson, "localhost:4318"),
    };
    if protocol == OtlpProtocol::Grpc {
        http_only(typed, around);
    }
    let endpoint = typed.endpoint.as_ref().and_then(|endpoint| around.expanded(endpoint));
    let authority = endpoint.as_ref().and_then(|endpoint| authority(endpoint, around));
    if let (Some(endpoint), Some(authority)) = (&endpoint, &authority) {
        usual_port(endpoint.span, authority, protocol, around);
    }
    let url = format!("otel://{}/{{{{DIGEST}}}}", authority.as_ref().map_or(default, Authority::as_str));
    let endpoint = endpoint.map_or_else(|| default.to_owned(), |endpoint| endpoint.value);
    let settings = OtlpSettings {
        resource,
        tls: tls(typed.tls.as_ref(), &endpoint, around),
        endpoint,
        protocol,
        put: typed.put.as_ref().is_some_and(|at| at.value),
        compression: typed.compression.as_ref().map_or(Compression::Gzip, |at| at.value),
        headers: headers(&typed.headers, around),
        auth: typed.auth.as_ref().and_then(|typed| auth(typed, protocol, around)).unwrap_or_default(),
        timeout: typed.sending.timeout.as_ref().map_or(Duration::from_secs(10), |at| at.value),
        batch: batch(typed.batch.as_ref()),
        retry: retry(typed.sending.retry.as_ref(), around),
        workers: workers(&typed.sending, 2),
        min_severity: typed.min_severity.as_ref().map_or(Severity::Info, |at| at.value),
    };
    (StoreKind::Otlp(Box::new(settings)), url)
}

/// What gRPC has no choice in.
fn http_only(typed: &typed::Otel, around: &Around<'_>) {
    for (key, at) in [("encoding: json", &typed.json), ("method: PUT", &typed.put)] {
        if let Some(At { span, value: true }) = at {
            around.out.fault(*span, format!("`{key}` is not for gRPC"), "write `protocol: http`, or remove it");
        }
    }
}

/// Host and port of `host:port` or a URL.
pub(crate) fn authority(endpoint: &At<String>, around: &Around<'_>) -> Option<Authority> {
    let fault = |message: String, help: &str| {
        around.out.fault(endpoint.span, message, help);
        None
    };
    let rest = match endpoint.value.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => {
            return fault(
                format!("an endpoint cannot begin with `{}://`", brief(scheme)),
                "`http://` or `https://`, or `host:port`",
            );
        }
        None => &endpoint.value,
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return fault(
            "an endpoint with a user name in it".to_owned(),
            "write `auth: {type: basic, username: …, password: …}`",
        );
    }
    match host.parse::<Authority>() {
        // A port that is none, or more than 65535, leaves `port_u16` empty.
        Ok(parsed)
            if !parsed.host().is_empty() && (parsed.as_str() == parsed.host() || parsed.port_u16().is_some()) =>
        {
            Some(parsed)
        }
        _ => fault("this is no endpoint".to_owned(), "`host:port`, or a URL"),
    }
}

fn usual_port(at: Span, authority: &Authority, protocol: OtlpProtocol, around: &Around<'_>) {
    match (authority.port_u16(), protocol) {
        (Some(4318), OtlpProtocol::Grpc) => {
            around.out.note(
                at,
                "4318 is the usual port of OTLP over HTTP, and this store speaks gRPC",
                "`protocol: http`, or port 4317",
            );
        }
        (Some(4317), OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson) => {
            around.out.note(
                at,
                "4317 is the usual port of OTLP over gRPC, and this store speaks HTTP",
                "`protocol: grpc`, or port 4318",
            );
        }
        _ => {}
    }
}

/// Headers, each once: their names are the same in either case (RFC 9110 §5.1).
fn headers(typed: &[(At<String>, At<Given>)], around: &Around<'_>) -> Vec<(String, Secret)> {
    for (index, (name, _)) in typed.iter().enumerate() {
        let same = |(earlier, _): &&(At<String>, At<Given>)| earlier.value.eq_ignore_ascii_case(&name.value);
        if let Some((first, _)) = typed.iter().take(index).find(same) {
            twice(&name.value, name.span, first.span, around.out);
        }
    }
    typed.iter().filter_map(|(name, value)| header(name, value, around)).collect()
}

/// A header that can be sent (RFC 9110 §5.1, §5.5).
fn header(name: &At<String>, value: &At<Given>, around: &Around<'_>) -> Option<(String, Secret)> {
    if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
        around.out.fault(
            name.span,
            format!("`{}` cannot be the name of a header", wording::name(&name.value)),
            "letters, digits and `-`",
        );
    }
    let secret = around.secret(value)?;
    if HeaderValue::from_str(&secret.reveal()).is_err() {
        around.out.fault(value.span, "this cannot be the value of a header", "one line of visible ASCII characters");
    }
    Some((name.value.clone(), secret))
}

fn auth(typed: &typed::Auth, protocol: OtlpProtocol, around: &Around<'_>) -> Option<Auth> {
    let kind = typed.kind.as_ref()?;
    let needed: &[&str] = match kind.value {
        AuthKind::None => &[],
        AuthKind::Basic => &["username", "password"],
        AuthKind::Header | AuthKind::Query => &["name", "value"],
        AuthKind::Oauth2 => {
            around.out.fault(
                kind.span,
                "`oauth2` is not supported yet by this version",
                "one of `none`, `basic`, `header`, `query`",
            );
            return None;
        }
    };
    let given = [
        ("username", typed.username.as_ref().map(|at| at.span)),
        ("password", typed.password.as_ref().map(|at| at.span)),
        ("name", typed.name.as_ref().map(|at| at.span)),
        ("value", typed.value.as_ref().map(|at| at.span)),
    ];
    for (name, span) in given {
        match (needed.contains(&name), span) {
            (true, None) => {
                around.out.fault(typed.span, format!("`{name}` is missing in `auth`"), "this type needs it")
            }
            (false, Some(span)) if kind.value != AuthKind::None => {
                around.out.fault(
                    span,
                    format!("`{name}` has no meaning for this type of `auth`"),
                    format!("its keys: {}", listed(needed)),
                );
            }
            (true, Some(_)) | (false, _) => {}
        }
    }
    let name = || typed.name.as_ref().map(|at| at.value.clone());
    match kind.value {
        AuthKind::None | AuthKind::Oauth2 => None,
        AuthKind::Basic => Some(Auth::Basic {
            username: typed.username.as_ref()?.value.clone(),
            password: around.secret(typed.password.as_ref()?)?,
        }),
        AuthKind::Header => {
            let (name, value) = header(typed.name.as_ref()?, typed.value.as_ref()?, around)?;
            Some(Auth::Header { name, value })
        }
        AuthKind::Query if protocol == OtlpProtocol::Grpc => {
            around.out.fault(kind.span, "gRPC has no query parameters", "write `protocol: http`, or `type: header`");
            None
        }
        AuthKind::Query => Some(Auth::Query { name: name()?, value: around.secret(typed.value.as_ref()?)? }),
    }
}

/// TLS of any store; `endpoint` with its scheme tells whether it speaks it by itself.
pub(crate) fn tls(typed: Option<&typed::Tls>, endpoint: &str, around: &Around<'_>) -> TlsSettings {
    let Some(typed) = typed else { return TlsSettings::default() };
    let file = |path: &Option<At<String>>| path.as_ref().map(|path| around.file(path));
    let settings = TlsSettings {
        enabled: typed.enabled.as_ref().is_some_and(|at| at.value),
        ca_file: file(&typed.ca_file),
        cert_file: file(&typed.cert_file),
        key_file: file(&typed.key_file),
        server_name: typed.server_name.as_ref().map(|at| at.value.clone()),
        insecure_skip_verify: typed.insecure_skip_verify.as_ref().is_some_and(|at| at.value),
    };
    match (&typed.cert_file, &typed.key_file) {
        (Some(cert), None) => {
            around.out.fault(cert.span, "a `cert_file` without a `key_file`", "a client certificate needs its key")
        }
        (None, Some(key)) => {
            around.out.fault(key.span, "a `key_file` without a `cert_file`", "a client key needs its certificate")
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let first = [&typed.ca_file, &typed.cert_file, &typed.server_name].into_iter().flatten().next();
    if let Some(first) = first.filter(|_| !settings.enabled && !endpoint.starts_with("https://")) {
        around.out.note(
            first.span,
            "this has no effect: the store is sent to without TLS",
            "`enabled: true`, or an `https://` endpoint",
        );
    }
    settings
}

fn batch(typed: Option<&typed::Batch>) -> BatchSettings {
    let default = BatchSettings::default();
    let whole = |at: &At<u64>| usize::try_from(at.value).unwrap_or(usize::MAX);
    BatchSettings {
        max_records: typed.and_then(|typed| typed.max_records.as_ref()).map_or(default.max_records, whole),
        max_bytes: typed.and_then(|typed| typed.max_bytes.as_ref()).map_or(default.max_bytes, whole),
        interval: typed.and_then(|typed| typed.interval.as_ref()).map_or(default.interval, |at| at.value),
    }
}

/// Retries of any store.
pub(crate) fn retry(typed: Option<&typed::Retry>, around: &Around<'_>) -> RetrySettings {
    let default = RetrySettings::default();
    let Some(typed) = typed else { return default };
    let given = |at: &Option<At<Duration>>, default| at.as_ref().map_or(default, |at| at.value);
    let initial = given(&typed.initial, default.initial);
    let max = given(&typed.max, default.max.max(initial));
    if let Some(at) = typed.max.as_ref().filter(|_| max < initial) {
        around.out.fault(at.span, "`max` is shorter than `initial`", "the first wait is the shortest");
    }
    RetrySettings { initial, max, max_elapsed: given(&typed.max_elapsed, default.max_elapsed) }
}

/// Requests under way at once, for any store.
pub(crate) fn workers(typed: &typed::Sending, default: usize) -> usize {
    typed.workers.as_ref().and_then(|at| usize::try_from(at.value).ok()).unwrap_or(default)
}
