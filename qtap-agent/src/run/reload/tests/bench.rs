//! The bench: an engine between a hand that writes events and receivers in this process that count records by uid.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver as Changes};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::super::calls::{Calls, Origin, Told};
use super::super::{Change, Changed, Running};
use crate::config::{self, Source};
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::model::conn::{Channel, ConnId, Direction, Endpoint, Role, Transport};
use crate::model::event::{Count, Counts, Event, Host, Opened, Passed};
use crate::model::time::{KernelTime, WallClock};
use crate::run::engine::{Engine, Pace};
use crate::run::passes::Passes;
use crate::run::pump::Pump;
use crate::run::shared::{Shared, Stop};
use crate::run::spool::Spool;
use crate::run::{data_dir, runtime, tap_settings};
use crate::tap::Tap;

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const MS: u64 = 1_000_000;
/// A load that made no progress for this long is held up.
const HELD_UP: Duration = Duration::from_millis(500);
/// The longest that anything may take, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(180);

/// A config of these stores, whose one stack captures at `level`.
pub(super) fn config(stores: &[String], level: &str) -> String {
    format!(
        "version: 2\nservices: {{event_stores: [{0}], object_stores: [{0}]}}\nstacks: {{s: {{plugins: [{{type: http_capture, config: {{level: {level}}}}}, {{type: redact}}]}}}}\n",
        stores.join(", ")
    )
}

pub(super) fn settings(text: &str) -> config::Settings {
    let source = Source::Text { name: "f".to_owned(), text: text.to_owned() };
    config::load(source, &|_| None).unwrap_or_else(|faults| panic!("{text}\n{faults}")).0
}

/// A server that accepts OTLP/JSON and remembers what it accepted.
pub(super) struct Receiver {
    address: SocketAddr,
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    /// Name and uid of each record.
    told: Mutex<Vec<(String, String)>>,
    connections: AtomicUsize,
    /// Delay of an answer in milliseconds.
    delay: AtomicUsize,
    refuses: AtomicBool,
}

impl Receiver {
    pub(super) fn start() -> Receiver {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, inside) = (listener.local_addr().unwrap(), Arc::<Inside>::default());
        let shared = Arc::clone(&inside);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    let shared = Arc::clone(&shared);
                    let answer = service_fn(move |request| answer(request, Arc::clone(&shared)));
                    tokio::spawn(
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                    );
                }
            });
        });
        Receiver { address, inside }
    }

    /// A store that sends to this receiver.
    pub(super) fn store(&self, id: &str, keys: &str) -> String {
        self.store_of("json", id, keys)
    }

    /// The same in protobuf: fast to encode, and to search.
    pub(super) fn quick(&self, id: &str, keys: &str) -> String {
        self.store_of("protobuf", id, keys)
    }

    fn store_of(&self, encoding: &str, id: &str, keys: &str) -> String {
        format!(
            "{{type: otel, id: {id}, endpoint: 'http://{}', protocol: http, encoding: {encoding}, compression: none, batch: {{interval: 5ms, max_records: 200}}, retry: {{initial: 20ms, max: 50ms}}, {keys}}}",
            self.address
        )
    }

    /// The uids of records of this name, in order of arrival.
    pub(super) fn told(&self, name: &str) -> Vec<String> {
        let told = self.inside.told.lock().unwrap();
        told.iter().filter(|(known, _)| known == name).map(|(_, uid)| uid.clone()).collect()
    }

    /// Number of connections accepted.
    pub(super) fn connections(&self) -> usize {
        self.inside.connections.load(Ordering::Relaxed)
    }

    pub(super) fn delay(&self, ms: usize) {
        self.inside.delay.store(ms, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, refuses: bool) {
        self.inside.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Refuses everything; no longer after `limit`, unless the returned sender was dropped before.
    pub(super) fn refuse_until(&self, limit: Duration) -> mpsc::Sender<()> {
        self.refuse(true);
        let (inside, (ended, end)) = (Arc::clone(&self.inside), mpsc::channel());
        std::thread::spawn(move || {
            if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                inside.refuses.store(false, Ordering::Relaxed);
            }
        });
        ended
    }
}

async fn answer(request: Request<Incoming>, inside: Arc<Inside>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if inside.refuses.load(Ordering::Relaxed) {
        return Ok(Response::builder().status(503).body(Full::default()).unwrap());
    }
    let told = if body.first() == Some(&b'{') { told_in_json(&body) } else { told_in_protobuf(&body) };
    inside.told.lock().unwrap().extend(told);
    // Accepted, but not acknowledged yet: a client that retries delivers it twice.
    tokio::time::sleep(Duration::from_millis(inside.delay.load(Ordering::Relaxed) as u64)).await;
    let (content_type, answer) = if body.first() == Some(&b'{') { ("json", "{}") } else { ("x-protobuf", "") };
    let content_type = format!("application/{content_type}");
    Ok(Response::builder().header("content-type", content_type).body(Full::from(answer)).unwrap())
}

