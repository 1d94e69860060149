//! Whole stores with the exporter in memory: every record ends up in exactly one place.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qtap_agent::export::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use qtap_agent::export::memory::{Memory, MemoryExporter};
use qtap_agent::export::refusal::Refusal;
use qtap_agent::export::settings::{BatchSettings, ResourceSettings, RetrySettings, StoreKind, StoreSettings};
use qtap_agent::export::store::Drive;
use qtap_agent::export::{Health, Output, Store, spawn, spawn_exporter};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::record::{Record, RecordKind, Severity};
use qtap_agent::model::spool::SpoolFile;
use serde_json::Value;
use tokio::runtime::Handle;

use super::records::{connection, digest, object, one_of_each};

const BOTH: Takes = Takes { events: true, objects: true };

fn drive() -> Drive {
    Drive {
        protocol: "memory",
        batch: BatchSettings { max_records: 4, max_bytes: 1 << 20, interval: Duration::from_secs(1) },
        retry: RetrySettings {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(4),
            max_elapsed: Duration::ZERO,
        },
        workers: 1,
        timeout: Some(Duration::from_secs(10)),
        ..Drive::stdout()
    }
}

fn start(memory: &Memory, takes: Takes, drive: Drive) -> Store {
    spawn_exporter("memory", MemoryExporter::new(memory.clone(), takes), takes, drive, &Handle::current())
}

fn uids(memory: &Memory) -> Vec<u64> {
    let uid = |record: &Value| {
        let list = record["attributes"].as_array().unwrap();
        let uid = list.iter().find(|attribute| attribute["key"] == "log.record.uid").unwrap();
        u64::from_str_radix(uid["value"]["stringValue"].as_str().unwrap(), 16).unwrap()
    };
    memory.records().iter().map(uid).collect()
}

