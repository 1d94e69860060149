//! Decodes a queued item. In: an item in either encoding. Out: the OTLP/JSON request of that one record. It is for people (dead letters), not for
//! sending, for which nothing is decoded.

use base64::Engine as _;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::map::{SCHEMA_URL, SCOPE};
use crate::export::exporter::Item;

/// The request with that one record. A payload that can't be decoded, which qtap never writes, is given as base64 under `undecodable`.
#[must_use]
pub fn request(item: &Item) -> Value {
    let parts = if item.payload.first() == Some(&b'{') { from_json(item) } else { from_protobuf(item) };
    let Some((resource, record)) = parts else { return json!({ "undecodable": base64(&item.payload) }) };
    let scope = json!({ "scope": { "name": SCOPE }, "logRecords": [record], "schemaUrl": SCHEMA_URL });
    json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [scope], "schemaUrl": SCHEMA_URL }] })
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn from_json(item: &Item) -> Option<(Value, Value)> {
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    // A record of the stdout protocol, which is a whole line, includes its resource.
    Some((if item.resource.is_empty() { json!({}) } else { read(&item.resource)? }, read(&item.payload)?))
}

/// Resource and record are encoded as fields of their enclosing messages, so decode them as those messages.
fn from_protobuf(item: &Item) -> Option<(Value, Value)> {
    let around = ResourceLogs::decode(item.resource.clone()).ok()?;
    let record = ScopeLogs::decode(item.payload.clone()).ok()?.log_records.pop()?;
    let attributes = around.resource.map(|resource| pairs(resource.attributes)).unwrap_or_default();
    Some((json!({ "attributes": attributes }), log_record(record)))
}

fn log_record(record: LogRecord) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut out = json!({
        "timeUnixNano": record.time_unix_nano.to_string(),
        "observedTimeUnixNano": record.observed_time_unix_nano.to_string(),
        "severityNumber": record.severity_number,
        "severityText": record.severity_text,
        "body": any(record.body),
        "attributes": pairs(record.attributes),
        "eventName": record.event_name,
    });
    if record.dropped_attributes_count > 0 {
        out["droppedAttributesCount"] = record.dropped_attributes_count.into();
    }
    if !record.trace_id.is_empty() {
        out["traceId"] = hex(&record.trace_id).into();
        out["spanId"] = hex(&record.span_id).into();
        out["flags"] = record.flags.into();
    }
    out
}

fn pairs(list: Vec<KeyValue>) -> Vec<Value> {
    list.into_iter().map(|pair| json!({ "key": pair.key, "value": any(pair.value) })).collect()
}

fn any(value: Option<AnyValue>) -> Value {
    use any_value::Value as Any;
    let of = |name: &str, value: Value| Value::Object(Map::from_iter([(name.to_owned(), value)]));
    match value.and_then(|value| value.value) {
        None => json!({}),
        Some(Any::StringValue(text)) => of("stringValue", text.into()),
        Some(Any::BoolValue(truth)) => of("boolValue", truth.into()),
        Some(Any::IntValue(int)) => of("intValue", int.to_string().into()),
        Some(Any::DoubleValue(float)) => of("doubleValue", double(float)),
        Some(Any::BytesValue(bytes)) => of("bytesValue", base64(&bytes).into()),
        Some(Any::ArrayValue(array)) => {
            let values: Vec<Value> = array.values.into_iter().map(|value| any(Some(value))).collect();
            of("arrayValue", json!({ "values": values }))
        }
        Some(Any::KvlistValue(list)) => of("kvlistValue", json!({ "values": pairs(list.values) })),
        // An index into a string table, which only profiles have.
        Some(Any::StringValueStrindex(index)) => of("intValue", index.to_string().into()),
    }
}

/// JSON has no numbers for non-finite doubles, so they are strings (OTLP specification, "JSON Protobuf Encoding").
fn double(value: f64) -> Value {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    json!(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::exporter::Class;
    use crate::export::otlp::map::{self, Entry};
    use crate::export::otlp::{json, protobuf};
    use crate::model::record::TraceContext;

    /// Both encodings of a record decode to the same request.
    #[test]
    fn protobuf_and_json_read_back_alike() {
        let attributes: Vec<map::Attribute<'_>> = vec![
            ("text".into(), map::Value::Text("é\"".into())),
            ("int".into(), map::Value::Int(-7)),
            ("double".into(), map::Value::Double(0.5)),
            ("not a number".into(), map::Value::Double(f64::NAN)),
            ("bool".into(), map::Value::Bool(true)),
            ("bytes".into(), map::Value::Bytes(b"\xff\x00")),
            ("texts".into(), map::Value::Texts(vec!["a".into(), "b".into()])),
        ];
        let entry = Entry {
            time_unix_ns: 1,
            observed_unix_ns: 2,
            severity_number: 9,
            severity_text: "INFO",
            body: "line",
            attributes: attributes.clone(),
            dropped_attributes: 3,
            trace: Some(TraceContext { trace_id: [0xab; 16], span_id: [0xcd; 8], flags: 1 }),
            event_name: "qtap.connection",
        };
        let item = |resource: Vec<u8>, payload: bytes::Bytes| Item {
            class: Class::Event,
            resource: resource.into(),
            name: String::new(),
            content_type: String::new(),
            payload,
            spooled: None,
        };
        let resource = [("service.name".into(), map::Value::Text("s".into()))];
        let shared: [map::Attribute<'_>; 1] = [("shared".into(), map::Value::Int(1))];
        let binary = item(protobuf::resource(&resource), protobuf::record(&entry, &protobuf::attributes(&shared)));
        let text = item(json::resource(&resource), json::record(&entry, &json::attributes(&shared)).into());
        assert_eq!(request(&binary), request(&text));
        let record = &request(&binary)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!((&record["eventName"], &record["timeUnixNano"]), (&json!("qtap.connection"), &json!("1")));
        assert!(request(&item(Vec::new(), bytes::Bytes::from_static(b"\xff")))["undecodable"].is_string());
    }
}
