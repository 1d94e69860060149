//! An otel store: endpoint, TLS, and the limits of what is sent; where the file is silent, the environment decides. Reports keys that
//! contradict one another: what a transport can't do is a fault, what merely has no effect is a note.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;

use super::variables::Variables;
use super::{Around, auth, stores};
use crate::config::fields::At;
use crate::config::file::services as typed;
use crate::config::file::services::Protocol;
use crate::config::place::Span;
use crate::config::wording::brief;
use crate::export::settings::{
    BatchSettings, Compression, Limits, OtlpProtocol, OtlpSettings, RetrySettings, Secret, StoreKind, TlsSettings,
};
use crate::model::record::Severity;

/// The lowest limit on attribute values: a digest has 71 bytes.
const LEAST_VALUE_BYTES: u64 = 128;

/// The store's settings, and the URL of an object in it. `at` is the store's place in the file.
pub(crate) fn settle(typed: &typed::Otel, at: Span, around: &Around<'_>) -> (StoreKind, String) {
    let variables = Variables::new(around, at);
    let resource = stores::resource(&typed.resource);
    let least = typed.min_severity.as_ref().map(|at| at.value);
    let Some(protocol) = protocol(typed, &variables) else {
        return (StoreKind::Stdout(resource, least.unwrap_or(Severity::Trace)), stores::STDOUT_URL.to_owned());
    };
    if protocol == OtlpProtocol::Grpc {
        http_only(typed, around);
    }
    let endpoint = endpoint(typed, protocol, &variables, at, around);
    let url = format!("otel://{}/{{{{DIGEST}}}}", endpoint.authority);
    let limits = limits(typed.limits.as_ref(), around);
    let settings = OtlpSettings {
        resource,
        tls: otlp_tls(typed.tls.as_ref(), protocol, &endpoint, &variables, around),
        endpoint: endpoint.text,
        endpoint_is_exact: endpoint.exact,
        protocol,
        put: typed.put.as_ref().is_some_and(|at| at.value),
        compression: typed
            .compression
            .as_ref()
            .map(|at| at.value)
            .or_else(|| variables.compression())
            .unwrap_or(Compression::Gzip),
        headers: headers(typed, &variables, around),
        auth: typed.auth.as_ref().and_then(|typed| auth::auth(typed, protocol, around)).unwrap_or_default(),
        proxy: variables.proxies(),
        timeout: typed
            .sending
            .timeout
            .as_ref()
            .map(|at| at.value)
            .or_else(|| variables.timeout())
            .unwrap_or(Duration::from_secs(10)),
        batch: batch(typed.batch.as_ref(), &limits),
        retry: retry(typed.sending.retry.as_ref(), around),
        workers: workers(&typed.sending, 2),
        min_severity: least.unwrap_or(Severity::Info),
        limits,
    };
    (StoreKind::Otlp(Box::new(settings)), url)
}

/// Transport and encoding, each from the file, else from the environment; `None`: the stdout protocol.
fn protocol(typed: &typed::Otel, variables: &Variables<'_>) -> Option<OtlpProtocol> {
    let told = if typed.protocol.is_none() || typed.json.is_none() { variables.protocol() } else { None };
    let protocol = match (typed.protocol.as_ref().map(|at| at.value), told) {
        (Some(protocol), _) => protocol,
        (None, Some(OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson)) => Protocol::Http,
        (None, Some(OtlpProtocol::Grpc) | None) => Protocol::Grpc,
    };
    let json = typed.json.as_ref().map_or(told == Some(OtlpProtocol::HttpJson), |at| at.value);
    match (protocol, json) {
        (Protocol::Stdout, _) => None,
        (Protocol::Grpc, _) => Some(OtlpProtocol::Grpc),
        (Protocol::Http, false) => Some(OtlpProtocol::HttpProtobuf),
        (Protocol::Http, true) => Some(OtlpProtocol::HttpJson),
    }
}

/// The store's endpoint, and where it was configured.
struct Endpoint {
    text: String,
    exact: bool,
    authority: String,
    /// True: the endpoint comes from an environment variable.
    told: bool,
}

