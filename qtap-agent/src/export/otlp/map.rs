//! A record under the names of the semantic conventions (1.44): in comes a [`Record`], out goes an [`Entry`] that borrows
//! from it, which `protobuf` and `json` write down. Attribute names stand here and nowhere else in the house. Facts that
//! are not known make no attribute; numbers are ints or doubles, never text. Nothing here allocates for a body.
//!
//! Two values need a form of their own:
//! * `artifact.missing` is an array of `first-last` strings, both ends included, as HTTP writes byte ranges (RFC 9110 §14.1.2).
//! * `artifact.data` is a string when the bytes are UTF-8, else bytes.

use std::borrow::Cow;

use crate::export::settings::ResourceSettings;
use crate::model::conn::TlsFacts;
use crate::model::event::Host;
use crate::model::process::{Pod, Process};
use crate::model::record::{
    Address, ArtifactLink, ArtifactRecord, ConnectionRecord, ObjectRecord, ObjectSummary, Origin, Record, RecordKind,
    Severity, TraceContext,
};

/// The conventions the names are of.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Name of the instrumentation scope.
pub const SCOPE: &str = "qtap";

/// A value, borrowed where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `stringValue`.
    Text(Cow<'a, str>),
    /// `boolValue`.
    Bool(bool),
    /// `intValue`.
    Int(i64),
    /// `doubleValue`.
    Double(f64),
    /// `bytesValue`.
    Bytes(&'a [u8]),
    /// `arrayValue` of strings.
    Texts(Vec<Cow<'a, str>>),
}

/// One attribute.
pub type Attribute<'a> = (Cow<'a, str>, Value<'a>);

/// What becomes one `LogRecord`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// `time_unix_nano`.
    pub time_unix_ns: u64,
    /// `observed_time_unix_nano`.
    pub observed_unix_ns: u64,
    /// `severity_number`.
    pub severity_number: u8,
    /// `severity_text`.
    pub severity_text: &'static str,
    /// `body`, a string.
    pub body: &'a str,
    /// `attributes`.
    pub attributes: Vec<Attribute<'a>>,
    /// `trace_id`, `span_id`, `flags`.
    pub trace: Option<TraceContext>,
    /// `event_name`.
    pub event_name: &'static str,
}

/// Attributes in the making.
struct Attributes<'a>(Vec<Attribute<'a>>);

impl<'a> Attributes<'a> {
    fn put(&mut self, key: &'static str, value: Value<'a>) {
        self.0.push((Cow::Borrowed(key), value));
    }

    fn text(&mut self, key: &'static str, value: &'a str) {
        self.put(key, Value::Text(Cow::Borrowed(value)));
    }

    fn text_if(&mut self, key: &'static str, value: Option<&'a str>) {
        if let Some(value) = value.filter(|text| !text.is_empty()) {
            self.text(key, value);
        }
    }

    /// Counts are below 2⁶³; should one not be, the largest int stands for it.
    fn int(&mut self, key: &'static str, value: u64) {
        self.put(key, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn int_if(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.int(key, value);
        }
    }

    fn double_if(&mut self, key: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.put(key, Value::Double(value));
        }
    }

    fn texts_if(&mut self, key: &'static str, values: &'a [String]) {
        if !values.is_empty() {
            self.put(key, Value::Texts(values.iter().map(|text| Cow::Borrowed(text.as_str())).collect()));
        }
    }

    fn address(&mut self, address_key: &'static str, port_key: &'static str, address: Option<&'a Address>) {
        match address {
            Some(Address::Inet(ip, port)) => {
                self.put(address_key, Value::Text(Cow::Owned(ip.to_string())));
                self.int(port_key, u64::from(*port));
            }
            Some(Address::Unix(path)) => self.text_if(address_key, Some(path)),
            None => {}
        }
    }
}

/// The log record that stands for `record`.
#[must_use]
pub fn entry(record: &Record) -> Entry<'_> {
    let (event_type, event_name) = names(&record.kind);
    let mut out = Attributes(Vec::with_capacity(48));
    out.text("log.record.uid", &record.uid);
    out.text("event.type", event_type);
    origin(&mut out, &record.origin, record.request_id.as_deref());
    match &record.kind {
        RecordKind::Connection(connection) => self::connection(&mut out, connection),
        RecordKind::Artifact(artifact) => self::artifact(&mut out, artifact),
        RecordKind::Object(object) => self::object(&mut out, object),
    }
    let (severity_number, severity_text) = severity(record.severity);
    Entry {
        time_unix_ns: record.time_unix_ns,
        observed_unix_ns: record.observed_unix_ns,
        severity_number,
        severity_text,
        body: &record.line,
        attributes: out.0,
        trace: record.trace,
        event_name,
    }
}

fn names(kind: &RecordKind) -> (&'static str, &'static str) {
    match kind {
        RecordKind::Connection(_) => ("connection", "qtap.connection"),
        RecordKind::Artifact(_) => ("artifact_record", "qtap.artifact_record"),
        RecordKind::Object(_) => ("object", "qtap.object"),
    }
}

