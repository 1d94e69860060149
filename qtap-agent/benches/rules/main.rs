//! What rules cost: CPU time of one exchange under 0, 10 and 100 rules of which the last passes, so that all are asked; and of each kind of
//! test alone. `cargo xtask bench rules`, or `cargo bench -p qtap-agent --no-default-features --bench rules`. Times are the thread's own CPU
//! time. Prints a table; asserts only that the rules come to what they should.
#![allow(clippy::print_stdout)] // the table

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use qtap_agent::model::conn::{ConnFacts, ConnectionUid, Endpoint, Protocol, Role, TlsFacts, Transport};
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use qtap_agent::model::process::Process;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::rule::{Facts, Macros, compile};
use qtap_agent::pipeline::settings::{CaptureRule, HttpCapture, Level};
use rustix::time::{ClockId, clock_gettime};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times each list is measured; the median counts.
const ROUNDS: usize = 9;

/// What rules in use look like; `{}` is another number for each, so that no two are the same. None passes.
const RULES: [&str; 10] = [
    "http.res.status >= 5{}",
    "http.duration_ms > 1000{}",
    "starts_with(http.req.path, \"/internal/{}\")",
    "http.req.method in [\"PUT\", \"DELETE\"] and http.req.path == \"/{}\"",
    "dst.domain == \"api{}.example.com\" and http.res.status >= 400",
    "src.ip in 172.16.{}.0/24 or dst.ip in 172.17.{}.0/24",
    "http.req.headers.x-tenant == \"tenant-{}\"",
    "http.res.headers.content-type contains \"grpc-{}\"",
    "src.process.binary == \"worker-{}\" or tags contains \"canary:{}\"",
    "http.req.path matches /^\\/v[0-9]+\\/orders\\/{}$/ and not tls.enabled",
];

fn main() -> Result<()> {
    // `cargo bench` says so; anything else (`cargo test --benches`) only wants to know that it runs.
    let times = if std::env::args().any(|argument| argument == "--bench") { 20_000 } else { 2 };
    println!("| rules | CPU per exchange, µs |\n|---|---|");
    for count in [0, 10, 100] {
        let us = measure(&list(count)?, count, times)?;
        println!("| {count} | {us:.3} |");
    }
    println!("\n| one rule | CPU per exchange, ns |\n|---|---|");
    for text in RULES {
        let text = text.replace("{}", "77");
        let us = measure(&[rule(0, &text)?], 1, times * 10)?;
        println!("| `{}` | {:.1} |", text.replace('|', "\\|"), us * 1e3);
    }
    Ok(())
}

fn rule(nth: usize, text: &str) -> Result<CaptureRule> {
    let rule = compile(text, &Macros::default()).map_err(|fault| anyhow!("{text}: {fault:?}"))?;
    Ok(CaptureRule { name: format!("r{nth}"), rule, level: Level::Full })
}

fn list(count: usize) -> Result<Vec<CaptureRule>> {
    let text = |nth: usize| RULES.iter().cycle().nth(nth).map(|text| text.replace("{}", &(nth % 100 + 10).to_string()));
    (0..count).map(|nth| rule(nth, &text(nth).unwrap_or_default())).collect()
}

/// CPU time of one exchange, µs: its facts are gathered, and all rules asked.
fn measure(rules: &[CaptureRule], count: usize, times: u32) -> Result<f64> {
    let capture = HttpCapture { rules: rules.to_vec(), ..HttpCapture::default() };
    let (http, conn, process, host) = (exchange(), conn()?, process(), Host::default());
    let tags = ["team:core".to_owned(), "env:prod".to_owned()];
    let ask = || {
        let facts = Facts::of(black_box(&http)).on(&conn, Some(&process), &host).tagged(&tags);
        capture.passed(&facts)
    };
    ensure!(ask().is_none(), "{count} rules: one passes");
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu_time();
        for _ in 0..times {
            black_box(ask());
        }
        measured.push((cpu_time().saturating_sub(before)).as_secs_f64() * 1e6 / f64::from(times));
    }
    measured.sort_by(f64::total_cmp);
    Ok(measured.get(ROUNDS / 2).copied().unwrap_or(f64::NAN))
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn fields(list: &[(&'static str, &'static str)]) -> Fields {
    let text = |text: &'static str| FieldText::Known(Bytes::from_static(text.as_bytes()));
    Fields(list.iter().map(|(name, value)| Field { name: text(name), value: text(value) }).collect())
}

/// An exchange as a browser has it: twelve fields asked, ten answered.
fn exchange() -> HttpExchange {
    let asked = fields(&[
        ("Host", "api.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Connection", "keep-alive"),
        ("Cookie", "session=0123456789abcdef0123456789abcdef"),
        ("X-Tenant", "tenant-none"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("Cache-Control", "no-cache"),
    ]);
    let answered = fields(&[
        ("Date", "Mon, 27 Jul 2009 12:28:53 GMT"),
        ("Server", "nginx"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", "1024"),
        ("Vary", "Accept-Encoding"),
        ("ETag", "\"34aa387-d-1568eb00\""),
        ("Cache-Control", "max-age=3600"),
        ("Strict-Transport-Security", "max-age=31536000"),
        ("X-Request-Id", "0123456789abcdef"),
        ("Connection", "keep-alive"),
    ]);
    let request = Request {
        method: Some("GET".to_owned()),
        target: Some("/v1/orders/4711?expand=items".to_owned()),
        scheme: None,
        authority: Some("api.example.com".to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: asked,
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(1_000_000),
        ended: Some(KernelTime(2_000_000)),
    };
    let response = Response {
        status: Some(200),
        reason: Bytes::from_static(b"OK"),
        informational: Vec::new(),
        version: Version::Http11,
        fields: answered,
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(3_000_000),
        ended: Some(KernelTime(50_000_000)),
    };
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 42,
        request: Some(request),
        response: Some(response),
        incomplete: None,
        part: None,
    }
}

fn conn() -> Result<ConnFacts> {
    Ok(ConnFacts {
        uid: ConnectionUid([7; 16]),
        opened: KernelTime(0),
        pid: 42,
        transport: Transport::Tcp,
        local: Endpoint::Inet("10.0.0.2:50000".parse()?),
        peer: Endpoint::Inet("93.184.216.34:443".parse()?),
        role: Role::Client,
        tls: Some(TlsFacts { sni: Some("api.example.com".to_owned()), ..TlsFacts::default() }),
        protocol: Protocol::Http1,
        binding: None,
        joined_late: false,
        domain: None,
    })
}

fn process() -> Process {
    Process { pid: 42, executable_path: "/usr/bin/curl".to_owned(), user_id: 1000, ..Process::default() }
}
