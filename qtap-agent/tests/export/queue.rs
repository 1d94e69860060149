//! Whole stores with a queue on disk and the exporter in memory: accepted records arrive across restarts and outages, or are counted as lost.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qtap_agent::export::data_dir::DataDirError;
use qtap_agent::export::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use qtap_agent::export::memory::{Memory, MemoryExporter};
use qtap_agent::export::refusal::Refusal;
use qtap_agent::export::settings::{BatchSettings, Fsync, QueueSettings, RetrySettings, WhenFull};
use qtap_agent::export::store::Drive;
use qtap_agent::export::{DataDir, Store, StoreStatus, spawn_exporter_in};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::record::Record;
use serde_json::Value;
use tokio::runtime::Handle;

use super::records::{connection, object};

const BOTH: Takes = Takes { events: true, objects: true };

fn drive() -> Drive {
    Drive {
        protocol: "memory",
        batch: BatchSettings { max_records: 4, max_bytes: 1 << 20, interval: Duration::from_millis(5) },
        retry: RetrySettings {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(4),
            max_elapsed: Duration::ZERO,
        },
        workers: 1,
        timeout: Some(Duration::from_secs(10)),
        queue: Some(QueueSettings { fsync: Fsync::Never, ..QueueSettings::default() }),
        ..Drive::stdout()
    }
}

fn with_queue(settings: QueueSettings) -> Drive {
    Drive { queue: Some(QueueSettings { fsync: Fsync::Never, ..settings }), ..drive() }
}

/// A store that answers from its memory exporter, or refuses everything while a file exists.
struct Gate {
    inner: MemoryExporter,
    closed: std::path::PathBuf,
    /// Text that makes a batch fail.
    poison: Option<&'static str>,
}

impl Exporter for Gate {
    fn prepare(&self, record: &Record) -> Prepared {
        self.inner.prepare(record)
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        if self.closed.exists() {
            return Err(Refusal::wait("down"));
        }
        let holds = |text: &str| items.iter().any(|item| String::from_utf8_lossy(&item.payload).contains(text));
        if self.poison.is_some_and(holds) {
            return Err(Refusal::wait("500 Internal Server Error"));
        }
        self.inner.send(items).await
    }
}

fn start(folder: &Path, memory: &Memory, drive: Drive) -> (Store, DataDir) {
    start_with(folder, memory, drive, None)
}

fn start_with(folder: &Path, memory: &Memory, drive: Drive, poison: Option<&'static str>) -> (Store, DataDir) {
    let data = locked(folder);
    let inner = MemoryExporter::new(memory.clone(), BOTH);
    let gate = Gate { inner, closed: folder.join("closed"), poison };
    (spawn_exporter_in("store", gate, BOTH, drive, &Handle::current(), Some(&data)), data)
}

