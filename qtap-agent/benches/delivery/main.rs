//! How fast records go through a queue on disk and the gRPC exporter to a sink in another process: `cargo xtask bench delivery`, or `cargo
//! bench -p qtap-agent --bench delivery`. CPU time is that of this process alone, the sink's being left out; both are pinned to a core each
//! where `taskset` is there. Then: memory while the store is down, and how fast what waited is drained. Prints tables; asserts only that
//! every record arrived or was counted.
#![allow(clippy::print_stdout)] // the tables

mod records;
mod sink;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qtap_agent::export::settings::{
    Auth, BatchSettings, Compression, Fsync, Limits, OtlpProtocol, OtlpSettings, ProxySettings, QueueSettings,
    ResourceSettings, RetrySettings, StoreKind, StoreSettings, TlsSettings,
};
use qtap_agent::export::{DataDir, Output, Store, spawn_in};
use qtap_agent::model::record::{Record, Severity};
use rustix::time::{ClockId, clock_gettime};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records offered together: what the pipeline makes of a batch of observations.
const TOGETHER: usize = 64;
/// Records on their way above which the bench waits: it measures what goes through, not what is shed.
const UNDER_WAY: u64 = 20_000;
/// Bytes on their way above which it waits.
const UNDER_WAY_BYTES: u64 = 24 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, port, ..] = arguments.as_slice()
        && flag == "--sink"
    {
        return sink::serve(port.parse()?);
    }
    // `cargo bench` says so; anything else (`cargo test --benches`) only wants to know that it runs.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let scale = if measured { 1 } else { 500 };
    sink::pin(std::process::id(), 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let small: Vec<_> = (0..1024).map(records::small).collect();
        let large: Vec<_> = (0..16).map(|number| records::object(number, 256 << 10)).collect();
        println!("| what | fsync | records/s | MB/s | CPU per record, µs | records/s, per core | MB/s, per core |");
        println!("|---|---|---|---|---|---|---|");
        for fsync in [Fsync::Never, Fsync::Interval, Fsync::Always] {
            through("small records", &small, 1_000_000 / scale, fsync).await?;
            through("objects of 256 KiB", &large, 8_000 / scale, fsync).await?;
        }
        down(&small, &large, if measured { Duration::from_secs(20) } else { Duration::from_millis(200) }).await
    })
}

fn settings(port: u16, fsync: Fsync) -> StoreSettings {
    let otlp = OtlpSettings {
        resource: ResourceSettings { service_name: "bench".to_owned(), ..ResourceSettings::default() },
        endpoint: format!("127.0.0.1:{port}"),
        endpoint_is_exact: false,
        protocol: OtlpProtocol::Grpc,
        put: false,
        compression: Compression::None,
        headers: Vec::new(),
        auth: Auth::None,
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(10),
        batch: BatchSettings::default(),
        retry: RetrySettings { max: Duration::from_secs(1), ..RetrySettings::default() },
        workers: 2,
        min_severity: Severity::Trace,
        limits: Limits::default(),
    };
    StoreSettings {
        id: "bench".to_owned(),
        events: true,
        objects: true,
        kind: StoreKind::Otlp(Box::new(otlp)),
        queue: Some(QueueSettings { fsync, ..QueueSettings::default() }),
    }
}

/// A store with its queue below the target directory: a disk, where `/tmp` is often memory.
fn start(port: u16, fsync: Fsync) -> Result<(Store, DataDir, tempfile::TempDir)> {
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let data = DataDir::open(folder.path())?;
    let runtime = tokio::runtime::Handle::current();
    let store = spawn_in(&settings(port, fsync), &runtime, "0.0.0", &Output::stdout(), Some(&data))?;
    Ok((store, data, folder))
}

/// CPU time of this process: all its threads, also those that ended.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Offers so many records, waiting where too many are under way.
async fn offer(store: &Store, records: &[Arc<Record>], count: usize, bound: bool) {
    let mut offered = 0;
    while offered < count {
        for chunk in records.chunks(TOGETHER).take((count - offered).div_ceil(TOGETHER)) {
            store.offer(chunk);
            offered += chunk.len();
        }
        // Yielding, so that a pipeline that never pauses is not what is measured.
        while bound && is_full(store) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::yield_now().await;
    }
}