fn endpoint(
    typed: &typed::Otel,
    protocol: OtlpProtocol,
    variables: &Variables<'_>,
    at: Span,
    around: &Around<'_>,
) -> Endpoint {
    let default = match protocol {
        OtlpProtocol::Grpc => "localhost:4317",
        OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => "localhost:4318",
    };
    let told = if typed.endpoint.is_none() { variables.endpoint() } else { None };
    let exact = told.as_ref().is_some_and(|(_, exact)| *exact) && protocol != OtlpProtocol::Grpc;
    let from_variable = told.map(|(found, _)| found);
    let given = match &from_variable {
        Some(found) if parsed(&found.value).is_err() => {
            let message = format!("the value of `{}` is no endpoint", found.variable);
            around.out.fault(at, message, "a URL with `http://` or `https://`; or write `endpoint`");
            None
        }
        Some(found) => Some(At { span: at, value: found.value.clone() }),
        None => typed.endpoint.as_ref().and_then(|endpoint| around.expanded(endpoint)),
    };
    let authority = given.as_ref().and_then(|endpoint| authority(endpoint, around));
    if let (Some(endpoint), Some(authority)) = (&given, &authority) {
        usual_port(endpoint.span, authority, protocol, around);
    }
    Endpoint {
        text: given.map_or_else(|| default.to_owned(), |endpoint| endpoint.value),
        exact,
        authority: authority.as_ref().map_or(default, Authority::as_str).to_owned(),
        told: from_variable.is_some(),
    }
}

/// The file's headers, else those of the environment. The latter may be meant for another endpoint than the one the file names.
fn headers(typed: &typed::Otel, variables: &Variables<'_>, around: &Around<'_>) -> Vec<(String, Secret)> {
    if let Some(typed) = &typed.headers {
        return auth::headers(typed, around);
    }
    let Some(found) = variables.headers() else { return Vec::new() };
    if let Some(endpoint) = typed.endpoint.as_ref().filter(|_| !found.value.is_empty()) {
        let message = format!("the headers of `{}` are sent to this endpoint of the file", found.variable);
        around.out.note(endpoint.span, message, "write `headers: {}` if they are meant for another");
    }
    found.value
}

fn limits(typed: Option<&typed::Limits>, around: &Around<'_>) -> Limits {
    let default = Limits::default();
    let Some(typed) = typed else { return default };
    let given = |at: &Option<At<u64>>, default: usize| {
        at.as_ref().map_or(default, |at| usize::try_from(at.value).unwrap_or(usize::MAX))
    };
    if let Some(at) = typed.attribute_value_bytes.as_ref().filter(|at| (1..LEAST_VALUE_BYTES).contains(&at.value)) {
        let message = format!("`attribute_value_bytes` cannot be {}: digests and ids are longer", at.value);
        around.out.fault(at.span, message, format!("0, or at least {LEAST_VALUE_BYTES}"));
    }
    Limits {
        attribute_value_bytes: given(&typed.attribute_value_bytes, default.attribute_value_bytes),
        record_attributes: given(&typed.record_attributes, default.record_attributes),
        batch_records: given(&typed.batch_records, default.batch_records),
        batch_bytes: given(&typed.batch_bytes, default.batch_bytes),
    }
}

/// Reports keys that are not available with gRPC.
fn http_only(typed: &typed::Otel, around: &Around<'_>) {
    for (key, at) in [("encoding: json", &typed.json), ("method: PUT", &typed.put)] {
        if let Some(At { span, value: true }) = at {
            around.out.fault(*span, format!("`{key}` is not for gRPC"), "write `protocol: http`, or remove it");
        }
    }
}

/// Host and port of `host:port` or a URL; reports a fault for anything else.
pub(crate) fn authority(endpoint: &At<String>, around: &Around<'_>) -> Option<Authority> {
    match parsed(&endpoint.value) {
        Ok(authority) => Some(authority),
        Err((message, help)) => {
            around.out.fault(endpoint.span, message, help);
            None
        }
    }
}