/// The folder, once nobody has it. A child that another test has forked keeps the lock of before until it executes its program.
fn locked(folder: &Path) -> DataDir {
    let begun = Instant::now();
    loop {
        match DataDir::open(folder) {
            Err(DataDirError::InUse { .. }) if begun.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
}

fn close(folder: &Path) {
    std::fs::write(folder.join("closed"), "").unwrap();
}

fn open(folder: &Path) {
    std::fs::remove_file(folder.join("closed")).unwrap();
}

fn uid(record: &Value) -> u64 {
    let list = record["attributes"].as_array().unwrap();
    let uid = list.iter().find(|attribute| attribute["key"] == "log.record.uid").unwrap();
    u64::from_str_radix(uid["value"]["stringValue"].as_str().unwrap(), 16).unwrap()
}

fn uids(memory: &Memory) -> Vec<u64> {
    memory.records().iter().map(uid).collect()
}

async fn until(store: &Store, what: impl Fn(&StoreStatus) -> bool) -> StoreStatus {
    let started = Instant::now();
    loop {
        let status = store.status();
        if what(&status) {
            return status;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{status:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_restart_resumes_where_the_store_left_off() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let (store, data) = start(folder.path(), &memory, drive());
    (0..6).for_each(|number| store.offer(&[connection(number)]));
    until(&store, |status| status.exported_records == 6).await;
    close(folder.path());
    (6..20).for_each(|number| store.offer(&[connection(number), object(100 + number, b"x")]));
    let status = until(&store, |status| status.accepted_records == 34).await;
    assert_eq!((status.queue, status.buffered_records), ("disk", 28));
    assert!(status.oldest_age.is_some());
    let status = store.shutdown(Duration::from_millis(50)).await;
    // What remains is not lost, and not counted as lost.
    assert_eq!((status.buffered_records, status.losses.is_empty()), (28, true));
    drop(data);
    open(folder.path());
    let (store, _data) = start(folder.path(), &memory, drive());
    store.offer(&[connection(20)]);
    until(&store, |status| status.exported_records == 29).await;
    let status = store.shutdown(Duration::from_secs(5)).await;
    assert_eq!((status.buffered_records, status.buffered_bytes, status.oldest_age), (0, 0, None));
    let all = uids(&memory);
    let events: Vec<u64> = all.iter().copied().filter(|uid| *uid < 100).collect();
    let objects: Vec<u64> = all.iter().copied().filter(|uid| *uid >= 100).collect();
    assert_eq!((events, objects), ((0..21).collect(), (106..120).collect()));
}

/// A week in miniature: a store that is down for longer than the queue can hold. The oldest records are dropped, bodies first, and the
/// count is exact.
#[tokio::test]
async fn a_store_that_is_down_for_longer_than_the_queue_holds() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    close(folder.path());
    let (store, _data) =
        start(folder.path(), &memory, with_queue(QueueSettings { max_records: 500, ..QueueSettings::default() }));
    let mut offered = 0;
    for number in 0..3000 {
        store.offer(&[connection(number)]);
        offered += 1;
        if number % 3 == 0 {
            store.offer(&[object(1_000_000 + number, b"body")]);
            offered += 1;
        }
        if number % 100 == 0 {
            until(&store, |status| status.buffered_records <= 500).await;
        }
    }
    let handled =
        |status: &StoreStatus| status.accepted_records + status.losses.count(Loss::QueueDropNewest) == offered;
    let status = until(&store, handled).await;
    assert_eq!(status.buffered_records, 500);
    open(folder.path());
    let status = until(&store, |status| status.buffered_records == 0).await;
    let dropped = status.losses.count(Loss::QueueDropOldest) + status.losses.count(Loss::QueueDropNewest);
    assert_eq!((status.exported_records, dropped), (500, offered - 500));
    assert_eq!(status.losses.iter().map(|(_, count, _)| count).sum::<u64>(), dropped, "{:?}", status.losses);
    let mut arrived = uids(&memory);
    arrived.sort_unstable();
    // One worker held the first batch all the while; otherwise the newest records are there, without a gap.
    let first_batch = arrived.iter().filter(|uid| **uid < 1000).count();
    assert!(first_batch <= 4, "{arrived:?}");
    let events: Vec<u64> = arrived.iter().copied().filter(|uid| *uid >= 1000 && *uid < 1_000_000).collect();
    let objects = arrived.len() - first_batch - events.len();
    assert_eq!(events, (3000 - events.len() as u64..3000).collect::<Vec<_>>());
    // Bodies were dropped before records.
    assert!(objects <= 4 && events.len() >= 492, "{objects} objects, {} events", events.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_blocks_lets_the_pipeline_wait_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    close(folder.path());
    let settings = QueueSettings { max_records: 100, when_full: WhenFull::Block, ..QueueSettings::default() };
    let (store, data) = start(folder.path(), &memory, with_queue(settings));
    let store = Arc::new(store);
    // More than fits in the queue and on the way to it.
    let large = vec![b'x'; 2 << 20];
    let offering = std::thread::spawn({
        let (store, large) = (Arc::clone(&store), large.clone());
        move || (0..120).for_each(|number| store.offer(&[connection(number), object(1000 + number, &large)]))
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!offering.is_finished());
    assert!(store.status().buffered_records <= 100 + 64 + 2, "{}", store.status().buffered_records);
    open(folder.path());
    tokio::task::spawn_blocking(|| offering.join().unwrap()).await.unwrap();
    let status = until(&store, |status| status.exported_records == 240).await;
    assert!(status.losses.is_empty(), "{:?}", status.losses);
    // At shutdown nothing waits: what is left is queued although the queue is full, and sent after the next start.
    close(folder.path());
    let offering = std::thread::spawn({
        let store = Arc::clone(&store);
        move || (0..120).for_each(|number| store.offer(&[connection(200 + number), object(2000 + number, &large)]))
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.hurry();
    tokio::task::spawn_blocking(|| offering.join().unwrap()).await.unwrap();
    let status = Arc::into_inner(store).unwrap().shutdown(Duration::from_millis(100)).await;
    assert_eq!((status.buffered_records, status.losses.is_empty()), (240, true), "{:?}", status.losses);
    drop(data);
    open(folder.path());
    let (store, _data) = start(folder.path(), &memory, with_queue(settings));
    until(&store, |status| status.exported_records == 240).await;
}

/// A batch that the store answers with 500 for ever, while it accepts others: it is halved until every good record has passed, and the bad
/// record goes to the dead-letter file. With one worker nothing else could pass, and nothing is given up.
#[tokio::test]
async fn a_batch_that_is_poison_holds_no_worker_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let (store, _data) = start_with(folder.path(), &memory, Drive { workers: 2, ..drive() }, Some("record 13\""));
    let started = Instant::now();
    let mut number = 10;
    while store.status().losses.count(Loss::ExportRejected) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60));
        store.offer(&[connection(number)]);
        number += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let status = store.shutdown(Duration::from_secs(5)).await;
    assert_eq!((status.dead_lettered, status.losses.count(Loss::ExportRejected)), (1, 1));
    let mut arrived = uids(&memory);
    arrived.sort_unstable();
    assert_eq!(arrived, (10..u64::from(number)).filter(|uid| *uid != 13).collect::<Vec<_>>());
    let lines = std::fs::read_to_string(folder.path().join("dead-letter/store.jsonl")).unwrap();
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(uid(&line["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]), 13);
    assert_eq!(line["deadLetter"]["reason"], "500 Internal Server Error");
}

#[tokio::test]
async fn the_record_that_no_store_will_take_is_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    for answer in [Err(Refusal::split("bad")), Ok(Receipt::default()), Err(Refusal::split("bad"))] {
        memory.answer(answer);
    }
    memory.answer(Err(Refusal::split("400 Bad Request: too old")));
    let drive = Drive { batch: BatchSettings { interval: Duration::from_millis(200), ..drive().batch }, ..drive() };
    let (store, _data) = start(folder.path(), &memory, drive);
    store.offer(&[connection(0), connection(1), connection(2), connection(3)]);
    let status = until(&store, |status| status.buffered_records == 0).await;
    store.shutdown(Duration::from_secs(1)).await;
    assert_eq!((status.losses.count(Loss::ExportRejected), status.dead_lettered), (1, 1));
    assert_eq!(uids(&memory), [0, 1, 3]);
    let lines = std::fs::read_to_string(folder.path().join("dead-letter/store.jsonl")).unwrap();
    assert!(lines.contains("too old") && lines.lines().count() == 1, "{lines}");
}

/// At shutdown the store's Retry-After is not waited for: records that are on disk stay there.
#[tokio::test]
async fn a_pause_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let after = Some(Duration::from_secs(200));
    memory.answer(Err(Refusal { remedy: qtap_agent::export::refusal::Remedy::Wait(after), ..Refusal::wait("429") }));
    let (store, _data) = start(folder.path(), &memory, drive());
    store.offer(&[connection(1)]);
    until(&store, |status| status.sends == 1).await;
    let began = Instant::now();
    let status = store.shutdown(Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((status.buffered_records, status.losses.is_empty()), (1, true));
}

/// A folder that can't be a queue: records wait in memory, and the status says so.
#[tokio::test]
async fn a_queue_that_cannot_be_opened_is_replaced_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    std::fs::write(folder.path().join("queue"), "not a folder").unwrap();
    let (store, _data) = start(folder.path(), &memory, drive());
    store.offer(&[connection(1)]);
    let status = until(&store, |status| status.exported_records == 1).await;
    assert_eq!(status.queue, "memory");
    assert!(status.queue_error.is_some_and(|error| error.contains("records wait in memory")));
}
