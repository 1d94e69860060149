//! From observations to stores: the pipeline's thread, and the stores that follow it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as threads};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

#[cfg(any(feature = "kernel", test))]
use super::passes::Passes;
use super::pipelines::{Next, Pipelines};
use super::route::Route;
use super::slot::Slot;
use super::spool::Spool;
use super::stores::Stores;
#[cfg(feature = "kernel")]
use crate::admin::http_metrics::HttpFamilies;
use crate::admin::http_metrics::HttpMetrics;
use crate::config::Settings;
use crate::export::data_dir::DataDir;
use crate::export::lines::Lines;
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::export::store::Store;
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::loss::{Loss, Tally};
use crate::model::message::Body;
use crate::model::observation::Observation;
use crate::model::record::Record;
use crate::model::shed::Shed;
use crate::model::time::KernelTime;
use crate::pipeline::{Later, RedactionKey};

/// Maximum batches of observations waiting for the pipeline.
const WAITING_BATCHES: usize = 256;
/// Maximum bytes of bodies in them: as much as the largest ring buffer holds, so that on a busy host nothing is dropped here that fitted there.
const WAITING_BYTES: usize = 256 << 20;
/// Maximum exchanges with large bodies whose documents wait to be written; their bodies are on disk already.
const WAITING_DOCUMENTS: usize = 16;

/// How observations are handed over if the pipeline lags behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) source_waits: bool,
}

impl Pace {
    /// Bodies are dropped before records: the host must not wait.
    #[cfg(any(feature = "kernel", test))]
    pub(super) const LIVE: Pace = Pace { source_waits: false };
    /// The source waits: a recording has time.
    pub(super) const REPLAY: Pace = Pace { source_waits: true };
}

/// The engine.
pub(super) struct Engine {
    stores: Stores,
    pipeline: JoinHandle<()>,
    /// HTTP metrics, maintained by the pipeline's thread.
    #[cfg(feature = "kernel")]
    pub(super) families: HttpFamilies,
    /// How often each rule was the first to match, counted by the pipeline.
    #[cfg(any(feature = "kernel", test))]
    pub(super) passed: Passes,
}

/// The entry to the pipeline.
pub(super) struct Intake {
    sender: mpsc::Sender<Handed>,
    pace: Pace,
    between: Arc<Between>,
    /// Maximum bytes of bodies that may wait.
    pub(super) waiting: usize,
}

/// What is handed over, in order.
#[cfg_attr(not(any(feature = "kernel", test)), allow(dead_code))] // a replay has one config
enum Handed {
    /// Observations, and the bytes of their bodies.
    Seen(Vec<Observation>, usize),
    /// From here on another config applies, and the stores in some slots are replaced.
    Next(Next, Turnover),
    /// The settings that began at this time have no open connection left.
    Ended(KernelTime),
}

/// Slots whose stores are to be taken out, and who receives those.
pub(super) struct Turnover {
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) taken: oneshot::Sender<Vec<Option<Arc<Store>>>>,
}

/// State shared by the tap's side and the pipeline's.
#[derive(Debug, Default)]
struct Between {
    /// Bytes of bodies that wait.
    waiting: AtomicUsize,
    /// What is given up, also of what waits, as an index into [`Shed::ALL`].
    shed: AtomicUsize,
    /// Losses of the pipeline, and what was left out of the lines it wrote.
    lost: Mutex<Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    pipeline: Tally,
    lines: Tally,
}

impl Between {
    fn is_crowded(&self, more: usize, limit: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        waiting > 0 && waiting.saturating_add(more) > limit
    }