/// Host and port; or what is wrong, and the correction.
fn parsed(endpoint: &str) -> Result<Authority, (String, &'static str)> {
    let rest = match endpoint.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => {
            let message = format!("an endpoint cannot begin with `{}://`", brief(scheme));
            return Err((message, "`http://` or `https://`, or `host:port`"));
        }
        None => endpoint,
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        let help = "write `auth: {type: basic, username: …, password: …}`";
        return Err(("an endpoint with a user name in it".to_owned(), help));
    }
    match host.parse::<Authority>() {
        // `port_u16` is empty for a port that is not a number, or is above 65535.
        Ok(parsed)
            if !parsed.host().is_empty() && (parsed.as_str() == parsed.host() || parsed.port_u16().is_some()) =>
        {
            Ok(parsed)
        }
        _ => Err(("this is no endpoint".to_owned(), "`host:port`, or a URL")),
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

/// TLS of an OTLP store.
fn otlp_tls(
    typed: Option<&typed::Tls>,
    protocol: OtlpProtocol,
    endpoint: &Endpoint,
    variables: &Variables<'_>,
    around: &Around<'_>,
) -> TlsSettings {
    let told = told_of_tls(protocol, endpoint, variables);
    let spoken = endpoint.text.starts_with("https://");
    let settings = tls(typed, told, spoken, |variable| variables.file(variable), around);
    let in_the_file = typed.is_some_and(|typed| typed.cert_file.is_some() || typed.key_file.is_some());
    if (settings.enabled || spoken) && !in_the_file {
        match (&settings.cert_file, &settings.key_file) {
            (Some(_), None) => variables.halved("CLIENT_CERTIFICATE", "CLIENT_KEY"),
            (None, Some(_)) => variables.halved("CLIENT_KEY", "CLIENT_CERTIFICATE"),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    settings
}

/// TLS of any store: enabled as the file says, else as `told`. `spoken`: the endpoint's scheme requires TLS, whatever else is
/// written. `variable` looks up the files that the file does not name.
pub(crate) fn tls(
    typed: Option<&typed::Tls>,
    told: bool,
    spoken: bool,
    variable: impl Fn(&str) -> Option<PathBuf>,
    around: &Around<'_>,
) -> TlsSettings {
    let file = |path: Option<&Option<At<String>>>, name: &str| match path {
        Some(Some(path)) => Some(around.file(path)),
        Some(None) | None => variable(name),
    };
    let settings = TlsSettings {
        enabled: typed.and_then(|typed| typed.enabled.as_ref()).map_or(told, |at| at.value),
        ca_file: file(typed.map(|typed| &typed.ca_file), "CERTIFICATE"),
        cert_file: file(typed.map(|typed| &typed.cert_file), "CLIENT_CERTIFICATE"),
        key_file: file(typed.map(|typed| &typed.key_file), "CLIENT_KEY"),
        server_name: typed.and_then(|typed| typed.server_name.as_ref()).map(|at| at.value.clone()),
        insecure_skip_verify: typed.and_then(|typed| typed.insecure_skip_verify.as_ref()).is_some_and(|at| at.value),
    };
    let Some(typed) = typed else { return settings };
    match (&typed.cert_file, &typed.key_file) {
        (Some(cert), None) if settings.key_file.is_none() => {
            around.out.fault(cert.span, "a `cert_file` without a `key_file`", "a client certificate needs its key")
        }
        (None, Some(key)) if settings.cert_file.is_none() => {
            around.out.fault(key.span, "a `key_file` without a `cert_file`", "a client key needs its certificate")
        }
        (Some(_), Some(_)) | (None, None) | (Some(_), None) | (None, Some(_)) => {}
    }
    let first = [&typed.ca_file, &typed.cert_file, &typed.server_name].into_iter().flatten().next();
    if let Some(first) = first.filter(|_| !settings.enabled && !spoken) {
        around.out.note(
            first.span,
            "this has no effect: the store is sent to without TLS",
            "`enabled: true`, or an `https://` endpoint",
        );
    }
    settings
}

/// Whether the environment enables TLS. It has a say only for a gRPC endpoint without a scheme: by INSECURE, and when that is not set,
/// TLS is on if the endpoint itself comes from the environment.
fn told_of_tls(protocol: OtlpProtocol, endpoint: &Endpoint, variables: &Variables<'_>) -> bool {
    if protocol != OtlpProtocol::Grpc || endpoint.text.contains("://") {
        return false;
    }
    variables.insecure().map_or(endpoint.told, |insecure| !insecure)
}

/// Limits of a batch, within what the store accepts; an eighth of the bytes is left for what surrounds the records.
fn batch(typed: Option<&typed::Batch>, limits: &Limits) -> BatchSettings {
    let default = BatchSettings::default();
    let whole = |at: &At<u64>| usize::try_from(at.value).unwrap_or(usize::MAX);
    BatchSettings {
        max_records: typed
            .and_then(|typed| typed.max_records.as_ref())
            .map_or(default.max_records, whole)
            .min(limits.batch_records),
        max_bytes: typed
            .and_then(|typed| typed.max_bytes.as_ref())
            .map_or(default.max_bytes, whole)
            .min(limits.batch_bytes - limits.batch_bytes / 8),
        interval: typed.and_then(|typed| typed.interval.as_ref()).map_or(default.interval, |at| at.value),
    }
}

/// Retry settings of any store.
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

/// Number of concurrent requests, for any store.
pub(crate) fn workers(typed: &typed::Sending, default: usize) -> usize {
    typed.workers.as_ref().and_then(|at| usize::try_from(at.value).ok()).unwrap_or(default)
}
