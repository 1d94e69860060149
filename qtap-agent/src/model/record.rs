//! Records: an observation after policy. This is what leaves the pipeline: redacted, and with object keys computed. Only the exporter's
//! map knows the names of attributes; here are the typed facts.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::dns::DnsAnswer;
use super::event::Host;
use super::process::Process;
use super::spool::SpoolFile;

/// One record for a store.
#[derive(Debug, Clone)]
pub struct Record {
    /// `log.record.uid`: the same on every resend and in every replay; 32 hexadecimal digits.
    pub uid: String,
    /// Kernel time of the event, as Unix nanoseconds.
    pub time_unix_ns: u64,
    /// When qtap observed it, as Unix nanoseconds.
    pub observed_unix_ns: u64,
    /// Severity level.
    pub severity: Severity,
    /// One human-readable line.
    pub line: String,
    /// The trace that the exchange belongs to, from its own headers.
    pub trace: Option<TraceContext>,
    /// What all records of one connection have in common.
    pub origin: Arc<Origin>,
    /// `connection.request_id`: set for records that belong to an exchange.
    pub request_id: Option<Arc<str>>,
    /// What is specific to the kind of record.
    pub kind: RecordKind,
}

/// What a record is about.
#[derive(Debug, Clone)]
pub enum RecordKind {
    /// `qtap.connection`.
    Connection(Box<ConnectionRecord>),
    /// `qtap.artifact_record`.
    Artifact(Box<ArtifactRecord>),
    /// `qtap.object`.
    Object(Box<ObjectRecord>),
    /// `qtap.request`.
    Request(Box<RequestRecord>),
    /// `qtap.issue`.
    Issue(Box<IssueRecord>),
}

/// Severity numbers of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 1.
    Trace,
    /// 5.
    Debug,
    /// 9.
    Info,
    /// 13.
    Warn,
    /// 17.
    Error,
    /// 21.
    Fatal,
}

/// W3C trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Id of the span that made the request.
    pub span_id: [u8; 8],
    /// Trace flags.
    pub flags: u8,
}

/// What all records of one connection have in common. Absent facts are none, never empty text.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The host (resource attributes).
    pub host: Arc<Host>,
    /// `connection.id`.
    pub connection_id: String,
    /// `connection.direction`: `ingress`, `egress-internal` or `egress-external`.
    pub direction: Option<&'static str>,
    /// `network.transport`: `tcp`, `udp` or `unix`.
    pub transport: Option<&'static str>,
    /// `network.type`: `ipv4` or `ipv6`.
    pub network_type: Option<&'static str>,
    /// `network.protocol.name`: `http` or `dns`.
    pub protocol_name: Option<&'static str>,
    /// `network.protocol.version`: `1.0`, `1.1`, `2`.
    pub protocol_version: Option<&'static str>,
    /// `connection.protocol`: `http1`, `http2`, `grpc`, `dns`, `tls`, else the transport.
    pub protocol: Option<&'static str>,
    /// `client.*`.
    pub client: Option<Address>,
    /// `server.*`.
    pub server: Option<Address>,
    /// `network.peer.*`.
    pub peer: Option<Address>,
    /// `network.local.*`.
    pub local: Option<Address>,
    /// The process, its container and pod.
    pub process: Option<Arc<Process>>,
    /// `tags`: `key:value`.
    pub tags: Vec<String>,
}

/// An address as it appears in records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IP address and port.
    Inet(IpAddr, u16),
    /// UNIX socket path.
    Unix(String),
}

