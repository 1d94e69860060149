//! Which store a record goes to: events to all that take events, an object to the one named in its URL. In: records of the pipeline. Out:
//! offers to the stores' slots.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Pace;
use super::slot::Slot;
use crate::model::record::{Record, RecordKind};
use crate::pipeline::settings::Locator;

/// Records buffered by a store above which a replay waits for it.
const REPLAY_HELD: u64 = 10_000;
/// Bytes buffered by a store above which a replay waits for it.
const REPLAY_HELD_BYTES: u64 = 32 << 20;

/// The stores of one config.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) locators: Arc<[Locator]>,
}

impl Route {
    pub(super) fn offer_all(&self, records: &mut Vec<Record>, pace: Pace) {
        let shared: Vec<Arc<Record>> = records.drain(..).map(Arc::new).collect();
        self.offer(&shared, pace);
    }

    fn offer(&self, records: &[Arc<Record>], pace: Pace) {
        let (objects, events): (Vec<_>, Vec<_>) =
            records.iter().cloned().partition(|record| matches!(record.kind, RecordKind::Object(_)));
        for slot in &self.slots {
            if pace.source_waits {
                wait_for_room(slot);
            }
            slot.offer(&events);
            let here = |record: &&Arc<Record>| self.home(record).is_none_or(|home| home == slot.id());
            let own: Vec<_> = objects.iter().filter(here).cloned().collect();
            slot.offer(&own);
        }
    }

    /// The store that an object goes to.
    fn home(&self, record: &Record) -> Option<&str> {
        let RecordKind::Object(object) = &record.kind else { return None };
        Locator::first_for(&self.locators, object.size()).map(|locator| locator.store.as_str())
    }
}

fn wait_for_room(slot: &Slot) {
    while let Some(status) = slot.status() {
        if status.buffered_records < REPLAY_HELD && status.buffered_bytes < REPLAY_HELD_BYTES {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
