//! OTLP's JSON form (OTLP specification, "JSON Protobuf Encoding"). In: an [`Entry`]. Out: bytes, written directly: camelCase keys, ids as
//! hexadecimal, 64-bit integers and non-finite doubles as strings, enums as numbers, bytes as base64 (RFC 4648 §4), defaults
//! left out. Text is copied in runs between the few bytes that RFC 8259 §7 requires to be escaped. This module does not parse JSON.

use std::io::Write as _;

use base64::Engine as _;

use super::map::{Attribute, Entry, SCOPE, Value};

/// How a byte is escaped in a string: 0 for not at all, `u` for `\u00XX`, else the letter after the backslash.
const ESCAPE: [u8; 256] = escape_table();

const fn escape_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
}

/// Bytes scanned in one step; the test of a whole block compiles to vector instructions.
const BLOCK: usize = 32;

/// Index of the first byte at or after `from` that must be escaped.
fn next_escape(bytes: &[u8], mut from: usize) -> usize {
    while let Some(block) = bytes.get(from..from + BLOCK) {
        let special = block.iter().fold(false, |found, b| found | (*b < 0x20) | (*b == b'"') | (*b == b'\\'));
        if special {
            break;
        }
        from += BLOCK;
    }
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|b| ESCAPE[usize::from(*b)] != 0).unwrap_or(rest.len())
}

/// Writes a string, including the quotes.
fn string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let stop = next_escape(bytes, at);
        out.extend_from_slice(bytes.get(at..stop).unwrap_or_default());
        let Some(byte) = bytes.get(stop) else { break };
        match ESCAPE[usize::from(*byte)] {
            b'u' => {
                let hex = b"0123456789abcdef";
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex[high], hex[low]]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        at = stop + 1;
    }
    out.push(b'"');
}

/// The number of leading bytes of a text that take at most `room` bytes as [`string`] writes them, not counting the quotes.
pub(super) fn prefix(text: &[u8], room: usize) -> usize {
    if text.len().saturating_mul(6) <= room {
        return text.len();
    }
    let mut used = 0;
    let cost = |byte: &u8| match ESCAPE[usize::from(*byte)] {
        0 => 1,
        b'u' => 6,
        _ => 2,
    };
    let fits = |byte: &u8| {
        used += cost(byte);
        used <= room
    };
    text.iter().map(fits).position(|fits| !fits).unwrap_or(text.len())
}

/// Writes a number in decimal. Writing to a `Vec` can't fail.
fn number(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"".as_slice() } else { b"\"-Infinity\"" });
    } else {
        // The shortest digits that parse to the same number, with an exponent where there would be many zeros.
        let _ = write!(out, "{value:?}");
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Writes an `AnyValue`.
fn value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            out.extend_from_slice(b"{\"stringValue\":");
            string(text, out);
        }
        Value::Bool(truth) => {
            out.extend_from_slice(b"{\"boolValue\":");
            number(truth, out);
        }
        Value::Int(int) => {
            out.extend_from_slice(b"{\"intValue\":\"");
            number(int, out);
            out.push(b'"');
        }
        Value::Double(float) => {
            out.extend_from_slice(b"{\"doubleValue\":");
            double(*float, out);
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"{\"bytesValue\":\"");
            base64(bytes, out);
            out.push(b'"');
        }
        Value::Texts(texts) => {
            out.extend_from_slice(b"{\"arrayValue\":{\"values\":[");
            for (index, text) in texts.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"{\"stringValue\":".as_slice() } else { b",{\"stringValue\":" });
                string(text, out);
                out.push(b'}');
            }
            out.extend_from_slice(b"]}");
        }
    }
    out.push(b'}');
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The buffer is exactly as long as the encoding with padding.
        let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, room).unwrap_or(0);
        out.truncate(start + written);
    }
}

fn key_values(list: &[Attribute<'_>], out: &mut Vec<u8>) {
    for (index, (key, val)) in list.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"key\":".as_slice() } else { b",{\"key\":" });
        string(key, out);
        out.extend_from_slice(b",\"value\":");
        value(val, out);
        out.push(b'}');
    }
}

/// Encodes attributes of a record, to pass to [`record`].
#[must_use]
pub fn attributes(list: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    key_values(list, &mut out);
    out
}

