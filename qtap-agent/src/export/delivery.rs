//! Delivery of a batch: workers send it until the store has accepted it, has refused its data, or time is up. One loop for all
//! protocols; `refusal` has decided what each answer means.
//!
//! ```text
//! attempt ─ accepted ───────────────────────► settled
//!    ▲  ├─── refuses the data, many ────────► halves, each attempted
//!    │  ├─── refuses the data, one ─────────► dead letter: ExportRejected
//!    │  ├─── refuses qtap ─ wait retry.max ─┐  (closing: left on disk, or dropped: Shutdown)
//!    │  └─── temporary ─ wait or pause ─────┤  (after max_elapsed: dropped: ExportExpired)
//!    │         └─ POISON_FAILURES times while others pass: as if it refused the data
//!    └──────────────────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{Instrument as _, field};

use super::batch::Batch;
use super::dead_letter::DeadLetters;
use super::exporter::{Exporter, Item, Receipt};
use super::queue::Queue;
use super::refusal::{Refusal, Remedy};
use super::retry::{Backoff, Pause, RETRY_AFTER_MIN};
use super::status::Board;
use super::store::Drive;
use crate::model::loss::Loss;

/// A batch that failed this often, while the store accepted others between the failures, is assumed to be the cause; with the usual
/// waits and steady traffic that takes a minute and a half. Then it is halved, repeatedly, so that the good records pass and no worker
/// is blocked for ever. In an outage nothing passes, so no batch is suspected; and a store that asks for less says nothing about the batch.
const POISON_FAILURES: u32 = 8;

/// What the workers of one store share.
pub(super) struct Line<E> {
    pub(super) exporter: E,
    pub(super) drive: Drive,
    pub(super) queue: Queue,
    pub(super) board: Arc<Board>,
    pub(super) pause: Pause,
    pub(super) letters: Option<Arc<DeadLetters>>,
    pub(super) closing: watch::Receiver<bool>,
    /// True when another owner takes over what is in the queue.
    pub(super) leaving: watch::Receiver<bool>,
}

/// The outcome of a batch.
enum End {
    /// Accepted, or dropped and counted.
    Settled,
    /// Must be tried again in halves.
    Halve(Batch),
    /// Stays in the queue until the next start.
    Left,
}

impl<E: Exporter> Line<E> {
    /// One worker: takes batches until the queue is closed and empty.
    pub(super) async fn work(self: Arc<Self>) {
        while let Some(batch) = self.next().await {
            let mut pieces = vec![batch];
            while let Some(piece) = pieces.pop() {
                match self.deliver(piece).await {
                    End::Settled => {}
                    End::Halve(piece) => {
                        let (first, second) = piece.halves();
                        pieces.push(second);
                        pieces.push(first);
                    }
                    End::Left => return,
                }
            }
        }
    }

    /// The next batch. A batch that the queue returns at the moment of leaving stays in the queue on disk: only settling removes it.
    async fn next(&self) -> Option<Batch> {
        let mut leaving = self.leaving.clone();
        tokio::select! {
            biased;
            Ok(_) = leaving.wait_for(|leaving| *leaving) => None,
            batch = self.queue.next() => batch,
        }
    }