/// Name and uid of each record.
fn told_in_json(body: &[u8]) -> Vec<(String, String)> {
    let document: Value = serde_json::from_slice(body).unwrap();
    let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut told = Vec::new();
    for resource in each(&document, "resourceLogs") {
        for record in each(&resource, "scopeLogs").iter().flat_map(|scope| each(scope, "logRecords")) {
            let attributes = each(&record, "attributes");
            let uid = attributes.iter().find(|attribute| attribute["key"] == "log.record.uid").unwrap();
            let name = record["eventName"].as_str().unwrap().to_owned();
            told.push((name, uid["value"]["stringValue"].as_str().unwrap().to_owned()));
        }
    }
    told
}

/// The same, by the bytes before each: a record has its attributes first, then its name (field 12).
fn told_in_protobuf(body: &[u8]) -> Vec<(String, String)> {
    let text = |from: usize, len: usize| String::from_utf8(body[from..from + len].to_vec()).unwrap();
    let uid = b"log.record.uid\x12\x22\x0a\x20";
    let uids: Vec<_> = memchr::memmem::find_iter(body, uid).map(|at| text(at + uid.len(), 32)).collect();
    let names = memchr::memmem::find_iter(body, b"qtap.").filter(|at| body[at - 2] == 0x62);
    let names: Vec<_> = names.map(|at| text(at, usize::from(body[at - 1]))).collect();
    assert_eq!(names.len(), uids.len());
    names.into_iter().zip(uids).collect()
}

/// An engine, and what is needed to switch to another config.
pub(super) struct Bench {
    /// `None` once `calls` has taken it.
    running: Option<Running>,
    engine: Engine,
    hand: Option<Hand>,
    pub(super) runtime: Runtime,
    level: Arc<Mutex<bool>>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(super) fn start(text: &str) -> Bench {
        let (settings, folder, runtime) = (settings(text), tempfile::tempdir().unwrap(), runtime().unwrap());
        let data_dir = folder.path().join("data");
        let data = data_dir::open(&settings, &data_dir).unwrap();
        let (spool, output) = (Spool::default(), Output::to(Box::new(std::io::sink()), false));
        let started = Engine::start(&settings, &output, runtime.handle(), &spool, Pace::LIVE, data.folder.as_ref());
        let (engine, intake) = started.unwrap();
        let pump = Pump::new(Tap::new(tap_settings(&settings, &spool)), intake, Shared::default());
        let (changes, to_change) = mpsc::sync_channel(1);
        let level = Arc::new(Mutex::new(captures(text)));
        let hand = Hand::new(pump, to_change, Arc::clone(&level));
        let running = Running {
            started: settings.clone(),
            settings,
            told: Arc::new(Mutex::new(data.told.clone())),
            data,
            data_dir,
            spool,
            stores: engine.stores().look(),
            changes,
            runtime: runtime.handle().clone(),
            output,
            stop: Stop::default(),
        };
        Bench { running: Some(running), engine, hand: Some(hand), runtime, level, folder }
    }

    pub(super) fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    /// How often rules matched.
    pub(super) fn passed(&self) -> Passes {
        self.engine.passed.clone()
    }

    /// The test's own folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The reload thread's state, for a config from this source.
    pub(super) fn calls(&mut self, source: Option<Source>, watch: Option<Duration>) -> Calls {
        let running = self.running.take().unwrap();
        let told = Told::new(source.as_ref(), watch.is_some());
        let http_buffer_size = running.settings.tap.http_buffer_size;
        let origin = Origin { source, env: |_| None, tags: Vec::new(), http_buffer_size };
        Calls { running, origin, told, watch, seen: None }
    }

    /// Traffic, on a thread of its own, until it is stopped.
    pub(super) fn load(&mut self) -> Load {
        self.load_of(0, Duration::from_millis(2))
    }

    /// The same as fast as possible, with responses whose heads are some 16 KiB: unlike bodies they are never dropped.
    pub(super) fn flood(&mut self) -> Load {
        self.load_of(16 << 10, Duration::ZERO)
    }

    fn load_of(&mut self, head_bytes: usize, pause: Duration) -> Load {
        let mut hand = self.hand.take().unwrap();
        hand.response = response(head_bytes);
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (asked, count) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                hand.round();
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            hand.end()
        });
        Load { stop, rounds, thread }
    }

    /// Switches to another config, while a load runs.
    pub(super) fn turn_to(&mut self, text: &str) -> anyhow::Result<Option<Changed>> {
        *self.level.lock().unwrap() = captures(text);
        self.running().turn_to(settings(text))
    }

    /// Ends everything; returns the final status of the stores.
    pub(super) fn end(self) -> Vec<StoreStatus> {
        drop(self.hand);
        self.runtime.block_on(self.engine.shutdown(PATIENCE))
    }
}

/// True if the stack of a config makes records of exchanges.
fn captures(text: &str) -> bool {
    !text.contains("level: none")
}

/// A response whose head is padded by `head_bytes`.
fn response(head_bytes: usize) -> Bytes {
    format!("HTTP/1.1 200 OK\r\nX-Pad: {}\r\nContent-Length: 5\r\n\r\nhello", "x".repeat(head_bytes)).into()
}

