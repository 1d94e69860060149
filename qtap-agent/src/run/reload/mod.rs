//! Switches from one config to the next while everything runs. In: the next settings, checked. Out: what was changed, or why nothing was.
//!
//! ```text
//! reload ─ new stores started, changed ones tried ─▶ tap's thread ─ in order with its other output ─▶ pipeline's thread ─▶ new stores
//!    ▲                                                                                                  │
//!    └──────────── leaving stores: queues are handed over, the rest is sent in the background ◀─────────┘
//! ```
//!
//! Connections keep the stack they began with (`model::eras`). A store with unchanged settings is not touched. A changed store keeps its
//! queue on disk: what is offered meanwhile waits in its slot (`slot`). Everything that can fail is tried before anything changes.

mod ask;
pub(super) mod calls;
mod plan;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "kernel")]
pub use ask::reload_config;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::plan::Plan;
use super::data_dir::{self, Taken};
use super::engine::Turnover;
use super::route::Route;
use super::shared::Stop;
use super::slot::{Slot, alone};
use super::spool::Spool;
use super::stores::{self, Look};
use super::{FLUSH_LIMIT, tap_settings};
use crate::admin::view::DataDirView;
use crate::config::{Settings, TapSettings};
use crate::export::settings::StoreSettings;
use crate::export::stdout::Output;
use crate::export::store::Store;
use crate::{pipeline, tap};

/// How long requests in progress of a changed store may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);
/// How often to retry a store that passed its trial but then could not be started.
const RETRY: Duration = Duration::from_secs(1);

/// What the tap's thread has to change.
pub(super) struct Change {
    /// What applies to new connections from now on; `None`: no change.
    pub(super) new: Option<(tap::Settings, pipeline::settings::Settings, Option<pipeline::spool::Folder>)>,
    /// What applies to the probes from now on; `None`: no change.
    #[cfg_attr(not(feature = "kernel"), allow(dead_code))] // there are none
    pub(super) tap: Option<TapSettings>,
    pub(super) route: Arc<Route>,
    pub(super) turnover: Turnover,
}

/// What was changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Stores by id.
    pub(super) added: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) gone: Vec<String>,
    /// True: new connections get another stack, or other tags.
    pub(super) pipeline: bool,
    /// Keys whose new values apply from the next start on.
    pub(super) needs_restart: Vec<&'static str>,
}

/// The config in force, and what is needed to switch to another one.
pub(super) struct Running {
    pub(super) settings: Settings,
    /// The settings qtap was started with.
    pub(super) started: Settings,
    pub(super) data: Taken,
    /// The state of the data directory for `/status`.
    pub(super) told: Arc<Mutex<DataDirView>>,
    pub(super) data_dir: std::path::PathBuf,
    pub(super) spool: Spool,
    pub(super) stores: Look,
    pub(super) changes: SyncSender<Change>,
    pub(super) runtime: Handle,
    pub(super) output: Output,
    /// qtap is about to end.
    pub(super) stop: Stop,
}

impl Running {
    /// Switches to `next`. `None`: it equals the config in force.
    ///
    /// # Errors
    /// Why `next` cannot be used; nothing has changed then.
    pub(super) fn turn_to(&mut self, next: Settings) -> anyhow::Result<Option<Changed>> {
        let needs_restart = needs_restart(&self.started, &next);
        if next == self.settings {
            return Ok(None);
        }
        self.take_data_dir(&next)?;
        let plan = Plan::make(&self.settings.stores, &self.stores.slots(), &next.stores, &|store| self.start(store))?;
        let tap = tap_settings(&next, &self.spool);
        let pipeline = without_locators(&self.settings.pipeline) != without_locators(&next.pipeline)
            || tap != tap_settings(&self.settings, &self.spool);
        let new = pipeline.then(|| (tap, next.pipeline.clone(), self.spool.folder.clone()));
        let route = Route { slots: plan.slots.clone(), locators: next.pipeline.locators.clone().into() };
        // The pipeline may be waiting for a queue that blocks, changed or not: until the switch is over, such a queue accepts everything.
        self.stores.hurry();
        let (taken, took) = oneshot::channel();
        let slots = plan.changed.iter().map(|(slot, ..)| Arc::clone(slot)).collect();
        let looked_at = (next.tap != self.settings.tap).then(|| next.tap.clone());
        let change = Change { new, tap: looked_at, route: Arc::new(route), turnover: Turnover { slots, taken } };
        let old = self.changes.send(change).ok().and_then(|()| took.blocking_recv().ok());
        self.calm();
        let Some(old) = old else {
            plan.added.iter().filter_map(|slot| slot.take()).for_each(|store| self.finish_now(store));
            anyhow::bail!("qtap is about to end");
        };
        let changed = Changed {
            added: plan.added.iter().map(|slot| slot.id().to_owned()).collect(),
            changed: plan.changed.iter().map(|(slot, ..)| slot.id().to_owned()).collect(),
            gone: plan.gone.iter().map(|slot| slot.id().to_owned()).collect(),
            pipeline,
            needs_restart,
        };
        self.stores.set(plan.slots);
        for ((slot, before, after), store) in plan.changed.iter().zip(old) {
            self.hand_over(slot, before, after, store);
        }
        plan.gone.into_iter().for_each(|slot| self.stores.finish_slot(slot, FLUSH_LIMIT, &self.runtime));
        self.settings = next;
        self.tell_left_over();
        Ok(Some(changed))
    }

