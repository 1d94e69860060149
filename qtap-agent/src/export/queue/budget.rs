//! What may be on its way: a store's bound on records and bytes from the moment they are offered. With a queue in memory that lasts until
//! they are settled, with a queue on disk until they are written. Bodies find no room before records do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::export::exporter::Class;

/// Most bytes a store may hold back in memory; two bodies of 64 MiB, encoded, fit the share of the objects.
pub const MAX_BYTES: usize = 256 << 20;

/// Most records a store may hold back in memory.
pub const MAX_RECORDS: usize = 100_000;

/// Most bytes on their way to a queue on disk: what a disk that stalls for a second may leave behind.
pub const WAITING_BYTES: usize = 64 << 20;

/// Objects are admitted up to this share of the bounds, in quarters: the rest is for events, so that bodies are shed first.
const OBJECT_QUARTERS: usize = 3;

/// What a store holds back at the moment, and how much it may.
#[derive(Debug)]
pub struct Budget {
    max_records: usize,
    max_bytes: usize,
    /// True: an object that is larger than its share is let in when little else is there.
    giants: bool,
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// True from when nobody may wait any more.
    hurry: Mutex<bool>,
    /// Told when something was released.
    released: Condvar,
}

impl Budget {
    /// An empty one.
    #[must_use]
    pub fn new(max_records: usize, max_bytes: usize) -> Budget {
        Budget {
            max_records,
            max_bytes,
            giants: false,
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            hurry: Mutex::new(false),
            released: Condvar::new(),
        }
    }

    /// One for the way to a queue on disk: a body larger than all of it may pass, one at a time, as it is in memory anyway.
    #[must_use]
    pub fn to_disk() -> Budget {
        Budget { giants: true, ..Budget::new(MAX_RECORDS, WAITING_BYTES) }
    }

    /// Takes a record of `bytes` in, or says no.
    #[must_use]
    pub fn admit(&self, class: Class, bytes: usize) -> bool {
        let quarters = match class {
            Class::Event => 4,
            Class::Object => OBJECT_QUARTERS,
        };
        // Two offers at the same moment may both pass and exceed the bound by one record; no more than that.
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

    /// Takes a record in as soon as there is room. False: nobody may wait any more, and there is none.
    #[must_use]
    pub fn admit_in_time(&self, class: Class, bytes: usize) -> bool {
        let mut hurry = self.hurry.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.admit(class, bytes) {
                return true;
            }
            if *hurry {
                return false;
            }
            hurry = self.released.wait(hurry).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// From now on nobody waits.
    pub fn hurry(&self) {
        *self.hurry.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.notify_all();
    }

    /// A record admitted for `before` bytes turned out to be so many items of `now` bytes together.
    pub fn becomes(&self, before: usize, items: usize, now: usize) {
        self.records.fetch_add(items, Ordering::Relaxed);
        self.bytes.fetch_add(now, Ordering::Relaxed);
        self.release(1, before);
    }

    /// Records were settled: delivered, refused or dropped.
    pub fn release(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        // Under the lock, so that nobody looks before this and begins to wait after it.
        let _hurry = self.hurry.lock().unwrap_or_else(PoisonError::into_inner);
        self.released.notify_all();
    }

    /// Records and bytes held back.
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
    fn who_waits_is_let_in_when_there_is_room_or_sent_away_in_a_hurry() {
        let budget = Budget::new(1000, 400);
        assert!(budget.admit_in_time(Class::Event, 400));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| budget.admit_in_time(Class::Event, 400));
            budget.release(1, 400);
            assert!(waits.join().is_ok_and(|admitted| admitted));
            let waits = scope.spawn(|| budget.admit_in_time(Class::Event, 1));
            budget.hurry();
            assert!(waits.join().is_ok_and(|admitted| !admitted));
        });
    }
}