    fn shed(&self) -> Shed {
        Shed::ALL.get(self.shed.load(Ordering::Relaxed)).copied().unwrap_or_default()
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Starts stores and pipeline. `data`: where queues are kept; without it they are in memory.
    pub(super) fn start(
        settings: &Settings,
        output: &Output,
        runtime: &Handle,
        spool: &Spool,
        pace: Pace,
        data: Option<&DataDir>,
    ) -> anyhow::Result<(Engine, Intake)> {
        let stores = Stores::start(&settings.stores, runtime, output, data)?;
        let route = Route { slots: stores.slots(), locators: settings.pipeline.locators.clone().into() };
        let (first, folder) = (settings.pipeline.clone(), spool.folder.as_ref());
        let pipelines = Pipelines::new(first, folder, redaction_key()?, Arc::new(route));
        #[cfg(any(feature = "kernel", test))]
        let passed = pipelines.passed.clone();
        let between = Arc::new(Between::default());
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let metrics = HttpMetrics::new(settings.pipeline.max_hosts());
        #[cfg(feature = "kernel")]
        let families = metrics.families();
        let behind = Arc::clone(&between);
        let lines = Lines::start(output.clone())?;
        let pipeline = std::thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
            work(pipelines, receiver, metrics, &lines, pace, &behind);
            behind.lost().lines = lines.finish(super::FLUSH_LIMIT);
        })?;
        let engine = Engine {
            stores,
            pipeline,
            #[cfg(feature = "kernel")]
            families,
            #[cfg(any(feature = "kernel", test))]
            passed,
        };
        Ok((engine, Intake { sender, pace, between, waiting: WAITING_BYTES }))
    }

    /// The stores.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Waits until the pipeline has processed its input, then until the stores have the result, for at most `limit`.
    pub(super) async fn shutdown(self, limit: Duration) -> Vec<StoreStatus> {
        let _ = tokio::task::spawn_blocking(|| self.pipeline.join()).await;
        self.stores.shutdown(limit).await
    }
}

/// The pipeline's thread. Documents of large bodies are written by a second thread, so that nothing waits for them.
fn work(
    mut pipelines: Pipelines,
    mut receiver: mpsc::Receiver<Handed>,
    mut metrics: HttpMetrics,
    lines: &Lines,
    pace: Pace,
    between: &Between,
) {
    let (later, documents) = threads::sync_channel(WAITING_DOCUMENTS);
    std::thread::scope(|scope| {
        scope.spawn(|| write_documents(documents, pace, between));
        let mut records: Vec<Record> = Vec::new();
        while let Some(handed) = receiver.blocking_recv() {
            let (mut observations, bytes) = match handed {
                Handed::Seen(observations, bytes) => (observations, bytes),
                Handed::Next(next, turnover) => {
                    pipelines.begin(next);
                    turnover.take();
                    continue;
                }
                Handed::Ended(since) => {
                    pipelines.end(since);
                    continue;
                }
            };
            let mut given_up = Tally::default();
            give_up(between.shed(), &mut observations, &mut given_up);
            if !given_up.is_empty() {
                between.lost().pipeline.merge(&given_up);
            }
            for observation in observations {
                if pipelines.counts(&observation) {
                    metrics.observe(&observation);
                }
                if let Some(large) = pipelines.apply_or_defer(observation, &mut records) {
                    // The receiving thread runs as long as `later` exists.
                    let _ = later.send((large, Arc::clone(&pipelines.route)));
                }
            }
            let lost = pipelines.take_lost();
            if !lost.is_empty() {
                between.lost().pipeline.merge(&lost);
            }
            lines.offer(pipelines.take_lines(), pace.source_waits);
            between.lost().lines = lines.lost();
            pipelines.route.offer_all(&mut records, pace);
            between.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        drop(later);
    });
}

impl Turnover {
    /// Takes the stores out: what was offered so far belongs to the old ones, what follows to the new ones.
    fn take(self) {
        let taken = self.slots.iter().map(|slot| slot.take()).collect();
        // If qtap is about to end nobody receives them: then the slots stay empty.
        let _ = self.taken.send(taken);
    }
}

/// Writes the documents of large bodies one after the other, since the disk is the limit. Each goes to the stores of the time it was seen.
fn write_documents(documents: threads::Receiver<(Later, Arc<Route>)>, pace: Pace, between: &Between) {
    let mut records = Vec::new();
    for (large, route) in documents {
        let lost = large.tell(&mut records);
        if !lost.is_empty() {
            between.lost().pipeline.merge(&lost);
        }
        route.offer_all(&mut records, pace);
    }
}

impl Intake {
    /// Hands observations to the pipeline. If it lags behind, a live source first drops their bodies, each counted, before it waits.
    pub(super) fn hand_over(&self, mut observations: Vec<Observation>, lost: &mut Tally) {
        if observations.is_empty() {
            return;
        }
        give_up(self.between.shed(), &mut observations, lost);
        let mut bytes = bodies(&mut observations).map(|body| body_bytes(body)).sum();
        while self.between.is_crowded(bytes, self.waiting) {
            if !self.pace.source_waits {
                bodies(&mut observations).for_each(|body| shed(body, Loss::PipelineFull, lost));
                bytes = 0;
                break;
            }
            if self.sender.is_closed() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.between.waiting.fetch_add(bytes, Ordering::Relaxed);
        // Closed, here and below: the pipeline's thread is gone, and with it everything that could take this.
        let Err(mpsc::error::TrySendError::Full(Handed::Seen(mut observations, bytes))) =
            self.sender.try_send(Handed::Seen(observations, bytes))
        else {
            return;
        };
        if !self.pace.source_waits {
            bodies(&mut observations).for_each(|body| shed(body, Loss::PipelineFull, lost));
        }
        let _ = self.sender.blocking_send(Handed::Seen(observations, bytes));
    }

    /// Sets what is given up from now on, also of what waits for the pipeline.
    #[cfg(feature = "kernel")]
    pub(super) fn shed(&self, shed: Shed) {
        self.between.shed.store(shed as usize, Ordering::Relaxed);
    }

    /// What follows belongs to the next config.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn turn_over(&self, next: Next, turnover: Turnover) {
        let _ = self.sender.blocking_send(Handed::Next(next, turnover));
    }

    /// Nothing more will come of connections with these settings.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn ended(&self, since: KernelTime) {
        let _ = self.sender.blocking_send(Handed::Ended(since));
    }

    /// What was lost after the hand-over.
    pub(super) fn lost_behind(&self) -> Tally {
        let lost = self.between.lost();
        let mut both = lost.pipeline.clone();
        both.merge(&lost.lines);
        both
    }
}

