//! A secret in any kind of body, under any coding, split at any place, never leaks; everything else stays.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write as _;

use base64::Engine as _;

use super::*;
use crate::model::exchange::Part;
use crate::model::messages::{Close, Framing, Message, MessageKind, Messages, WebSocket};
use crate::pipeline::artifact::decode;
use crate::pipeline::settings::json_path::JsonPath;
use crate::pipeline::settings::{BodyValues, Ready, SecretForm};

const CANARY: &str = "c4n4ry";
/// A card number, which only its form reveals.
const CARD: &str = "4111111111111111";

/// Bodies with the canary under a telling name, and with the card number where only its form reveals it; and their expected redacted forms.
const BODIES: &[(&str, &str, &str)] = &[
    (
        "application/json",
        r#"{"user":"ann","password":"c4n4ry","n":[{"pan":4111111111111111,"api-key":{"a":["c4n4ry"]}}],"z":"end"}"#,
        "end",
    ),
    (
        "application/problem+json",
        "{\n \"ssn\": \"c4n4ry\",\n \"t\": \"card 4111-1111-1111-1111 \\u0034111111111111111\", \"z\": \"end\"}",
        "end",
    ),
    (
        "application/x-ndjson",
        "{\"token\":\"c4n4ry\"}\n{\"a\":\"4111111111111111\"}\nno json c4n4ry\n{\"z\":\"end\"}\n",
        "end",
    ),
    (
        "text/event-stream",
        "id: 1\ndata: {\"secret\":\"c4n4ry\"}\n\ndata: {\"a\":1,\r\ndata: \"password\":\"c4n4ry\"}\r\n\r\ndata: pay 4111111111111111 end\n\ndata: [DONE]\n\n",
        "end",
    ),
    (
        "application/x-www-form-urlencoded",
        "user=ann&password=c4n4ry&x%5Bpass%77ord%5D=c4n4ry&card=4111+1111+1111+1111&j=%7B%22token%22%3A%22c4n4ry%22%7D&z=end",
        "end",
    ),
    ("application/x-www-form-urlencoded", r#"{"password":"c4n4ry","card":"4111111111111111","z":"end"}"#, "end"),
    (
        "multipart/form-data; boundary=\"xyz\"",
        "--xyz\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nc4n4ry\r\n--x\r\n--xyz\r\nContent-Disposition: form-data; name=a\r\nContent-Type: application/json\r\n\r\n{\"secret\":\"c4n4ry\"}\r\n--xyz\r\nContent-Disposition: form-data; name=\"b\"; filename=\"4111111111111111\"\r\n\r\n4111111111111111 end\r\n--xyz--\r\n",
        "end",
    ),
    ("text/plain", r#" {"password": "c4n4ry", "n": 4111111111111111, "z":"end"}"#, "end"),
    ("text/html", "<p>4111 1111 1111 1111</p><p>end</p>", "end"),
    ("", "pay 4111111111111111 at the end", "end"),
];

fn redact(action: RedactAction) -> Redact {
    Redact {
        json: BodyValues { credentials: true, named: vec![JsonPath::parse("$..ssn").unwrap()] },
        patterns: vec![SecretForm::Ready(Ready::Card)],
        action,
        ..Redact::default()
    }
}

fn with(redact: Redact, level: Level, format: Format, artifacts: Artifacts) -> Settings {
    let mut settings = settings(level, format, artifacts);
    settings.http_stack.as_mut().unwrap().steps[1] = Step::Redact(redact);
    settings
}

fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => stored_brotli(bytes),
        _ => bytes.to_vec(),
    }
}

/// br without compression (RFC 7932 §9.2): a window of 16 bits, one uncompressed block, and an empty last block.
fn stored_brotli(bytes: &[u8]) -> Vec<u8> {
    assert!((1..=1 << 16).contains(&bytes.len()));
    // WBITS 0, ISLAST 0, MNIBBLES 0 (four), MLEN - 1, ISUNCOMPRESSED 1, from the lowest bit on.
    let head = ((bytes.len() as u32 - 1) << 4) | 1 << 20;
    [&head.to_le_bytes()[..3], bytes, &[3]].concat()
}