/// `qtap.connection`.
#[derive(Debug, Clone, Default)]
pub struct ConnectionRecord {
    /// `connection.state`: `open`, `active`, `closed`.
    pub state: &'static str,
    /// `connection.part`.
    pub part: u32,
    /// `connection.finalized`.
    pub finalized: bool,
    /// `connection.bytes_sent`.
    pub bytes_sent: u64,
    /// `connection.bytes_received`.
    pub bytes_received: u64,
    /// `connection.captured_bytes`.
    pub captured_bytes: u64,
    /// `connection.lost_bytes`.
    pub lost_bytes: u64,
    /// `connection.loss.<reason>`: bytes by reason.
    pub losses: Vec<(&'static str, u64)>,
    /// `connection.duration_ms`.
    pub duration_ms: f64,
    /// `connection.requests`.
    pub requests: u64,
    /// `connection.sampled_out`: number of exchanges left out by a `sample` step; none when no such step left any out.
    pub sampled_out: Option<u64>,
    /// `connection.endpoint_id`.
    pub endpoint_id: Option<String>,
    /// TLS facts; none for a connection without TLS.
    pub tls: Option<super::conn::TlsFacts>,
    /// `connection.binding`; none for a connection without TLS.
    pub binding: Option<&'static str>,
    /// `dns.*`: the answer of a name server; none for any other connection.
    pub dns: Option<Arc<DnsAnswer>>,
}

/// `qtap.artifact_record`: one HTTP exchange.
#[derive(Debug, Clone, Default)]
pub struct ArtifactRecord {
    /// `http.request.method`.
    pub method: Option<Arc<str>>,
    /// `url.full`.
    pub url_full: Option<String>,
    /// `url.scheme`.
    pub url_scheme: Option<String>,
    /// `url.path`.
    pub url_path: Option<Arc<str>>,
    /// `url.query`.
    pub url_query: Option<String>,
    /// `http.response.status_code`.
    pub status: Option<u16>,
    /// `user_agent.original`.
    pub user_agent: Option<String>,
    /// `http.request.body.size`, as carried.
    pub request_body_size: Option<u64>,
    /// `http.response.body.size`, as carried.
    pub response_body_size: Option<u64>,
    /// `http.request.header.content-type`.
    pub request_content_type: Vec<String>,
    /// `http.response.header.content-type`.
    pub response_content_type: Vec<String>,
    /// Durations.
    pub timing: Timing,
    /// The facts about it as a call to a language model.
    pub gen_ai: Option<Box<super::gen_ai::GenAi>>,
    /// gRPC facts; none for any other exchange.
    pub rpc: Option<Rpc>,
    /// Message counts of the request, when it is a stream of messages.
    pub request_messages: Option<MessageSums>,
    /// Message counts of the response, when it is a stream of messages.
    pub response_messages: Option<MessageSums>,
    /// `http.request.header.tracestate`, only with a valid `traceparent`.
    pub tracestate: Vec<String>,
    /// `error.type`: the status code for 4xx (client) and 5xx, or the reason of an incomplete exchange.
    pub error_type: Option<String>,
    /// `qtap.incomplete`.
    pub incomplete: Option<&'static str>,
    /// `artifact.request.*`.
    pub request_artifact: Option<ArtifactLink>,
    /// `artifact.response.*`.
    pub response_artifact: Option<ArtifactLink>,
    /// `artifact.parts`: the number of parts it was reported in; none for an exchange reported whole.
    pub parts: Option<u32>,
}

/// Durations of an exchange in milliseconds, never negative; none where the start or the end was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// `http.duration_ms`: first byte of the request to last byte of the response.
    pub duration_ms: Option<f64>,
    /// `http.time_to_first_byte_ms`: last byte of the request to first byte of the response.
    pub time_to_first_byte_ms: Option<f64>,
    /// `http.request_transfer_ms`: first byte of the request to its last.
    pub request_transfer_ms: Option<f64>,
    /// `http.response_transfer_ms`: first byte of the response to its last.
    pub response_transfer_ms: Option<f64>,
}

/// gRPC facts from heads and trailers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rpc {
    /// `rpc.method`: `package.Service/Method`.
    pub method: Option<String>,
    /// `rpc.status_code`.
    pub status: Option<String>,
    /// `rpc.status_message`: `grpc-message`, percent-decoded.
    pub message: Option<String>,
}

/// Counts of the messages of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSums {
    /// The protocol that frames them; it decides the attribute names.
    pub of: MessageProtocol,
    /// `….message_count`.
    pub count: u64,
    /// `….message_bytes`: payloads as carried.
    pub bytes: u64,
    /// `….close_code`: status code of the Close frame (WebSocket only).
    pub close_code: Option<u16>,
}

/// Protocols whose messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageProtocol {
    /// `rpc.request.…`, `rpc.response.…`.
    Grpc,
    /// `websocket.request.…`, `websocket.response.…`.
    WebSocket,
}

