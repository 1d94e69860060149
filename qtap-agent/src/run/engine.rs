//! From observations to stores: the pipeline's thread, and the stores behind it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

#[cfg(feature = "kernel")]
use crate::admin::http_metrics::HttpFamilies;
use crate::admin::http_metrics::HttpMetrics;
use crate::config::Settings;
use crate::export::data_dir::DataDir;
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::export::store::{Store, spawn_in};
use crate::model::exchange::Exchange;
use crate::model::loss::{Loss, Tally};
use crate::model::observation::Observation;
use crate::model::record::{Record, RecordKind};
use crate::pipeline::settings::Locator;
use crate::pipeline::{Pipeline, RedactionKey};

/// Batches of observations that may wait for the pipeline.
const WAITING_BATCHES: usize = 256;
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
}

/// The way in.
pub(super) struct Intake {
    sender: mpsc::Sender<Vec<Observation>>,
    pace: Pace,
}

impl Engine {
    /// Starts stores and pipeline. `data`: where queues are kept; without it they are in memory.
    pub(super) fn start(
        settings: &Settings,
        output: &Output,
        runtime: &Handle,
        pace: Pace,
        data: Option<&DataDir>,
    ) -> anyhow::Result<(Engine, Intake)> {
        let mut stores = Vec::new();
        for store in &settings.stores {
            let started = spawn_in(store, runtime, super::VERSION, output, data);
            stores.push(started.with_context(|| format!("store {}", store.id))?);
        }
        let stores = Arc::new(stores);
        let pipeline = Pipeline::new(settings.pipeline.clone(), &redaction_key()?);
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let metrics = HttpMetrics::new();
        #[cfg(feature = "kernel")]
        let families = metrics.families();
        let behind = Route { stores: Arc::clone(&stores), locators: settings.pipeline.locators.clone() };
        let pipeline = std::thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || work(pipeline, receiver, &behind, metrics, pace))?;
        let engine = Engine {
            stores,
            pipeline,
            #[cfg(feature = "kernel")]
            families,
        };
        Ok((engine, Intake { sender, pace }))
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

/// The pipeline's thread.
fn work(
    mut pipeline: Pipeline,
    mut receiver: mpsc::Receiver<Vec<Observation>>,
    route: &Route,
    mut metrics: HttpMetrics,
    pace: Pace,
) {
    let mut records: Vec<Record> = Vec::new();
    while let Some(observations) = receiver.blocking_recv() {
        for observation in observations {
            metrics.observe(&observation);
            pipeline.apply(observation, &mut records);
        }
        let shared: Vec<Arc<Record>> = records.drain(..).map(Arc::new).collect();
        route.offer(&shared, pace);
    }
}

/// Which store a record goes to: events to all that take events, an object to the one its URL names.
struct Route {
    stores: Arc<Vec<Store>>,
    locators: Vec<Locator>,
}

impl Route {
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
        Locator::first_for(&self.locators, object.data.len() as u64).map(|locator| locator.store.as_str())
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
    pub(super) fn hand_over(&self, observations: Vec<Observation>, lost: &mut Tally) {
        if observations.is_empty() {
            return;
        }
        // Closed, here and below: the pipeline's thread is gone, and with it everything that could take this.
        let Err(mpsc::error::TrySendError::Full(mut observations)) = self.sender.try_send(observations) else { return };
        if !self.pace.source_waits {
            observations.iter_mut().for_each(|observation| shed_bodies(observation, lost));
        }
        let _ = self.sender.blocking_send(observations);
    }
}

/// Leaves out the bodies of an exchange, and says so in it.
fn shed_bodies(observation: &mut Observation, lost: &mut Tally) {
    let Observation::Exchange(seen) = observation else { return };
    let Exchange::Http(http) = &mut seen.exchange;
    let request = http.request.as_mut().map(|request| &mut request.body);
    let response = http.response.as_mut().map(|response| &mut response.body);
    for body in request.into_iter().chain(response) {
        let kept = body.kept();
        if kept > 0 {
            body.chunks = Vec::new();
            body.missing.clear();
            body.missing.push(0..body.size);
            lost.add(Loss::PipelineFull, kept);
        }
    }
}

/// A key of this run's own: what it hides can't be compared with another run's.
fn redaction_key() -> anyhow::Result<RedactionKey> {
    let mut key = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut key).context("/dev/urandom")?;
    Ok(RedactionKey(key))
}
