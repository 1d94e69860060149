//! OTLP's protobuf form. In: an [`Entry`]. Out: bytes, written directly: lengths are computed, not buffered, and a body is copied once.
//! Field numbers are those of opentelemetry-proto 1.x (`logs/v1/logs.proto`, `common/v1/common.proto`); the tests decode the
//! bytes with the messages of the `opentelemetry-proto` crate.

use prost::encoding::encoded_len_varint;

use super::map::{Attribute, Entry, Value};

/// Wire types (protobuf, "Message Structure").
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Space before a record for its own tag and length: one byte for the tag, at most five for a 32-bit length.
const HEADROOM: usize = 6;

/// Writes a varint (protobuf, "Base 128 Varints"). Nearly all are tags and short lengths, which take one byte.
#[inline]
fn encode_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn tag(field: u32, wire: u32, out: &mut Vec<u8>) {
    encode_varint(u64::from(field << 3 | wire), out);
}

fn bytes_field(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(field, LENGTH, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Encoded length of a length-delimited field whose number is below 16.
fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

/// Length of the content of an `AnyValue`.
fn value_len(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => field_len(text.len()),
        Value::Bool(_) => 2,
        Value::Int(number) => 1 + encoded_len_varint(number.cast_unsigned()),
        Value::Double(_) => 9,
        Value::Bytes(bytes) => field_len(bytes.len()),
        Value::Texts(texts) => field_len(texts_len(texts)),
    }
}

/// Length of the content of an `ArrayValue`, whose elements are `AnyValue`s with a string.
fn texts_len(texts: &[std::borrow::Cow<'_, str>]) -> usize {
    texts.iter().map(|text| field_len(field_len(text.len()))).sum()
}

/// Writes the content of an `AnyValue`.
fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => bytes_field(1, text.as_bytes(), out),
        Value::Bool(truth) => {
            tag(2, VARINT, out);
            out.push(u8::from(*truth));
        }
        Value::Int(number) => {
            tag(3, VARINT, out);
            encode_varint(number.cast_unsigned(), out);
        }
        Value::Double(number) => {
            tag(4, FIXED64, out);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Value::Bytes(bytes) => bytes_field(7, bytes, out),
        Value::Texts(texts) => {
            tag(5, LENGTH, out);
            encode_varint(texts_len(texts) as u64, out);
            for text in texts {
                tag(1, LENGTH, out);
                encode_varint(field_len(text.len()) as u64, out);
                bytes_field(1, text.as_bytes(), out);
            }
        }
    }
}

/// Writes a `KeyValue` as field `field` of the enclosing message.
fn key_value(field: u32, (key, val): &Attribute<'_>, out: &mut Vec<u8>) {
    let content = value_len(val);
    tag(field, LENGTH, out);
    encode_varint((field_len(key.len()) + field_len(content)) as u64, out);
    bytes_field(1, key.as_bytes(), out);
    tag(2, LENGTH, out);
    encode_varint(content as u64, out);
    value(val, out);
}

/// Encodes attributes of a record, to pass to [`record`].
#[must_use]
pub fn attributes(list: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    for attribute in list {
        key_value(6, attribute, &mut out);
    }
    out
}

/// Encodes the record as an element of `ScopeLogs.log_records`, including tag and length, so that records are simply concatenated to a batch.
/// `shared` holds further attributes, already encoded.
#[must_use]
pub fn record(entry: &Entry<'_>, shared: &[u8]) -> bytes::Bytes {
    let values: usize = entry.attributes.iter().map(|(key, val)| key.len() + value_len(val) + 12).sum();
    let mut out = Vec::with_capacity(HEADROOM + 96 + entry.body.len() + values + shared.len());
    out.resize(HEADROOM, 0);
    tag(1, FIXED64, &mut out);
    out.extend_from_slice(&entry.time_unix_ns.to_le_bytes());
    tag(11, FIXED64, &mut out);
    out.extend_from_slice(&entry.observed_unix_ns.to_le_bytes());
    tag(2, VARINT, &mut out);
    out.push(entry.severity_number);
    bytes_field(3, entry.severity_text.as_bytes(), &mut out);
    tag(5, LENGTH, &mut out);
    encode_varint(field_len(entry.body.len()) as u64, &mut out);
    bytes_field(1, entry.body.as_bytes(), &mut out);
    for attribute in &entry.attributes {
        key_value(6, attribute, &mut out);
    }
    out.extend_from_slice(shared);
    if entry.dropped_attributes != 0 {
        tag(7, VARINT, &mut out);
        encode_varint(u64::from(entry.dropped_attributes), &mut out);
    }
    if let Some(trace) = &entry.trace {
        tag(8, FIXED32, &mut out);
        out.extend_from_slice(&u32::from(trace.flags).to_le_bytes());
        bytes_field(9, &trace.trace_id, &mut out);
        bytes_field(10, &trace.span_id, &mut out);
    }
    bytes_field(12, entry.event_name.as_bytes(), &mut out);
    with_prefix(out)
}

/// Writes tag and length right-aligned into the headroom and cuts off the unused rest.
fn with_prefix(mut out: Vec<u8>) -> bytes::Bytes {
    let mut prefix = Vec::with_capacity(HEADROOM);
    tag(2, LENGTH, &mut prefix);
    encode_varint((out.len() - HEADROOM) as u64, &mut prefix);
    let start = HEADROOM.saturating_sub(prefix.len());
    if let Some(room) = out.get_mut(start..HEADROOM) {
        room.copy_from_slice(&prefix);
    }
    bytes::Bytes::from(out).slice(start..)
}

/// Encodes a `Resource` as field 1 of `ResourceLogs`, including tag and length.
#[must_use]
pub fn resource(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut content = Vec::with_capacity(256);
    for attribute in attributes {
        key_value(1, attribute, &mut content);
    }
    let mut out = Vec::with_capacity(content.len() + HEADROOM);
    bytes_field(1, &content, &mut out);
    out
}

/// Encodes an `ExportLogsServiceRequest`: for each group a resource and its records, both as encoded by this module.
#[must_use]
pub fn request(groups: &[(&[u8], Vec<&[u8]>)], version: &str, schema_url: &str) -> Vec<u8> {
    let mut scope = Vec::with_capacity(32);
    let mut name = Vec::with_capacity(24);
    bytes_field(1, super::map::SCOPE.as_bytes(), &mut name);
    bytes_field(2, version.as_bytes(), &mut name);
    bytes_field(1, &name, &mut scope);
    let total: usize = groups.iter().map(|(r, rs)| r.len() + rs.iter().map(|r| r.len()).sum::<usize>() + 192).sum();
    let mut out = Vec::with_capacity(total);
    for (resource, records) in groups {
        let records_len: usize = records.iter().map(|record| record.len()).sum();
        let scope_logs = scope.len() + records_len + field_len(schema_url.len());
        tag(1, LENGTH, &mut out);
        encode_varint((resource.len() + field_len(scope_logs) + field_len(schema_url.len())) as u64, &mut out);
        out.extend_from_slice(resource);
        tag(2, LENGTH, &mut out);
        encode_varint(scope_logs as u64, &mut out);
        out.extend_from_slice(&scope);
        for record in records {
            out.extend_from_slice(record);
        }
        bytes_field(3, schema_url.as_bytes(), &mut out);
        bytes_field(3, schema_url.as_bytes(), &mut out);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;
    use crate::model::record::TraceContext;

    fn string(text: &str) -> AnyValue {
        AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
    }

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    /// Decoded with messages that prost generated from the `.proto` files, for text lengths around the sizes at which the length
    /// field takes one more byte.
    #[test]
    fn what_is_written_is_what_the_schema_reads() {
        for size in [0, 1, 120, 127, 128, 16_383, 16_384, 2_097_152] {
            let long = "x".repeat(size);
            let entry = Entry {
                time_unix_ns: u64::MAX,
                observed_unix_ns: 1,
                severity_number: 17,
                severity_text: "ERROR",
                body: &long,
                attributes: vec![
                    ("text".into(), Value::Text(long.as_str().into())),
                    ("int".into(), Value::Int(-1)),
                    ("double".into(), Value::Double(0.5)),
                    ("bool".into(), Value::Bool(false)),
                    ("bytes".into(), Value::Bytes(long.as_bytes())),
                    ("texts".into(), Value::Texts(vec!["".into(), long.as_str().into()])),
                ],
                dropped_attributes: size as u32,
                trace: Some(TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 }),
                event_name: "qtap.object",
            };
            let record = record(&entry, &attributes(&[("shared".into(), Value::Int(7))]));
            let resource = resource(&[("service.name".into(), Value::Text("s".into()))]);
            let written = request(&[(&resource, vec![&record, &record])], "1.0.0", "https://s");
            let read = ExportLogsServiceRequest::decode(written.as_slice()).unwrap();
            let array = ArrayValue { values: vec![string(""), string(&long)] };
            let want = LogRecord {
                time_unix_nano: u64::MAX,
                observed_time_unix_nano: 1,
                severity_number: 17,
                severity_text: "ERROR".into(),
                body: Some(string(&long)),
                attributes: vec![
                    pair("text", any_value::Value::StringValue(long.clone())),
                    pair("int", any_value::Value::IntValue(-1)),
                    pair("double", any_value::Value::DoubleValue(0.5)),
                    pair("bool", any_value::Value::BoolValue(false)),
                    pair("bytes", any_value::Value::BytesValue(long.clone().into_bytes())),
                    pair("texts", any_value::Value::ArrayValue(array)),
                    pair("shared", any_value::Value::IntValue(7)),
                ],
                dropped_attributes_count: size as u32,
                flags: 1,
                trace_id: vec![1; 16],
                span_id: vec![2; 8],
                event_name: "qtap.object".into(),
            };
            let scope = InstrumentationScope { name: "qtap".into(), version: "1.0.0".into(), ..Default::default() };
            let scope_logs =
                ScopeLogs { scope: Some(scope), log_records: vec![want.clone(), want], schema_url: "https://s".into() };
            let named = vec![pair("service.name", any_value::Value::StringValue("s".into()))];
            let want = ResourceLogs {
                resource: Some(Resource { attributes: named, ..Resource::default() }),
                scope_logs: vec![scope_logs],
                schema_url: "https://s".into(),
            };
            assert!(read.resource_logs == vec![want], "text of {size}");
            // Canonical: prost encodes to the same number of bytes.
            assert_eq!(read.encoded_len(), written.len(), "text of {size}");
        }
    }
}
