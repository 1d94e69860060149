//! A running store. In: records that the pipeline offers; the intake prepares and queues them, and workers send batches until the store
//! has settled them. Out: each record ends in exactly one way: accepted by the store, counted as a [`Loss`], or left in a queue on
//! disk for the next start. Offering blocks only if the settings of that queue ask for it. Nothing here knows a protocol.

mod keeping;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::data_dir::DataDir;
use super::dead_letter::{self, DeadLetters};
use super::delivery::Line;
use super::exporter::{Class, Exporter, Item, Receipt};
use super::intake::Offer;
use super::objects::ObjectExporter;
use super::otlp::Encoding;
use super::otlp::endpoint::EndpointError;
use super::otlp::grpc::GrpcExporter;
use super::otlp::http::HttpExporter;
use super::queue::Queue;
use super::queue::budget::{Budget, MAX_BYTES, MAX_RECORDS};
use super::queue::memory::MemoryQueue;
use super::refusal::Refusal;
use super::retry::Pause;
use super::settings::{
    BatchSettings, Form, OtlpProtocol, OtlpSettings, QueueSettings, RetrySettings, S3Settings, StoreKind, StoreSettings,
};
use super::status::{Board, StoreStatus};
use super::stdout::{Output, StdoutExporter};
use super::{auth, excerpt, exporter, oauth, proxy, sample, tls};
use crate::model::loss::Loss;
use crate::model::record::{Record, RecordKind};
use keeping::{OnDisk, open_queue, take_in};

/// How long lines wait to be batched on their way to standard output.
const STDOUT_INTERVAL: Duration = Duration::from_millis(50);

/// Minimum time at shutdown to write offered records to disk, in addition to the time for sending.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Memory that a record uses besides its body until it is encoded, in bytes.
const RECORD_BYTES: usize = 1024;

