//! From observations to stores: the pipeline's thread, and the stores behind it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as threads};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::spool::Spool;
#[cfg(feature = "kernel")]
use crate::admin::http_metrics::HttpFamilies;
use crate::admin::http_metrics::HttpMetrics;
use crate::config::Settings;
use crate::export::data_dir::DataDir;
use crate::export::lines::Lines;
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::export::store::{Store, spawn_in};
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::loss::{Loss, Tally};
use crate::model::message::Body;
use crate::model::observation::Observation;
use crate::model::record::{Record, RecordKind};
#[cfg(feature = "kernel")]
use crate::pipeline::Passed;
use crate::pipeline::settings::Locator;
use crate::pipeline::{Later, Pipeline, RedactionKey};

/// Batches of observations that may wait for the pipeline.
const WAITING_BATCHES: usize = 256;
/// Bytes of bodies in them: as much as the largest ring holds, so that what fits there is not given up here, on a host that is busy.
const WAITING_BYTES: usize = 256 << 20;
/// Exchanges with large bodies whose documents wait to be written; each has its body on disk already.
const WAITING_DOCUMENTS: usize = 16;
/// Records held back by a store above which a replay waits for it.
const REPLAY_HELD: u64 = 10_000;
/// Bytes held back by a store above which a replay waits for it.
const REPLAY_HELD_BYTES: u64 = 32 << 20;

/// How observations are handed over when the pipeline is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    source_waits: bool,
}

impl Pace {
    /// Bodies go before records: the host does not wait.
    #[cfg(feature = "kernel")]
    pub(super) const LIVE: Pace = Pace { source_waits: false };
    /// The source waits: a recording has time.
    pub(super) const REPLAY: Pace = Pace { source_waits: true };
}

/// The engine.
pub(super) struct Engine {
    stores: Arc<Vec<Store>>,
    pipeline: JoinHandle<()>,
    /// HTTP metrics, kept by the pipeline's thread.
    #[cfg(feature = "kernel")]
    pub(super) families: HttpFamilies,
    /// How often each rule was the first to pass, counted by the pipeline.
    #[cfg(feature = "kernel")]
    pub(super) passed: Vec<Arc<[Passed]>>,
}

/// The way in.
pub(super) struct Intake {
    sender: mpsc::Sender<Handed>,
    pace: Pace,
    between: Arc<Between>,
}

/// Observations that were handed over, and the bytes of their bodies.
type Handed = (Vec<Observation>, usize);

/// What the tap's side and the pipeline's know of one another.
#[derive(Debug, Default)]
struct Between {
    /// Bytes of bodies that wait.
    waiting: AtomicUsize,
    /// What the pipeline lost, and what was left out of the lines it wrote.
    lost: Mutex<Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    pipeline: Tally,
    lines: Tally,
}

impl Between {
    fn is_crowded(&self, more: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        waiting > 0 && waiting.saturating_add(more) > WAITING_BYTES
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
        let mut stores = Vec::new();
        for store in &settings.stores {
            let started = spawn_in(store, runtime, super::VERSION, output, data);
            stores.push(started.with_context(|| format!("store {}", store.id))?);
        }
        let stores = Arc::new(stores);
        let mut pipeline = Pipeline::new(settings.pipeline.clone(), &redaction_key()?);
        if let Some(folder) = &spool.folder {
            pipeline = pipeline.spooling(folder.clone());
        }
        let between = Arc::new(Between::default());
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let metrics = HttpMetrics::new(settings.pipeline.max_hosts());
        #[cfg(feature = "kernel")]
        let families = metrics.families();
        #[cfg(feature = "kernel")]
        let passed = pipeline.passed();
        let (behind, shared) = (Arc::clone(&between), Arc::clone(&stores));
        let route = Route { stores: shared, locators: settings.pipeline.locators.clone() };
        let lines = Lines::start(output.clone())?;
        let pipeline = std::thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
            work(pipeline, receiver, &route, metrics, &lines, pace, &behind);
            behind.lost().lines = lines.finish(super::FLUSH_LIMIT);
        })?;
        let engine = Engine {
            stores,
            pipeline,
            #[cfg(feature = "kernel")]
            families,
            #[cfg(feature = "kernel")]
            passed,
        };
        Ok((engine, Intake { sender, pace, between }))
    }

    /// The stores.
    #[cfg(feature = "kernel")]
    pub(super) fn stores(&self) -> &Arc<Vec<Store>> {
        &self.stores
    }

    /// Waits until the pipeline has done what was handed in, then until the stores have it, for at most `limit`.
    pub(super) async fn shutdown(self, limit: Duration) -> Vec<StoreStatus> {
        let _ = tokio::task::spawn_blocking(|| self.pipeline.join()).await;
        let Ok(stores) = Arc::try_unwrap(self.stores) else { return Vec::new() };
        let mut ended = Vec::new();
        let all = tokio::time::Instant::now() + limit;
        for store in stores {
            ended.push(store.shutdown(all.saturating_duration_since(tokio::time::Instant::now())).await);
        }
        ended
    }
}

