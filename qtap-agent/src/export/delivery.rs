//! From an offer to a settled batch: the intake makes records ready and queues them, workers send batches until the store has taken
//! them, has refused their data, or time is up. One loop for all protocols; what an answer means was decided in `refusal`.
//!
//! ```text
//! attempt ─ taken ──────────────────────────► done
//!    ▲  ├─── refuses the data, many ────────► halves, each attempted
//!    │  ├─── refuses the data, one ─────────► dropped: ExportRejected
//!    │  ├─── refuses us ─── wait retry.max ─┐  (closing: dropped: Shutdown)
//!    │  └─── not now ─── wait or pause ─────┤  (after max_elapsed: dropped: ExportExpired)
//!    └──────────────────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::batch::Batch;
use super::exporter::{Exporter, Item, Receipt};
use super::queue::{Budget, Queue};
use super::refusal::{Refusal, Remedy};
use super::retry::{Backoff, Pause};
use super::status::Board;
use super::store::Drive;
use crate::model::loss::Loss;
use crate::model::record::Record;

/// Records that were admitted together, each with the bytes it was admitted for.
pub(super) type Offer = Vec<(Arc<Record>, usize)>;

/// What the tasks of one store share.
pub(super) struct Line<E> {
    exporter: E,
    drive: Drive,
    queue: Queue,
    budget: Arc<Budget>,
    board: Arc<Board>,
    pause: Pause,
    closing: watch::Receiver<bool>,
}

/// What became of an attempt to settle a batch.
enum Settled {
    /// Taken, or dropped and counted.
    Done,
    /// To be tried in halves.
    Halve,
}

impl<E: Exporter> Line<E> {
    pub(super) fn new(
        exporter: E,
        drive: Drive,
        budget: Arc<Budget>,
        board: Arc<Board>,
        closing: watch::Receiver<bool>,
    ) -> Line<E> {
        Line { exporter, drive, queue: Queue::new(drive.batch), budget, board, pause: Pause::default(), closing }
    }

    /// Makes records ready in the order they were offered.
    pub(super) async fn take_in(self: Arc<Self>, mut offers: mpsc::Receiver<Offer>) {
        while let Some(records) = offers.recv().await {
            for (record, bytes) in records {
                let prepared = self.exporter.prepare(&record);
                self.board.lost(Loss::AttributeLimit, prepared.cut_attributes, prepared.cut_bytes);
                self.budget.becomes(bytes, prepared.items.len(), prepared.items.iter().map(Item::footprint).sum());
                prepared.items.into_iter().for_each(|item| self.queue.push(item));
            }
        }
        self.queue.close();
    }

    /// One worker: takes batches until the queue is closed and empty.
    pub(super) async fn work(self: Arc<Self>) {
        while let Some(batch) = self.queue.next().await {
            let mut pieces = vec![batch];
            while let Some(piece) = pieces.pop() {
                match self.settle(&piece).await {
                    Settled::Done => {}
                    Settled::Halve => {
                        let (first, second) = piece.halves();
                        pieces.push(second);
                        pieces.push(first);
                    }
                }
            }
        }
    }

    /// Sends until the store has taken the batch, refused its data, or time is up.
    async fn settle(&self, batch: &Batch) -> Settled {
        let mut backoff = Backoff::new(&self.drive.retry);
        let started = Instant::now();
        loop {
            self.pause.over().await;
            let refusal = match self.attempt(&batch.items).await {
                Ok(receipt) => {
                    self.taken(batch, &receipt);
                    return Settled::Done;
                }
                Err(refusal) => refusal,
            };
            self.board.failed(&refusal);
            match refusal.remedy {
                Remedy::Split if batch.len() > 1 => return Settled::Halve,
                Remedy::Split => return self.dropped(batch, Loss::ExportRejected),
                Remedy::Reconfigure if *self.closing.borrow() => return self.dropped(batch, Loss::Shutdown),
                Remedy::Reconfigure => self.rest(self.drive.retry.max).await,
                Remedy::Wait(Some(after)) => self.pause.hold(after),
                Remedy::Wait(None) => self.rest(backoff.wait()).await,
            }
            let limit = self.drive.retry.max_elapsed;
            if matches!(refusal.remedy, Remedy::Wait(_)) && !limit.is_zero() && started.elapsed() >= limit {
                return self.dropped(batch, Loss::ExportExpired);
            }
        }
    }

    async fn attempt(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        let started = Instant::now();
        let sending = self.exporter.send(items);
        let answer = match self.drive.timeout {
            None => sending.await,
            Some(limit) => match tokio::time::timeout(limit, sending).await {
                Ok(answer) => answer,
                Err(_) => Err(Refusal::wait(format!("no answer within {limit:?} (timeout)"))),
            },
        };
        self.board.attempted(started.elapsed());
        answer
    }

    /// Waits, but not when the store is about to be closed: then there is one more attempt at once.
    async fn rest(&self, wait: Duration) {
        let mut closing = self.closing.clone();
        if *closing.borrow_and_update() {
            tokio::time::sleep(wait).await;
        } else {
            let _ = tokio::time::timeout(wait, closing.changed()).await;
        }
    }

    fn taken(&self, batch: &Batch, receipt: &Receipt) {
        let records = batch.len() as u64;
        let rejected = receipt.rejected.min(records);
        self.budget.release(batch.len(), batch.footprint());
        self.board.accepted(records - rejected, batch.bytes() as u64);
        if rejected > 0 {
            // Which of them, the store does not say: the bytes are their share.
            self.board.lost(Loss::ExportRejected, rejected, batch.bytes() as u64 / records.max(1) * rejected);
        }
        if let Some(message) = &receipt.message {
            self.board.remarked(rejected, message);
        }
    }

    fn dropped(&self, batch: &Batch, loss: Loss) -> Settled {
        self.budget.release(batch.len(), batch.footprint());
        self.board.lost(loss, batch.len() as u64, batch.bytes() as u64);
        Settled::Done
    }
}
