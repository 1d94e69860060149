//! Where records wait for their store: in memory, or on disk ([`disk`] tells how). Both answer the same calls: items come in, batches go
//! out, and a batch that was taken, refused or given up is settled. Which of the two a store has is decided when it is started; nothing
//! here knows a protocol.

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

/// How often a queue whose `fsync` is `interval` is brought to the disk itself.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The queue of one store.
#[derive(Debug)]
pub(super) enum Queue {
    /// Ends with the process.
    Memory(MemoryQueue),
    /// Outlives it.
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

    /// What was handed out is settled, and need not be handed out again.
    pub(super) async fn settle(&self, batch: Batch) {
        match self {
            Queue::Memory(queue) => queue.settle(&batch),
            Queue::Disk(queue) => {
                let queue = Arc::clone(queue);
                // It writes to a file, on a thread that may wait for the disk.
                let _ = tokio::task::spawn_blocking(move || queue.settle(&batch)).await;
            }
        }
    }

    /// True when what is not settled at the end is there at the next start.
    pub(super) fn outlives(&self) -> bool {
        match self {
            Queue::Memory(_) => false,
            Queue::Disk(_) => true,
        }
    }
}
