//! The pipeline from the outside. In: observations. Out: records. The expectations were written from the contract of the
//! records, not from the code. This file has the inputs; the files beside it have the expectations.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

mod across;
mod artifacts;
mod bodies;
mod canary;
mod gen_ai;
mod hostile;
mod large;
mod messages;
mod parts;
mod plugins;
mod records;
mod rules;
mod sampling;
mod stacks;

use std::sync::Arc;

use bytes::Bytes;

use super::settings::{
    Artifacts, Format, HttpCapture, Level, Locator, Redact, RedactAction, Routing, Settings, Stack, Step,
};
use super::{Pipeline, RedactionKey};
use crate::model::conn::{Binding, ConnFacts, ConnectionUid, Endpoint, Protocol, Role, TlsFacts, Transport};
use crate::model::event::{Count, Host};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete};
use crate::model::loss::{Loss, Tally};
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::observation::{ConnState, ConnectionSeen, ExchangeSeen, Observation};
use crate::model::process::Process;
use crate::model::record::{
    Address, ArtifactRecord, ConnectionRecord, ObjectRecord, Record, RecordKind, Rpc, Severity, Timing,
};
use crate::model::time::{KernelTime, WallClock};

/// 2026-01-02T03:04:05Z.
const BOOT: u64 = 1_767_323_045_000_000_000;
const LEVELS: [Level; 4] = [Level::None, Level::Summary, Level::Details, Level::Full];
const FORMATS: [Format; 3] = [Format::Json, Format::Http, Format::Text];
const ACTIONS: [RedactAction; 3] = [RedactAction::Mask, RedactAction::Hash, RedactAction::Drop];

fn known(text: &str) -> FieldText {
    FieldText::Known(Bytes::copy_from_slice(text.as_bytes()))
}

fn fields(list: &[(&str, &str)]) -> Fields {
    Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect())
}

fn body(text: &[u8]) -> Body {
    Body { chunks: vec![Bytes::copy_from_slice(text)], size: text.len() as u64, ..Body::default() }
}

fn ms(ms: u64) -> KernelTime {
    KernelTime(ms * 1_000_000)
}

fn request() -> Request {
    Request {
        method: Some("POST".to_owned()),
        target: Some("/pay?id=7".to_owned()),
        scheme: None,
        authority: Some("shop.example:8443".to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: fields(&[
            ("Host", "shop.example:8443"),
            ("User-Agent", "curl/8"),
            ("Content-Type", "application/json"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ]),
        body: body(br#"{"sum":"1 000"}"#),
        trailers: Fields::default(),
        started: ms(100),
        ended: Some(ms(110)),
    }
}

fn response() -> Response {
    Response {
        status: Some(200),
        reason: Bytes::from_static(b"OK"),
        informational: vec![100],
        version: Version::Http11,
        fields: fields(&[("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")]),
        body: body(b"paid\n"),
        trailers: Fields::default(),
        started: ms(112),
        ended: Some(ms(130)),
    }
}

fn http() -> HttpExchange {
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 42,
        request: Some(request()),
        response: Some(response()),
        incomplete: None,
        part: None,
    }
}

fn host() -> Arc<Host> {
    Arc::new(Host { name: "h".to_owned(), clock: WallClock { boot_unix_ns: BOOT }, ..Host::default() })
}

fn conn() -> ConnFacts {
    ConnFacts {
        uid: ConnectionUid([0x11; 16]),
        opened: ms(90),
        pid: 42,
        transport: Transport::Tcp,
        local: Endpoint::Inet("10.0.0.2:50000".parse().unwrap()),
        peer: Endpoint::Inet("[::ffff:93.184.216.34]:8443".parse().unwrap()),
        role: Role::Client,
        tls: Some(TlsFacts { sni: Some("shop.example".to_owned()), inspected: true, ..TlsFacts::default() }),
        protocol: Protocol::Http1,
        binding: Some(Binding::Nested),
        joined_late: false,
        domain: None,
    }
}

fn process() -> Arc<Process> {
    let executable_path = "/usr/bin/curl".to_owned();
    Arc::new(Process { pid: 42, executable_path, command: "curl shop".to_owned(), ..Process::default() })
}

fn seen(http: HttpExchange) -> Observation {
    Observation::Exchange(Box::new(ExchangeSeen {
        host: host(),
        conn: Arc::new(conn()),
        process: Some(process()),
        number: 3,
        exchange: Exchange::Http(Box::new(http)),
        observed: ms(131),
    }))
}

fn report(state: ConnState, part: u32) -> ConnectionSeen {
    let mut losses = Tally::default();
    losses.add(Loss::BodyLimit, 70);
    ConnectionSeen {
        host: host(),
        conn: Arc::new(conn()),
        process: Some(process()),
        state,
        part,
        sent: Count { carried: 900, kernel: Some(1000), ..Count::default() },
        received: Count { carried: 2000, ..Count::default() },
        captured_bytes: 300,
        losses,
        requests: 1,
        authority: Some("user:pass@Shop.example:8443".to_owned()),
        version: Some(Version::Http11),
        dns: None,
        observed: ms(590),
    }
}

fn settings(level: Level, format: Format, artifacts: Artifacts) -> Settings {
    let capture = Step::HttpCapture(HttpCapture { level, format, artifacts, ..HttpCapture::default() });
    Settings {
        http_stack: Some(Stack { name: "s".to_owned(), steps: vec![capture, Step::Redact(Redact::default())] }),
        routing: Routing::default(),
        locators: vec![Locator { store: "o".to_owned(), url: "stdout://{{DIGEST}}".to_owned(), min_bytes: 0 }],
        tags: vec!["team:a".to_owned()],
        fact_tags: Vec::new(),
    }
}

/// A stack with exactly these steps.
fn stack(steps: Vec<Step>) -> Settings {
    let stack = Stack { name: "s".to_owned(), steps };
    Settings { http_stack: Some(stack), ..settings(Level::None, Format::Json, Artifacts::Split) }
}

/// The same without redaction.
fn bare(mut settings: Settings) -> Settings {
    settings.http_stack.as_mut().unwrap().steps.truncate(1);
    settings
}

fn apply(settings: Settings, observation: Observation) -> Vec<Record> {
    let mut out = Vec::new();
    Pipeline::new(settings, &RedactionKey([9; 32])).apply(observation, &mut out);
    out
}

fn json(level: Level, http: HttpExchange) -> Vec<Record> {
    apply(settings(level, Format::Json, Artifacts::Split), seen(http))
}

fn artifact(record: &Record) -> &ArtifactRecord {
    match &record.kind {
        RecordKind::Artifact(artifact) => artifact,
        _ => panic!("not an artifact record: {record:?}"),
    }
}

fn object(record: &Record) -> &ObjectRecord {
    match &record.kind {
        RecordKind::Object(object) => object,
        _ => panic!("not an object: {record:?}"),
    }
}

fn connection(record: &Record) -> &ConnectionRecord {
    match &record.kind {
        RecordKind::Connection(connection) => connection,
        _ => panic!("not a connection: {record:?}"),
    }
}

fn data(record: &Record) -> &str {
    std::str::from_utf8(&object(record).data).unwrap()
}