/// Numbers and short names of the OpenTelemetry logs data model, "Severity Fields".
fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Trace => (1, "TRACE"),
        Severity::Debug => (5, "DEBUG"),
        Severity::Info => (9, "INFO"),
        Severity::Warn => (13, "WARN"),
        Severity::Error => (17, "ERROR"),
        Severity::Fatal => (21, "FATAL"),
    }
}

fn origin<'a>(out: &mut Attributes<'a>, origin: &'a Origin, request_id: Option<&'a str>) {
    out.text_if("connection.id", Some(&origin.connection_id));
    out.text_if("connection.request_id", request_id);
    out.text_if("connection.direction", origin.direction);
    out.text_if("network.transport", origin.transport);
    out.text_if("network.type", origin.network_type);
    out.text_if("network.protocol.name", origin.protocol_name);
    out.text_if("network.protocol.version", origin.protocol_version);
    out.text_if("connection.protocol", origin.protocol);
    out.address("client.address", "client.port", origin.client.as_ref());
    out.address("server.address", "server.port", origin.server.as_ref());
    out.address("network.peer.address", "network.peer.port", origin.peer.as_ref());
    out.address("network.local.address", "network.local.port", origin.local.as_ref());
    if let Some(process) = origin.process.as_deref() {
        self::process(out, process);
    }
    out.texts_if("tags", &origin.tags);
}

fn process<'a>(out: &mut Attributes<'a>, process: &'a Process) {
    out.int("process.pid", u64::from(process.pid));
    out.text_if("process.executable.path", Some(&process.executable_path));
    out.text_if("process.executable.name", Some(process.executable_name()));
    out.text_if("process.command", Some(&process.command));
    out.int("process.user.id", u64::from(process.user_id));
    out.text_if("process.user.name", process.user_name.as_deref());
    if let Some(container) = process.container.as_deref() {
        out.text_if("container.id", Some(&container.id));
        out.text_if("container.name", container.name.as_deref());
        out.text_if("container.image.name", container.image_name.as_deref());
    }
    if let Some(pod) = process.pod.as_deref() {
        out.text_if("k8s.pod.name", Some(&pod.name));
        out.text_if("k8s.namespace.name", Some(&pod.namespace));
        out.text_if("k8s.container.name", pod.container_name.as_deref());
    }
}

fn connection<'a>(out: &mut Attributes<'a>, connection: &'a ConnectionRecord) {
    out.text_if("connection.state", Some(connection.state));
    out.int("connection.part", u64::from(connection.part));
    out.put("connection.finalized", Value::Bool(connection.finalized));
    out.int("connection.bytes_sent", connection.bytes_sent);
    out.int("connection.bytes_received", connection.bytes_received);
    out.int("connection.captured_bytes", connection.captured_bytes);
    out.int("connection.lost_bytes", connection.lost_bytes);
    for (reason, bytes) in &connection.losses {
        let key = Cow::Owned(format!("connection.loss.{reason}"));
        out.0.push((key, Value::Int(i64::try_from(*bytes).unwrap_or(i64::MAX))));
    }
    out.put("connection.duration_ms", Value::Double(connection.duration_ms));
    out.int("connection.requests", connection.requests);
    out.text_if("connection.endpoint_id", connection.endpoint_id.as_deref());
    out.text_if("connection.binding", connection.binding);
    if let Some(tls) = &connection.tls {
        self::tls(out, tls);
    }
}

fn tls<'a>(out: &mut Attributes<'a>, tls: &'a TlsFacts) {
    out.text_if("tls.protocol.version", tls.version.as_deref());
    out.text_if("tls.next_protocol", tls.alpn.as_deref());
    out.text_if("connection.tls.sni", tls.sni.as_deref());
    out.put("connection.tls.inspected", Value::Bool(tls.inspected));
    out.text_if("connection.tls.library", tls.library.as_deref());
    out.text_if("connection.tls.uninspected_reason", tls.uninspected_reason.as_deref());
}

fn artifact<'a>(out: &mut Attributes<'a>, artifact: &'a ArtifactRecord) {
    out.text_if("http.request.method", artifact.method.as_deref());
    out.text_if("url.full", artifact.url_full.as_deref());
    out.text_if("url.scheme", artifact.url_scheme.as_deref());
    out.text_if("url.path", artifact.url_path.as_deref());
    out.text_if("url.query", artifact.url_query.as_deref());
    out.int_if("http.response.status_code", artifact.status.map(u64::from));
    out.text_if("user_agent.original", artifact.user_agent.as_deref());
    out.int_if("http.request.body.size", artifact.request_body_size);
    out.int_if("http.response.body.size", artifact.response_body_size);
    out.texts_if("http.request.header.content-type", &artifact.request_content_type);
    out.texts_if("http.response.header.content-type", &artifact.response_content_type);
    out.double_if("http.duration_ms", artifact.duration_ms);
    out.double_if("http.time_to_first_byte_ms", artifact.time_to_first_byte_ms);
    out.text_if("rpc.system.name", artifact.rpc_system);
    out.text_if("rpc.method", artifact.rpc_method.as_deref());
    out.text_if("rpc.status_code", artifact.rpc_status.as_deref());
    out.text_if("error.type", artifact.error_type.as_deref());
    out.text_if("qtap.incomplete", artifact.incomplete);
    link(out, "artifact.request.url", "artifact.request.digest", artifact.request_artifact.as_ref());
    link(out, "artifact.response.url", "artifact.response.digest", artifact.response_artifact.as_ref());
}

