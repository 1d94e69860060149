//! How fast a recording goes through source, tap and pipeline on one core, its records then dropped: `cargo xtask bench replay`,
//! or `cargo bench -p qtap-agent --bench replay`. The recordings are made here, as the probes would have written them. Times are
//! the thread's own CPU time, so that what else the machine does is left out. Prints a table; asserts only that every exchange
//! that was recorded came out.
#![allow(clippy::print_stdout)] // the table

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Fact, Writer};
use qtap_agent::capture::replay::Replay;
use qtap_agent::capture::source::{Flow, Source as _};
use qtap_agent::config::{self, Settings, Source};
use qtap_agent::http;
use qtap_agent::model::event::Host;
use qtap_agent::model::process::Process;
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use qtap_agent::tap::{self, Tap};
use qtap_common::record::{flag, kind, role};
use qtap_common::state::PIECE;
use rustix::time::{ClockId, clock_gettime};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times each recording is played; the median counts.
const ROUNDS: usize = 5;
const PID: u32 = 4242;
/// Keep-alive connections that take turns.
const CONNECTIONS: u64 = 64;
/// Streams at once on an HTTP/2 connection.
const STREAMS: u32 = 100;

fn main() -> Result<()> {
    // `cargo bench` says so; anything else (`cargo test --benches`) only wants to know that it runs.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let scale = |exchanges: u64| if measured { exchanges } else { exchanges / 1000 + 1 };
    let recordings = [
        ("HTTP/1.1, 1 KB", scale(50_000), http1(scale(50_000), 1 << 10)?),
        ("HTTP/1.1, 1 MB", scale(200), http1(scale(200), 1 << 20)?),
        ("HTTP/2 in TLS, 100 streams, 1 KB", u64::from(STREAMS) * scale(500), http2(scale(500), 1 << 10)?),
    ];
    println!("| recording | level | exchanges/s | MB/s | CPU per exchange, µs |\n|---|---|---|---|---|");
    for (name, exchanges, bytes) in &recordings {
        for level in ["summary", "full"] {
            let settings = settings(level)?;
            let mut times = Vec::new();
            for _ in 0..if measured { ROUNDS } else { 1 } {
                let before = cpu_time();
                let found = play(bytes, &settings)?;
                times.push(cpu_time().saturating_sub(before));
                ensure!(found == *exchanges, "{name}: {found} of {exchanges} exchanges");
            }
            times.sort_unstable();
            let seconds = times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64);
            let each = *exchanges as f64;
            let (rate, us) = (each / seconds, seconds * 1e6 / each);
            println!("| {name} | {level} | {rate:.0} | {:.0} | {us:.2} |", bytes.len() as f64 / 1e6 / seconds);
        }
    }
    Ok(())
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn settings(level: &str) -> Result<Settings> {
    let text = format!(
        "version: 2
services:
  event_stores: [{{type: otel, endpoint: \"http://127.0.0.1:9\"}}]
  object_stores: [{{type: otel, endpoint: \"http://127.0.0.1:9\"}}]
stacks:
  bench: {{plugins: [{{type: http_capture, config: {{level: {level}}}}}, {{type: redact}}]}}
tap: {{http: {{stack: bench}}}}
"
    );
    match config::load(Source::Text { name: level.to_owned(), text }, &|_| None) {
        Ok((settings, _)) => Ok(settings),
        Err(faults) => bail!("{faults}"),
    }
}

/// Plays a recording; says how many exchanges became records.
fn play(recording: &[u8], settings: &Settings) -> Result<u64> {
    let http = http::Settings { keep_bodies: settings.pipeline.keeps_bodies(), ..http::Settings::default() };
    let mut source = Replay::open(recording)?;
    let mut tap = Tap::new(tap::Settings { http });
    let mut pipeline = Pipeline::new(settings.pipeline.clone(), &RedactionKey([0; 32]));
    let (mut events, mut seen, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut exchanges = 0;
    loop {
        let flow = source.poll(Duration::ZERO, &mut events)?;
        events.drain(..).for_each(|event| tap.on_event(event, &mut seen));
        if flow == Flow::Ended {
            tap.finish(KernelTime(u64::MAX), &mut seen);
        }
        seen.drain(..).for_each(|observation| pipeline.apply(observation, &mut records));
        exchanges += records.iter().filter(|record| matches!(record.kind, RecordKind::Artifact(_))).count() as u64;
        records.clear();
        if flow == Flow::Ended {
            return Ok(exchanges);
        }
    }
}

/// A recording being made.
struct Script {
    writer: Writer<Vec<u8>>,
    now: u64,
    /// Bytes that passed so far, by channel and direction.
    passed: std::collections::HashMap<(u64, u8), u64>,
}

impl Script {
    fn new() -> Result<Script> {
        let mut writer = Writer::new(Vec::new(), ABI)?;
        writer.fact(&Fact::Started(Host { name: "bench".to_owned(), ..Host::default() }))?;
        let process = Process { pid: PID, executable_path: "/usr/sbin/nginx".to_owned(), ..Process::default() };
        writer.fact(&Fact::Process(process))?;
        Ok(Script { writer, now: 1_000_000_000, passed: std::collections::HashMap::new() })
    }

    /// Writes a record: the header of `qtap_common::record::Header`, then the rest.
    fn record(&mut self, what: [u8; 3], id: u64, rest: &[&[u8]]) -> Result<()> {
        self.now += 5_000;
        let len = 32 + rest.iter().map(|part| part.len()).sum::<usize>() as u32;
        let [kind, flags, detail] = what;
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend_from_slice(&self.now.to_ne_bytes());
        bytes.extend_from_slice(&id.to_ne_bytes());
        [PID, PID, len].iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        bytes.extend_from_slice(&[kind, flags, detail, 0]);
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        self.writer.kernel(&bytes)?;
        if self.now.is_multiple_of(100_000_000) {
            self.writer.fact(&Fact::Tick(KernelTime(self.now)))?;
        }
        Ok(())
    }

    /// An accepted TCP connection over IPv4.
    fn opened(&mut self, id: u64) -> Result<()> {
        let mut ends = Vec::new();
        ends.extend_from_slice(&id.to_ne_bytes());
        for word in [2u16, 8080, (40_000 + id as u16).to_be(), 0] {
            ends.extend_from_slice(&word.to_ne_bytes());
        }
        for end in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            ends.extend_from_slice(&end);
            ends.extend_from_slice(&[0; 12]);
        }
        self.record([kind::OPENED, 0, role::SERVER], id, &[&ends])
    }

    /// A TLS session of connection `conn`.
    fn session(&mut self, id: u64, conn: u64) -> Result<()> {
        self.record([kind::SESSION_OPENED, 0, 0], id, &[&[0; 16]])?;
        self.record([kind::BOUND, 0, qtap_common::record::binding::NESTED], id, &[&conn.to_ne_bytes()])
    }

    /// Bytes of one call, in pieces as the probes cut them.
    fn bytes(&mut self, flags: u8, id: u64, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            let offset = self.passed.entry((id, flags)).or_default();
            let at = *offset;
            *offset += piece.len() as u64;
            self.record([kind::DATA, flags, 0], id, &[&at.to_ne_bytes(), piece])?;
        }
        Ok(())
    }
}

/// Requests of 64 connections in turn, each answered with a body of `size` bytes.
fn http1(exchanges: u64, size: usize) -> Result<Vec<u8>> {
    let mut script = Script::new()?;
    (1..=CONNECTIONS).try_for_each(|id| script.opened(id))?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {size}\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nConnection: keep-alive\r\n\
         ETag: \"695735a5-400\"\r\nAccept-Ranges: bytes\r\n\r\n"
    );
    let body = vec![b'x'; size];
    for number in 0..exchanges {
        let id = number % CONNECTIONS + 1;
        script.bytes(flag::RECEIVED, id, b"GET /1k.txt HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")?;
        // As nginx writes it: one call with two buffers.
        script.bytes(0, id, head.as_bytes())?;
        script.bytes(0, id, &body)?;
    }
    Ok(script.writer.into_inner())
}

/// Rounds of 100 requests at once on one connection inside TLS, each answered with a body of `size` bytes.
fn http2(rounds: u64, size: usize) -> Result<Vec<u8>> {
    const SESSION: u64 = 1 << 32;
    let mut script = Script::new()?;
    script.opened(1)?;
    script.session(SESSION, 1)?;
    let (sent, received) = (flag::SESSION, flag::SESSION | flag::RECEIVED);
    let settings = frame(4, 0, 0, &[]);
    script.bytes(received, SESSION, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat())?;
    script.bytes(sent, SESSION, &settings)?;
    // RFC 7541, all without indexing: `:method: GET`, `:scheme: https`, `:path`, `:authority`.
    let request = [b"\x82\x87\x04\x07/1k.txt\x01\x0elocalhost:8443".as_slice()].concat();
    // `:status: 200`, `content-type`, `content-length`.
    let response = [b"\x88\x0f\x10\x0atext/plain\x0f\x0d\x04".as_slice(), format!("{size:04}").as_bytes()].concat();
    let body = vec![b'x'; size];
    let mut stream = 1;
    for _ in 0..rounds {
        let ids: Vec<u32> = (0..STREAMS).map(|nth| stream + 2 * nth).collect();
        stream += 2 * STREAMS;
        let requests: Vec<u8> = ids.iter().flat_map(|id| frame(1, 5, *id, &request)).collect();
        script.bytes(received, SESSION, &requests)?;
        for id in ids {
            let answer = [frame(1, 4, id, &response), frame(0, 1, id, &body)].concat();
            script.bytes(sent, SESSION, &answer)?;
        }
    }
    Ok(script.writer.into_inner())
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    let _ = bytes.write_all(payload);
    bytes
}
