//! The slot of a store: records are offered to it, also while one store replaces another of the same name. In: records, and the
//! successive stores. Out: nothing is lost or reordered in between: what is offered meanwhile waits here, and when the slot is
//! full, whoever offers waits too.
// A run with a single config needs only part of this.
#![cfg_attr(not(any(feature = "kernel", test)), allow(dead_code))]

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::export::status::StoreStatus;
use crate::export::store::Store;
use crate::model::record::{Record, RecordKind};

/// Records that may wait between two stores: some ten seconds of a busy host.
const WAITING_RECORDS: usize = 100_000;
/// Bytes of bodies that may wait in them.
const WAITING_BYTES: usize = 64 << 20;

/// The slot of one store.
#[derive(Debug)]
pub(super) struct Slot {
    id: String,
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug)]
enum State {
    /// A store is active.
    Working(Arc<Store>),
    /// No store for a moment.
    Between { records: Vec<Arc<Record>>, bytes: usize },
    /// No store any more.
    Shut,
}

impl Slot {
    pub(super) fn new(store: Store) -> Slot {
        Slot { id: store.id().to_owned(), state: Mutex::new(State::Working(Arc::new(store))), room: Condvar::new() }
    }

    /// The store's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The active store; `None` between two.
    pub(super) fn store(&self) -> Option<Arc<Store>> {
        match &*self.state() {
            State::Working(store) => Some(Arc::clone(store)),
            State::Between { .. } | State::Shut => None,
        }
    }

    /// Offers records to the store, or keeps them for the next one.
    pub(super) fn offer(&self, offered: &[Arc<Record>]) {
        if offered.is_empty() {
            return;
        }
        let mut state = self.state();
        loop {
            match &mut *state {
                State::Working(store) => {
                    let store = Arc::clone(store);
                    drop(state);
                    return store.offer(offered);
                }
                State::Between { records, bytes } if records.len() < WAITING_RECORDS && *bytes < WAITING_BYTES => {
                    *bytes += offered.iter().map(|record| size(record)).sum::<usize>();
                    return records.extend_from_slice(offered);
                }
                State::Between { .. } => state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
                State::Shut => return self.say_lost(offered.len()),
            }
        }
    }

    /// The status of the store; `None` between two.
    pub(super) fn status(&self) -> Option<StoreStatus> {
        self.store().map(|store| store.status())
    }

    /// Takes the store out; what is offered from now on waits for the next one.
    pub(super) fn take(&self) -> Option<Arc<Store>> {
        match std::mem::replace(&mut *self.state(), State::Between { records: Vec::new(), bytes: 0 }) {
            State::Working(store) => Some(store),
            State::Between { .. } | State::Shut => None,
        }
    }

    /// No store will come any more, because qtap ends: what waits is lost, which is logged, and nobody waits for space.
    pub(super) fn shut(&self) {
        if let State::Between { records, .. } = std::mem::replace(&mut *self.state(), State::Shut) {
            self.say_lost(records.len());
        }
        self.room.notify_all();
    }

    fn say_lost(&self, records: usize) {
        if records > 0 {
            tracing::error!(store = self.id, records, "lost: qtap ends, and the store can't be started");
        }
    }

    /// Makes a store active: it is first offered what waited, then, under the lock, what arrived meanwhile; without the lock this might
    /// never end.
    pub(super) fn put(&self, store: Store) {
        let waited = match &mut *self.state() {
            State::Between { records, bytes } => {
                *bytes = 0;
                std::mem::take(records)
            }
            State::Working(_) | State::Shut => Vec::new(),
        };
        self.room.notify_all();
        store.offer(&waited);
        let mut state = self.state();
        if let State::Between { records, .. } = &*state {
            store.offer(records);
        }
        *state = State::Working(Arc::new(store));
        drop(state);
        self.room.notify_all();
    }
}

/// Bytes of body that a record holds in memory.
fn size(record: &Record) -> usize {
    match &record.kind {
        RecordKind::Object(object) => object.data.len(),
        RecordKind::Connection(_) | RecordKind::Artifact(_) | RecordKind::Request(_) | RecordKind::Issue(_) => 0,
    }
}

/// Returns the store itself once it has no other user; those still using it finish soon.
pub(super) async fn alone(mut store: Arc<Store>) -> Store {
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => return store,
            Err(shared) => store = shared,
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Origin, Severity};

    #[test]
    fn nobody_waits_for_room_where_no_store_comes_any_more() {
        let full = State::Between { records: Vec::new(), bytes: WAITING_BYTES };
        let slot = Slot { id: "s".to_owned(), state: Mutex::new(full), room: Condvar::new() };
        let record = Arc::new(Record {
            uid: String::new(),
            time_unix_ns: 0,
            observed_unix_ns: 0,
            severity: Severity::Info,
            line: String::new(),
            trace: None,
            origin: Arc::new(Origin::default()),
            request_id: None,
            kind: RecordKind::Connection(Box::default()),
        });
        std::thread::scope(|scope| {
            let offers = scope.spawn(|| slot.offer(&[Arc::clone(&record)]));
            slot.shut();
            slot.offer(&[Arc::clone(&record)]);
            assert!(offers.join().is_ok());
        });
        assert_eq!((slot.status().is_none(), Arc::strong_count(&record)), (true, 1), "what is lost is not kept");
    }
}
