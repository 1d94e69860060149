//! What a store has besides its workers: its queue on disk, if it can have one, and the intake in front of the queue.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Drive;
use crate::export::delivery::Line;
use crate::export::exporter::{Exporter, Takes};
use crate::export::intake::{self, Offer, Syncing};
use crate::export::queue::Queue;
use crate::export::queue::budget::Budget;
use crate::export::queue::disk::DiskQueue;
use crate::export::settings::{QueueSettings, WhenFull};
use crate::export::status::Board;

/// What a store with a queue on disk has besides its tasks.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) queue: Arc<DiskQueue>,
    pub(super) intake: std::thread::JoinHandle<()>,
    pub(super) syncing: Syncing,
    /// True when the pipeline waits while the queue is full.
    pub(super) blocks: bool,
}

/// An open queue on disk, its sync thread, and whether it blocks when full.
pub(super) type Opened = (Arc<DiskQueue>, Syncing, bool);

/// Opens the queue in `folder`. On failure, reports the error in the status and returns `None`.
pub(super) fn open_queue(
    folder: &Path,
    settings: QueueSettings,
    drive: &Drive,
    takes: Takes,
    board: &Arc<Board>,
) -> Option<Opened> {
    let opened = DiskQueue::open(folder, settings, drive.batch, takes.events, Arc::clone(board)).and_then(|queue| {
        let queue = Arc::new(queue);
        let syncing = Syncing::start(&queue, settings.fsync)?;
        Ok((queue, syncing, settings.when_full == WhenFull::Block))
    });
    match opened {
        Ok(opened) => {
            board.on_disk();
            Some(opened)
        }
        Err(error) => {
            board.queue_fails(&format!("{}: {error}; records wait in memory", folder.display()));
            None
        }
    }
}

/// Starts the intake: a task, or for a queue on disk a thread.
pub(super) fn take_in<E: Exporter>(
    line: &Arc<Line<E>>,
    offers: mpsc::Receiver<Offer>,
    budget: &Arc<Budget>,
    opened: Option<Opened>,
    tasks: &mut JoinSet<()>,
    runtime: &Handle,
) -> Option<OnDisk> {
    let (line, budget) = (Arc::clone(line), Arc::clone(budget));
    let Some((queue, syncing, blocks)) = opened else {
        tasks.spawn_on(
            async move {
                if let Queue::Memory(queue) = &line.queue {
                    intake::to_memory(&line.exporter, offers, queue, &budget, &line.board).await;
                }
            },
            runtime,
        );
        return None;
    };
    let theirs = Arc::clone(&queue);
    let run = move || intake::to_disk(&line.exporter, offers, &theirs, &budget, &line.board);
    match std::thread::Builder::new().name("queue".to_owned()).spawn(run) {
        Ok(intake) => Some(OnDisk { queue, intake, syncing, blocks }),
        Err(error) => {
            // From now on all offers are counted as lost, because the inbox has no receiver.
            tracing::error!(%error, "no thread for the queue");
            queue.close();
            None
        }
    }
}
