//! From the bytes of a stream to the records of its parts: event streams under each content coding, reported while they run and read
//! back from the artifacts; and a WebSocket conversation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::http::{Http, Settings as HttpSettings, Sink};
use qtap_agent::model::conn::{ConnFacts, ConnectionUid, Direction, Endpoint, Protocol, Role, Transport};
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::{Exchange, HttpExchange};
use qtap_agent::model::observation::{ExchangeSeen, Observation};
use qtap_agent::model::record::{ArtifactRecord, ObjectRecord, Record, RecordKind};
use qtap_agent::model::segment::Segment;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::settings::{Format, HttpCapture, Level, Locator, Redact, Routing, Settings, Stack, Step};
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use serde_json::Value;

/// A channel whose exchanges go through a pipeline. Each piece comes a minute after the one before.
struct Line {
    http: Http,
    sink: Sink,
    pipeline: Pipeline,
    now: u64,
    offsets: [u64; 2],
    records: Vec<Record>,
}

impl Line {
    fn new(level: Level) -> Line {
        let capture = HttpCapture { level, format: Format::Json, ..HttpCapture::default() };
        let settings = Settings {
            http_stack: Some(Stack {
                name: "s".to_owned(),
                steps: vec![Step::HttpCapture(capture), Step::Redact(Redact::default())],
            }),
            routing: Routing::default(),
            locators: vec![Locator { store: "o".to_owned(), url: "stdout://{{DIGEST}}".to_owned(), min_bytes: 0 }],
            tags: Vec::new(),
            fact_tags: Vec::new(),
        };
        Line {
            http: Http::new(
                &Arc::new(HttpSettings { keep_bodies: settings.keeps_bodies(), ..Default::default() }),
                false,
            ),
            sink: Sink::default(),
            pipeline: Pipeline::new(settings, &RedactionKey([1; 32])),
            now: 0,
            offsets: [0; 2],
            records: Vec::new(),
        }
    }

    fn say(&mut self, direction: Direction, bytes: &[u8]) {
        self.now += 60_000_000_000;
        let (time, offset) = (KernelTime(self.now), self.offsets[direction.index()]);
        self.offsets[direction.index()] += bytes.len() as u64;
        let payload = Bytes::copy_from_slice(bytes);
        self.http.on_segment(Segment { direction, offset, time, pid: 1, payload }, &mut self.sink);
        self.now += 60_000_000_000;
        self.http.on_tick(KernelTime(self.now), &mut self.sink);
        self.apply();
    }

    fn close(mut self) -> Vec<Record> {
        self.http.on_close(KernelTime(self.now), false, &mut self.sink);
        self.apply();
        self.records
    }

    fn apply(&mut self) {
        for exchange in std::mem::take(&mut self.sink.exchanges) {
            self.pipeline.apply(seen(exchange, self.now), &mut self.records);
        }
    }
}

fn seen(exchange: HttpExchange, now: u64) -> Observation {
    let conn = ConnFacts {
        uid: ConnectionUid([7; 16]),
        opened: KernelTime(0),
        pid: 1,
        transport: Transport::Tcp,
        local: Endpoint::Unknown,
        peer: Endpoint::Unknown,
        role: Role::Client,
        tls: None,
        protocol: Protocol::Http1,
        binding: None,
        joined_late: false,
        domain: None,
    };
    Observation::Exchange(Box::new(ExchangeSeen {
        host: Arc::new(Host::default()),
        conn: Arc::new(conn),
        process: None,
        number: exchange.ordinal,
        exchange: Exchange::Http(Box::new(exchange)),
        observed: KernelTime(now),
    }))
}

fn objects(records: &[Record]) -> impl Iterator<Item = &ObjectRecord> {
    records.iter().filter_map(|record| match &record.kind {
        RecordKind::Object(object) => Some(&**object),
        _ => None,
    })
}

fn artifacts(records: &[Record]) -> Vec<&ArtifactRecord> {
    let artifact = |record| match record {
        &Record { kind: RecordKind::Artifact(ref artifact), .. } => Some(&**artifact),
        Record { .. } => None,
    };
    records.iter().filter_map(artifact).collect()
}

const REQUEST: &[u8] = b"GET /events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s3cret\r\n\r\n";
const EVENTS: [&str; 4] = ["data: one\n\n", "data: zwei €\n\n", "data: one\n\n", "data: 四\n\n"];

