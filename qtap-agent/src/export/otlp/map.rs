//! A record under the names of the semantic conventions (1.44): in comes a [`Record`], out goes an [`Entry`] that borrows
//! from it, which `protobuf` and `json` write down. Attribute names stand here and nowhere else in the house. Facts that
//! are not known make no attribute; numbers are ints or doubles, never text. Nothing here allocates for a body.
//!
//! Two values need a form of their own:
//! * `artifact.missing` is an array of `first-last` strings, both ends included, as HTTP writes byte ranges (RFC 9110 §14.1.2).
//! * `artifact.data` is a string when the bytes are UTF-8, else bytes.

mod fewer;

use std::borrow::Cow;

pub(super) use fewer::{CHUNK_ATTRIBUTES, chunk, importance, truncated, without_data};

use crate::export::settings::ResourceSettings;
use crate::model::conn::TlsFacts;
use crate::model::event::Host;
use crate::model::process::{Pod, Process};
use crate::model::record::{
    Address, ArtifactLink, ArtifactRecord, ConnectionRecord, MessageProtocol, MessageSums, ObjectRecord, ObjectSummary,
    Origin, Record, RecordKind, Rpc, Severity, TraceContext,
};

/// The conventions the names are of.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Identity of a record.
const UID: &str = "log.record.uid";

/// The attribute that holds an artifact.
pub(super) const DATA: &str = "artifact.data";

/// The attribute that names those that were cut.
pub(super) const TRUNCATED: &str = "qtap.truncated_attributes";

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

/// What becomes one `LogRecord`, but for the attributes of its origin, which are the same for many records.
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
    /// `dropped_attributes_count`.
    pub dropped_attributes: u32,
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

/// The log record that stands for `record`; [`origin`] tells its other attributes.
#[must_use]
pub fn entry(record: &Record) -> Entry<'_> {
    let (event_type, event_name) = names(&record.kind);
    let mut out = Attributes(Vec::with_capacity(24));
    out.text(UID, &record.uid);
    out.text("event.type", event_type);
    out.text_if("connection.request_id", record.request_id.as_deref());
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
        dropped_attributes: 0,
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

/// The attributes that all records of one origin share.
#[must_use]
pub fn origin(origin: &Origin) -> Vec<Attribute<'_>> {
    let mut out = Attributes(Vec::with_capacity(32));
    out.text_if("connection.id", Some(&origin.connection_id));
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
        self::process(&mut out, process);
    }
    out.texts_if("tags", &origin.tags);
    out.0
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
    out.double_if("http.duration_ms", artifact.timing.duration_ms);
    out.double_if("http.time_to_first_byte_ms", artifact.timing.time_to_first_byte_ms);
    out.double_if("http.request_transfer_ms", artifact.timing.request_transfer_ms);
    out.double_if("http.response_transfer_ms", artifact.timing.response_transfer_ms);
    if let Some(rpc) = &artifact.rpc {
        self::rpc(out, rpc);
    }
    messages(out, artifact.request_messages.as_ref(), &REQUEST_MESSAGES);
    messages(out, artifact.response_messages.as_ref(), &RESPONSE_MESSAGES);
    out.texts_if("http.request.header.tracestate", &artifact.tracestate);
    out.text_if("error.type", artifact.error_type.as_deref());
    out.text_if("qtap.incomplete", artifact.incomplete);
    link(out, "artifact.request.url", "artifact.request.digest", artifact.request_artifact.as_ref());
    link(out, "artifact.response.url", "artifact.response.digest", artifact.response_artifact.as_ref());
    out.int_if("artifact.parts", artifact.parts.map(u64::from));
}

fn rpc<'a>(out: &mut Attributes<'a>, rpc: &'a Rpc) {
    out.text("rpc.system.name", "grpc");
    out.text_if("rpc.method", rpc.method.as_deref());
    out.text_if("rpc.status_code", rpc.status.as_deref());
    out.text_if("rpc.status_message", rpc.message.as_deref());
}

