//! Messages inside bodies: what each level and format shows of them.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write;

use serde_json::{Value, json};

use super::*;
use crate::model::messages::{Close, Frames, Framing, Message, MessageKind, Messages, WebSocket};
use crate::model::record::{MessageProtocol, MessageSums};

fn message(kind: MessageKind, data: &[u8], compressed: bool) -> Message {
    let (size, data) = (data.len() as u64, Bytes::copy_from_slice(data));
    Message { kind, time: ms(120), size, compressed, undone: false, data, truncated: false }
}

fn websocket() -> HttpExchange {
    let frames = Frames { text: 1, binary: 1, continuation: 1, ping: 3, close: 1, ..Frames::default() };
    let close = Some(Close { code: Some(1001), reason: "g0ing away".to_owned() });
    let messages = Messages {
        count: 2,
        bytes: 7,
        compressed: 1,
        kept: vec![
            message(MessageKind::Text, "héy".as_bytes(), true),
            message(MessageKind::Binary, b"\x00\xff\x01", false),
        ],
        ..Messages::new(Framing::WebSocket(WebSocket { frames, close }))
    };
    let body = Body { size: 40, messages: Some(Box::new(messages)), ..Body::default() };
    HttpExchange { response: Some(Response { status: Some(101), body, fields: fields(&[]), ..response() }), ..http() }
}

fn grpc(encoding: &'static str, kept: Vec<Message>) -> HttpExchange {
    let messages = Messages { count: 5, bytes: 99, left_out: 1, broken: true, kept, ..Messages::new(Framing::Grpc) };
    let body = Body { size: 124, messages: Some(Box::new(messages)), ..body(b"\0\0\0\0\0") };
    let fields = fields(&[("grpc-encoding", encoding), ("content-type", "application/grpc")]);
    let response = Response { body, fields, version: Version::Http2, ..response() };
    HttpExchange { response: Some(response), protocol: Protocol::Grpc, ..http() }
}

fn shown(level: Level, http: HttpExchange) -> Value {
    let records = json(level, http);
    serde_json::from_slice::<Value>(&object(&records[2]).data).unwrap()["messages"].clone()
}

#[test]
fn websocket_messages_stand_in_the_artifact_at_full() {
    let kept = json!([
        {"type": "text", "time": "2026-01-02T03:04:05.120000000Z", "size": 4, "compressed": true, "encoding": "text", "data": "héy"},
        {"type": "binary", "time": "2026-01-02T03:04:05.120000000Z", "size": 3, "encoding": "base64", "data": "AP8B"},
    ]);
    let mut wanted = json!({
        "framing": "websocket", "count": 2, "bytes": 7, "compressed": 1,
        "frames": {"text": 1, "binary": 1, "continuation": 1, "ping": 3, "pong": 0, "close": 1},
        "close": {"code": 1001, "reason": "g0ing away"},
        "kept": kept,
    });
    assert_eq!(shown(Level::Full, websocket()), wanted);
    wanted.as_object_mut().unwrap().remove("kept");
    wanted["close"].as_object_mut().unwrap().remove("reason");
    assert_eq!(shown(Level::Details, websocket()), wanted, "counts only");
}

#[test]
fn what_messages_say_leaves_at_full_only() {
    for (level, format) in LEVELS.into_iter().flat_map(|level| FORMATS.map(|format| (level, format))) {
        let records = apply(settings(level, format, Artifacts::Transaction), seen(websocket()));
        let said = |record: &Record| match &record.kind {
            RecordKind::Object(object) => String::from_utf8_lossy(&object.data).into_owned() + &format!("{record:?}"),
            RecordKind::Artifact(_) | RecordKind::Connection(_) | RecordKind::Request(_) | RecordKind::Issue(_) => {
                format!("{record:?}")
            }
        };
        let all: String = records.iter().map(said).collect();
        assert_eq!(all.contains("héy") && all.contains("g0ing"), level == Level::Full, "{level:?} {format:?}: {all}");
    }
}

