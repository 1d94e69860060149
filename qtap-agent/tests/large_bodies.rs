//! A body that does not fit in memory, on its whole way: calls of a program → tap → pipeline → a store that is a directory. The result is
//! one object with the whole body, and the process grows by no more than a fixed bound, whatever the body's size.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test prints its figures")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qtap_agent::export::settings::{
    Place, ProxySettings, RetrySettings, S3Settings, StoreKind, StoreSettings, TlsSettings,
};
use qtap_agent::export::{Output, Store, spawn};
use qtap_agent::http;
use qtap_agent::model::conn::{Channel, ConnId, Direction, Endpoint, Role, Transport};
use qtap_agent::model::event::{Event, Host, Opened, Passed};
use qtap_agent::model::observation::Observation;
use qtap_agent::model::record::{Record, RecordKind};
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::settings::{Format, HttpCapture, Level, Locator, Routing, Settings, Stack, Step};
use qtap_agent::pipeline::spool::Folder;
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use qtap_agent::tap::{self, Tap};
use sha2::{Digest as _, Sha256};

/// The allocator of the real program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a call.
const CALL: usize = 256 << 10;
/// Bytes above which a body goes to disk, as in the program.
const LARGE: usize = 4 << 20;
/// The most bytes that the process may grow by.
const BOUND: u64 = 64 << 20;

/// The tap, the pipeline and the store, with a folder for spooled bodies.
struct Bench {
    tap: Tap,
    pipeline: Pipeline,
    store: Store,
    observations: Vec<Observation>,
    records: Vec<Record>,
    now: u64,
    offsets: [u64; 2],
}

impl Bench {
    fn new(folder: &Path, limit: usize, runtime: &tokio::runtime::Runtime) -> Bench {
        let http = http::Settings { body_limit: limit, large_bytes: Some(LARGE), ..http::Settings::default() };
        let capture = HttpCapture { level: Level::Full, format: Format::Json, ..HttpCapture::default() };
        let settings = Settings {
            http_stack: Some(Stack { name: "s".to_owned(), steps: vec![Step::HttpCapture(capture)] }),
            routing: Routing::default(),
            locators: vec![Locator { store: "s3".to_owned(), url: "file:///x/{{DIGEST}}".to_owned(), min_bytes: 0 }],
            tags: Vec::new(),
            fact_tags: Vec::new(),
        };
        let spool = Folder::open(&folder.join("spool"), 8 * limit as u64, limit as u64).unwrap();
        let place = S3Settings {
            place: Place::Folder(folder.join("objects")),
            prefix: String::new(),
            tls: TlsSettings::default(),
            proxy: ProxySettings::default(),
            timeout: Duration::from_secs(60),
            retry: RetrySettings::default(),
            workers: 2,
        };
        let kind = StoreKind::S3(Box::new(place));
        let store = StoreSettings { id: "s3".to_owned(), events: false, objects: true, kind, queue: None };
        let output = Output::to(Box::new(std::io::sink()), false);
        Bench {
            tap: Tap::new(tap::Settings { http, ..tap::Settings::default() }),
            pipeline: Pipeline::new(settings, &RedactionKey([1; 32])).spooling(spool),
            store: spawn(&store, runtime.handle(), "1.2.3", &output).unwrap(),
            observations: Vec::new(),
            records: Vec::new(),
            now: 0,
            offsets: [0; 2],
        }
    }

    fn event(&mut self, event: Event) {
        self.tap.on_event(event, &mut self.observations);
        for observation in self.observations.drain(..) {
            self.pipeline.apply(observation, &mut self.records);
        }
    }

    fn pass(&mut self, direction: Direction, payload: Bytes) {
        self.now += 1000;
        let offset = self.offsets[direction.index()];
        self.offsets[direction.index()] += payload.len() as u64;
        let (channel, time) = (Channel::Socket(ConnId(1)), KernelTime(self.now));
        self.event(Event::Passed(Passed { channel, direction, offset, time, pid: 7, payload }));
    }

