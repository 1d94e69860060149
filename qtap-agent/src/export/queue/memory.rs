//! A queue in memory. In: items, which the [`super::budget::Budget`] has admitted; it counts every record from the offer until it is
//! settled, and so bounds this queue. Out: the items in order, in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::Budget;
use crate::export::batch::Batch;
use crate::export::exporter::Item;
use crate::export::settings::BatchSettings;

/// Items in order, returned in batches.
#[derive(Debug)]
pub struct MemoryQueue {
    limits: BatchSettings,
    budget: Arc<Budget>,
    state: Mutex<State>,
    /// Notified when the queue is no longer empty, when a batch is full, and when the queue is closed.
    changed: Notify,
    /// Held by the worker whose batch is forming, so that the others take turns and order is kept.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<(Instant, Item)>,
    bytes: usize,
    closed: bool,
}

impl MemoryQueue {
    /// An empty queue that forms batches within `limits`; settling a batch releases its share of `budget`.
    #[must_use]
    pub fn new(limits: BatchSettings, budget: Arc<Budget>) -> MemoryQueue {
        MemoryQueue {
            limits,
            budget,
            state: Mutex::default(),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }
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

    /// Settles a batch that was delivered, refused or dropped.
    pub fn settle(&self, batch: &Batch) {
        self.budget.release(batch.len(), batch.footprint());
    }

    /// Closes the queue to new items: what is there is returned at once, then [`MemoryQueue::next`] ends.
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

    /// The oldest items within the limits; an item that alone exceeds them is returned alone.
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
    use crate::export::exporter::Class;

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

    fn queue(max_records: usize, max_bytes: usize) -> MemoryQueue {
        let limits = BatchSettings { max_records, max_bytes, interval: Duration::from_secs(1) };
        MemoryQueue::new(limits, Arc::new(Budget::new(1000, 1000)))
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
        let queue = Arc::new(queue(2, 1000));
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
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
        let (queue, start) = (Arc::new(queue(1, 1000)), Instant::now());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
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
}
