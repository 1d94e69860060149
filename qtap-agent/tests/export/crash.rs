//! A process killed with SIGKILL at random moments while records flow: no accepted record is lost, and one that arrives twice has the same
//! id. The killed process is this very program, run again for the test `child` alone.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use qtap_agent::export::settings::{BatchSettings, QueueSettings, RetrySettings, StoreKind, StoreSettings};
use qtap_agent::export::{DataDir, Output, spawn_in};
use qtap_agent::model::loss::Loss;
use tokio::runtime::Handle;

use super::conformance;
use super::records::{connection, object};

/// Tells the child where to work: folder, port, first number, and the number to stop before.
const ORDERS: &str = "QTAP_TEST_CRASH";
/// One in this many records is an object.
const OBJECTS: u64 = 8;

/// The numbers that arrived: how often, and with which body.
type Arrived = Arc<Mutex<HashMap<u64, (u32, String)>>>;

struct Sink {
    arrived: Arrived,
    requests: AtomicU64,
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        // Some requests are refused for now, and some answered too late: after the next kill.
        match self.requests.fetch_add(1, Ordering::Relaxed) % 31 {
            7 => return Err(tonic::Status::unavailable("not now")),
            19 => tokio::time::sleep(Duration::from_millis(30)).await,
            _ => {}
        }
        let mut arrived = self.arrived.lock().unwrap();
        let logs = request.into_inner().resource_logs;
        for record in logs.into_iter().flat_map(|logs| logs.scope_logs).flat_map(|scope| scope.log_records) {
            let Some(Value::StringValue(line)) = record.body.and_then(|body| body.value) else { panic!("no body") };
            let uid = record.attributes.into_iter().find(|attribute| attribute.key == "log.record.uid").unwrap();
            let Some(Value::StringValue(uid)) = uid.value.and_then(|value| value.value) else { panic!("no uid") };
            let number = u64::from_str_radix(&uid, 16).unwrap();
            let (times, first) = arrived.entry(number).or_insert_with(|| (0, line.clone()));
            *times += 1;
            assert_eq!(*first, line, "one id, one record");
        }
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

async fn sink() -> (u16, Arrived) {
    let arrived = Arrived::default();
    let service = LogsServiceServer::new(Sink { arrived: Arc::clone(&arrived), requests: AtomicU64::new(0) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, arrived)
}

/// The process that is killed: it offers records by number, and reports how many were accepted.
#[test]
#[ignore = "run by the tests below, as another process"]
fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let [folder, port, first, end] = <[&str; 4]>::try_from(orders.split('|').collect::<Vec<_>>()).unwrap();
    let [first, end] = [first, end].map(|number| number.parse::<u64>().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(offer(Path::new(folder), port.parse().unwrap(), first, end));
}

async fn offer(folder: &Path, port: u16, first: u64, end: u64) {
    let data = DataDir::open(folder).unwrap();
    let mut otlp = conformance::settings(port);
    otlp.batch = BatchSettings { max_records: 64, interval: Duration::from_millis(2), ..BatchSettings::default() };
    otlp.retry =
        RetrySettings { initial: Duration::from_millis(1), max: Duration::from_millis(5), max_elapsed: Duration::ZERO };
    otlp.workers = 2;
    let settings = StoreSettings {
        id: "sink".into(),
        events: true,
        objects: true,
        kind: StoreKind::Otlp(Box::new(otlp)),
        queue: Some(QueueSettings::default()),
    };
    let store = spawn_in(&settings, &Handle::current(), "1.2.3", &Output::stdout(), Some(&data)).unwrap();
    let mut said = 0;
    let mut say = |accepted: u64| {
        if accepted > said {
            // A single write, so that the reader sees a whole line.
            std::io::stdout().write_all(format!("\naccepted {}\n", first + accepted).as_bytes()).unwrap();
            std::io::stdout().flush().unwrap();
            said = accepted;
        }
    };
    for number in first..end {
        let record = u32::try_from(number).unwrap();
        let object = number % OBJECTS == 0;
        store.offer(&[if object { object_of(record) } else { connection(record) }]);
        if number % 16 == 0 {
            say(store.status().accepted_records);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    while store.status().buffered_records > 0 || store.status().accepted_records < end - first {
        say(store.status().accepted_records);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let status = store.shutdown(Duration::from_secs(5)).await;
    // A kill can end a write at a page's end. What is there of it was never accepted, so it counts as bytes of no record.
    let lost: Vec<_> = status.losses.iter().collect();
    assert!(matches!(lost[..], [] | [(Loss::QueueDamaged, 0, _)]), "{lost:?}");
    say(status.accepted_records);
    println!("\ndone");
}

fn object_of(number: u32) -> Arc<qtap_agent::model::record::Record> {
    object(number, &vec![b'x'; 100 + (number as usize * 37) % 9000])
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One life of the child: the number it reported last, and whether it ran to its end.
fn life(folder: &Path, port: u16, first: u64, end: u64, kill_after: Option<Duration>) -> (u64, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(ORDERS, format!("{}|{port}|{first}|{end}", folder.display()));
    let mut child = Killed(command.stdout(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(child.0.stdout.take().unwrap());
    let reading = std::thread::spawn(move || {
        let (mut accepted, mut done) = (first, false);
        for line in said.lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("accepted ") {
                accepted = number.parse().unwrap();
            }
            done |= line == "done";
        }
        (accepted, done)
    });
    match kill_after {
        Some(after) => std::thread::sleep(after),
        None => drop(child.0.wait()),
    }
    drop(child);
    reading.join().unwrap()
}

/// Kills the child `kills` times while `records` records flow.
async fn killed(kills: u32, records: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (port, arrived) = sink().await;
    let path = folder.path().to_owned();
    let started = Instant::now();
    let accepted = tokio::task::spawn_blocking(move || {
        let mut accepted = 0;
        for kill in 1..=u64::from(kills) {
            // Each life gets its share, so that records still flow at the last kill.
            let end = records * kill / u64::from(kills);
            let after = Duration::from_micros(fastrand::u64(1_000..90_000));
            let (now, _) = life(&path, port, accepted, end.max(accepted), Some(after));
            assert!(now >= accepted);
            accepted = now;
        }
        let (end, done) = life(&path, port, accepted, records, None);
        assert!(done, "the last life is not killed");
        end
    });
    let accepted = accepted.await.unwrap();
    let arrived = arrived.lock().unwrap();
    let lost: Vec<u64> = (0..accepted).filter(|number| !arrived.contains_key(number)).collect();
    let twice: u64 = arrived.values().map(|(times, _)| u64::from(*times) - 1).sum();
    println!(
        "{kills} kills, {accepted} records accepted, {} lost, {twice} arrived more than once, {:?}",
        lost.len(),
        started.elapsed()
    );
    assert!(accepted == records && lost.is_empty(), "accepted {accepted}; lost {lost:?}");
    assert!(arrived.iter().all(|(number, (_, line))| *line == format!("record {number}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_kills() {
    killed(15, 6_000).await;
}

/// The long version: `cargo test --release --test export -- --ignored two_hundred --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn what_was_accepted_outlives_two_hundred_kills() {
    killed(200, 100_000).await;
}
