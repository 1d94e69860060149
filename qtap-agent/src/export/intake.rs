//! Intake: from an offer to items in the queue. Records are prepared in the order they were offered. For a queue in memory a task does this; for a
//! disk queue a separate thread, which may block on the disk and writes records that arrive together with one write. Nothing is sent here.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;

use tokio::sync::mpsc;

use super::exporter::{Exporter, Item};
use super::queue::SYNC_INTERVAL;
use super::queue::budget::Budget;
use super::queue::disk::DiskQueue;
use super::queue::memory::MemoryQueue;
use super::settings::Fsync;
use super::status::Board;
use crate::model::loss::Loss;
use crate::model::record::Record;

/// Records that were admitted together, each with the bytes that the budget admitted it for.
pub(super) type Offer = Vec<(Arc<Record>, usize)>;

/// Maximum bytes per write, as admitted; a single offer may be larger.
const GROUP_BYTES: usize = 1 << 20;

/// Moves offers into the queue in memory until the channel closes.
pub(super) async fn to_memory<E: Exporter>(
    exporter: &E,
    mut offers: mpsc::Receiver<Offer>,
    queue: &MemoryQueue,
    budget: &Budget,
    board: &Board,
) {
    while let Some(records) = offers.recv().await {
        let mut queued = 0;
        for (record, bytes) in records {
            let prepared = exporter.prepare(&record);
            board.lost(Loss::AttributeLimit, prepared.cut_attributes, prepared.cut_bytes);
            budget.becomes(bytes, prepared.items.len(), prepared.items.iter().map(Item::footprint).sum());
            queued += prepared.items.len() as u64;
            prepared.items.into_iter().for_each(|item| queue.push(item));
        }
        board.queued(queued);
    }
    queue.close();
}

/// Moves offers into the disk queue until the channel closes.
pub(super) fn to_disk<E: Exporter>(
    exporter: &E,
    mut offers: mpsc::Receiver<Offer>,
    queue: &DiskQueue,
    budget: &Budget,
    board: &Board,
) {
    while let Some(mut group) = offers.blocking_recv() {
        let size = |group: &Offer| group.iter().map(|(_, bytes)| bytes).sum::<usize>();
        let mut bytes = size(&group);
        while bytes < GROUP_BYTES {
            let Ok(more) = offers.try_recv() else { break };
            bytes += size(&more);
            group.extend(more);
        }
        let records = group.len();
        let mut items = Vec::with_capacity(records);
        for (record, _) in &group {
            let mut prepared = exporter.prepare(record);
            board.lost(Loss::AttributeLimit, prepared.cut_attributes, prepared.cut_bytes);
            items.append(&mut prepared.items);
        }
        // Free the records before their items are written, so that only one copy of an encoded body remains.
        drop(group);
        let queued = queue.append(items);
        budget.release(records, bytes);
        board.queued(queued);
    }
    queue.close();
}

/// A thread that flushes the queue to disk periodically, until this is dropped.
#[derive(Debug)]
pub(super) struct Syncing {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Syncing {
    /// Starts the thread, if the settings ask for it.
    ///
    /// # Errors
    /// When the thread can't be created.
    pub(super) fn start(queue: &Arc<DiskQueue>, fsync: Fsync) -> std::io::Result<Syncing> {
        let every = match fsync {
            Fsync::Interval => SYNC_INTERVAL,
            Fsync::Always | Fsync::Never => return Ok(Syncing { stop: None, thread: None }),
        };
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let queue = Arc::clone(queue);
        let thread = thread::Builder::new().name("queue-sync".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                queue.sync();
            }
            queue.sync();
        })?;
        Ok(Syncing { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