    /// Sends until the store has accepted the batch, has refused its data, or time is up.
    async fn deliver(&self, batch: Batch) -> End {
        let mut backoff = Backoff::new(&self.drive.retry);
        let started = Instant::now();
        let (mut failures, mut others) = (0, self.board.batches_taken());
        loop {
            if !self.may_send().await {
                return End::Left;
            }
            let refusal = match self.attempt(&batch.items).await {
                Ok(receipt) => return self.taken(batch, &receipt).await,
                Err(refusal) => refusal,
            };
            self.board.failed(&refusal);
            let taken = self.board.batches_taken();
            failures += u32::from(refusal.remedy == Remedy::Wait(None) && !refusal.throttled && taken > others);
            others = taken;
            let poison = failures >= POISON_FAILURES;
            let closing = *self.closing.borrow();
            match refusal.remedy {
                Remedy::Split if batch.len() > 1 => return End::Halve(batch),
                Remedy::Split => return self.refused(batch, &refusal.why).await,
                Remedy::Wait(None) if poison && batch.len() > 1 => return End::Halve(batch),
                Remedy::Wait(None) if poison => return self.refused(batch, &refusal.why).await,
                Remedy::Reconfigure | Remedy::Wait(_) if closing && self.queue.outlives() => return End::Left,
                Remedy::Reconfigure if closing => return self.dropped(batch, Loss::Shutdown).await,
                Remedy::Reconfigure => self.rest(self.drive.retry.max).await,
                Remedy::Wait(Some(after)) if after >= RETRY_AFTER_MIN => self.pause.hold(after),
                Remedy::Wait(_) => self.rest(backoff.wait()).await,
            }
            let limit = self.drive.retry.max_elapsed;
            if matches!(refusal.remedy, Remedy::Wait(_)) && !limit.is_zero() && started.elapsed() >= limit {
                return self.dropped(batch, Loss::ExportExpired).await;
            }
        }
    }

    /// Waits out a pause that the store asked for. False: qtap shuts down before the pause is over, and the batch can stay in the queue.
    async fn may_send(&self) -> bool {
        if !self.queue.outlives() {
            self.pause.over().await;
            return true;
        }
        let mut closing = self.closing.clone();
        tokio::select! {
            biased;
            () = self.pause.over() => true,
            _ = closing.wait_for(|closing| *closing) => false,
        }
    }

    async fn attempt(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        let span = tracing::info_span!("export", store = self.board.id(), records = items.len(), error = field::Empty);
        let answer = self.attempt_once(items).instrument(span.clone()).await;
        if let Err(refusal) = &answer {
            span.record("error", refusal.why.as_str());
        }
        answer
    }

    async fn attempt_once(&self, items: &[Item]) -> Result<Receipt, Refusal> {
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

    /// Waits, but returns early when closing begins, for one more attempt at once.
    async fn rest(&self, wait: Duration) {
        let mut closing = self.closing.clone();
        if *closing.borrow_and_update() {
            tokio::time::sleep(wait).await;
        } else {
            let _ = tokio::time::timeout(wait, closing.changed()).await;
        }
    }

    async fn taken(&self, batch: Batch, receipt: &Receipt) -> End {
        let (records, bytes) = (batch.len() as u64, batch.bytes() as u64);
        let rejected = receipt.rejected.min(records);
        // The store does not say which ones, so their share of the bytes is an average.
        let lost = if rejected < records { bytes / records.max(1) * rejected } else { bytes };
        let message = receipt.message.as_deref();
        // Reported before settling: whoever sees an empty queue also sees what became of its records.
        match (rejected, message) {
            (0, None) => self.board.accepted(records, bytes),
            (0, Some(message)) => {
                self.board.accepted(records, bytes);
                self.board.remarked(message);
            }
            _ if rejected < records => {
                self.board.accepted(records - rejected, bytes - lost);
                self.board.partly(rejected, message.unwrap_or_default());
            }
            _ => self.board.rejected_all(records, message.unwrap_or_default()),
        }
        self.board.lost(Loss::ExportRejected, rejected, if rejected > 0 { lost } else { 0 });
        self.queue.settle(batch).await;
        End::Settled
    }

    /// Handles a batch that the store will never accept: its records become dead letters.
    async fn refused(&self, batch: Batch, why: &str) -> End {
        if let Some(letters) = &self.letters {
            let (letters, items, why) = (Arc::clone(letters), batch.items.clone(), why.to_owned());
            let kept = tokio::task::spawn_blocking(move || {
                items.iter().map(|item| letters.keep(item, &why)).filter(Result::is_ok).count()
            });
            self.board.dead_lettered(kept.await.unwrap_or(0) as u64);
        }
        self.dropped(batch, Loss::ExportRejected).await
    }

    async fn dropped(&self, batch: Batch, loss: Loss) -> End {
        let (records, bytes) = (batch.len() as u64, batch.bytes() as u64);
        self.board.lost(loss, records, bytes);
        self.queue.settle(batch).await;
        End::Settled
    }
}