/// Names of what is counted of the messages of one direction.
struct MessageNames {
    rpc: [&'static str; 2],
    websocket: [&'static str; 3],
}

const REQUEST_MESSAGES: MessageNames = MessageNames {
    rpc: ["rpc.request.message_count", "rpc.request.message_bytes"],
    websocket: ["websocket.request.message_count", "websocket.request.message_bytes", "websocket.request.close_code"],
};

const RESPONSE_MESSAGES: MessageNames = MessageNames {
    rpc: ["rpc.response.message_count", "rpc.response.message_bytes"],
    websocket: [
        "websocket.response.message_count",
        "websocket.response.message_bytes",
        "websocket.response.close_code",
    ],
};

fn messages(out: &mut Attributes<'_>, sums: Option<&MessageSums>, names: &MessageNames) {
    let Some(sums) = sums else { return };
    match sums.of {
        MessageProtocol::Grpc => {
            let [count, bytes] = names.rpc;
            out.int(count, sums.count);
            out.int(bytes, sums.bytes);
        }
        MessageProtocol::WebSocket => {
            let [count, bytes, close_code] = names.websocket;
            out.int(count, sums.count);
            out.int(bytes, sums.bytes);
            out.int_if(close_code, sums.close_code.map(u64::from));
        }
    }
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
    out.int("artifact.size_bytes", object.size());
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
    out.put(DATA, data);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::process::Container;
    use crate::model::record::Timing;

    fn record(origin: Origin, kind: RecordKind) -> Record {
        Record {
            uid: "u".into(),
            time_unix_ns: 1,
            observed_unix_ns: 2,
            severity: Severity::Warn,
            line: "line".into(),
            trace: None,
            origin: Arc::new(origin),
            request_id: None,
            kind,
        }
    }

    fn shown(record: &Record) -> Vec<String> {
        listed(&entry(record).attributes)
    }

    /// `key=value` with the type's letter before the value, in order.
    fn listed(attributes: &[Attribute<'_>]) -> Vec<String> {
        let one = |(key, value): &Attribute<'_>| match value {
            Value::Text(text) => format!("{key}=s:{text}"),
            Value::Bool(truth) => format!("{key}=b:{truth}"),
            Value::Int(number) => format!("{key}=i:{number}"),
            Value::Double(number) => format!("{key}=d:{number}"),
            Value::Bytes(bytes) => format!("{key}=x:{bytes:?}"),
            Value::Texts(texts) => format!("{key}=a:{}", texts.join("|")),
        };
        attributes.iter().map(one).collect()
    }

    fn full_origin() -> Origin {
        let container = Container {
            id: "c1".into(),
            name: Some("web".into()),
            image_name: Some("nginx".into()),
            ..Container::default()
        };
        let pod = Pod {
            name: "web-0".into(),
            namespace: "shop".into(),
            container_name: Some("app".into()),
            ..Pod::default()
        };
        let process = Process {
            pid: 7,
            executable_path: "/usr/sbin/nginx".into(),
            command: "nginx -g x".into(),
            user_id: 33,
            user_name: Some("www-data".into()),
            container: Some(Arc::new(container)),
            pod: Some(Arc::new(pod)),
            ..Process::default()
        };
        Origin {
            connection_id: "id".into(),
            direction: Some("ingress"),
            transport: Some("tcp"),
            network_type: Some("ipv6"),
            protocol_name: Some("http"),
            protocol_version: Some("2"),
            protocol: Some("grpc"),
            client: Some(Address::Inet("2001:db8::1".parse().unwrap(), 5)),
            server: Some(Address::Inet("2001:db8::2".parse().unwrap(), 443)),
            peer: Some(Address::Inet("2001:db8::1".parse().unwrap(), 5)),
            local: Some(Address::Unix("/run/x.sock".into())),
            process: Some(Arc::new(process)),
            tags: vec!["a:b".into(), "c:d".into()],
            ..Origin::default()
        }
    }

    #[test]
    fn what_is_not_known_makes_no_attribute() {
        let record = record(Origin::default(), RecordKind::Artifact(Box::default()));
        assert_eq!(shown(&record), ["log.record.uid=s:u", "event.type=s:artifact_record"]);
        assert_eq!(origin(&record.origin), []);
    }

    #[test]
    fn an_origin_in_full() {
        let mut record = record(full_origin(), RecordKind::Artifact(Box::default()));
        record.request_id = Some("r".into());
        let own = ["log.record.uid=s:u", "event.type=s:artifact_record", "connection.request_id=s:r"];
        assert_eq!(shown(&record), own);
        let want = [
            "connection.id=s:id",
            "connection.direction=s:ingress",
            "network.transport=s:tcp",
            "network.type=s:ipv6",
            "network.protocol.name=s:http",
            "network.protocol.version=s:2",
            "connection.protocol=s:grpc",
            "client.address=s:2001:db8::1",
            "client.port=i:5",
            "server.address=s:2001:db8::2",
            "server.port=i:443",
            "network.peer.address=s:2001:db8::1",
            "network.peer.port=i:5",
            "network.local.address=s:/run/x.sock",
            "process.pid=i:7",
            "process.executable.path=s:/usr/sbin/nginx",
            "process.executable.name=s:nginx",
            "process.command=s:nginx -g x",
            "process.user.id=i:33",
            "process.user.name=s:www-data",
            "container.id=s:c1",
            "container.name=s:web",
            "container.image.name=s:nginx",
            "k8s.pod.name=s:web-0",
            "k8s.namespace.name=s:shop",
            "k8s.container.name=s:app",
            "tags=a:a:b|c:d",
        ];
        assert_eq!(listed(&origin(&record.origin)), want);
    }

    #[test]
    fn a_connection_in_full() {
        let tls = TlsFacts {
            version: Some("1.3".into()),
            alpn: Some("h2".into()),
            sni: Some("example.com".into()),
            inspected: true,
            library: Some("libssl.so.3".into()),
            uninspected_reason: None,
        };
        let connection = ConnectionRecord {
            state: "closed",
            part: 2,
            finalized: true,
            bytes_sent: 1,
            bytes_received: 2,
            captured_bytes: 3,
            lost_bytes: 4,
            losses: vec![("ring_full", 3), ("unaccounted", 1)],
            duration_ms: 1.5,
            requests: 5,
            endpoint_id: Some("example.com".into()),
            tls: Some(tls),
            binding: Some("nested"),
        };
        let record = record(Origin::default(), RecordKind::Connection(Box::new(connection)));
        let want = [
            "log.record.uid=s:u",
            "event.type=s:connection",
            "connection.state=s:closed",
            "connection.part=i:2",
            "connection.finalized=b:true",
            "connection.bytes_sent=i:1",
            "connection.bytes_received=i:2",
            "connection.captured_bytes=i:3",
            "connection.lost_bytes=i:4",
            "connection.loss.ring_full=i:3",
            "connection.loss.unaccounted=i:1",
            "connection.duration_ms=d:1.5",
            "connection.requests=i:5",
            "connection.endpoint_id=s:example.com",
            "connection.binding=s:nested",
            "tls.protocol.version=s:1.3",
            "tls.next_protocol=s:h2",
            "connection.tls.sni=s:example.com",
            "connection.tls.inspected=b:true",
            "connection.tls.library=s:libssl.so.3",
        ];
        assert_eq!(shown(&record), want);
    }

    #[test]
    fn an_artifact_in_full() {
        let link = |name: &str| Some(ArtifactLink { url: format!("u-{name}"), digest: format!("d-{name}") });
        let artifact = ArtifactRecord {
            method: Some("POST".into()),
            url_full: Some("https://h/p?q".into()),
            url_scheme: Some("https".into()),
            url_path: Some("/p".into()),
            url_query: Some("q".into()),
            status: Some(503),
            user_agent: Some("ua".into()),
            request_body_size: Some(0),
            response_body_size: Some(9),
            request_content_type: vec!["text/plain".into()],
            response_content_type: vec!["a/b".into(), "c/d".into()],
            timing: Timing {
                duration_ms: Some(2.5),
                time_to_first_byte_ms: Some(0.0),
                request_transfer_ms: Some(1.0),
                response_transfer_ms: Some(0.5),
            },
            rpc: Some(Rpc {
                method: Some("p.S/M".into()),
                status: Some("OK".into()),
                message: Some("all is well".into()),
            }),
            request_messages: Some(MessageSums { of: MessageProtocol::Grpc, count: 1, bytes: 7, close_code: None }),
            response_messages: Some(MessageSums {
                of: MessageProtocol::WebSocket,
                count: 2,
                bytes: 8,
                close_code: Some(1000),
            }),
            tracestate: vec!["a=1".into()],
            error_type: Some("503".into()),
            incomplete: Some("gap"),
            request_artifact: link("req"),
            response_artifact: link("res"),
            parts: Some(3),
        };
        let record = record(Origin::default(), RecordKind::Artifact(Box::new(artifact)));
        let want = [
            "log.record.uid=s:u",
            "event.type=s:artifact_record",
            "http.request.method=s:POST",
            "url.full=s:https://h/p?q",
            "url.scheme=s:https",
            "url.path=s:/p",
            "url.query=s:q",
            "http.response.status_code=i:503",
            "user_agent.original=s:ua",
            "http.request.body.size=i:0",
            "http.response.body.size=i:9",
            "http.request.header.content-type=a:text/plain",
            "http.response.header.content-type=a:a/b|c/d",
            "http.duration_ms=d:2.5",
            "http.time_to_first_byte_ms=d:0",
            "http.request_transfer_ms=d:1",
            "http.response_transfer_ms=d:0.5",
            "rpc.system.name=s:grpc",
            "rpc.method=s:p.S/M",
            "rpc.status_code=s:OK",
            "rpc.status_message=s:all is well",
            "rpc.request.message_count=i:1",
            "rpc.request.message_bytes=i:7",
            "websocket.response.message_count=i:2",
            "websocket.response.message_bytes=i:8",
            "websocket.response.close_code=i:1000",
            "http.request.header.tracestate=a:a=1",
            "error.type=s:503",
            "qtap.incomplete=s:gap",
            "artifact.request.url=s:u-req",
            "artifact.request.digest=s:d-req",
            "artifact.response.url=s:u-res",
            "artifact.response.digest=s:d-res",
            "artifact.parts=i:3",
        ];
        assert_eq!(shown(&record), want);
        let entry = entry(&record);
        assert_eq!(
            (entry.event_name, entry.severity_number, entry.severity_text),
            ("qtap.artifact_record", 13, "WARN")
        );
        assert_eq!((entry.body, entry.time_unix_ns, entry.observed_unix_ns), ("line", 1, 2));
    }

    #[test]
    fn an_object_in_full() {
        let object = |data: &'static [u8]| ObjectRecord {
            artifact_type: "http_request",
            content_type: "message/http",
            data: Bytes::from_static(data),
            spooled: None,
            digest: "sha256:00".into(),
            truncated: true,
            missing: vec![0..10, 5..5, 100..101],
            part: Some(1),
            summary: ObjectSummary {
                method: Some("GET".into()),
                host: Some("h".into()),
                path: Some("/".into()),
                status: Some(200),
                duration_ms: Some(0.5),
                content_type: Some("text/html".into()),
                process: Some("curl".into()),
            },
        };
        let want = [
            "log.record.uid=s:u",
            "event.type=s:object",
            "artifact.type=s:http_request",
            "artifact.content_type=s:message/http",
            "artifact.size_bytes=i:2",
            "artifact.digest=s:sha256:00",
            "artifact.truncated=b:true",
            "artifact.missing=a:0-9|100-100",
            "artifact.part=i:1",
            "artifact.summary.method=s:GET",
            "artifact.summary.host=s:h",
            "artifact.summary.path=s:/",
            "artifact.summary.status=i:200",
            "artifact.summary.duration_ms=d:0.5",
            "artifact.summary.content_type=s:text/html",
            "artifact.summary.process=s:curl",
        ];
        for (data, value) in [("é".as_bytes(), "artifact.data=s:é"), (&[0xff, 0xfe], "artifact.data=x:[255, 254]")] {
            let shown = shown(&record(Origin::default(), RecordKind::Object(Box::new(object(data)))));
            assert_eq!(shown[..want.len()], want);
            assert_eq!(shown[want.len()..], [value]);
        }
    }

    #[test]
    fn a_service_may_be_named_per_record() {
        let settings = |name: &str| ResourceSettings { service_name: name.into(), ..ResourceSettings::default() };
        let named = |name: &str, origin: &Origin| service_name(&settings(name), origin).into_owned();
        let mut origin = full_origin();
        assert_eq!(named("shop", &origin), "shop");
        assert_eq!(named("edge-{process}", &origin), "edge-nginx");
        assert_eq!(named("{k8s}", &origin), "app");
        let mut process = (**origin.process.as_ref().unwrap()).clone();
        let mut pod = (**process.pod.as_ref().unwrap()).clone();
        pod.labels.insert("app.kubernetes.io/name".into(), "front".into());
        process.pod = Some(Arc::new(pod));
        origin.process = Some(Arc::new(process));
        assert_eq!(named("{k8s}", &origin), "front");
        assert_eq!(named("{process}", &Origin::default()), "unknown_service");
    }

    #[test]
    fn configured_resource_attributes_win() {
        let settings = ResourceSettings {
            service_name: "s".into(),
            environment: Some("prod".into()),
            attributes: vec![("host.name".into(), "mine".into()), ("zone".into(), "a".into())],
        };
        let host = Host { name: "h".into(), id: "i".into(), os_type: "linux".into(), ..Host::default() };
        let list = resource(&settings, &host, "s", "1.0");
        let keys: Vec<&str> = list.iter().map(|(key, _)| key.as_ref()).collect();
        let want = [
            "service.name",
            "service.version",
            "deployment.environment.name",
            "environment",
            "host.id",
            "os.type",
            "host.name",
            "zone",
        ];
        assert_eq!(keys, want);
        assert_eq!(list[6].1, Value::Text("mine".into()));
    }
}
