//! How fast a recording goes through source, tap and pipeline on one core, its records then dropped: `cargo xtask bench replay`,
//! or `cargo bench -p qtap-agent --bench replay`. The recordings are made in `script`, as the probes would have written them. Times are
//! the thread's own CPU time, so that what else the machine does is left out. Prints a table; asserts only that every exchange
//! that was recorded came out. With `--write DIR` nothing is measured: each traffic is written there twice, as a recording and as the
//! packets of the same bytes, for `cargo xtask bench tshark`.
#![allow(clippy::print_stdout)] // the table

mod pcap;
mod script;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use qtap_agent::capture::replay::Replay;
use qtap_agent::capture::source::{Flow, Source as _};
use qtap_agent::config::{self, Settings, Source};
use qtap_agent::http;
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use qtap_agent::tap::{self, Tap};
use rustix::time::{ClockId, clock_gettime};

use script::{STREAMS, http1, http2};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times each recording is played; the median counts.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory, ..] = arguments.as_slice()
        && flag == "--write"
    {
        return write(Path::new(directory));
    }
    // `cargo bench` says so; anything else (`cargo test --benches`) only wants to know that it runs.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let scale = |exchanges: u64| if measured { exchanges } else { exchanges / 1000 + 1 };
    let recordings = [
        ("HTTP/1.1, 1 KB", scale(50_000), http1(scale(50_000), 1 << 10)?.recording()),
        ("HTTP/1.1, 1 MB", scale(200), http1(scale(200), 1 << 20)?.recording()),
        (
            "HTTP/2 in TLS, 100 streams, 1 KB",
            u64::from(STREAMS) * scale(500),
            http2(scale(500), 1 << 10, true)?.recording(),
        ),
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

/// Writes `NAME.qtap` and `NAME.pcap` of each traffic, and its exchanges into `NAME.count`.
fn write(directory: &Path) -> Result<()> {
    let traffics = [
        ("http1-1k", 50_000, http1(50_000, 1 << 10)?),
        ("http1-1m", 200, http1(200, 1 << 20)?),
        ("http2-100-streams", u64::from(STREAMS) * 500, http2(500, 1 << 10, false)?),
    ];
    for (name, exchanges, script) in traffics {
        let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
        let (recording, packets) = script.both();
        std::fs::write(file("qtap"), recording)?;
        std::fs::write(file("pcap"), packets)?;
        std::fs::write(file("count"), exchanges.to_string())?;
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
    let http = http::Settings {
        keep_bodies: settings.pipeline.keeps_bodies(),
        judge: settings.pipeline.judge(),
        ..http::Settings::default()
    };
    let mut source = Replay::open(recording)?;
    let mut tap = Tap::new(tap::Settings { http, ..tap::Settings::default() });
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