/// Why a store can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Invalid endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Invalid headers.
    #[error(transparent)]
    Auth(#[from] auth::AuthError),
    /// Unusable TLS settings.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// Unusable OAuth settings.
    #[error(transparent)]
    OAuth(#[from] oauth::OAuthError),
    /// Unusable proxy.
    #[error(transparent)]
    Proxy(#[from] proxy::ProxyError),
    /// gRPC has no query parameters.
    #[error("auth type `query` needs protocol: http; gRPC has no query parameters")]
    GrpcQuery,
    /// An error of the client library.
    #[error("{0}")]
    Client(String),
}

/// How a store is operated, whatever its protocol.
#[derive(Debug, Clone, Copy)]
pub struct Drive {
    /// Name of the protocol in `/status`.
    pub protocol: &'static str,
    /// Bounds of a batch.
    pub batch: BatchSettings,
    /// Retries.
    pub retry: RetrySettings,
    /// Maximum number of requests in flight.
    pub workers: usize,
    /// Time limit of one attempt; none: no limit.
    pub timeout: Option<Duration>,
    /// Maximum number of records held in memory.
    pub max_records: usize,
    /// Maximum number of bytes held in memory.
    pub max_bytes: usize,
    /// Bytes that a spooled object takes in memory: the excerpt that the store gets, or 0 when the store reads the file.
    pub of_spooled: u64,
    /// Bounds of a queue on disk; none: the store never has one.
    pub queue: Option<QueueSettings>,
    /// The form of the records in it.
    pub form: Form,
}

impl Drive {
    /// Lines: one worker, because order matters and there is one output.
    #[must_use]
    pub fn stdout() -> Drive {
        Drive {
            protocol: "stdout",
            batch: BatchSettings { interval: STDOUT_INTERVAL, ..BatchSettings::default() },
            retry: RetrySettings::default(),
            workers: 1,
            timeout: None,
            max_records: MAX_RECORDS,
            max_bytes: MAX_BYTES,
            of_spooled: excerpt::LINE_BYTES,
            queue: None,
            form: Form::Json,
        }
    }

    fn otlp(settings: &OtlpSettings) -> Drive {
        let protocol = match settings.protocol {
            OtlpProtocol::Grpc => "otlp/grpc",
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => "otlp/http",
        };
        Drive {
            protocol,
            batch: settings.batch,
            retry: settings.retry,
            workers: settings.workers,
            timeout: Some(settings.timeout),
            of_spooled: excerpt::OTLP_BYTES,
            ..Drive::stdout()
        }
    }

    /// One object at a time per worker, sent at once. A large object takes many requests, each with its own time limit.
    fn s3(settings: &S3Settings) -> Drive {
        Drive {
            protocol: "s3",
            batch: BatchSettings { max_records: 1, interval: Duration::ZERO, ..BatchSettings::default() },
            retry: settings.retry,
            workers: settings.workers,
            timeout: None,
            of_spooled: 0,
            ..Drive::stdout()
        }
    }
}

/// A running store.
#[derive(Debug)]
pub struct Store {
    id: String,
    takes: exporter::Takes,
    inbox: mpsc::Sender<Offer>,
    budget: Arc<Budget>,
    board: Arc<Board>,
    closing: watch::Sender<bool>,
    leaving: watch::Sender<bool>,
    tasks: JoinSet<()>,
    of_spooled: u64,
    disk: Option<OnDisk>,
}

/// Starts a store whose queue is in memory. Stores of the stdout protocol write to `output`; `version` is qtap's own.
///
/// # Errors
/// When its settings can never work. A store that can't be reached starts nevertheless.
pub fn spawn(
    settings: &StoreSettings,
    runtime: &Handle,
    version: &'static str,
    output: &Output,
) -> Result<Store, StartError> {
    spawn_in(settings, runtime, version, output, None)
}

/// Starts a store. Its queue and dead letters are in `data`, if there is one and the settings include a queue.
///
/// # Errors
/// As [`spawn`]. A queue that can't be opened is reported in the status and replaced by one in memory.
pub fn spawn_in(
    settings: &StoreSettings,
    runtime: &Handle,
    version: &'static str,
    output: &Output,
    data: Option<&DataDir>,
) -> Result<Store, StartError> {
    let takes = exporter::Takes { events: settings.events, objects: settings.objects };
    let _context = runtime.enter();
    let id = settings.id.as_str();
    let (queue, form) = (settings.queue, settings.form());
    Ok(match &settings.kind {
        StoreKind::Stdout(resource, least) => {
            let exporter = StdoutExporter::new(resource.clone(), *least, takes, output.clone(), version);
            spawn_exporter_in(id, exporter, takes, Drive { queue, form, ..Drive::stdout() }, runtime, data)
        }
        StoreKind::Otlp(otlp) => {
            let drive = Drive { queue, form, ..Drive::otlp(otlp) };
            let http = |encoding| HttpExporter::new(otlp, takes, encoding, version);
            match otlp.protocol {
                OtlpProtocol::Grpc => {
                    spawn_exporter_in(id, GrpcExporter::new(otlp, takes, version)?, takes, drive, runtime, data)
                }
                OtlpProtocol::HttpProtobuf => {
                    spawn_exporter_in(id, http(Encoding::Protobuf)?, takes, drive, runtime, data)
                }
                OtlpProtocol::HttpJson => spawn_exporter_in(id, http(Encoding::Json)?, takes, drive, runtime, data),
            }
        }
        StoreKind::S3(s3) => {
            let takes = exporter::Takes { events: false, ..takes };
            let drive = Drive { queue, form, ..Drive::s3(s3) };
            spawn_exporter_in(id, ObjectExporter::new(s3, version)?, takes, drive, runtime, data)
        }
    })
}

/// Starts a store for an exporter, with its queue in memory.
pub fn spawn_exporter<E: Exporter>(
    id: &str,
    exporter: E,
    takes: exporter::Takes,
    drive: Drive,
    runtime: &Handle,
) -> Store {
    spawn_exporter_in(id, exporter, takes, drive, runtime, None)
}

/// Starts a store for an exporter; see [`spawn_in`].
pub fn spawn_exporter_in<E: Exporter>(
    id: &str,
    exporter: E,
    takes: exporter::Takes,
    drive: Drive,
    runtime: &Handle,
    data: Option<&DataDir>,
) -> Store {
    let (closing, closed) = watch::channel(false);
    let (leaving, left) = watch::channel(false);
    let board = Arc::new(Board::new(id, drive.protocol));
    let place = data.zip(drive.queue);
    let letters = place.map(|(data, _)| DeadLetters::new(id, &data.dead_letters(id), dead_letter::MAX_BYTES));
    let opened =
        place.and_then(|(data, settings)| open_queue(&data.queue(id, drive.form), settings, &drive, takes, &board));
    let budget = Arc::new(match &opened {
        Some(_) => Budget::to_disk(),
        None => Budget::new(drive.max_records, drive.max_bytes),
    });
    let queue = match &opened {
        Some((queue, ..)) => Queue::Disk(Arc::clone(queue)),
        None => Queue::Memory(MemoryQueue::new(drive.batch, Arc::clone(&budget))),
    };
    let line = Arc::new(Line {
        exporter,
        drive,
        queue,
        board: Arc::clone(&board),
        pause: Pause::default(),
        letters: letters.map(Arc::new),
        closing: closed,
        leaving: left,
    });
    let mut tasks = JoinSet::new();
    // An offer holds at least one record, so the budget runs out before the channel.
    let (inbox, offers) = mpsc::channel(drive.max_records.max(1));
    let disk = take_in(&line, offers, &budget, opened, &mut tasks, runtime);
    for _ in 0..drive.workers.max(1) {
        tasks.spawn_on(Arc::clone(&line).work(), runtime);
    }
    Store {
        id: id.to_owned(),
        takes,
        inbox,
        budget,
        board,
        closing,
        leaving,
        tasks,
        disk,
        of_spooled: drive.of_spooled,
    }
}

impl Store {
    /// Offers records. Records that the store does not take are skipped; records for which there is no space are counted as lost. Blocks only
    /// if the store's queue on disk is full and its settings say to block.
    pub fn offer(&self, records: &[Arc<Record>]) {
        let mut admitted = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| self.takes.class(Class::of(record))) {
            let bytes = RECORD_BYTES + body_bytes(record, self.of_spooled);
            let class = Class::of(record);
            if self.budget.admit(class, bytes) {
                admitted.push((Arc::clone(record), bytes));
                continue;
            }
            if self.disk.as_ref().is_some_and(|disk| disk.blocks) {
                // Hand over what was admitted before waiting for space, so that it can be processed.
                self.hand_over(std::mem::take(&mut admitted));
                self.budget.admit_in_time(class, bytes);
                admitted.push((Arc::clone(record), bytes));
                continue;
            }
            self.board.lost(Loss::ExportFull, 1, bytes as u64);
        }
        self.hand_over(admitted);
    }

    fn hand_over(&self, admitted: Offer) {
        if admitted.is_empty() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) =
            self.inbox.try_send(admitted)
        {
            let bytes = back.iter().map(|(_, bytes)| bytes).sum();
            self.budget.release(back.len(), bytes);
            self.board.lost(Loss::ExportFull, back.len() as u64, bytes as u64);
        }
    }

    /// Its id in the settings.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its current status.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let (records, bytes) = self.budget.held();
        let mut status =
            StoreStatus { buffered_records: records as u64, buffered_bytes: bytes as u64, ..self.board.read() };
        if let Some(disk) = &self.disk {
            let (records, bytes) = disk.queue.held();
            status.buffered_records += records;
            status.buffered_bytes += bytes;
            status.oldest_age = disk.queue.oldest_age();
        }
        status
    }

    /// Stops all waiting, for a shutdown or a switch to another config: a queue that blocks now accepts the last records although it is full.
    pub fn hurry(&self) {
        if let Some(disk) = &self.disk {
            disk.queue.hurry();
        }
    }

    /// Ends the effect of [`Store::hurry`]: a queue that blocks when full blocks again.
    pub fn calm(&self) {
        if let Some(disk) = &self.disk {
            disk.queue.calm();
        }
    }

    /// Stops, so that another store can take over the queue on disk: waits for requests in flight, for at most `limit`, and starts no new
    /// ones. A store whose queue is in memory sends what is in it.
    pub async fn leave(self, limit: Duration) -> StoreStatus {
        self.leaving.send_replace(self.disk.is_some());
        self.shutdown(limit).await
    }

    /// Sends what is queued, for at most `limit`. The rest stays on disk or, without a disk queue, is counted as lost. Returns the final status.
    pub async fn shutdown(self, limit: Duration) -> StoreStatus {
        self.hurry();
        let Store { inbox, budget, board, closing, mut tasks, disk, .. } = self;
        drop(inbox);
        closing.send_replace(true);
        let until = tokio::time::Instant::now() + limit;
        let finished = tokio::time::timeout_at(until, async { while tasks.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tasks.shutdown().await;
        }
        let mut last = StoreStatus::default();
        if let Some(OnDisk { queue, intake, syncing, .. }) = disk {
            // Offered records are written even if the store took the whole limit; only a disk that hangs is given up on.
            let written = tokio::task::spawn_blocking(move || {
                let _ = intake.join();
                drop(syncing);
            });
            let _ = tokio::time::timeout(limit.max(WRITE_LIMIT), written).await;
            let (records, bytes) = queue.held();
            (last.buffered_records, last.buffered_bytes, last.oldest_age) = (records, bytes, queue.oldest_age());
        }
        let (records, bytes) = budget.held();
        if records > 0 {
            board.lost(Loss::Shutdown, records as u64, bytes as u64);
            budget.release(records, bytes);
        }
        StoreStatus {
            buffered_records: last.buffered_records,
            buffered_bytes: last.buffered_bytes,
            oldest_age: last.oldest_age,
            ..board.read()
        }
    }
}

