//! Settings from the environment where the file is silent: the variables of the OpenTelemetry specification for an OTLP exporter of logs,
//! and those of proxies. In: the environment. Out: values by key; an invalid value is reported and ignored, as the
//! specification demands ("Environment Variable Specification"). Values of headers and proxies are never shown.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::Around;
use crate::config::place::Span;
use crate::config::shape;
use crate::export::settings::{Compression, OtlpProtocol, ProxySettings, Secret};

/// The variables of one store. `OTEL_EXPORTER_OTLP_LOGS_…` wins over `OTEL_EXPORTER_OTLP_…`; an empty variable counts as not set.
pub(crate) struct Variables<'a> {
    around: &'a Around<'a>,
    /// The place of the store: findings about a variable are reported there.
    at: Span,
}

/// A value, and the variable that it comes from.
pub(crate) struct Of<T> {
    pub(crate) variable: String,
    pub(crate) value: T,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(around: &'a Around<'a>, at: Span) -> Variables<'a> {
        Variables { around, at }
    }

    fn look(&self, variable: &str) -> Option<String> {
        (self.around.env)(variable).filter(|value| !value.trim().is_empty())
    }

    fn get(&self, name: &str) -> Option<Of<String>> {
        ["OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"].iter().find_map(|prefix| {
            let variable = format!("{prefix}{name}");
            let value = self.look(&variable)?.trim().to_owned();
            Some(Of { variable, value })
        })
    }

    fn unused<T>(&self, variable: &str, help: &str) -> Option<T> {
        self.around.out.note(
            self.at,
            format!("the value of `{variable}` is not used: it is none that it can have"),
            help,
        );
        None
    }

    /// The endpoint; true when it is the full URL for logs.
    pub(crate) fn endpoint(&self) -> Option<(Of<String>, bool)> {
        let found = self.get("ENDPOINT")?;
        let exact = found.variable.contains("_LOGS_");
        Some((found, exact))
    }

    /// The protocol.
    pub(crate) fn protocol(&self) -> Option<OtlpProtocol> {
        let found = self.get("PROTOCOL")?;
        match found.value.as_str() {
            "grpc" => Some(OtlpProtocol::Grpc),
            "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
            "http/json" => Some(OtlpProtocol::HttpJson),
            _ => self.unused(&found.variable, "one of `grpc`, `http/protobuf`, `http/json`"),
        }
    }

    /// The compression.
    pub(crate) fn compression(&self) -> Option<Compression> {
        let found = self.get("COMPRESSION")?;
        match found.value.as_str() {
            "gzip" => Some(Compression::Gzip),
            "zstd" => Some(Compression::Zstd),
            "none" => Some(Compression::None),
            _ => self.unused(&found.variable, "one of `gzip`, `zstd`, `none`"),
        }
    }

    /// The timeout; the variable is in milliseconds.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let found = self.get("TIMEOUT")?;
        let read = found.value.parse().ok().map(Duration::from_millis);
        match read.filter(|time| shape::TIMEOUT.contains(time)) {
            Some(time) => Some(time),
            None => self.unused(&found.variable, "milliseconds, 100 to 600000"),
        }
    }

    /// Whether a gRPC endpoint without a scheme is reached without TLS.
    pub(crate) fn insecure(&self) -> Option<bool> {
        let found = self.get("INSECURE")?;
        match found.value.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => self.unused(&found.variable, "`true` or `false`"),
        }
    }

    /// A certificate or key file: CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let found = self.get(name)?;
        let path = PathBuf::from(found.value);
        if let Err(error) = std::fs::metadata(&path) {
            let message = format!("the file that `{}` names cannot be read: {error}", found.variable);
            self.around.out.fault(self.at, message, "set it to a PEM file, or write the key of `tls`");
        }
        Some(path)
    }

    /// Reports that `name` is set without `other`, which belongs to it.
    pub(crate) fn halved(&self, name: &str, other: &str) {
        let Some(found) = self.get(name) else { return };
        let message = format!("`{}` is set without `OTEL_EXPORTER_OTLP_{other}`", found.variable);
        let help = "a client certificate and its key belong together: set both, or neither; or write `cert_file` and `key_file` of `tls`";
        self.around.out.fault(self.at, message, help);
    }

    /// Headers: `name=value`, separated by commas, in the format of W3C Baggage, percent-decoded.
    pub(crate) fn headers(&self) -> Option<Of<Vec<(String, Secret)>>> {
        let found = self.get("HEADERS")?;
        let mut out: Vec<(String, Secret)> = Vec::new();
        for pair in found.value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let read = pair.split_once('=').and_then(|(name, value)| {
                let name = percent_decode_str(name.trim()).decode_utf8().ok()?.into_owned();
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
                HeaderName::from_bytes(name.as_bytes()).ok()?;
                HeaderValue::from_str(&value).ok()?;
                Some((name, value))
            });
            let Some((name, value)) = read else {
                let help = "`name=value`, with commas between them, percent-encoded";
                self.unused::<()>(&found.variable, help);
                continue;
            };
            out.retain(|(earlier, _)| !earlier.eq_ignore_ascii_case(&name));
            out.push((name, Secret::text(value)));
        }
        Some(Of { variable: found.variable, value: out })
    }

    /// Proxies; upper-case variables win over lower-case ones.
    pub(crate) fn proxies(&self) -> ProxySettings {
        let get = |name: &str| self.look(name).or_else(|| self.look(&name.to_ascii_lowercase()));
        ProxySettings {
            http: get("HTTP_PROXY").map(Secret::text),
            https: get("HTTPS_PROXY").map(Secret::text),
            no_proxy: get("NO_PROXY").unwrap_or_default(),
        }
    }
}