/// Removes and counts what is given up: connections are reported nevertheless.
fn give_up(step: Shed, observations: &mut Vec<Observation>, lost: &mut Tally) {
    match step {
        Shed::Nothing => {}
        Shed::Bodies => bodies(observations).for_each(|body| shed(body, Loss::Shed, lost)),
        Shed::Heads | Shed::Connections => {
            let bytes = bodies(observations).map(|body| body_bytes(body) as u64).sum();
            let before = observations.len();
            observations.retain(|observation| matches!(observation, Observation::Connection(_)));
            lost.add_many(Loss::Shed, (before - observations.len()) as u64, bytes);
        }
    }
}

/// The bodies of observations.
fn bodies(observations: &mut [Observation]) -> impl Iterator<Item = &mut Body> {
    observations.iter_mut().flat_map(|observation| {
        let (request, response) = match observation {
            Observation::Exchange(seen) => {
                let Exchange::Http(http) = &mut seen.exchange;
                let HttpExchange { request, response, .. } = &mut **http;
                (request.as_mut().map(|request| &mut request.body), response.as_mut().map(|r| &mut r.body))
            }
            Observation::Connection(_) => (None, None),
        };
        request.into_iter().chain(response)
    })
}

fn body_bytes(body: &Body) -> usize {
    body.chunks.iter().map(bytes::Bytes::len).sum()
}

/// Removes the kept bytes of a body, and marks them as missing.
fn shed(body: &mut Body, loss: Loss, lost: &mut Tally) {
    let kept = body.kept();
    if kept > 0 {
        body.chunks = Vec::new();
        body.missing.clear();
        body.missing.push(body.offset..body.size);
        lost.add(loss, kept);
    }
}

/// A key for this run only: what it hashes can't be compared with another run's.
fn redaction_key() -> anyhow::Result<RedactionKey> {
    let mut key = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut key).context("/dev/urandom")?;
    Ok(RedactionKey(key))
}