/// The pipeline's thread. Documents of large bodies are written on one beside it, so that nobody waits for them.
fn work(
    mut pipeline: Pipeline,
    mut receiver: mpsc::Receiver<Handed>,
    route: &Route,
    mut metrics: HttpMetrics,
    lines: &Lines,
    pace: Pace,
    between: &Between,
) {
    let (later, documents) = threads::sync_channel(WAITING_DOCUMENTS);
    std::thread::scope(|scope| {
        scope.spawn(|| write_documents(documents, route, pace, between));
        let mut records: Vec<Record> = Vec::new();
        while let Some((observations, bytes)) = receiver.blocking_recv() {
            for observation in observations {
                if pipeline.counts(&observation) {
                    metrics.observe(&observation);
                }
                if let Some(large) = pipeline.apply_or_defer(observation, &mut records) {
                    // It is there as long as this is.
                    let _ = later.send(large);
                }
            }
            let lost = pipeline.take_lost();
            if !lost.is_empty() {
                between.lost().pipeline.merge(&lost);
            }
            lines.offer(pipeline.take_lines(), pace.source_waits);
            between.lost().lines = lines.lost();
            route.offer_all(&mut records, pace);
            between.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        drop(later);
    });
}

/// Writes the documents of large bodies, one after the other: the disk takes no more.
fn write_documents(documents: threads::Receiver<Later>, route: &Route, pace: Pace, between: &Between) {
    let mut records = Vec::new();
    for large in documents {
        let lost = large.tell(&mut records);
        if !lost.is_empty() {
            between.lost().pipeline.merge(&lost);
        }
        route.offer_all(&mut records, pace);
    }
}

/// Which store a record goes to: events to all that take events, an object to the one its URL names.
struct Route {
    stores: Arc<Vec<Store>>,
    locators: Vec<Locator>,
}

impl Route {
    fn offer_all(&self, records: &mut Vec<Record>, pace: Pace) {
        let shared: Vec<Arc<Record>> = records.drain(..).map(Arc::new).collect();
        self.offer(&shared, pace);
    }

    fn offer(&self, records: &[Arc<Record>], pace: Pace) {
        let (objects, events): (Vec<_>, Vec<_>) =
            records.iter().cloned().partition(|record| matches!(record.kind, RecordKind::Object(_)));
        for store in self.stores.iter() {
            if pace.source_waits {
                wait_for_room(store);
            }
            store.offer(&events);
            let here = |record: &&Arc<Record>| self.home(record).is_none_or(|home| home == store.id());
            let own: Vec<_> = objects.iter().filter(here).cloned().collect();
            store.offer(&own);
        }
    }

    /// The store of an object.
    fn home(&self, record: &Record) -> Option<&str> {
        let RecordKind::Object(object) = &record.kind else { return None };
        Locator::first_for(&self.locators, object.size()).map(|locator| locator.store.as_str())
    }
}

fn wait_for_room(store: &Store) {
    loop {
        let status = store.status();
        if status.buffered_records < REPLAY_HELD && status.buffered_bytes < REPLAY_HELD_BYTES {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Intake {
    /// Hands observations to the pipeline. When it is behind, a live source gives up their bodies, each counted, before it waits.
    pub(super) fn hand_over(&self, mut observations: Vec<Observation>, lost: &mut Tally) {
        if observations.is_empty() {
            return;
        }
        let mut bytes = bodies(&mut observations).map(|body| body_bytes(body)).sum();
        while self.between.is_crowded(bytes) {
            if !self.pace.source_waits {
                bodies(&mut observations).for_each(|body| shed(body, lost));
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
        let Err(mpsc::error::TrySendError::Full((mut observations, bytes))) =
            self.sender.try_send((observations, bytes))
        else {
            return;
        };
        if !self.pace.source_waits {
            bodies(&mut observations).for_each(|body| shed(body, lost));
        }
        let _ = self.sender.blocking_send((observations, bytes));
    }

    /// What was lost behind it.
    pub(super) fn lost_behind(&self) -> Tally {
        let lost = self.between.lost();
        let mut both = lost.pipeline.clone();
        both.merge(&lost.lines);
        both
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

/// Leaves out what is kept of a body, and says so in it.
fn shed(body: &mut Body, lost: &mut Tally) {
    let kept = body.kept();
    if kept > 0 {
        body.chunks = Vec::new();
        body.missing.clear();
        body.missing.push(body.offset..body.size);
        lost.add(Loss::PipelineFull, kept);
    }
}

/// A key of this run's own: what it hides can't be compared with another run's.
fn redaction_key() -> anyhow::Result<RedactionKey> {
    let mut key = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut key).context("/dev/urandom")?;
    Ok(RedactionKey(key))
}