#[test]
fn counts_stand_on_the_artifact_record() {
    let records = json(Level::Summary, websocket());
    let sums = MessageSums { of: MessageProtocol::WebSocket, count: 2, bytes: 7, close_code: Some(1001) };
    assert_eq!((artifact(&records[0]).request_messages, artifact(&records[0]).response_messages), (None, Some(sums)));
    let records = json(Level::Summary, grpc("identity", Vec::new()));
    let sums = MessageSums { of: MessageProtocol::Grpc, count: 5, bytes: 99, close_code: None };
    assert_eq!(artifact(&records[0]).response_messages, Some(sums));
}

#[test]
fn grpc_messages_are_undone_by_the_coding_of_the_head() {
    let squeeze = |format: &str| {
        let level = flate2::Compression::default();
        if format == "gzip" {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(b"hello hello").unwrap();
            encoder.finish().unwrap()
        } else {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(b"hello hello").unwrap();
            encoder.finish().unwrap()
        }
    };
    for encoding in ["gzip", "deflate"] {
        let carried = squeeze(encoding);
        let kept = vec![message(MessageKind::Grpc, &carried, true), message(MessageKind::Grpc, b"\n\x05world", false)];
        let shown = shown(Level::Full, grpc(encoding, kept));
        let time = "2026-01-02T03:04:05.120000000Z";
        let first = json!({"type": "grpc", "time": time, "size": carried.len(), "compressed": true, "encoding": "text", "data": "hello hello"});
        // Contains a control character, so it is not readable text.
        let second = json!({"type": "grpc", "time": time, "size": 7, "encoding": "base64", "data": "CgV3b3JsZA=="});
        assert_eq!(shown["kept"], json!([first, second]));
        assert_eq!((&shown["count"], &shown["left_out"], &shown["broken"]), (&json!(5), &json!(1), &json!(true)));
    }
    for (encoding, data) in [("snappy", &b"xyz"[..]), ("gzip", b"xyz"), ("identity", b"xyz")] {
        let shown = shown(Level::Full, grpc(encoding, vec![message(MessageKind::Grpc, data, true)]));
        let (message, failed) = (&shown["kept"][0], json!(encoding));
        assert_eq!((&message["failed"], &message["data"]), (&failed, &json!("xyz")), "as carried");
    }
}

#[test]
fn what_messages_expand_to_is_bounded_for_all_of_them() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![b'0'; 12 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let kept = vec![message(MessageKind::Grpc, &bomb, true); 4];
    let records = json(Level::Full, grpc("gzip", kept));
    assert!(object(&records[2]).data.len() < 17 << 20, "{}", object(&records[2]).data.len());
    let read: Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
    assert_eq!(read["messages"]["kept"][1]["truncated"], true);
}

#[test]
fn other_formats_show_messages_too() {
    let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(websocket()));
    let wanted =
        [&b"HTTP/1.1 101 OK\r\n\r\n\x81\x04h\xc3\xa9y\x82\x03\x00\xff\x01\x88\x0c\x03\xe9g0ing away"[..]].concat();
    assert_eq!(object(&records[2]).data, wanted);
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Split), seen(websocket()));
    let time = "2026-01-02T03:04:05.120000000Z";
    let wanted = format!(
        "HTTP/1.1 101 OK\n\n[text message of 4 bytes, {time}]\nhéy\n[binary message of 3 bytes, {time}]\n\
         [3 bytes that are not text]\n[2 messages, 7 bytes]\n[closed: 1001 g0ing away]\n"
    );
    assert_eq!(data(&records[2]), wanted);
    let records = apply(settings(Level::Details, Format::Text, Artifacts::Split), seen(websocket()));
    assert_eq!(data(&records[2]), "HTTP/1.1 101 OK\n\n[body of 40 bytes (2 messages) not shown]\n");
}