fn exchange(content_type: &str, coding: &str, body: Body) -> HttpExchange {
    let mut head = fields(&[("Content-Type", content_type)]);
    if !coding.is_empty() {
        head.0.extend(fields(&[("Content-Encoding", coding)]).0);
    }
    HttpExchange {
        request: Some(Request { fields: head.clone(), body: body.clone(), ..request() }),
        response: Some(Response { fields: head, body, ..response() }),
        ..http()
    }
}

/// All plausible readings of a document's bytes.
fn readings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes.to_vec()];
    let mut inner = Vec::new();
    if let Ok(document) = serde_json::from_slice::<serde_json::Value>(bytes) {
        strings(&document, &mut inner);
    }
    if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        inner.push(bytes[at + 4..].to_vec());
    }
    for text in inner {
        if let Ok(plain) = base64::engine::general_purpose::STANDARD.decode(&text) {
            all.push(plain);
        }
        all.push(text);
    }
    // Text is not an encoded body.
    for bytes in all.clone().into_iter().filter(|bytes| std::str::from_utf8(bytes).is_err()) {
        for coding in ["gzip", "br", "zstd", "deflate"] {
            all.push(decode::decode(&[coding], &bytes, false).data);
        }
    }
    all
}

fn strings(value: &serde_json::Value, out: &mut Vec<Vec<u8>>) {
    match value {
        serde_json::Value::String(text) => out.push(text.clone().into_bytes()),
        serde_json::Value::Array(list) => list.iter().for_each(|value| strings(value, out)),
        serde_json::Value::Object(map) => map.values().for_each(|value| strings(value, out)),
        _ => {}
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Checks that no record contains the secret.
fn assert_silent(records: &[Record], what: &dyn std::fmt::Debug) {
    for record in records {
        let debug = format!("{record:?}");
        assert!(!debug.contains(CANARY) && !debug.contains(CARD), "{what:?}: {debug}");
        if let RecordKind::Object(object) = &record.kind {
            let data = match &object.spooled {
                Some(file) => std::fs::read(file.path()).unwrap(),
                None => object.data.to_vec(),
            };
            for reading in readings(&data) {
                let digits: Vec<u8> = reading.iter().filter(|b| b.is_ascii_digit()).copied().collect();
                let leaked = holds(&reading, CANARY) || holds(&digits, CARD);
                assert!(!leaked, "{what:?}: {}", String::from_utf8_lossy(&reading));
            }
        }
    }
}

fn says(record: &Record, text: &str) -> bool {
    let object = object(record);
    readings(&object.data).iter().any(|reading| holds(reading, text))
}

#[test]
fn a_secret_leaves_through_no_body_under_any_coding_in_any_format() {
    for (content_type, text, rest) in BODIES {
        for coding in ["", "gzip", "br", "zstd", "deflate", "gzip, gzip", "compress"] {
            let bytes = coding.split(", ").fold(text.as_bytes().to_vec(), |bytes, coding| coded(coding, &bytes));
            for (format, action) in FORMATS.into_iter().flat_map(|f| ACTIONS.into_iter().map(move |a| (f, a))) {
                for (level, artifacts) in [
                    (Level::Full, Artifacts::Split),
                    (Level::Full, Artifacts::Transaction),
                    (Level::Details, Artifacts::Split),
                ] {
                    let what = (content_type, text, coding, format, action, level);
                    let settings = with(redact(action), level, format, artifacts);
                    let records = apply(settings, seen(exchange(content_type, coding, body(&bytes))));
                    assert_silent(&records, &what);
                    let shown =
                        level == Level::Full && coding != "compress" && (coding.is_empty() || format != Format::Http);
                    let said = records.iter().skip(1).all(|record| says(record, rest));
                    assert!(!shown || said, "{what:?}: what is no secret stays: {}", data(&records[1]));
                }
            }
        }
    }
}

#[test]
fn a_secret_leaves_through_no_body_that_is_cut_off_or_has_a_hole() {
    for (content_type, text, _) in BODIES {
        for coding in ["", "gzip"] {
            let bytes = coded(coding, text.as_bytes());
            for at in (0..bytes.len()).step_by(3) {
                let cut = Body { truncated: true, size: bytes.len() as u64, ..body(&bytes[..at]) };
                let at = at as u64;
                let hole = Body {
                    missing: std::iter::once(at..at + 3).collect(),
                    size: bytes.len() as u64 + 3,
                    ..body(&bytes)
                };
                for (nth, body) in [cut, hole].into_iter().enumerate() {
                    let settings = with(redact(RedactAction::Mask), Level::Full, Format::Json, Artifacts::Split);
                    let records = apply(settings, seen(exchange(content_type, coding, body)));
                    assert_silent(&records, &(content_type, text, coding, at, nth));
                }
            }
        }
    }
}

/// The records of a response that is reported in these parts.
fn parts(settings: &Settings, content_type: &str, coding: &str, pieces: &[&[u8]]) -> Vec<Record> {
    let mut pipeline = Pipeline::new(settings.clone(), &RedactionKey([9; 32]));
    let (mut records, mut offset) = (Vec::new(), 0);
    for (number, piece) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len();
        let told = Body { offset, size: offset + piece.len() as u64, ..body(piece) };
        offset = told.size;
        let mut http = exchange(content_type, coding, told);
        http.request = Some(Request { body: Body::default(), ..request() });
        let ended = last.then_some(ms(130));
        http.response = http.response.map(|response| Response { ended, ..response });
        http.part = Some(Part { number: number as u32, last, large: false });
        pipeline.apply(seen(http), &mut records);
    }
    records
}

#[test]
fn a_secret_cut_between_parts_leaves_through_neither() {
    for (content_type, text, rest) in BODIES {
        for coding in ["", "gzip"] {
            let bytes = coded(coding, text.as_bytes());
            for action in ACTIONS {
                let settings = with(redact(action), Level::Full, Format::Json, Artifacts::Split);
                let step = if action == RedactAction::Mask { 7 } else { 23 };
                let mut all: Vec<Vec<&[u8]>> =
                    (0..bytes.len()).step_by(step).map(|at| vec![&bytes[..at], &bytes[at..]]).collect();
                all.push(bytes.chunks(1).collect());
                all.push(bytes.chunks(5).chain([&[][..]]).collect());
                for pieces in all {
                    let what = (content_type, text, coding, action, pieces.len(), pieces[0].len());
                    let records = parts(&settings, content_type, coding, &pieces);
                    let mut together = Vec::new();
                    for record in &records {
                        let RecordKind::Object(object) = &record.kind else { continue };
                        let document: serde_json::Value = serde_json::from_slice(&object.data).unwrap();
                        let shown = if coding.is_empty() { &document["body"] } else { &document["body"]["decoded"] };
                        if document["status"].is_number() {
                            together.extend(shown_bytes(shown));
                        }
                    }
                    assert_silent(&records, &what);
                    let digits: Vec<u8> = together.iter().filter(|b| b.is_ascii_digit()).copied().collect();
                    let shown = String::from_utf8_lossy(&together);
                    assert!(!shown.contains(CANARY) && !holds(&digits, CARD), "{what:?}: {shown}");
                    assert!(shown.contains(rest), "{what:?}: what is no secret stays: {shown}");
                }
            }
        }
    }
}

/// The bytes that a body shows, including partial characters at its ends.
fn shown_bytes(body: &serde_json::Value) -> Vec<u8> {
    let plain = |text: &serde_json::Value| {
        base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap_or_default()).unwrap()
    };
    let data = match body["encoding"].as_str() {
        Some("base64") => plain(&body["data"]),
        _ => body["data"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    [plain(&body["head"]), data, plain(&body["tail"])].concat()
}

#[test]
fn parts_that_come_after_a_loss_are_left_out() {
    let settings = with(redact(RedactAction::Mask), Level::Full, Format::Json, Artifacts::Split);
    let mut pipeline = Pipeline::new(settings, &RedactionKey([9; 32]));
    let mut http = exchange("application/json", "", Body { offset: 100, size: 108, ..body(b"\"c4n4ry\"") });
    http.part = Some(Part { number: 3, last: false, large: false });
    let mut records = Vec::new();
    pipeline.apply(seen(http), &mut records);
    assert_silent(&records, &"untracked");
    assert!(data(&records[0]).contains(r#""left_out":"untracked""#), "{}", data(&records[0]));
}

#[test]
fn what_was_taken_out_is_counted_and_what_was_left_out_is_said() {
    let shown = |content_type: &str, coding: &str, bytes: &[u8]| {
        let records = apply(
            with(redact(RedactAction::Mask), Level::Full, Format::Json, Artifacts::Split),
            seen(exchange(content_type, coding, body(bytes))),
        );
        let document: serde_json::Value = serde_json::from_str(data(&records[2])).unwrap();
        document["body"].clone()
    };
    let body = shown("application/json", "", br#"{"password":"c4n4ry","token":1}"#);
    assert_eq!((body["redacted"].as_u64(), body["left_out"].as_str()), (Some(2), None));
    assert_eq!(body["data"], r#"{"password":"[redacted]","token":"[redacted]"}"#);
    let digest = format!("sha256:{}", crate::pipeline::digest::sha256_hex(body["data"].as_str().unwrap().as_bytes()));
    assert_eq!(body["digest"], digest, "of what is shown: that of the whole would confirm a guess");
    let body = shown("application/json", "", b"c4n4ry");
    assert_eq!(
        (body["redacted"].as_u64(), body["left_out"].as_str(), body["data"].as_str()),
        (None, Some("unparsed"), Some("[redacted]"))
    );
    let body = shown("application/json", "gzip", &coded("gzip", br#"{"password":"c4n4ry"}"#));
    assert_eq!((body["left_out"].as_str(), body["data"].as_str()), (Some("coded"), Some("[redacted]")));
    assert_eq!(body["decoded"]["data"], r#"{"password":"[redacted]"}"#);
    let body = shown("application/json", "gzip", &coded("gzip", br#"{"a":1}"#));
    assert_eq!((body["left_out"].as_str(), body["decoded"]["data"].as_str()), (None, Some(r#"{"a":1}"#)));
    assert_eq!(body["encoding"], "base64", "nothing was found in it: it is shown as it was carried too");
    let body = shown("application/json", "compress", b"c4n4ry");
    assert_eq!((body["left_out"].as_str(), body["decoded"]["failed"].as_str()), (Some("undecoded"), Some("compress")));
    let utf16: Vec<u8> = "\u{feff}pay 4111111111111111".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let body = shown("text/plain; charset=utf-16", "", &utf16);
    assert_eq!(body["left_out"], "charset");
    let body = shown("application/http; msgtype=request", "", b"GET / HTTP/1.1\r\nCookie: c4n4ry\r\n\r\n");
    assert_eq!((body["left_out"].as_str(), body["data"].as_str()), (Some("unparsed"), Some("[redacted]")));
}

#[test]
fn by_default_credentials_are_taken_out_of_bodies_and_nothing_else_is() {
    let settings = settings(Level::Full, Format::Json, Artifacts::Split);
    let records = apply(
        settings.clone(),
        seen(exchange("application/json", "", body(br#"{"client_secret":"c4n4ry","email":"a@b.de"}"#))),
    );
    assert_silent(&records, &"default");
    assert!(data(&records[1]).contains("a@b.de"));
    let records = apply(
        settings.clone(),
        seen(exchange(
            "application/x-www-form-urlencoded",
            "",
            body(b"grant_type=password&client_secret=c4n4ry&code=1"),
        )),
    );
    assert!(data(&records[1]).contains("grant_type=password&client_secret=[redacted]&code=1"));
    // Binary data passes unchanged.
    let records = apply(settings, seen(exchange("image/png", "", body(b"\x89PNG\0\xff"))));
    assert!(data(&records[1]).contains(r#""encoding":"base64","data":"iVBORwD/""#), "{}", data(&records[1]));
}

#[test]
fn at_details_no_digest_tells_of_a_body() {
    let records = apply(settings(Level::Details, Format::Json, Artifacts::Split), seen(http()));
    let document: serde_json::Value = serde_json::from_str(data(&records[1])).unwrap();
    assert_eq!((document["body"]["size"].as_u64(), document["body"]["digest"].as_str()), (Some(15), None));
}

fn message(kind: MessageKind, data: &[u8], compressed: bool) -> Message {
    let (data, size) = (Bytes::copy_from_slice(data), data.len() as u64);
    Message { kind, time: ms(120), size, compressed, undone: false, data, truncated: false }
}

#[test]
fn a_secret_leaves_through_no_message() {
    let close = Some(Close { code: Some(1000), reason: format!("bye {CARD}") });
    let websocket = Messages {
        kept: vec![
            message(MessageKind::Text, br#"{"password":"c4n4ry","z":"end"}"#, false),
            message(MessageKind::Text, b"pay 4111111111111111 end", true),
            message(MessageKind::Binary, b"\x00pay 4111111111111111 end", false),
            Message { truncated: true, ..message(MessageKind::Text, br#"{"z":"end","password":"c4n4"#, false) },
        ],
        ..Messages::new(Framing::WebSocket(WebSocket { close, ..WebSocket::default() }))
    };
    let packed = coded("gzip", b"\x0a\x10pay 4111111111111111 end");
    let grpc = Messages {
        kept: vec![
            message(MessageKind::Grpc, b"\x0a\x10pay 4111111111111111 end", false),
            message(MessageKind::Grpc, &packed, true),
            message(MessageKind::Grpc, b"not gzip 4111111111111111", true),
        ],
        ..Messages::new(Framing::Grpc)
    };
    for (messages, carried) in
        [(websocket, Body::default()), (grpc, body(&[&b"\0\0\0\0\x1a"[..], b"pay 4111111111111111"].concat()))]
    {
        for (format, action) in FORMATS.into_iter().flat_map(|f| ACTIONS.into_iter().map(move |a| (f, a))) {
            let content_type = if carried.chunks.is_empty() { "" } else { "application/grpc" };
            let body = Body { messages: Some(Box::new(messages.clone())), ..carried.clone() };
            let mut http = exchange(content_type, "", body);
            for head in [&mut http.request.as_mut().unwrap().fields, &mut http.response.as_mut().unwrap().fields] {
                head.0.extend(fields(&[("grpc-encoding", "gzip")]).0);
            }
            let records = apply(with(redact(action), Level::Full, format, Artifacts::Split), seen(http));
            assert_silent(&records, &(content_type, format, action));
            // For gRPC, only format `json` shows content that is not text.
            let shown = says(&records[1], "end") || (format != Format::Json && !content_type.is_empty());
            assert!(shown, "{content_type} {format:?}: what is no secret stays");
        }
    }
}

#[test]
fn one_salt_gives_one_hash_whatever_the_key_of_the_run() {
    let shown = |key, salt: Option<&str>| {
        let salt = salt.map(crate::pipeline::settings::Salt::of);
        let settings = with(Redact { salt, ..redact(RedactAction::Hash) }, Level::Full, Format::Json, Artifacts::Split);
        let mut out = Vec::new();
        let http = exchange("application/json", "", body(br#"{"password":"c4n4ry"}"#));
        Pipeline::new(settings, &RedactionKey([key; 32])).apply(seen(http), &mut out);
        data(&out[1]).to_owned()
    };
    assert_eq!(shown(1, Some("s")), shown(2, Some("s")));
    assert_ne!(shown(1, Some("s")), shown(1, Some("t")));
    assert_ne!(shown(1, None), shown(2, None));
}

#[test]
fn a_secret_leaves_through_no_line_of_the_access_log() {
    use crate::pipeline::settings::{AccessLogs, LogFormat};
    for (content_type, text, rest) in BODIES {
        for (coding, mode, format) in ["", "gzip", "compress"].into_iter().flat_map(|coding| {
            [Level::Details, Level::Full].into_iter().flat_map(move |mode| {
                [LogFormat::Console, LogFormat::Json].into_iter().map(move |format| (coding, mode, format))
            })
        }) {
            let logs = AccessLogs { mode, format, ..AccessLogs::default() };
            let settings = stack(vec![Step::AccessLogs(logs), Step::Redact(redact(RedactAction::Mask))]);
            let mut pipeline = Pipeline::new(settings, &RedactionKey([9; 32]));
            let bytes = coded(coding, text.as_bytes());
            pipeline.apply(seen(exchange(content_type, coding, body(&bytes))), &mut Vec::new());
            let line = pipeline.take_lines();
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            let leaked = line.contains(CANARY) || digits.contains(CARD);
            assert!(!line.is_empty() && !leaked, "{content_type} {coding} {mode:?} {format:?}: {line}");
            let shown = mode == Level::Full && coding != "compress";
            assert!(!shown || line.contains(rest), "{content_type} {coding} {format:?}: {line}");
        }
    }
}

#[test]
fn single_cookies_leave_and_the_rest_of_the_field_stays() {
    for (action, request_cookie, set_cookie) in [
        (RedactAction::Mask, "a=1; SID=[redacted]; b=2", Some("sid=[redacted]; Path=/")),
        (RedactAction::Drop, "a=1; b=2", None),
    ] {
        let redact = Redact { headers: Vec::new(), cookies: vec!["sid".to_owned()], action, ..Redact::default() };
        let mut http = http();
        http.request.as_mut().unwrap().fields = fields(&[("Cookie", "a=1; SID=c4n4ry; b=2")]);
        http.response.as_mut().unwrap().fields = fields(&[("Set-Cookie", "sid=c4n4ry; Path=/"), ("Set-Cookie", "a=1")]);
        let records = apply(with(redact, Level::Details, Format::Json, Artifacts::Split), seen(http));
        assert_silent(&records, &action);
        assert!(data(&records[1]).contains(&format!(r#""value":"{request_cookie}""#)), "{}", data(&records[1]));
        let told = set_cookie.map(|text| data(&records[2]).contains(&format!(r#""value":"{text}""#)));
        assert!(told.unwrap_or(!data(&records[2]).contains("sid")), "{}", data(&records[2]));
        assert!(data(&records[2]).contains(r#""value":"a=1""#));
    }
}

#[test]
fn patterns_are_found_in_heads_urls_and_command_lines() {
    let patterns = vec![SecretForm::Ready(Ready::Email)];
    let redact = Redact { patterns, ..Redact::default() };
    let mut http = http();
    let request = http.request.as_mut().unwrap();
    request.target = Some("/u/ann@mail.example/x?who=bob%40mail.example".to_owned());
    request.fields = fields(&[("User-Agent", "bot (eve@mail.example)"), ("X-From", "joe%2540mail.example")]);
    let mut exchange = seen(http);
    if let Observation::Exchange(seen) = &mut exchange {
        let command = r#"curl -d {"token":"c4n4ry"} -u kim@mail.example"#.to_owned();
        seen.process = Some(Arc::new(Process { command, ..Process::clone(&process()) }));
    }
    for record in apply(with(redact, Level::Full, Format::Json, Artifacts::Split), exchange) {
        let debug = format!("{record:?}");
        let data = if let RecordKind::Object(object) = &record.kind {
            String::from_utf8_lossy(&object.data)
        } else {
            "".into()
        };
        for secret in ["mail.example", CANARY] {
            assert!(!debug.contains(secret) && !data.contains(secret), "{secret}: {debug} {data}");
        }
    }
}

/// Bodies that go through the disk, in pieces split at any place.
#[test]
fn a_secret_leaves_through_no_body_on_disk() {
    let pad = "x".repeat(150 << 10);
    let json = format!(r#"{{"pad":"{pad}","password":"{CANARY}","pan":"{CARD}","z":"end"}}"#);
    let form = format!("pad={pad}&password={CANARY}&pan={CARD}&z=end");
    let text = format!("{} {CARD} end", "word ".repeat(30 << 10));
    let broken = format!(r#"{{"pad":"{pad}",oops,"password":"{CANARY}","pan":"{CARD}"}}"#);
    let folder = tempfile::tempdir().unwrap();
    for (content_type, body_text, is_whole) in [
        ("application/json", &json, true),
        ("application/x-www-form-urlencoded", &form, true),
        ("text/plain", &text, true),
        ("application/json", &broken, false),
    ] {
        for (coding, format) in
            ["", "gzip", "compress"].into_iter().flat_map(|coding| FORMATS.map(|format| (coding, format)))
        {
            // An encoded body must be larger than what stays in memory.
            let noise: String =
                (0..100_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
            let plain = body_text.replace(&pad, &format!("{noise}{noise}"));
            let bytes = coded(coding, plain.as_bytes());
            let spool = crate::pipeline::spool::Folder::open(folder.path(), 1 << 30, 1 << 30).unwrap();
            let settings = with(redact(RedactAction::Mask), Level::Full, format, Artifacts::Split);
            let mut pipeline = Pipeline::new(settings, &RedactionKey([9; 32])).spooling(spool);
            let (mut records, mut offset) = (Vec::new(), 0);
            let pieces: Vec<&[u8]> = bytes.chunks(9_973).collect();
            for (number, piece) in pieces.iter().enumerate() {
                let told = Body { offset, size: offset + piece.len() as u64, ..body(piece) };
                offset = told.size;
                let last = number + 1 == pieces.len();
                let mut http = exchange(content_type, coding, told);
                http.request = Some(Request { body: Body::default(), ..request() });
                http.part = Some(Part { number: number as u32, last, large: true });
                pipeline.apply(seen(http), &mut records);
            }
            let what = (content_type, coding, format);
            assert_eq!(records.len(), 3, "{what:?}");
            assert_silent(&records, &what);
            let shown = is_whole && coding != "compress" && (coding.is_empty() || format != Format::Http);
            let object = object(&records[2]);
            let data = object
                .spooled
                .as_ref()
                .map_or_else(|| object.data.to_vec(), |file| std::fs::read(file.path()).unwrap());
            assert!(!shown || holds(&data, "end"), "{what:?}: what is no secret stays");
        }
    }
}

/// A transfer coding is as good a place to hide in as a content coding.
#[test]
fn transfer_codings_are_undone() {
    let secret = br#"{"password":"c4n4ry","z":"end"}"#;
    let head = fields(&[("Content-Type", "application/json"), ("Transfer-Encoding", "gzip, chunked")]);
    let response = Response { fields: head, body: body(&coded("gzip", secret)), ..response() };
    let records = json(Level::Full, HttpExchange { response: Some(response), ..http() });
    let shown: serde_json::Value = serde_json::from_str(data(records.last().unwrap())).unwrap();
    assert_eq!(shown["body"]["data"], "[redacted]");
    assert_eq!(shown["body"]["decoded"]["data"], r#"{"password":"[redacted]","z":"end"}"#);
}

/// Of a connection that was joined late it is not known what a reference to the table says: that the body is coded, or a form.
#[test]
fn what_may_be_coded_or_a_form_is_not_shown() {
    let unknown = || vec![Field { name: FieldText::Unknown, value: FieldText::Unknown }];
    let valueless = |name: &str| vec![Field { name: known(name), value: FieldText::Unknown }];
    let of_type = |content_type: &str| fields(&[("content-type", content_type)]).0;
    let gzip = coded("gzip", br#"{"password":"c4n4ry"}"#);
    let form = b"user=ann&password=c4n4ry";
    // What follows a head that was not seen may begin anywhere.
    let middle = br#"ry","password":"c4n4ry"}"#;
    let cases: [(Vec<Field>, Option<u16>, &[u8]); 6] = [
        (unknown(), Some(200), &gzip),
        ([of_type("text/event-stream"), unknown()].concat(), Some(200), &gzip),
        ([of_type("text/plain"), valueless("content-encoding")].concat(), Some(200), &gzip),
        (unknown(), Some(200), form),
        (valueless("content-type"), Some(200), form),
        (Vec::new(), None, middle),
    ];
    for (number, (head, status, bytes)) in cases.into_iter().enumerate() {
        let response =
            Response { version: Version::Http2, status, fields: Fields(head), body: body(bytes), ..response() };
        let records = json(Level::Full, HttpExchange { response: Some(response), ..http() });
        let shown: serde_json::Value = serde_json::from_str(data(records.last().unwrap())).unwrap();
        let body = &shown["body"];
        assert_eq!(
            (body["data"].as_str(), body["left_out"].as_str()),
            (Some("[redacted]"), Some("unparsed")),
            "{number}"
        );
    }
}

#[test]
fn what_proves_itself_is_shown_though_not_all_of_its_head_is_known() {
    let unknown = || Field { name: FieldText::Unknown, value: FieldText::Unknown };
    for (content_type, bytes, wanted) in [
        ("", r#"{"password":"c4n4ry","z":"end"}"#, r#"{"password":"[redacted]","z":"end"}"#),
        ("text/html", "<p>end</p>", "<p>end</p>"),
    ] {
        let mut head = fields(&[("content-type", content_type)]);
        head.0.push(unknown());
        let response = Response { version: Version::Http2, fields: head, body: body(bytes.as_bytes()), ..response() };
        let records = json(Level::Full, HttpExchange { response: Some(response), ..http() });
        let shown: serde_json::Value = serde_json::from_str(data(records.last().unwrap())).unwrap();
        assert_eq!(shown["body"]["data"], wanted);
    }
}
