//! The status of a store: workers report what happened; `/status` and the metrics read a copy. Nothing here makes decisions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::refusal::{Refusal, Remedy, said, shortened};
use crate::model::loss::{Loss, Tally};

/// Upper bounds, in seconds and ascending, of the histogram of attempt times; longer attempts are counted in one more bucket.
pub const SEND_BOUNDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Health of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// Nothing has been sent yet.
    #[default]
    Starting,
    /// The store accepted the last attempt.
    Healthy,
    /// The last attempt failed and will be retried.
    Failing,
    /// The store refuses this client until someone changes the settings.
    Misconfigured,
}

impl Health {
    /// The name in `/status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Failing => "error",
            Health::Misconfigured => "misconfigured",
        }
    }
}

/// An answer that accepted some records of a request and rejected others (OTLP specification, "Partial Success").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// When.
    pub time: SystemTime,
    /// How many records were rejected.
    pub rejected: u64,
    /// What the store says of it, shortened; may be empty.
    pub message: String,
}

/// The status of a store, as plain data.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreStatus {
    /// The store's id.
    pub id: String,
    /// `stdout`, `otlp/grpc`, `otlp/http`, `s3`.
    pub protocol: &'static str,
    /// Health.
    pub health: Health,
    /// When the store last accepted something.
    pub last_success: Option<SystemTime>,
    /// When and why the store last did not accept something.
    pub last_error: Option<(SystemTime, String)>,
    /// The last warning that the store returned with data that it accepted.
    pub last_warning: Option<String>,
    /// The last time when the store accepted only some of the records of a request.
    pub last_partial: Option<Partial>,
    /// Where records wait: `memory` or `disk`.
    pub queue: &'static str,
    /// What is wrong with the queue, in words.
    pub queue_error: Option<String>,
    /// Records put in the queue since the start; with a queue on disk, records written.
    pub accepted_records: u64,
    /// Records accepted from the pipeline but not settled yet.
    pub buffered_records: u64,
    /// Their bytes.
    pub buffered_bytes: u64,
    /// Approximate age of the oldest of them; none for a queue in memory, or an empty one.
    pub oldest_age: Option<Duration>,
    /// Records that the store accepted.
    pub exported_records: u64,
    /// Their payload, in encoded bytes.
    pub exported_bytes: u64,
    /// Records dropped, by reason; and attributes that were cut ([`StoreStatus::cut_attributes`]).
    pub losses: Tally,
    /// Permanently refused records that were written to the dead-letter file.
    pub dead_lettered: u64,
    /// Attempts.
    pub sends: u64,
    /// Total time of the attempts, in seconds.
    pub send_seconds: f64,
    /// Number of attempts per histogram bucket; see [`SEND_BOUNDS`].
    pub send_counts: [u64; SEND_BOUNDS.len() + 1],
}

/// The shared status, which workers update and readers copy.
#[derive(Debug)]
pub(super) struct Board {
    id: String,
    status: Mutex<StoreStatus>,
    /// Why the queue's files can't be read at the moment.
    unreadable: Mutex<Option<String>>,
    /// Requests that the store accepted.
    taken: AtomicU64,
}

impl Board {
    pub(super) fn new(id: &str, protocol: &'static str) -> Board {
        let status = StoreStatus { id: id.to_owned(), protocol, queue: "memory", ..StoreStatus::default() };
        Board { id: id.to_owned(), status: Mutex::new(status), unreadable: Mutex::default(), taken: AtomicU64::new(0) }
    }

    /// The store's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Number of requests that the store has accepted.
    pub(super) fn batches_taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Notes that the queue is on disk.
    pub(super) fn on_disk(&self) {
        self.status().queue = "disk";
    }

    /// Counts records that entered the queue.
    pub(super) fn queued(&self, records: u64) {
        self.status().accepted_records += records;
    }

    /// Counts records that were written to the dead-letter file.
    pub(super) fn dead_lettered(&self, records: u64) {
        self.status().dead_lettered += records;
    }

