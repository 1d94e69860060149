//! The stores of a run, by the latest config. In: their settings. Out: their slots, shared with whoever offers records or shows
//! status; at the end, the final status of each. Stores removed from the config finish in the background.
// A run with a single config needs only part of this.
#![cfg_attr(not(any(feature = "kernel", test)), allow(dead_code))]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::slot::{Slot, alone};
use crate::export::data_dir::DataDir;
use crate::export::settings::StoreSettings;
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::export::store::{Store, spawn_in};

/// How often to check whether a store is done.
const LOOK: Duration = Duration::from_millis(10);

/// The stores.
#[derive(Debug, Default)]
pub(super) struct Stores(Arc<Mutex<Inside>>);

/// A weak handle to the stores: ends with the run.
#[derive(Debug, Clone)]
pub(super) struct Look(Weak<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    slots: Vec<Arc<Slot>>,
    /// Stores that are finishing, by id.
    leaving: Vec<(String, JoinHandle<()>)>,
}

impl Stores {
    /// Starts all stores. `data`: where queues are kept; without it they are in memory.
    pub(super) fn start(
        settings: &[StoreSettings],
        runtime: &Handle,
        output: &Output,
        data: Option<&DataDir>,
    ) -> anyhow::Result<Stores> {
        let stores = Stores::default();
        for store in settings {
            stores.inside().slots.push(Arc::new(Slot::new(start(store, runtime, output, data)?)));
        }
        Ok(stores)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their slots.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.inside().slots.clone()
    }

    /// A handle for whoever shows their status.
    pub(super) fn look(&self) -> Look {
        Look(Arc::downgrade(&self.0))
    }

    /// Waits until the stores have delivered what they hold, for at most `limit`.
    pub(super) async fn shutdown(self, limit: Duration) -> Vec<StoreStatus> {
        let Inside { slots, leaving } = std::mem::take(&mut *self.inside());
        let mut ended = Vec::new();
        let all = tokio::time::Instant::now() + limit;
        for store in slots.iter().filter_map(|slot| slot.take()) {
            let left = all.saturating_duration_since(tokio::time::Instant::now());
            ended.push(alone(store).await.shutdown(left).await);
        }
        for (_, store) in leaving {
            // It reports its own result.
            let _ = tokio::time::timeout_at(all, store).await;
        }
        ended
    }
}

impl Look {
    /// The status of each store.
    pub(super) fn statuses(&self) -> Vec<StoreStatus> {
        self.slots().iter().filter_map(|slot| slot.status()).collect()
    }

    /// See [`Store::hurry`].
    pub(super) fn hurry(&self) {
        self.slots().iter().filter_map(|slot| slot.store()).for_each(|store| store.hurry());
    }

    /// Their slots.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.0
            .upgrade()
            .map(|inside| inside.lock().unwrap_or_else(PoisonError::into_inner).slots.clone())
            .unwrap_or_default()
    }

    /// The end of a hurry: see [`Store::calm`].
    pub(super) fn calm(&self) {
        self.slots().iter().filter_map(|slot| slot.store()).for_each(|store| store.calm());
    }

    /// Replaces the stores.
    pub(super) fn set(&self, slots: Vec<Arc<Slot>>) {
        if let Some(inside) = self.0.upgrade() {
            inside.lock().unwrap_or_else(PoisonError::into_inner).slots = slots;
        }
    }

    /// The store has no slot any more: it sends what it holds in the background, for at most `limit`.
    pub(super) fn finish(&self, id: &str, store: Arc<Store>, limit: Duration, runtime: &Handle) {
        self.finish_when(id, std::future::ready(Some(store)), limit, runtime);
    }

    /// The same for a slot that is no longer in use, once those still offering to it are done.
    pub(super) fn finish_slot(&self, slot: Arc<Slot>, limit: Duration, runtime: &Handle) {
        let id = slot.id().to_owned();
        let store = async move {
            while Arc::strong_count(&slot) > 1 {
                tokio::time::sleep(LOOK).await;
            }
            slot.take()
        };
        self.finish_when(&id, store, limit, runtime);
    }

    fn finish_when(
        &self,
        id: &str,
        store: impl Future<Output = Option<Arc<Store>>> + Send + 'static,
        limit: Duration,
        runtime: &Handle,
    ) {
        let Some(inside) = self.0.upgrade() else { return };
        let finishing = runtime.spawn(async move {
            if let Some(store) = store.await {
                super::report(&[alone(store).await.shutdown(limit).await]);
            }
        });
        let mut inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.leaving.retain(|(_, task)| !task.is_finished());
        inside.leaving.push((id.to_owned(), finishing));
    }

    /// Waits until no store of this id is finishing any more: then its queue on disk is free.
    pub(super) async fn finished(&self, id: &str) {
        let busy = || {
            let inside = self.0.upgrade()?;
            let inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
            inside.leaving.iter().any(|(known, task)| known == id && !task.is_finished()).then_some(())
        };
        while busy().is_some() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Starts a store.
pub(super) fn start(
    store: &StoreSettings,
    runtime: &Handle,
    output: &Output,
    data: Option<&DataDir>,
) -> anyhow::Result<Store> {
    let started = spawn_in(store, runtime, super::VERSION, output, data);
    started.with_context(|| format!("store {}", store.id))
}