/// Running traffic.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: JoinHandle<Seen>,
}

impl Load {
    /// Waits until `least` bytes wait (by `held`) and the load stands still, because nothing is accepted any more. Either alone may be the machine's doing.
    pub(super) fn wait_until_it_is_held_up(&self, least: u64, mut held: impl FnMut() -> u64) {
        let (start, mut last, mut since) = (Instant::now(), usize::MAX, Instant::now());
        while since.elapsed() < HELD_UP {
            assert!(start.elapsed() < PATIENCE, "it is never held up: {last} rounds, {} bytes wait", held());
            let now = self.rounds.load(Ordering::Relaxed);
            if now != last || held() < least {
                (last, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Totals of what the hand wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) exchanges: usize,
    /// Exchanges of connections opened while the stack made records of them.
    pub(super) captured: usize,
}

/// Writes events.
struct Hand {
    pump: Pump,
    changes: Changes<Change>,
    level: Arc<Mutex<bool>>,
    /// What applies to connections opened now.
    captures: bool,
    now: u64,
    next: u64,
    /// Open connections: what applies to each, and the offsets of both directions.
    open: HashMap<u64, (bool, u64, u64)>,
    response: Bytes,
    seen: Seen,
}

impl Hand {
    fn new(pump: Pump, changes: Changes<Change>, level: Arc<Mutex<bool>>) -> Hand {
        let captures = *level.lock().unwrap();
        let (now, next, open) = (0, 1, HashMap::new());
        let (response, seen) = (response(0), Seen::default());
        let mut hand = Hand { pump, changes, level, captures, now, next, open, response, seen };
        let clock = WallClock { boot_unix_ns: 1_700_000_000_000_000_000 };
        hand.feed(Event::Started(Arc::new(Host { name: "host".into(), clock, ..Host::default() })));
        hand
    }

    fn feed(&mut self, event: Event) {
        self.pump.feed_more(&mut vec![event]);
    }

    fn time(&self) -> KernelTime {
        KernelTime(self.now * MS)
    }

    /// Opens a connection, adds an exchange to some open ones, and closes some.
    fn round(&mut self) {
        if let Ok(change) = self.changes.try_recv() {
            if change.new.is_some() {
                self.captures = *self.level.lock().unwrap();
            }
            self.pump.turn_over(change);
        }
        self.now += 2;
        let conn = self.next;
        self.next += 1;
        self.open_one(conn);
        self.exchange(conn);
        // Every fifth connection stays open for a while, every fiftieth to the end.
        if conn.is_multiple_of(5) {
            self.exchange(conn);
        } else {
            self.close(conn);
        }
        let old = conn.saturating_sub(300);
        if self.open.contains_key(&old) {
            self.exchange(old);
            if !old.is_multiple_of(50) {
                self.close(old);
            }
        }
        if conn.is_multiple_of(20) {
            self.feed(Event::Tick(self.time()));
        }
    }

    fn open_one(&mut self, conn: u64) {
        let end = |text: &str| Endpoint::Inet(text.parse().unwrap());
        self.open.insert(conn, (self.captures, 0, 0));
        self.seen.connections += 1;
        self.feed(Event::Opened(Opened {
            conn: ConnId(conn),
            time: self.time(),
            pid: 42,
            transport: Transport::Tcp,
            local: end("10.0.0.1:40000"),
            peer: end("10.0.0.2:80"),
            role: Role::Client,
            joined_late: false,
        }));
    }

    fn exchange(&mut self, conn: u64) {
        let (captures, sent, received) = self.open.get_mut(&conn).unwrap();
        let offsets = (*sent, *received);
        *sent += REQUEST.len() as u64;
        *received += self.response.len() as u64;
        self.seen.exchanges += 1;
        self.seen.captured += usize::from(*captures);
        let said = [
            (Direction::Sent, offsets.0, Bytes::from_static(REQUEST.as_bytes())),
            (Direction::Received, offsets.1, self.response.clone()),
        ];
        for (direction, offset, payload) in said {
            let channel = Channel::Socket(ConnId(conn));
            self.feed(Event::Passed(Passed { channel, direction, offset, time: self.time(), pid: 42, payload }));
        }
    }

    fn close(&mut self, conn: u64) {
        let (_, sent, received) = self.open.remove(&conn).unwrap();
        let count = |bytes| Count { carried: bytes, copied: bytes, kernel: Some(bytes), ..Count::default() };
        let counts = Counts {
            conn: ConnId(conn),
            time: self.time(),
            sent: count(sent),
            received: count(received),
            unread: 0,
            shook: false,
        };
        self.feed(Event::Closed(counts));
    }

    fn end(mut self) -> Seen {
        let open: Vec<u64> = self.open.keys().copied().collect();
        open.into_iter().for_each(|conn| self.close(conn));
        self.now += 5000;
        self.feed(Event::Tick(self.time()));
        self.pump.finish();
        self.seen
    }
}