/// Where an artifact can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactLink {
    /// URL: that of the object store, `otel://…` or `stdout://…`.
    pub url: String,
    /// `sha256:` and hexadecimal digits, of the artifact's data.
    pub digest: String,
}

/// `qtap.object`: an artifact.
#[derive(Debug, Clone, Default)]
pub struct ObjectRecord {
    /// `artifact.type`: `http_request`, `http_response`, `http_transaction`, `gen_ai_conversation`.
    pub artifact_type: &'static str,
    /// `artifact.content_type`: of the artifact itself, e.g. `application/json`.
    pub content_type: &'static str,
    /// `artifact.data`.
    pub data: Bytes,
    /// The data, when it is too large for memory; `data` is then empty.
    pub spooled: Option<Arc<SpoolFile>>,
    /// `artifact.digest`.
    pub digest: String,
    /// `artifact.truncated`.
    pub truncated: bool,
    /// `artifact.missing`: ranges of the body as carried.
    pub missing: Vec<Range<u64>>,
    /// `artifact.part`: number of the part, from 0; none for an artifact exported whole.
    pub part: Option<u32>,
    /// `artifact.summary.*`.
    pub summary: ObjectSummary,
}

impl ObjectRecord {
    /// Size of its data in bytes, in memory or on disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.spooled.as_ref().map_or(self.data.len() as u64, |file| file.bytes())
    }
}

/// `artifact.summary.*`. Values common to the artifacts of one exchange are shared, not copied.
#[derive(Debug, Clone, Default)]
pub struct ObjectSummary {
    /// Method.
    pub method: Option<Arc<str>>,
    /// Host.
    pub host: Option<Arc<str>>,
    /// Path.
    pub path: Option<Arc<str>>,
    /// Status.
    pub status: Option<u16>,
    /// Duration in milliseconds.
    pub duration_ms: Option<f64>,
    /// Content type of the message.
    pub content_type: Option<Arc<str>>,
    /// Executable name.
    pub process: Option<Arc<str>>,
}

/// `qtap.request`: who called what, without the secret that authorised it.
#[derive(Debug, Clone, Default)]
pub struct RequestRecord {
    /// `request.auth.type`; none for a request without credentials.
    pub auth_type: Option<&'static str>,
    /// `request.auth.source`: where in the request the credential was.
    pub auth_source: Option<String>,
    /// `request.auth.digest`: `sha256:` and hexadecimal digits, of the credential.
    pub auth_digest: Option<String>,
    /// `request.auth.claim.<name>`, of a JWT.
    pub claims: Vec<(String, String)>,
    /// `request.method`.
    pub method: Option<Arc<str>>,
    /// `request.host`, without port, lower case.
    pub host: Option<String>,
    /// `request.path`.
    pub path: Option<Arc<str>>,
    /// `request.path_template`: the path with its identifiers replaced.
    pub path_template: Option<String>,
    /// `request.status_code`.
    pub status: Option<u16>,
    /// `request.body_bytes`, as carried.
    pub body_bytes: Option<u64>,
    /// `request.response_body_bytes`, as carried.
    pub response_body_bytes: Option<u64>,
    /// `request.duration_ms`.
    pub duration_ms: Option<f64>,
}

/// `qtap.issue`: an exchange that matched a rule of `detect_errors`.
#[derive(Debug, Clone, Default)]
pub struct IssueRecord {
    /// `issue.name`.
    pub name: String,
    /// `issue.category`.
    pub category: Option<String>,
    /// `issue.reasons`: `rule`, `status`, `empty_body`, `duration`, `body`, `content_type`, `url`.
    pub reasons: Vec<&'static str>,
    /// `issue.method`.
    pub method: Option<Arc<str>>,
    /// `issue.url`.
    pub url: Option<String>,
    /// `issue.status_code`.
    pub status: Option<u16>,
    /// `issue.duration_ms`.
    pub duration_ms: Option<f64>,
    /// `issue.error_type`.
    pub error_type: Option<String>,
    /// `issue.request.*`.
    pub request_artifact: Option<ArtifactLink>,
    /// `issue.response.*`.
    pub response_artifact: Option<ArtifactLink>,
}
