//! What redaction of JSON bodies costs: the records of exchanges made at `full`, without and with a `redact` step, on one core. `cargo xtask
//! bench redact`, or `cargo bench -p qtap-agent --bench redact`. Times are the thread's own CPU time. What a step costs is the difference to
//! the run without it, over the bytes of the bodies. Prints a table; asserts only that something was taken out.
#![allow(clippy::print_stdout)] // the table

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use qtap_agent::config::{self, Settings, Source};
use qtap_agent::model::conn::{ConnFacts, ConnectionUid, Endpoint, Protocol, Role, Transport};
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::{Exchange, HttpExchange};
use qtap_agent::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use qtap_agent::model::observation::{ExchangeSeen, Observation};
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use rustix::time::{ClockId, clock_gettime};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times each is measured; the median counts.
const ROUNDS: usize = 7;
/// Bytes of bodies that go through in a round.
const BYTES: usize = 64 << 20;

/// The steps that are compared, and their config.
const STEPS: [(&str, &str); 5] = [
    ("none", ""),
    ("headers and query keys", ", {type: redact, config: {json: [], form: []}}"),
    ("credentials", ", {type: redact}"),
    (
        "credentials, 10 paths",
        ", {type: redact, config: {json: [credentials, $.user.email, '$..ssn', '$.items[*].card.number', '$.items[0]', '$.a.*.b', '$..x.y', '$.meta.ip', '$.meta.trace[*]', '$..iban', '$.z']}}",
    ),
    ("credentials, all patterns", ", {type: redact, config: {patterns: [credentials, card, email]}}"),
];

fn main() -> Result<()> {
    let measured = std::env::args().any(|argument| argument == "--bench");
    println!(
        "| body | redacted | CPU per exchange, µs | cost of the step, µs | MB/s of the step |\n|---|---|---|---|---|"
    );
    for (name, size) in [("1 KB", 1 << 10), ("100 KB", 100 << 10)] {
        let body = json(size);
        let count = if measured { BYTES / body.len() } else { 2 };
        let mut bare = 0.0;
        for (steps, config) in STEPS {
            let settings = settings(config)?;
            let mut times = Vec::new();
            for _ in 0..if measured { ROUNDS } else { 1 } {
                times.push(round(&settings, &body, count, steps.starts_with("credentials"))?);
            }
            times.sort_unstable();
            let seconds = times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64);
            let us = seconds * 1e6 / count as f64;
            if steps == "none" {
                bare = us;
            }
            let cost = us - bare;
            println!("| {name} | {steps} | {us:.2} | {cost:.2} | {:.0} |", body.len() as f64 / cost);
        }
    }
    Ok(())
}

/// A document as an interface of a shop might give it, of about `size` bytes.
fn json(size: usize) -> Bytes {
    let mut text = String::from(r#"{"user":{"id":"7f9c2ba4","name":"Ann Example","password":"hunter2"},"items":["#);
    let mut n = 0;
    while text.len() + 120 < size {
        if n > 0 {
            text.push(',');
        }
        text += &format!(
            r#"{{"id":{n},"sku":"AB-{n:06}","title":"A thing with a \"name\" of some length","price":{}.99,"tags":["new","blue"],"stock":true}}"#,
            n % 90
        );
        n += 1;
    }
    text += "]}";
    text.into()
}

fn settings(step: &str) -> Result<Settings> {
    let text = format!(
        "version: 2
services:
  event_stores: [{{type: otel, endpoint: \"http://127.0.0.1:9\"}}]
  object_stores: [{{type: otel, endpoint: \"http://127.0.0.1:9\"}}]
stacks:
  bench: {{plugins: [{{type: http_capture, config: {{level: full}}}}{step}]}}
tap: {{http: {{stack: bench}}}}
"
    );
    match config::load(Source::Text { name: "bench".to_owned(), text }, &|_| None) {
        Ok((settings, _)) => Ok(settings),
        Err(faults) => bail!("{faults}"),
    }
}

/// Makes the records of so many exchanges whose answer has this body.
fn round(settings: &Settings, body: &Bytes, count: usize, redacts: bool) -> Result<Duration> {
    let mut pipeline = Pipeline::new(settings.pipeline.clone(), &RedactionKey([0; 32]));
    let seen: Vec<_> = (0..count).map(|number| seen(number as u64, body)).collect();
    let (mut records, mut last) = (Vec::new(), None);
    let before = cpu_time();
    for observation in seen {
        records.clear();
        pipeline.apply(observation, &mut records);
        last = records.pop();
    }
    let taken = cpu_time().saturating_sub(before);
    let RecordKind::Object(object) = last.context("no record")?.kind else { bail!("no object") };
    let hides = !String::from_utf8_lossy(&object.data).contains("hunter2");
    ensure!(hides == redacts, "redacted: {hides}");
    Ok(taken)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn seen(number: u64, body: &Bytes) -> Observation {
    let known = |text: &'static str| FieldText::Known(Bytes::from_static(text.as_bytes()));
    let field = |name, value| Field { name: known(name), value: known(value) };
    let request = Request {
        method: Some("GET".to_owned()),
        target: Some("/items?page=1".to_owned()),
        scheme: None,
        authority: Some("shop.example".to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: Fields(vec![field("Host", "shop.example"), field("Authorization", "Bearer x")]),
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(1),
        ended: Some(KernelTime(2)),
    };
    let response = Response {
        status: Some(200),
        reason: Bytes::from_static(b"OK"),
        informational: Vec::new(),
        version: Version::Http11,
        fields: Fields(vec![field("Content-Type", "application/json")]),
        body: Body { chunks: vec![body.clone()], size: body.len() as u64, ..Body::default() },
        trailers: Fields::default(),
        started: KernelTime(3),
        ended: Some(KernelTime(4)),
    };
    let http = HttpExchange {
        protocol: Protocol::Http1,
        ordinal: number,
        outgoing: true,
        pid: 1,
        request: Some(request),
        response: Some(response),
        incomplete: None,
        part: None,
    };
    let conn = ConnFacts {
        uid: ConnectionUid([0; 16]),
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
        number,
        exchange: Exchange::Http(Box::new(http)),
        observed: KernelTime(5),
    }))
}