/// Encodes a `LogRecord`. `shared` holds further attributes, already encoded.
#[must_use]
pub fn record(entry: &Entry<'_>, shared: &[u8]) -> Vec<u8> {
    let texts: usize = entry.attributes.iter().map(|(key, val)| key.len() + text_len(val) + 40).sum();
    let mut out = Vec::with_capacity(256 + entry.body.len() + texts + shared.len());
    out.push(b'{');
    if entry.time_unix_ns != 0 {
        out.extend_from_slice(b"\"timeUnixNano\":\"");
        number(entry.time_unix_ns, &mut out);
        out.extend_from_slice(b"\",");
    }
    if entry.observed_unix_ns != 0 {
        out.extend_from_slice(b"\"observedTimeUnixNano\":\"");
        number(entry.observed_unix_ns, &mut out);
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"severityNumber\":");
    number(entry.severity_number, &mut out);
    out.extend_from_slice(b",\"severityText\":");
    string(entry.severity_text, &mut out);
    out.extend_from_slice(b",\"body\":{\"stringValue\":");
    string(entry.body, &mut out);
    out.extend_from_slice(b"},\"attributes\":[");
    key_values(&entry.attributes, &mut out);
    if !entry.attributes.is_empty() && !shared.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(shared);
    out.push(b']');
    if entry.dropped_attributes != 0 {
        out.extend_from_slice(b",\"droppedAttributesCount\":");
        number(entry.dropped_attributes, &mut out);
    }
    if let Some(trace) = &entry.trace {
        if trace.flags != 0 {
            out.extend_from_slice(b",\"flags\":");
            number(trace.flags, &mut out);
        }
        out.extend_from_slice(b",\"traceId\":\"");
        hex(&trace.trace_id, &mut out);
        out.extend_from_slice(b"\",\"spanId\":\"");
        hex(&trace.span_id, &mut out);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"eventName\":");
    string(entry.event_name, &mut out);
    out.push(b'}');
    out
}

/// Estimated length of an encoded value.
fn text_len(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len() + text.len() / 8,
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => 24,
        Value::Bytes(bytes) => bytes.len() / 3 * 4 + 4,
        Value::Texts(texts) => texts.iter().map(|text| text.len() + 24).sum(),
    }
}

/// Encodes a `Resource`.
#[must_use]
pub fn resource(list: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"attributes\":[");
    key_values(list, &mut out);
    out.extend_from_slice(b"]}");
    out
}