    /// A response with a body of `size` bytes.
    fn talk(&mut self, size: u64) {
        self.event(Event::Started(Arc::new(Host::default())));
        self.event(Event::Opened(Opened {
            conn: ConnId(1),
            time: KernelTime(1),
            pid: 7,
            transport: Transport::Tcp,
            local: Endpoint::Unknown,
            peer: Endpoint::Unknown,
            role: Role::Client,
            joined_late: false,
        }));
        self.pass(Direction::Sent, Bytes::from_static(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
        self.pass(Direction::Received, head.into());
        let mut sent = 0;
        while sent < size {
            let call = call(sent, size);
            sent += call.len() as u64;
            self.pass(Direction::Received, call.into());
        }
    }
}

/// The bytes of the next call: lines that contain their own offset, so that misplaced bytes are noticed.
fn call(from: u64, size: u64) -> Vec<u8> {
    let len = (size - from).min(CALL as u64) as usize;
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        let at = from + bytes.len() as u64;
        bytes.extend_from_slice(format!("{at:020} \"quoted\" and plain, plain, plain, plain, pla\n").as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder.join("objects")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Reads the response's document on disk: its name must be its digest, and its body must be what was sent.
fn check(path: &Path, size: u64) {
    let mut file = std::io::BufReader::with_capacity(1 << 20, std::fs::File::open(path).unwrap());
    let (mut document, mut body, mut sent) = (Sha256::new(), Sha256::new(), Sha256::new());
    let mut head = Vec::new();
    let mut read = |len: usize, file: &mut std::io::BufReader<std::fs::File>| {
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes).unwrap();
        document.update(&bytes);
        bytes
    };
    while !head.ends_with(b"\"data\":\"") {
        head.extend(read(1, &mut file));
    }
    let text = String::from_utf8(head).unwrap();
    assert!(text.contains(&format!("\"body\":{{\"size\":{size},\"kept\":{size},\"encoding\":\"text\"")), "{text}");
    let mut from = 0;
    while from < size {
        let want = call(from, size);
        from += want.len() as u64;
        sent.update(&want);
        let escaped = std::str::from_utf8(&want).unwrap().replace('"', "\\\"").replace('\n', "\\n");
        let found = read(escaped.len(), &mut file);
        assert!(found == escaped.as_bytes(), "the body before byte {from}");
        body.update(&want);
    }
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    document.update(rest.as_bytes());
    let hex = |sha: Sha256| sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(rest.starts_with(&format!("\",\"digest\":\"sha256:{}\"}}", hex(body))), "{rest}");
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), hex(document), "stored under its digest");
}

fn one_object_comes_of(size: u64) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut bench = Bench::new(folder.path(), size as usize, &runtime);
    // Resets the peak memory of the process.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, started) = (status("VmRSS:"), Instant::now());
    bench.talk(size);
    let (captured, talked) = (started.elapsed(), status("VmHWM:").saturating_sub(before));
    let records: Vec<Arc<Record>> = std::mem::take(&mut bench.records).into_iter().map(Arc::new).collect();
    let url = records.iter().find_map(|record| match &record.kind {
        RecordKind::Artifact(about) => Some(about.response_artifact.clone().unwrap().url),
        _ => None,
    });
    bench.store.offer(&records);
    drop(records);
    let status_of = runtime.block_on(bench.store.shutdown(Duration::from_secs(300)));
    let grown = status("VmHWM:").saturating_sub(before);
    println!(
        "{} MiB: captured in {captured:.1?}, stored after {:.1?}; grown by {} KiB, with the store by {} KiB at most",
        size >> 20,
        started.elapsed(),
        talked >> 10,
        grown >> 10
    );
    assert_eq!((status_of.exported_records, status_of.losses.is_empty()), (2, true), "{status_of:?}");
    let found = objects(folder.path());
    let large = found.iter().find(|path| path.metadata().unwrap().len() > size).unwrap();
    assert_eq!(url.unwrap(), format!("file:///x/{}", large.file_name().unwrap().to_str().unwrap()));
    assert_eq!(found.len(), 2, "the request, and the response");
    assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0, "nothing is left in the spool");
    check(large, size);
    assert!(grown < BOUND, "grown by {} KiB", grown >> 10);
}

#[test]
fn a_body_larger_than_the_bound() {
    one_object_comes_of(128 << 20);
}

/// `cargo xtask check --long` runs it.
#[test]
#[ignore = "takes a minute"]
fn a_body_of_a_gibibyte() {
    one_object_comes_of(1 << 30);
}