/// The events as the server writes them, one piece each; the last piece ends the coding.
fn pieces(coding: &str) -> Vec<Vec<u8>> {
    fn flushed<E: Write>(
        mut encoder: E,
        take: impl Fn(&mut E) -> Vec<u8>,
        end: impl Fn(&mut E) -> std::io::Result<()>,
    ) -> Vec<Vec<u8>> {
        let mut pieces: Vec<Vec<u8>> = EVENTS
            .iter()
            .map(|event| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                take(&mut encoder)
            })
            .collect();
        end(&mut encoder).unwrap();
        pieces.push(take(&mut encoder));
        pieces
    }
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    let level = flate2::Compression::default();
    match coding {
        "gzip" => flushed(GzEncoder::new(Vec::new(), level), |e| std::mem::take(e.get_mut()), |e| e.try_finish()),
        "deflate" => flushed(ZlibEncoder::new(Vec::new(), level), |e| std::mem::take(e.get_mut()), |e| e.try_finish()),
        "bare" => flushed(DeflateEncoder::new(Vec::new(), level), |e| std::mem::take(e.get_mut()), |e| e.try_finish()),
        _ => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            flushed(encoder, |e| std::mem::take(e.get_mut()), |e| e.do_finish())
        }
    }
}

fn stream(level: Level, coding: &str) -> Vec<Record> {
    let mut line = Line::new(level);
    line.say(Direction::Sent, REQUEST);
    let name = if coding == "bare" { "deflate" } else { coding };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {name}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    line.say(Direction::Received, head.as_bytes());
    for piece in pieces(coding) {
        line.say(Direction::Received, &[format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat());
    }
    line.say(Direction::Received, b"0\r\n\r\n");
    line.close()
}

#[test]
fn an_event_stream_is_read_as_it_comes_under_each_coding() {
    for coding in ["gzip", "deflate", "bare", "zstd"] {
        let records = stream(Level::Full, coding);
        let (mut text, mut told) = (String::new(), 0);
        for object in objects(&records).filter(|object| object.artifact_type == "http_response") {
            let document: Value = serde_json::from_slice(&object.data).unwrap();
            assert_eq!(document["part"].as_u64(), object.part.map(u64::from));
            let decoded = &document["body"]["decoded"];
            assert_eq!(decoded["failed"], Value::Null, "{coding}: {document}");
            text += decoded["data"].as_str().unwrap_or_default();
            told += 1;
        }
        assert_eq!(text, EVENTS.concat(), "{coding}");
        assert!(told >= EVENTS.len(), "{coding}: each event is told by itself: {told}");
        let [about] = artifacts(&records)[..] else { panic!("{coding}: one artifact record") };
        assert_eq!((about.status, about.incomplete), (Some(200), None));
        let parts = objects(&records).filter_map(|object| object.part).max();
        assert_eq!(about.parts, parts.map(|last| last + 1));
        let carried: usize = pieces(coding).iter().map(Vec::len).sum();
        assert_eq!(about.response_body_size, Some(carried as u64));
    }
}

#[test]
fn no_part_shows_more_than_its_level() {
    for level in [Level::None, Level::Summary, Level::Details, Level::Full] {
        let records = stream(level, "gzip");
        let shown: String =
            objects(&records).map(|object| String::from_utf8_lossy(&object.data).into_owned()).collect();
        assert!(!shown.contains("s3cret") && !format!("{records:?}").contains("s3cret"), "{level:?}");
        assert_eq!(shown.contains("zwei"), level == Level::Full, "{level:?}");
        assert_eq!(artifacts(&records).len(), usize::from(level > Level::None), "{level:?}");
        assert_eq!(objects(&records).count() > 0, level >= Level::Details, "{level:?}");
        let uids: std::collections::HashSet<&str> = records.iter().map(|record| record.uid.as_str()).collect();
        assert_eq!(uids.len(), records.len(), "{level:?}");
    }
}

/// The opening handshake of RFC 6455 §1.3 and frames of §5.7: a masked text message of the client, the response to it, and a Close.
#[test]
fn a_websocket_conversation_is_told_by_message() {
    let mut line = Line::new(Level::Full);
    let request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    line.say(Direction::Sent, request);
    line.say(Direction::Received, response);
    line.say(Direction::Sent, &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    line.say(Direction::Received, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    line.say(Direction::Received, &[0x88, 0x02, 0x03, 0xe8]);
    let records = line.close();
    let [about] = artifacts(&records)[..] else { panic!("one artifact record") };
    let (sent, answered) = (about.request_messages.unwrap(), about.response_messages.unwrap());
    assert_eq!((sent.count, sent.bytes, sent.close_code), (1, 5, None));
    assert_eq!((answered.count, answered.bytes, answered.close_code), (1, 5, Some(1000)));
    for side in ["http_request", "http_response"] {
        let documents = objects(&records).filter(|object| object.artifact_type == side);
        let said: Vec<String> = documents
            .flat_map(|object| {
                let document: Value = serde_json::from_slice(&object.data).unwrap();
                document["messages"]["kept"].as_array().cloned().unwrap_or_default()
            })
            .map(|message| message["data"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(said, ["Hello"], "{side}");
    }
}