fn link<'a>(out: &mut Attributes<'a>, url: &'static str, digest: &'static str, link: Option<&'a ArtifactLink>) {
    if let Some(link) = link {
        out.text_if(url, Some(&link.url));
        out.text_if(digest, Some(&link.digest));
    }
}

fn object<'a>(out: &mut Attributes<'a>, object: &'a ObjectRecord) {
    out.text_if("artifact.type", Some(object.artifact_type));
    out.text_if("artifact.content_type", Some(object.content_type));
    out.int("artifact.size_bytes", object.data.len() as u64);
    out.text_if("artifact.digest", Some(&object.digest));
    out.put("artifact.truncated", Value::Bool(object.truncated));
    let missing: Vec<Cow<'a, str>> = object
        .missing
        .iter()
        .filter(|range| !range.is_empty())
        .map(|range| Cow::Owned(format!("{}-{}", range.start, range.end.saturating_sub(1))))
        .collect();
    if !missing.is_empty() {
        out.put("artifact.missing", Value::Texts(missing));
    }
    out.int_if("artifact.part", object.part.map(u64::from));
    summary(out, &object.summary);
    let data = match std::str::from_utf8(&object.data) {
        Ok(text) => Value::Text(Cow::Borrowed(text)),
        Err(_) => Value::Bytes(&object.data),
    };
    out.put("artifact.data", data);
}

fn summary<'a>(out: &mut Attributes<'a>, summary: &'a ObjectSummary) {
    out.text_if("artifact.summary.method", summary.method.as_deref());
    out.text_if("artifact.summary.host", summary.host.as_deref());
    out.text_if("artifact.summary.path", summary.path.as_deref());
    out.int_if("artifact.summary.status", summary.status.map(u64::from));
    out.double_if("artifact.summary.duration_ms", summary.duration_ms);
    out.text_if("artifact.summary.content_type", summary.content_type.as_deref());
    out.text_if("artifact.summary.process", summary.process.as_deref());
}

/// `service.name` for a record of `origin`: the configured text, with `{process}` and `{k8s}` filled in.
#[must_use]
pub fn service_name<'a>(settings: &'a ResourceSettings, origin: &Origin) -> Cow<'a, str> {
    let template = settings.service_name.as_str();
    if !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let process = origin.process.as_deref();
    let executable = process.map(Process::executable_name).filter(|name| !name.is_empty());
    let workload = process.and_then(|process| process.pod.as_deref()).and_then(pod_service).or(executable);
    // The value the OpenTelemetry specification gives a service that has no name.
    let unknown = "unknown_service";
    let filled =
        template.replace("{process}", executable.unwrap_or(unknown)).replace("{k8s}", workload.unwrap_or(unknown));
    Cow::Owned(filled)
}

/// A pod's service name in the order of "Service attributes" of the conventions for Kubernetes: annotation, well-known
/// labels, container name, pod name.
fn pod_service(pod: &Pod) -> Option<&str> {
    let annotation = pod.annotations.get("resource.opentelemetry.io/service.name");
    let label = |name: &str| pod.labels.get(name);
    annotation
        .or_else(|| label("app.kubernetes.io/instance"))
        .or_else(|| label("app.kubernetes.io/name"))
        .or(pod.container_name.as_ref())
        .map(String::as_str)
        .or(Some(pod.name.as_str()))
        .filter(|name| !name.is_empty())
}

/// Attributes of the resource; those that are configured win over those that are derived.
#[must_use]
pub fn resource<'a>(
    settings: &'a ResourceSettings,
    host: &'a Host,
    service_name: &'a str,
    version: &'a str,
) -> Vec<Attribute<'a>> {
    let mut out = Attributes(Vec::with_capacity(8 + settings.attributes.len()));
    out.text_if("service.name", Some(service_name));
    out.text_if("service.version", Some(version));
    out.text_if("deployment.environment.name", settings.environment.as_deref());
    out.text_if("environment", settings.environment.as_deref());
    out.text_if("host.name", Some(&host.name));
    out.text_if("host.id", Some(&host.id));
    out.text_if("os.type", Some(&host.os_type));
    for (key, value) in &settings.attributes {
        out.0.retain(|(name, _)| name != key);
        out.0.push((Cow::Borrowed(key), Value::Text(Cow::Borrowed(value))));
    }
    out.0
}