    /// Reports that the queue's files can't be read or written properly.
    pub(super) fn queue_fails(&self, error: &dyn std::fmt::Display) {
        let why = error.to_string();
        let mut status = self.status();
        if status.queue_error.as_ref() != Some(&why) {
            tracing::warn!(store = %status.id, error = %why, "the queue on disk does not work as it should");
        }
        status.queue_error = Some(why);
    }

    /// Reports that the queue's files can be written again.
    pub(super) fn queue_works(&self) {
        let mut status = self.status();
        if status.queue_error.take().is_some() {
            tracing::info!(store = %status.id, "the queue on disk works again");
        }
    }

    /// Reports whether the queue's files can be read, and why not. What waits in them is kept.
    pub(super) fn queue_reads(&self, trouble: Option<&str>) {
        let mut known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let told = trouble.map(|error| format!("the queue's files can't be read: {error}"));
        if *known == told {
            return;
        }
        match trouble {
            Some(error) => {
                tracing::warn!(store = %self.id, error, "the queue's files can't be read; what waits in them is tried again");
            }
            None => tracing::info!(store = %self.id, "the queue's files can be read again"),
        }
        *known = told;
    }

    fn status(&self) -> MutexGuard<'_, StoreStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the status; the caller, who knows what is buffered, fills that in.
    pub(super) fn read(&self) -> StoreStatus {
        let status = self.status().clone();
        let unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        StoreStatus { queue_error: status.queue_error.or(unreadable), ..status }
    }

    /// Counts one attempt, which took `time`.
    pub(super) fn attempted(&self, time: Duration) {
        let mut status = self.status();
        status.sends += 1;
        let seconds = time.as_secs_f64();
        status.send_seconds += seconds;
        let slot = SEND_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(SEND_BOUNDS.len());
        if let Some(count) = status.send_counts.get_mut(slot) {
            *count += 1;
        }
    }

    /// Reports that the store accepted `records`.
    pub(super) fn accepted(&self, records: u64, bytes: u64) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut status = self.status();
        if matches!(status.health, Health::Failing | Health::Misconfigured) {
            tracing::info!(store = %status.id, "store accepts records again");
        }
        status.health = Health::Healthy;
        status.last_success = Some(SystemTime::now());
        status.exported_records += records;
        status.exported_bytes += bytes;
    }

    /// Reports the store's remark about records that it accepted.
    pub(super) fn remarked(&self, message: &str) {
        let message = shortened(message);
        let mut status = self.status();
        if status.last_warning.as_ref() != Some(&message) {
            tracing::warn!(store = %status.id, message, "store warns");
            status.last_warning = Some(message);
        }
    }

    /// Reports that the store rejected some records of a request and accepted the others: the request itself went well.
    pub(super) fn partly(&self, rejected: u64, message: &str) {
        let message = shortened(message);
        let mut status = self.status();
        if status.last_partial.as_ref().is_none_or(|last| last.message != message) {
            tracing::warn!(store = %status.id, rejected, message, "store rejected some records of a request");
        }
        status.last_partial = Some(Partial { time: SystemTime::now(), rejected, message });
    }

    /// Reports that the store answered as if all were well, and rejected every record of the request.
    pub(super) fn rejected_all(&self, records: u64, message: &str) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let why = format!("{records} records rejected{}", said(message));
        self.status().complain(why, Health::Failing);
    }

    /// Reports a failed attempt.
    pub(super) fn failed(&self, refusal: &Refusal) {
        let health = match refusal.remedy {
            Remedy::Split | Remedy::Wait(_) => Health::Failing,
            Remedy::Reconfigure => Health::Misconfigured,
        };
        self.status().complain(refusal.why.clone(), health);
    }

    /// Counts dropped records.
    pub(super) fn lost(&self, loss: Loss, records: u64, bytes: u64) {
        if records == 0 && bytes == 0 {
            return;
        }
        let mut status = self.status();
        if status.losses.count(loss) == 0 && status.losses.bytes(loss) == 0 {
            if loss == Loss::AttributeLimit {
                tracing::warn!(store = %status.id, "attributes are being cut to what the store takes (limits); the metrics count them");
            } else {
                tracing::warn!(store = %status.id, reason = loss.name(), "records are being dropped; the metrics count them");
            }
        }
        status.losses.add_many(loss, records, bytes);
    }
}

