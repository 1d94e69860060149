//! A store's bound on records and bytes in memory, from the moment they are offered until they are settled (queue in memory) or written
//! (queue on disk). Bodies reach the bound before other records do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::export::exporter::Class;

/// Maximum bytes of a store in memory; two bodies of 64 MiB, encoded, fit into the objects' share.
pub const MAX_BYTES: usize = 256 << 20;

/// Maximum records of a store in memory.
pub const MAX_RECORDS: usize = 100_000;

/// Maximum bytes on the way to a queue on disk: about what accumulates while the disk stalls for a second.
pub const WAITING_BYTES: usize = 64 << 20;

/// Objects are admitted up to this share of the bounds, in quarters; the rest is for events, so that bodies are dropped first.
const OBJECT_QUARTERS: usize = 3;

/// What a store holds in memory, and its bounds.
#[derive(Debug)]
pub struct Budget {
    max_records: usize,
    max_bytes: usize,
    /// True: an object larger than its share is admitted when little else is held.
    giants: bool,
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// Held while a caller checks whether its record fits.
    turn: Mutex<()>,
    /// Notified when something was released.
    released: Condvar,
}

impl Budget {
    /// An empty budget.
    #[must_use]
    pub fn new(max_records: usize, max_bytes: usize) -> Budget {
        Budget {
            max_records,
            max_bytes,
            giants: false,
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            turn: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    /// A budget for the way to a queue on disk: one body larger than the whole budget may pass at a time, because it is in memory anyway.
    #[must_use]
    pub fn to_disk() -> Budget {
        Budget { giants: true, ..Budget::new(MAX_RECORDS, WAITING_BYTES) }
    }

    /// Admits a record of `bytes`; false when it does not fit.
    #[must_use]
    pub fn admit(&self, class: Class, bytes: usize) -> bool {
        let quarters = match class {
            Class::Event => 4,
            Class::Object => OBJECT_QUARTERS,
        };
        // Concurrent offers may both pass and exceed the bound by one record, but by no more.
        let records = self.records.load(Ordering::Relaxed) + 1;
        let total = self.bytes.load(Ordering::Relaxed) + bytes;
        let little = self.giants && total - bytes <= self.max_bytes / 4;
        let fits = records <= self.max_records / 4 * quarters && (total <= self.max_bytes / 4 * quarters || little);
        if fits {
            self.records.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Waits until the record fits, and admits it. A queue in a hurry soon takes what is before it, so nobody waits for long then.
    pub fn admit_in_time(&self, class: Class, bytes: usize) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.admit(class, bytes) {
            turn = self.released.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A record admitted for `before` bytes was encoded to `items` items with `now` bytes in total.
    pub fn becomes(&self, before: usize, items: usize, now: usize) {
        self.records.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(now, Ordering::Relaxed);
        self.release(1, before);
    }

    /// Releases records that were settled: delivered, refused or dropped.
    pub fn release(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Notify under the lock, so that no caller checks before the release but starts to wait after the notification.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.released.notify_all();
    }

    /// Records and bytes currently held.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shed_before_records() {
        let budget = Budget::new(1000, 400);
        assert!(budget.admit(Class::Object, 300));
        assert!(!budget.admit(Class::Object, 1));
        assert!(budget.admit(Class::Event, 100));
        assert!(!budget.admit(Class::Event, 1));
        budget.release(1, 300);
        assert!(budget.admit(Class::Object, 150));
        assert_eq!(budget.held(), (2, 250));
    }

    #[test]
    fn a_giant_passes_alone() {
        let budget = Budget::to_disk();
        assert!(budget.admit(Class::Object, 2 * WAITING_BYTES));
        assert!(!budget.admit(Class::Object, 1));
        budget.release(1, 2 * WAITING_BYTES);
        assert!(budget.admit(Class::Object, 1));
    }

    #[test]
    fn who_waits_is_let_in_when_there_is_room() {
        let budget = Budget::new(1000, 400);
        budget.admit_in_time(Class::Event, 400);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| budget.admit_in_time(Class::Event, 400));
            budget.release(1, 400);
            assert!(waits.join().is_ok());
        });
        assert_eq!(budget.held(), (1, 400));
    }
}