#[tokio::test(start_paused = true)]
async fn records_arrive_in_order_in_batches() {
    let memory = Memory::default();
    let store = start(&memory, BOTH, drive());
    for number in 0..10 {
        store.offer(&[connection(number)]);
    }
    let status = store.shutdown(Duration::from_secs(1)).await;
    assert_eq!((status.exported_records, status.sends), (10, 3));
    assert_eq!(uids(&memory), (0..10).collect::<Vec<_>>());
    assert_eq!(memory.batches().iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_store_gets_only_what_it_takes() {
    for (takes, want) in [
        (Takes { events: true, objects: false }, vec![1, 2, 4, 5]),
        (Takes { events: false, objects: true }, vec![3]),
        (BOTH, vec![1, 2, 3, 4, 5]),
    ] {
        let memory = Memory::default();
        let store = start(&memory, takes, drive());
        store.offer(&one_of_each());
        assert_eq!(store.shutdown(Duration::from_secs(1)).await.buffered_records, 0);
        assert_eq!(uids(&memory), want);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_counted_and_bodies_go_first() {
    let memory = Memory::default();
    memory.answer(Err(Refusal::reconfigure("no")));
    let store = start(&memory, BOTH, Drive { max_records: 8, ..drive() });
    for number in 0..10 {
        store.offer(&[object(number, b"x"), connection(100 + number)]);
    }
    let status = store.status();
    // Objects may take six of the eight places: three pairs fit, then only events until all eight are taken.
    assert_eq!((status.buffered_records, status.losses.count(Loss::ExportFull)), (8, 12));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let status = store.shutdown(Duration::from_secs(1)).await;
    assert_eq!(status.exported_records, 8);
    assert_eq!(uids(&memory), [0, 100, 1, 101, 2, 102, 103, 104]);
}

/// Offers that the intake has not processed yet are bounded by the budget, like everything else, not by their number.
#[tokio::test(start_paused = true)]
async fn many_small_offers_have_room_as_long_as_the_budget_has() {
    let memory = Memory::default();
    let store = start(&memory, BOTH, Drive { max_records: 10_000, ..drive() });
    let record = connection(1);
    for _ in 0..12_000 {
        store.offer(std::slice::from_ref(&record));
    }
    let status = store.shutdown(Duration::from_secs(10)).await;
    assert_eq!((status.exported_records, status.losses.count(Loss::ExportFull)), (10_000, 2_000));
}

#[tokio::test(start_paused = true)]
async fn backoff_is_cut_short_at_shutdown_and_what_remains_is_counted() {
    let memory = Memory::default();
    for _ in 0..3 {
        memory.answer(Err(Refusal::wait("down")));
    }
    let slow =
        RetrySettings { initial: Duration::from_secs(100), max: Duration::from_secs(100), max_elapsed: Duration::ZERO };
    let store = start(&memory, BOTH, Drive { retry: slow, ..drive() });
    store.offer(&[connection(1), connection(2)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((store.status().health, store.status().sends), (Health::Failing, 1));
    let status = store.shutdown(Duration::from_secs(5)).await;
    assert_eq!((status.sends, status.losses.count(Loss::Shutdown), status.buffered_records), (2, 2, 0));
    assert_eq!(status.exported_records, 0);
}

/// `Retry-After: 0`, or a date that has passed on this host's clock: the backoff applies, and nobody asks without a pause.
#[tokio::test(start_paused = true)]
async fn a_retry_after_of_nothing_is_no_leave_to_ask_at_once() {
    let memory = Memory::default();
    for _ in 0..100 {
        memory.answer(Err(Refusal::http(http::StatusCode::SERVICE_UNAVAILABLE, "", Some(Duration::ZERO))));
    }
    let store = start(&memory, BOTH, drive());
    store.offer(&[connection(1)]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    // After a second, two, four, four, …, each shortened by half at most.
    assert!((5..=12).contains(&store.status().sends), "{}", store.status().sends);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_given_up_after_the_longest_time() {
    let memory = Memory::default();
    for _ in 0..10 {
        memory.answer(Err(Refusal::wait("down")));
    }
    let retry = RetrySettings { max_elapsed: Duration::from_nanos(1), ..drive().retry };
    let store = start(&memory, BOTH, Drive { retry, ..drive() });
    store.offer(&[connection(1)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = store.status();
    assert_eq!((status.losses.count(Loss::ExportExpired), status.buffered_records), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn rejected_records_are_found_by_halving() {
    let memory = Memory::default();
    for answer in [Err(Refusal::split("bad")), Ok(Receipt::default()), Err(Refusal::split("bad"))] {
        memory.answer(answer);
    }
    memory.answer(Err(Refusal::split("bad")));
    let store = start(&memory, BOTH, drive());
    store.offer(&[connection(0), connection(1), connection(2), connection(3)]);
    let status = store.shutdown(Duration::from_secs(1)).await;
    // Batch 0..4 fails; 0..2 is accepted; 2..4 fails; 2 fails and is dropped; 3 is accepted.
    assert_eq!(uids(&memory), [0, 1, 3]);
    assert_eq!((status.losses.count(Loss::ExportRejected), status.exported_records), (1, 3));
}

/// Throttles one record for a long time, and takes all others.
struct Busy {
    inner: MemoryExporter,
    refusal: fn() -> Refusal,
    left: Mutex<u32>,
}

impl Exporter for Busy {
    fn prepare(&self, record: &Record) -> Prepared {
        self.inner.prepare(record)
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        let throttled =
            items.iter().any(|item| String::from_utf8_lossy(&item.payload).contains("0000000000000000000f00"));
        if throttled && *self.left.lock().unwrap() > 0 {
            *self.left.lock().unwrap() -= 1;
            return Err((self.refusal)());
        }
        self.inner.send(items).await
    }
}

/// A server that is asked for less by answering 429 (RFC 6585 §4) or RESOURCE_EXHAUSTED says nothing about the data, however often it does.
#[tokio::test(start_paused = true)]
async fn what_is_throttled_is_never_suspected() {
    let refusals: [fn() -> Refusal; 2] = [
        || Refusal::http(http::StatusCode::TOO_MANY_REQUESTS, "", None),
        || Refusal::grpc(tonic::Code::ResourceExhausted, "quota", None),
    ];
    for refusal in refusals {
        let memory = Memory::default();
        let busy = Busy { inner: MemoryExporter::new(memory.clone(), BOTH), refusal, left: Mutex::new(30) };
        let drive = Drive { workers: 2, ..drive() };
        let store = spawn_exporter("memory", busy, BOTH, drive, &Handle::current());
        store.offer(&[connection(0xf00)]);
        for number in 0..200 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.offer(&[connection(number)]);
        }
        let status = store.shutdown(Duration::from_secs(10)).await;
        assert_eq!((status.exported_records, status.losses.count(Loss::ExportRejected)), (201, 0));
    }
}

/// A writer that keeps what it gets, or fails as a pipe without a reader does.
#[derive(Clone, Default)]
struct Sink {
    got: Arc<Mutex<Vec<u8>>>,
    broken: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.got.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stdout(id: &str, events: bool, objects: bool, output: &Output) -> Store {
    stdout_of(Severity::Trace, id, events, objects, output)
}

fn stdout_of(least: Severity, id: &str, events: bool, objects: bool, output: &Output) -> Store {
    let resource = ResourceSettings { service_name: "{process}".into(), ..Default::default() };
    let kind = StoreKind::Stdout(resource, least);
    let settings = StoreSettings { id: id.into(), events, objects, kind, queue: None };
    spawn(&settings, &Handle::current(), "1.2.3", output).unwrap()
}

#[tokio::test]
async fn two_stores_share_the_output_line_by_line() {
    let sink = Sink::default();
    let output = Output::to(Box::new(sink.clone()), false);
    let (events, objects) = (stdout("a", true, false, &output), stdout("b", false, true, &output));
    let large = "é\"".repeat(100_000);
    for number in 0..20 {
        events.offer(&[connection(number)]);
        objects.offer(&[object(number, large.as_bytes())]);
    }
    assert_eq!(events.shutdown(Duration::from_secs(10)).await.exported_records, 20);
    assert_eq!(objects.shutdown(Duration::from_secs(10)).await.exported_records, 20);
    let text = String::from_utf8(sink.got.lock().unwrap().clone()).unwrap();
    let mut names = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let logs = &line["resourceLogs"][0];
        assert_eq!(logs["resource"]["attributes"][0]["value"]["stringValue"], "curl");
        names.push(logs["scopeLogs"][0]["logRecords"][0]["eventName"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.iter().filter(|name| *name == "qtap.connection").count(), 20);
    assert_eq!(names.len(), 40);
}

#[tokio::test]
async fn the_stdout_protocol_leaves_out_what_is_less_severe() {
    let sink = Sink::default();
    let output = Output::to(Box::new(sink.clone()), false);
    let store = stdout_of(Severity::Error, "a", true, true, &output);
    let failed = Record { severity: Severity::Error, ..(*connection(1)).clone() };
    store.offer(&[connection(0), Arc::new(failed), object(2, b"x")]);
    store.shutdown(Duration::from_secs(10)).await;
    let text = String::from_utf8(sink.got.lock().unwrap().clone()).unwrap();
    assert_eq!((text.lines().count(), text.matches("\"ERROR\"").count()), (1, 1), "{text}");
}

#[tokio::test]
async fn a_reader_that_went_away_is_reported_and_counted() {
    let output = Output::to(Box::new(Sink { broken: true, ..Sink::default() }), false);
    let store = stdout("a", true, true, &output);
    store.offer(&one_of_each());
    let status = store.shutdown(Duration::from_secs(10)).await;
    assert_eq!((status.exported_records, status.losses.count(Loss::ExportRejected)), (0, 5));
    assert_eq!(status.health, Health::Failing);
    assert!(status.last_error.unwrap().1.contains("the reader of the output has gone away"));
}

#[tokio::test]
async fn a_terminal_gets_indented_json() {
    let sink = Sink::default();
    let store = stdout("a", true, true, &Output::to(Box::new(sink.clone()), true));
    store.offer(&one_of_each());
    store.shutdown(Duration::from_secs(10)).await;
    let text = String::from_utf8(sink.got.lock().unwrap().clone()).unwrap();
    assert!(text.starts_with("{\n  \"resourceLogs\": [\n    {\n      \"resource\": {\n"), "{text}");
    let read: Vec<Value> = serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(read.len(), 5);
}

/// A store of records gets the beginning of an object on disk, and the size of the whole; a line has room for more than an OTLP message.
#[tokio::test]
async fn a_store_of_records_gets_the_beginning_of_an_object_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let value = |record: &Value, name: &str| {
        let found = record["attributes"].as_array().unwrap().iter().find(|attribute| attribute["key"] == name);
        found.map(|attribute| attribute["value"].clone()).unwrap_or_default()
    };
    for (len, cut) in [(100_000, false), (3 << 20, true)] {
        let path = folder.path().join("1");
        // Characters of three bytes, so that the excerpt ends inside one.
        let data = "日".repeat(len / 3 + 1).into_bytes();
        std::fs::write(&path, &data).unwrap();
        let mut record = (*object(1, &data)).clone();
        if let RecordKind::Object(object) = &mut record.kind {
            object.data = bytes::Bytes::new();
            object.spooled = Some(Arc::new(SpoolFile::new(path.clone(), data.len() as u64)));
        }
        let records = [Arc::new(record)];
        let (sink, memory) = (Sink::default(), Memory::default());
        let lines = stdout("a", false, true, &Output::to(Box::new(sink.clone()), false));
        let messages = start(&memory, BOTH, drive());
        lines.offer(&records);
        messages.offer(&records);
        drop(records);
        assert_eq!(lines.shutdown(Duration::from_secs(10)).await.exported_records, 1);
        assert_eq!(messages.shutdown(Duration::from_secs(10)).await.exported_records, 1);
        assert!(!path.exists(), "gone with the last who held it");
        let line: Value = serde_json::from_slice(&sink.got.lock().unwrap()).unwrap();
        let line = &line["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        for (record, cut) in [(line, false), (&memory.records()[0], cut)] {
            let text = value(record, "artifact.data")["stringValue"].as_str().unwrap().to_owned();
            assert!(data.starts_with(text.as_bytes()));
            assert_eq!(text.len(), if cut { (2 << 20) / 3 * 3 } else { data.len() });
            assert_eq!(value(record, "artifact.truncated")["boolValue"].as_bool().unwrap_or(false), cut);
            assert_eq!(value(record, "artifact.size_bytes")["intValue"], data.len().to_string());
            assert_eq!(value(record, "artifact.digest")["stringValue"], digest(&data));
        }
    }
}

/// The memory that a store needs for an object on disk is counted beforehand: a store that reads the file needs none.
#[tokio::test(start_paused = true)]
async fn objects_on_disk_need_the_room_that_they_take_in_memory() {
    for (of_spooled, admitted) in [(1 << 20, 2), (0, 5)] {
        let memory = Memory::default();
        memory.answer(Err(Refusal::wait("not now")));
        let store = start(&memory, BOTH, Drive { max_bytes: 4 << 20, max_records: 100, of_spooled, ..drive() });
        for number in 0..5 {
            let mut record = (*object(number, b"")).clone();
            if let RecordKind::Object(object) = &mut record.kind {
                object.spooled = Some(Arc::new(SpoolFile::new("/nowhere/1".into(), 1 << 30)));
            }
            store.offer(&[Arc::new(record)]);
        }
        assert_eq!(
            (store.status().buffered_records, store.status().losses.count(Loss::ExportFull)),
            (admitted, 5 - admitted)
        );
    }
}