    /// Opens what this config needs and those before it did not.
    fn take_data_dir(&mut self, next: &Settings) -> anyhow::Result<()> {
        if self.data.folder.is_none() {
            self.data = data_dir::open(next, &self.data_dir)?;
        }
        if self.spool.folder.is_none()
            && let Some(folder) = &self.data.folder
        {
            self.spool = Spool::of_data_dir(next, folder);
        }
        Ok(())
    }

    fn tell_left_over(&mut self) {
        self.data.look(&self.settings, false);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = self.data.told.clone();
    }

    /// Starts a store that is new in this config; or, as a trial, one with changed settings, without its queue.
    fn start(&self, (store, tried): (&StoreSettings, bool)) -> anyhow::Result<Store> {
        if tried {
            return stores::start(store, &self.runtime, &self.output, None);
        }
        self.runtime.block_on(self.stores.finished(&store.id));
        stores::start(store, &self.runtime, &self.output, self.data.folder.as_ref())
    }

    /// Replaces one store by another of the same name.
    fn hand_over(&self, slot: &Slot, before: &StoreSettings, after: &StoreSettings, store: Option<Arc<Store>>) {
        let queues = before.queue.is_some() && after.queue.is_some();
        let same_queue = self.data.folder.is_some() && queues && before.form() == after.form();
        if !same_queue {
            // One of this name and form may still be sending from the queue that is needed now: two would deliver the same records.
            self.runtime.block_on(self.stores.finished(slot.id()));
        }
        match store {
            Some(store) if same_queue => {
                self.runtime.block_on(async { alone(store).await.leave(LEAVE_LIMIT).await });
            }
            Some(store) => self.stores.finish(slot.id(), store, FLUSH_LIMIT, &self.runtime),
            None => {}
        }
        // Also if qtap is about to end: what waits for the store goes into its queue.
        loop {
            match stores::start(after, &self.runtime, &self.output, self.data.folder.as_ref()) {
                Ok(store) => {
                    // Its queue may be full, and may be one that blocks: it accepts what waited for it nevertheless.
                    store.hurry();
                    slot.put(store);
                    return self.calm();
                }
                // It could be started a moment ago: most likely a file is just being replaced.
                Err(error) => tracing::error!(store = after.id, error = format!("{error:#}"), "can't be started"),
            }
            if self.stop.asked() {
                return slot.shut();
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Ends a hurry, unless qtap is about to end, which began another one.
    fn calm(&self) {
        self.stores.calm();
        if self.stop.asked() {
            self.stores.hurry();
        }
    }

    fn finish_now(&self, store: Arc<Store>) {
        self.runtime.block_on(async { alone(store).await.leave(Duration::ZERO).await });
    }
}

/// A pipeline's settings, regardless of where its objects go.
fn without_locators(settings: &pipeline::settings::Settings) -> pipeline::settings::Settings {
    pipeline::settings::Settings { locators: Vec::new(), ..settings.clone() }
}

/// Keys that are read only once, at the start.
fn needs_restart(started: &Settings, next: &Settings) -> Vec<&'static str> {
    // Whether the probes read the answers of name servers is decided when they are loaded.
    let reads_more = next.tap.reads_dns && !started.tap.reads_dns;
    let keys = [
        ("tap.audit_include_dns", reads_more && next.tap.audit_dns),
        ("tap.endpoints, by names that only name servers tell", reads_more && !next.tap.audit_dns),
        ("http_metrics.max_hosts", started.pipeline.max_hosts() != next.pipeline.max_hosts()),
    ];
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}