/// Encodes an `ExportLogsServiceRequest`: for each group a resource and its records, both as encoded by this module.
#[must_use]
pub fn request(groups: &[(&[u8], Vec<&[u8]>)], version: &str, schema_url: &str) -> Vec<u8> {
    let total: usize = groups.iter().map(|(r, rs)| r.len() + rs.iter().map(|r| r.len() + 1).sum::<usize>() + 256).sum();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(b"{\"resourceLogs\":[");
    for (index, (resource, records)) in groups.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"resource\":".as_slice() } else { b",{\"resource\":" });
        out.extend_from_slice(resource);
        out.extend_from_slice(b",\"scopeLogs\":[{\"scope\":{\"name\":");
        string(SCOPE, &mut out);
        out.extend_from_slice(b",\"version\":");
        string(version, &mut out);
        out.extend_from_slice(b"},\"logRecords\":[");
        for (index, record) in records.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(record);
        }
        out.extend_from_slice(b"],\"schemaUrl\":");
        string(schema_url, &mut out);
        out.extend_from_slice(b"}],\"schemaUrl\":");
        string(schema_url, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// Indents compact JSON of this module by two spaces, for display on a terminal. Strings stay unchanged.
#[must_use]
pub fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut previous = 0;
    for &byte in compact {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            previous = byte;
            continue;
        }
        match byte {
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(previous, b'{' | b'[') {
                    new_line(depth, &mut out);
                }
                out.push(byte);
            }
            _ => {
                if matches!(previous, b'{' | b'[') {
                    new_line(depth, &mut out);
                }
                out.push(byte);
                match byte {
                    b'{' | b'[' => depth += 1,
                    b',' => new_line(depth, &mut out),
                    b':' => out.push(b' '),
                    b'"' => in_string = true,
                    _ => {}
                }
            }
        }
        previous = byte;
    }
    out
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + depth * 2, b' ');
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::record::TraceContext;

    fn value_json(val: Value<'_>) -> String {
        let mut out = Vec::new();
        value(&val, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    /// OTLP specification, "JSON Protobuf Encoding", and the JSON mapping of protobuf for int64 and double.
    #[test]
    fn values() {
        assert_eq!(value_json(text("a")), r#"{"stringValue":"a"}"#);
        assert_eq!(value_json(Value::Bool(false)), r#"{"boolValue":false}"#);
        assert_eq!(value_json(Value::Int(-5)), r#"{"intValue":"-5"}"#);
        assert_eq!(value_json(Value::Int(i64::MAX)), r#"{"intValue":"9223372036854775807"}"#);
        assert_eq!(value_json(Value::Double(8.25)), r#"{"doubleValue":8.25}"#);
        assert_eq!(value_json(Value::Double(f64::NAN)), r#"{"doubleValue":"NaN"}"#);
        assert_eq!(value_json(Value::Double(f64::INFINITY)), r#"{"doubleValue":"Infinity"}"#);
        assert_eq!(value_json(Value::Double(f64::NEG_INFINITY)), r#"{"doubleValue":"-Infinity"}"#);
        assert_eq!(value_json(Value::Double(1e300)), r#"{"doubleValue":1e300}"#);
        for (bytes, want) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foobar", "Zm9vYmFy")] {
            assert_eq!(value_json(Value::Bytes(bytes)), format!(r#"{{"bytesValue":"{want}"}}"#));
        }
        let list = Value::Texts(vec!["a".into(), "b".into()]);
        assert_eq!(value_json(list), r#"{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}"#);
    }

    /// RFC 8259 §7, at every position within a block and across its end.
    #[test]
    fn strings_are_escaped_wherever_the_byte_stands() {
        for (special, want) in [
            ("\"", "\\\""),
            ("\\", "\\\\"),
            ("\n", "\\n"),
            ("\r", "\\r"),
            ("\t", "\\t"),
            ("\u{8}", "\\b"),
            ("\u{c}", "\\f"),
            ("\u{0}", "\\u0000"),
            ("\u{1f}", "\\u001f"),
            ("/", "/"),
            ("\u{7f}", "\u{7f}"),
            ("é😀", "é😀"),
        ] {
            for before in 0..70 {
                let plain = "x".repeat(before);
                let mut out = Vec::new();
                string(&format!("{plain}{special}{special}y"), &mut out);
                assert_eq!(String::from_utf8(out).expect("UTF-8"), format!("\"{plain}{want}{want}y\""), "at {before}");
            }
        }
    }

    /// The shape of `examples/logs.json` of opentelemetry-proto.
    #[test]
    fn a_request_in_full() {
        let entry = Entry {
            time_unix_ns: 1_544_712_660_300_000_000,
            observed_unix_ns: 1_544_712_660_300_000_001,
            severity_number: 9,
            severity_text: "INFO",
            body: "Example log record",
            attributes: vec![("string.attribute".into(), text("some string"))],
            dropped_attributes: 0,
            trace: Some(TraceContext {
                trace_id: [
                    0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c,
                ],
                span_id: [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74],
                flags: 0,
            }),
            event_name: "qtap.connection",
        };
        let resource = resource(&[("service.name".into(), text("my.service"))]);
        let record = record(&entry, &attributes(&[("int.attribute".into(), Value::Int(10))]));
        let request = request(&[(&resource, vec![&record, &record])], "1.0.0", "https://s");
        let one = concat!(
            r#"{"timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000001","severityNumber":9,"#,
            r#""severityText":"INFO","body":{"stringValue":"Example log record"},"attributes":["#,
            r#"{"key":"string.attribute","value":{"stringValue":"some string"}},"#,
            r#"{"key":"int.attribute","value":{"intValue":"10"}}],"#,
            r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","eventName":"qtap.connection"}"#
        );
        let want = format!(
            "{}{one},{one}{}",
            concat!(
                r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},"#,
                r#""scopeLogs":[{"scope":{"name":"qtap","version":"1.0.0"},"logRecords":["#
            ),
            r#"],"schemaUrl":"https://s"}],"schemaUrl":"https://s"}]}"#
        );
        assert_eq!(String::from_utf8(request).expect("UTF-8"), want);
    }

    proptest::proptest! {
        /// Any text parses back to itself, compact and indented.
        #[test]
        fn any_text_reads_back(any: String) {
            let mut out = Vec::new();
            string(&any, &mut out);
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), any.clone());
            let list = Value::Texts(vec![any.as_str().into(), "".into()]);
            let mut out = Vec::new();
            value(&list, &mut out);
            let compact: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            let indented: serde_json::Value = serde_json::from_slice(&pretty(&out)).expect("JSON");
            proptest::prop_assert_eq!(compact, indented);
        }

        /// Any finite double parses back to itself.
        #[test]
        fn any_double_reads_back(any in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            let mut out = Vec::new();
            double(any, &mut out);
            let text = std::str::from_utf8(&out).expect("UTF-8");
            proptest::prop_assert_eq!(text.parse::<f64>().expect("a number"), any);
            proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        }
    }

    #[test]
    fn indented() {
        let compact = br#"{"a":[],"b":{"c":[1,"x,{\"y\":\\"]},"d":{}}"#;
        let want = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      1,\n      \"x,{\\\"y\\\":\\\\\"\n    ]\n  },\n  \"d\": {}\n}";
        assert_eq!(String::from_utf8(pretty(compact)).expect("UTF-8"), want);
    }
}