/// Bytes of body that a record holds in memory.
fn body_bytes(record: &Record, of_spooled: u64) -> usize {
    match &record.kind {
        RecordKind::Object(object) => match &object.spooled {
            Some(file) => usize::try_from(file.bytes().min(of_spooled)).unwrap_or(usize::MAX),
            None => object.data.len(),
        },
        RecordKind::Connection(_) | RecordKind::Artifact(_) | RecordKind::Request(_) | RecordKind::Issue(_) => 0,
    }
}

/// Sends a store one sample of each kind that it takes, once, through the same code as real records.
///
/// # Errors
/// Why the store did not accept it, in words.
pub async fn test_connection(settings: &StoreSettings, version: &'static str, output: &Output) -> Result<(), String> {
    let takes = exporter::Takes { events: settings.events, objects: settings.objects };
    let words = |error: StartError| error.to_string();
    let samples = sample::of(settings);
    match &settings.kind {
        StoreKind::Stdout(resource, least) => {
            let exporter = StdoutExporter::new(resource.clone(), *least, takes, output.clone(), version);
            probe(&exporter, &samples, None).await
        }
        StoreKind::Otlp(otlp) => {
            let http = |encoding| HttpExporter::new(otlp, takes, encoding, version).map_err(words);
            let limit = Some(otlp.timeout);
            match otlp.protocol {
                OtlpProtocol::Grpc => {
                    probe(&GrpcExporter::new(otlp, takes, version).map_err(words)?, &samples, limit).await
                }
                OtlpProtocol::HttpProtobuf => probe(&http(Encoding::Protobuf)?, &samples, limit).await,
                OtlpProtocol::HttpJson => probe(&http(Encoding::Json)?, &samples, limit).await,
            }
        }
        StoreKind::S3(s3) => probe(&ObjectExporter::new(s3, version).map_err(words)?, &samples, None).await,
    }
}

async fn probe<E: Exporter>(exporter: &E, samples: &[Record], limit: Option<Duration>) -> Result<(), String> {
    let items: Vec<Item> = samples.iter().flat_map(|record| exporter.prepare(record).items).collect();
    let sending = exporter.send(&items);
    let answer = match limit {
        None => sending.await,
        Some(limit) => tokio::time::timeout(limit, sending)
            .await
            .unwrap_or_else(|_| Err(Refusal::wait(format!("no answer within {limit:?} (timeout)")))),
    };
    match answer.map_err(|refusal| refusal.why)? {
        Receipt { rejected: 0, .. } => Ok(()),
        Receipt { message, .. } => Err(message.unwrap_or_else(|| "the sample was rejected".to_owned())),
    }
}
