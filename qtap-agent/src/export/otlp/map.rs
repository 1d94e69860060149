//! Maps a record to the names of the semantic conventions (1.44). In: a [`Record`]. Out: an [`Entry`] that borrows from it, for `protobuf` and
//! `json` to encode. Attribute names occur only here, in one file for each kind of record. An unknown fact gives no attribute; numbers are
//! ints or doubles, never text. Nothing here allocates for a body.
//!
//! Two values have a special form:
//! * `artifact.missing` is an array of `first-last` strings, both ends included, as in HTTP byte ranges (RFC 9110 §14.1.2).
//! * `artifact.data` is a string when the bytes are UTF-8, else bytes.

mod artifact;
mod connection;
mod dns;
mod fewer;
mod gen_ai;
mod issue;
mod object;
mod origin;
mod request;
mod resource;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use fewer::{CHUNK_ATTRIBUTES, chunk, importance, truncated, without_data};
pub use origin::origin;
pub use resource::{resource, service_name};

use crate::model::record::{Address, Record, RecordKind, Severity, TraceContext};

/// The version of the conventions that the names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Unique id of a record.
const UID: &str = "log.record.uid";

/// The attribute that holds the data of an artifact.
pub(super) const DATA: &str = "artifact.data";

/// The attribute that lists the truncated attributes.
pub(super) const TRUNCATED: &str = "qtap.truncated_attributes";

/// Name of the instrumentation scope.
pub const SCOPE: &str = "qtap";

/// A value, borrowed where possible.
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

/// The content of one `LogRecord`, without the attributes of its origin, which many records share.
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

/// A list of attributes under construction.
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

    /// Counts are below 2⁶³; a larger one would be capped at the largest int.
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
                // Port 0 means unknown: a connection that was refused at once has already released its port.
                if *port != 0 {
                    self.int(port_key, u64::from(*port));
                }
            }
            Some(Address::Unix(path)) => self.text_if(address_key, Some(path)),
            None => {}
        }
    }
}

/// The log record for `record`, without the attributes that [`origin`] gives.
#[must_use]
pub fn entry(record: &Record) -> Entry<'_> {
    let (event_type, event_name) = names(&record.kind);
    let mut out = Attributes(Vec::with_capacity(24));
    out.text(UID, &record.uid);
    out.text("event.type", event_type);
    out.text_if("connection.request_id", record.request_id.as_deref());
    match &record.kind {
        RecordKind::Connection(connection) => connection::put(&mut out, connection),
        RecordKind::Artifact(artifact) => artifact::put(&mut out, artifact),
        RecordKind::Object(object) => object::put(&mut out, object),
        RecordKind::Request(request) => request::put(&mut out, request),
        RecordKind::Issue(issue) => issue::put(&mut out, issue),
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
        RecordKind::Request(_) => ("request", "qtap.request"),
        RecordKind::Issue(_) => ("issue", "qtap.issue"),
    }
}

/// Severity numbers and short names of the OpenTelemetry logs data model, "Severity Fields".
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