impl StoreStatus {
    /// The dropped records, by reason, with their bytes. Attributes that were cut are none of them: their records were sent.
    pub fn dropped(&self) -> impl Iterator<Item = (Loss, u64, u64)> + '_ {
        self.losses.iter().filter(|(loss, ..)| *loss != Loss::AttributeLimit)
    }

    /// How many attributes of records that were sent were truncated or left out, because the store takes no more.
    #[must_use]
    pub fn cut_attributes(&self) -> u64 {
        self.losses.count(Loss::AttributeLimit)
    }

    /// Logs an error only when it differs from the previous one, not on every attempt.
    fn complain(&mut self, why: String, health: Health) {
        let known = self.health == health && self.last_error.as_ref().is_some_and(|(_, old)| *old == why);
        if !known {
            tracing::warn!(store = %self.id, reason = %why, "store did not accept records");
        }
        self.health = health;
        self.last_error = Some((SystemTime::now(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_follows_the_last_attempt() {
        let board = Board::new("s", "otlp/grpc");
        assert_eq!(board.read().health, Health::Starting);
        board.failed(&Refusal::wait("down"));
        assert_eq!(board.read().health, Health::Failing);
        board.failed(&Refusal::reconfigure("401"));
        assert_eq!(board.read().health, Health::Misconfigured);
        board.accepted(3, 30);
        let status = board.read();
        assert_eq!((status.health, status.exported_records, status.exported_bytes), (Health::Healthy, 3, 30));
        assert_eq!(status.last_error.map(|(_, why)| why).as_deref(), Some("401"));
        assert!(status.last_success.is_some());
    }

    #[test]
    fn attempts_are_counted_by_their_time() {
        let board = Board::new("s", "otlp/grpc");
        for millis in [0, 5, 6, 700, 60_000, 60_001] {
            board.attempted(Duration::from_millis(millis));
        }
        let counts = board.read().send_counts;
        assert_eq!((counts[0], counts[1], counts[7], counts[12], counts[13]), (2, 1, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), board.read().sends);
    }

    #[test]
    fn a_warning_is_kept_but_is_no_error() {
        let board = Board::new("s", "otlp/grpc");
        board.accepted(1, 1);
        board.remarked("old SDK");
        assert_eq!((board.read().health, board.read().last_warning.as_deref()), (Health::Healthy, Some("old SDK")));
    }

    /// OTLP specification, "Partial Success": the request is a success, and must not be sent again.
    #[test]
    fn a_partial_success_is_told_and_leaves_the_store_healthy() {
        let board = Board::new("s", "otlp/grpc");
        board.accepted(8, 80);
        board.partly(2, "too\nold");
        let status = board.read();
        let partial = status.last_partial.expect("a partial success");
        assert_eq!((status.health, status.last_error, partial.rejected), (Health::Healthy, None, 2));
        assert_eq!(partial.message, "too old");
        assert!(partial.time <= SystemTime::now());
        board.partly(1, &"x".repeat(5000));
        assert!(board.read().last_partial.is_some_and(|partial| partial.rejected == 1 && partial.message.len() < 250));
        board.rejected_all(3, "none of these");
        let status = board.read();
        assert_eq!(status.health, Health::Failing);
        assert_eq!(status.last_error.map(|(_, why)| why).as_deref(), Some("3 records rejected (none of these)"));
    }

    #[test]
    fn a_cut_attribute_is_no_dropped_record() {
        let board = Board::new("s", "otlp/grpc");
        board.lost(Loss::AttributeLimit, 5, 50);
        board.lost(Loss::ExportFull, 2, 20);
        let status = board.read();
        assert_eq!(status.dropped().collect::<Vec<_>>(), [(Loss::ExportFull, 2, 20)]);
        assert_eq!((status.cut_attributes(), status.losses.bytes(Loss::AttributeLimit)), (5, 50));
    }
}
