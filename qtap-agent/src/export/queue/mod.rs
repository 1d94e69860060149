//! The queue of a store, in memory or on disk (see [`disk`]); both have the same interface. In: items. Out: batches; a batch is settled once
//! it is accepted, refused or dropped. Which of the two a store has is decided when it starts. Nothing here knows a
//! protocol.

pub mod budget;
pub mod disk;
mod frame;
mod lane;
mod ledger;
mod left;
pub mod memory;
mod segment;
mod spool;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;

use std::sync::Arc;
use std::time::Duration;

use disk::DiskQueue;
pub(super) use left::may_hold;
use memory::MemoryQueue;

use super::batch::Batch;

/// How often a queue whose `fsync` is `interval` is synced to disk.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The queue of one store.
#[derive(Debug)]
pub(super) enum Queue {
    /// Ends with the process.
    Memory(MemoryQueue),
    /// Outlives the process.
    Disk(Arc<DiskQueue>),
}

impl Queue {
    /// The next batch. None: nothing more will come.
    pub(super) async fn next(&self) -> Option<Batch> {
        match self {
            Queue::Memory(queue) => queue.next().await,
            Queue::Disk(queue) => queue.next().await,
        }
    }

    /// Settles a batch: its entries are not returned again.
    pub(super) async fn settle(&self, batch: Batch) {
        match self {
            Queue::Memory(queue) => queue.settle(&batch),
            Queue::Disk(queue) => {
                let queue = Arc::clone(queue);
                // Settling writes to a file, so use a thread that may block on the disk.
                let _ = tokio::task::spawn_blocking(move || queue.settle(&batch)).await;
            }
        }
    }

    /// True when unsettled entries are available again at the next start.
    pub(super) fn outlives(&self) -> bool {
        match self {
            Queue::Memory(_) => false,
            Queue::Disk(_) => true,
        }
    }
}
