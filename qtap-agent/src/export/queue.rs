//! Where items wait for their store: in memory, in order, bounded. What comes in was admitted by the [`Budget`], which counts every
//! record from the moment it is offered until it is settled, wherever it is meanwhile; what goes out are batches. A queue
//! on disk takes this file's place by answering the same calls: push, next, close.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::batch::Batch;
use super::exporter::{Class, Item};
use super::settings::BatchSettings;

/// Most bytes a store may hold back in memory; two bodies of 64 MiB, encoded, fit the share of the objects.
pub const MAX_BYTES: usize = 256 << 20;

/// Most records a store may hold back in memory.
pub const MAX_RECORDS: usize = 100_000;

/// Objects are admitted up to this share of the bounds, in quarters: the rest is for events, so that bodies are shed first.
const OBJECT_QUARTERS: usize = 3;

/// What a store holds back at the moment, and how much it may.
#[derive(Debug)]
pub struct Budget {
    max_records: usize,
    max_bytes: usize,
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    /// An empty one.
    #[must_use]
    pub fn new(max_records: usize, max_bytes: usize) -> Budget {
        Budget { max_records, max_bytes, records: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
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
        let fits = records <= self.max_records / 4 * quarters && total <= self.max_bytes / 4 * quarters;
        if fits {
            self.records.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
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
    }

    /// Records and bytes held back.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Items in order, handed out in batches.
#[derive(Debug)]
pub struct Queue {
    limits: BatchSettings,
    state: Mutex<State>,
    /// Told when the queue is no longer empty, when a batch is full, and when the queue is closed.
    changed: Notify,
    /// Held by the worker whose batch is forming, so that the others wait their turn and order is kept.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Instant, Item)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// An empty queue that forms batches within `limits`.
    #[must_use]
    pub fn new(limits: BatchSettings) -> Queue {
        Queue { limits, state: Mutex::default(), changed: Notify::new(), turn: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an item.
    pub fn push(&self, item: Item) {
        let tell = {
            let mut state = self.state();
            let was_full = self.full(&state);
            state.bytes += item.payload.len();
            state.items.push_back((Instant::now(), item));
            state.items.len() == 1 || (!was_full && self.full(&state))
        };
        if tell {
            self.changed.notify_one();
        }
    }

    /// Nothing more will be pushed: what is there is handed out at once, then [`Queue::next`] ends.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// The next batch: when enough items wait, or the oldest has waited long enough. None when the queue is closed and empty.
    pub async fn next(&self) -> Option<Batch> {
        let _turn = self.turn.lock().await;
        loop {
            let due = {
                let mut state = self.state();
                match state.items.front().map(|(since, _)| *since + self.limits.interval) {
                    None if state.closed => return None,
                    None => None,
                    Some(due) if state.closed || self.full(&state) || due <= Instant::now() => {
                        return Some(self.take(&mut state));
                    }
                    Some(due) => Some(due),
                }
            };
            match due {
                None => self.changed.notified().await,
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, self.changed.notified()).await;
                }
            }
        }
    }

    fn full(&self, state: &State) -> bool {
        state.items.len() >= self.limits.max_records || state.bytes >= self.limits.max_bytes
    }

    /// The oldest items within the limits; an item that alone exceeds them travels alone.
    fn take(&self, state: &mut State) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while let Some((_, item)) = state.items.front() {
            let more = item.payload.len();
            if !batch.is_empty() && (batch.len() >= self.limits.max_records || bytes + more > self.limits.max_bytes) {
                break;
            }
            bytes += more;
            state.bytes -= more;
            batch.items.extend(state.items.pop_front().map(|(_, item)| item));
        }
        batch
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use std::time::Duration;

    use super::*;

    fn item(size: usize) -> Item {
        Item {
            class: Class::Event,
            resource: bytes::Bytes::new(),
            name: String::new(),
            content_type: String::new(),
            payload: vec![0; size].into(),
            spooled: None,
        }
    }

    fn sizes(batch: &Batch) -> Vec<usize> {
        batch.items.iter().map(|item| item.payload.len()).collect()
    }

    fn queue(max_records: usize, max_bytes: usize) -> Queue {
        Queue::new(BatchSettings { max_records, max_bytes, interval: Duration::from_secs(1) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_by_records() {
        let (queue, start) = (queue(2, 1000), Instant::now());
        for size in [1, 2, 3] {
            queue.push(item(size));
        }
        assert_eq!(sizes(&queue.next().await.unwrap()), [1, 2]);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_by_bytes_and_a_giant_travels_alone() {
        let queue = queue(100, 10);
        for size in [4, 4, 4, 50, 1] {
            queue.push(item(size));
        }
        assert_eq!(sizes(&queue.next().await.unwrap()), [4, 4]);
        assert_eq!(sizes(&queue.next().await.unwrap()), [4]);
        assert_eq!(sizes(&queue.next().await.unwrap()), [50]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_leaves_when_its_oldest_item_is_old_enough() {
        let (queue, start) = (queue(100, 1000), Instant::now());
        queue.push(item(1));
        assert_eq!(sizes(&queue.next().await.unwrap()), [1]);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_is_told_when_the_batch_is_full() {
        let queue = std::sync::Arc::new(queue(2, 1000));
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { (queue.next().await, Instant::now()) }
        });
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        queue.push(item(1));
        tokio::time::sleep(Duration::from_millis(10)).await;
        queue.push(item(2));
        let (batch, at) = waiting.await.unwrap();
        assert_eq!(sizes(&batch.unwrap()), [1, 2]);
        assert_eq!(at - start, Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_is_emptied_at_once_by_all_workers() {
        let (queue, start) = (std::sync::Arc::new(queue(1, 1000)), Instant::now());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = std::sync::Arc::clone(&queue);
                tokio::spawn(async move {
                    let mut seen = 0;
                    while let Some(batch) = queue.next().await {
                        seen += batch.len();
                    }
                    seen
                })
            })
            .collect();
        for size in 1..=5 {
            queue.push(item(size));
        }
        queue.close();
        let mut seen = 0;
        for worker in workers {
            seen += worker.await.unwrap();
        }
        assert_eq!((seen, start.elapsed()), (5, Duration::ZERO));
    }

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
}