fn is_full(store: &Store) -> bool {
    let status = store.status();
    status.buffered_records > UNDER_WAY || status.buffered_bytes > UNDER_WAY_BYTES
}

/// Records from the offer to the sink's answer.
async fn through(what: &str, records: &[Arc<Record>], count: usize, fsync: Fsync) -> Result<()> {
    let mut sink = sink::start(0)?;
    let (store, _data, _folder) = start(sink.port, fsync)?;
    let count = count.next_multiple_of(records.len());
    let bytes = (records::body_bytes(records) * (count / records.len())) as f64;
    // Not counted: the connection, and the first of everything.
    offer(&store, records, records.len(), true).await;
    settled(&store).await;
    let before = store.status().exported_records;
    let (began, cpu) = (Instant::now(), cpu_time());
    offer(&store, records, count, true).await;
    settled(&store).await;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let status = store.shutdown(Duration::from_secs(10)).await;
    ensure!(status.losses.is_empty(), "{:?}", status.losses);
    let exported = status.exported_records - before;
    ensure!(exported == count as u64, "{exported} of {count}");
    let (each, megabytes) = (count as f64, if bytes > 0.0 { bytes } else { status.exported_bytes as f64 } / 1e6);
    println!(
        "| {what} | {fsync:?} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
        each / wall,
        megabytes / wall,
        cpu * 1e6 / each,
        each / cpu,
        megabytes / cpu
    );
    sink.stop();
    Ok(())
}

async fn settled(store: &Store) {
    while store.status().buffered_records > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The store is down for the whole run: what memory does; then it comes back: how fast what waited goes out.
async fn down(small: &[Arc<Record>], large: &[Arc<Record>], time: Duration) -> Result<()> {
    let sink = sink::start(0)?;
    let port = sink.port;
    drop(sink);
    let (store, _data, _folder) = start(port, Fsync::Interval)?;
    println!("\n| down for, s | offered | held, MB | resident memory, MB |\n|---|---|---|---|");
    let began = Instant::now();
    let mut offered = 0;
    for quarter in 1..=4u32 {
        while began.elapsed() < time * quarter / 4 {
            // What is written is bounded by the disk; what waits to be written is not what is looked for here.
            while store.status().buffered_records.saturating_sub(on_disk(&store)) > UNDER_WAY {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            offer(&store, small, small.len(), false).await;
            offer(&store, large, large.len(), false).await;
            offered += small.len() + large.len();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held = store.status().buffered_bytes as f64 / 1e6;
        println!("| {:.1} | {offered} | {held:.0} | {:.0} |", began.elapsed().as_secs_f64(), resident_mb()?);
    }
    let waiting = store.status();
    let (began, cpu) = (Instant::now(), cpu_time());
    let mut sink = sink::start(port)?;
    settled(&store).await;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let status = store.shutdown(Duration::from_secs(10)).await;
    let (records, megabytes) = (waiting.buffered_records as f64, waiting.buffered_bytes as f64 / 1e6);
    println!(
        "\nBack again: {records:.0} records, {megabytes:.0} MB drained in {wall:.2} s ({cpu:.2} s of CPU), {:.0} records/s, {:.0} MB/s; {:.0} MB resident.",
        records / wall,
        megabytes / wall,
        resident_mb()?
    );
    for (loss, count, bytes) in status.losses.iter() {
        println!("Dropped: {count} records, {:.0} MB, {}.", bytes as f64 / 1e6, loss.name());
    }
    let dropped: u64 = status.losses.iter().map(|(_, count, _)| count).sum();
    ensure!(status.exported_records + dropped == offered as u64, "{offered} offered, {status:?}");
    sink.stop();
    Ok(())
}

/// What is in the queue, of what is under way.
fn on_disk(store: &Store) -> u64 {
    let status = store.status();
    status.accepted_records.saturating_sub(status.exported_records).min(status.buffered_records)
}

fn resident_mb() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
