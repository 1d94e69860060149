//! A queue on disk. In: items to append. Out: batches, in order, across restarts, each at least once until it is settled. When
//! [`DiskQueue::append`] returns, the operating system has the data; `fsync` determines when it is on the disk itself.
//!
//! A store has a folder with one lane for events and one for objects, so that bodies can be dropped before events are. A lane
//! (`lane`) is a sequence of segment files (`segment`) with framed entries (`frame`), and a file that records which of
//! them are settled (`ledger`). One thread appends a group of records with one write per lane; workers read through the page cache, so
//! memory use does not grow with the backlog.
//!
//! ```text
//!   <data-dir>/queue/<store>/events/00000000000000000000-5a17c0de.seg   settled
//!                           /objects/…                                  0000…0042.spool
//! ```
//!
//! Invariants, which the tests in `tests` check against a model:
//! - An entry is returned to one worker at a time, and not again once it is settled. After a kill, at most the entries in flight (returned
//!   but not settled) are returned a second time.
//! - Returned entries are intact: each has a CRC. Damage costs only the damaged entries.
//! - An entry that was returned is never dropped; a dropped entry was never returned, and is counted once.
//! - At most `max_bytes` and `max_records` are held. The files take that plus a few segments: those being appended to, and one
//!   for each worker that holds an old entry.

mod append;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::lane::{Count, Lane, unix_ns};
use super::segment::Block;
use crate::export::batch::Batch;
use crate::export::exporter::Class;
use crate::export::settings::{BatchSettings, Fsync, QueueSettings};
use crate::export::status::Board;
use crate::model::loss::Loss;

/// A segment takes this fraction (1/64) of the queue's maximum size: small enough that settled entries soon free disk space …
const SEGMENTS: u64 = 64;
/// … but not so small that files are created all the time, nor so large that a restart has much to scan.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=32 << 20;
/// The queue of one store.
#[derive(Debug)]
pub struct DiskQueue {
    settings: QueueSettings,
    limits: BatchSettings,
    /// True when events go to this store: then objects leave space for them.
    events: bool,
    board: Arc<Board>,
    state: Mutex<State>,
    /// Encoding buffer, reused for each write.
    block: Mutex<Block>,
    /// Totals of the lanes, for readers that must not block.
    held: Held,
    /// Notified when an entry waits, when a batch is full, and when the queue is closed.
    changed: Notify,
    /// Held by the worker whose batch is forming, so that the others take turns and order is kept.
    turn: tokio::sync::Mutex<()>,
    /// Notified when space was freed.
    room: Condvar,
    /// True once no one may wait for space any more.
    hurry: AtomicBool,
}

#[derive(Debug)]
struct State {
    events: Lane,
    objects: Lane,
    closed: bool,
}

#[derive(Debug, Default)]
struct Held {
    records: AtomicU64,
    bytes: AtomicU64,
    oldest_unix_ns: AtomicU64,
}

impl State {
    fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Event => &mut self.events,
            Class::Object => &mut self.objects,
        }
    }

    fn held(&self) -> Count {
        let mut held = self.events.held();
        held.add(self.objects.held().records, self.objects.held().bytes);
        held
    }
}

/// When the next batch is due.
enum Due {
    Now(Class),
    Within(Duration),
    /// When an entry arrives.
    Later,
    Never,
}

impl DiskQueue {
    /// Opens the queue in `folder`, or creates one. `events`: the store takes event records.
    ///
    /// # Errors
    /// When the folder can't be created, read or written.
    pub(in crate::export) fn open(
        folder: &Path,
        settings: QueueSettings,
        limits: BatchSettings,
        events: bool,
        board: Arc<Board>,
    ) -> io::Result<DiskQueue> {
        let segment_bytes = (settings.max_bytes / SEGMENTS).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        DiskQueue::with_segments(segment_bytes, folder, settings, limits, events, board)
    }

    /// As `open`, with segments of a given size.
    pub(super) fn with_segments(
        segment_bytes: u64,
        folder: &Path,
        settings: QueueSettings,
        limits: BatchSettings,
        events: bool,
        board: Arc<Board>,
    ) -> io::Result<DiskQueue> {
        let durable = settings.fsync != Fsync::Never;
        let lane = |name: &str| Lane::open(&folder.join(name), segment_bytes, durable);
        let state = State { events: lane("events")?, objects: lane("objects")?, closed: false };
        let queue = DiskQueue {
            settings,
            limits,
            events,
            board,
            state: Mutex::new(state),
            block: Mutex::default(),
            held: Held::default(),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            room: Condvar::new(),
            hurry: AtomicBool::new(false),
        };
        queue.tell(&mut queue.state());
        let (records, bytes) = queue.held();
        if records > 0 {
            tracing::info!(folder = %folder.display(), records, bytes, "records of an earlier run wait to be sent");
        }
        Ok(queue)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of records and bytes held.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        (self.held.records.load(Ordering::Relaxed), self.held.bytes.load(Ordering::Relaxed))
    }

    /// Approximate age of the oldest record; none when the queue is empty.
    #[must_use]
    pub fn oldest_age(&self) -> Option<Duration> {
        let since = self.held.oldest_unix_ns.load(Ordering::Relaxed);
        (self.held().0 > 0).then(|| Duration::from_nanos(unix_ns().saturating_sub(since)))
    }

    /// Publishes the totals of the lanes, and counts damage that was found.
    fn tell(&self, state: &mut State) {
        let held = state.held();
        self.held.records.store(held.records, Ordering::Relaxed);
        self.held.bytes.store(held.bytes, Ordering::Relaxed);
        let oldest = [&state.events, &state.objects].iter().filter_map(|lane| lane.oldest_held_unix_ns()).min();
        self.held.oldest_unix_ns.store(oldest.unwrap_or(0), Ordering::Relaxed);
        self.board.queue_reads([&state.events, &state.objects].iter().find_map(|lane| lane.trouble()));
        for class in [Class::Event, Class::Object] {
            let damage = state.lane(class).take_damage();
            if damage != Count::default() {
                // Note it now, so that it is not counted again if the process ends next.
                if let Err(error) = state.lane(class).note() {
                    self.board.queue_fails(&error);
                }
                self.board.lost(Loss::QueueDamaged, damage.records, damage.bytes);
            }
        }
    }

    /// Writes the ledgers. If that fails the queue goes on: at worst something is sent twice.
    fn note(&self, state: &mut State) {
        for class in [Class::Event, Class::Object] {
            if let Err(error) = state.lane(class).note() {
                self.board.queue_fails(&error);
            }
        }
    }

    fn full(&self, waiting: Count) -> bool {
        waiting.records >= self.limits.max_records as u64 || waiting.bytes >= self.limits.max_bytes as u64
    }

    /// The next batch: when enough items of a lane wait, or the oldest has waited long enough. None when the queue is closed and
    /// everything was returned.
    pub async fn next(self: &Arc<Self>) -> Option<Batch> {
        let _turn = self.turn.lock().await;
        loop {
            match self.due() {
                Due::Now(class) => {
                    let queue = Arc::clone(self);
                    // A backlog may no longer be in the page cache, so reading may block on the disk.
                    match tokio::task::spawn_blocking(move || queue.take(class)).await {
                        Ok(batch) if batch.is_empty() => {}
                        Ok(batch) => return Some(batch),
                        Err(_) => return None,
                    }
                }
                Due::Within(wait) => drop(tokio::time::timeout(wait, self.changed.notified()).await),
                Due::Later => self.changed.notified().await,
                Due::Never => return None,
            }
        }
    }

    fn due(&self) -> Due {
        let mut state = self.state();
        let (closed, now) = (state.closed, unix_ns());
        let mut soonest: Option<(Duration, u64, Class)> = None;
        for class in [Class::Event, Class::Object] {
            let lane = state.lane(class);
            let (waiting, oldest, stalled) = (lane.waiting(), lane.oldest_unix_ns(), lane.stalled());
            // What can't be read at the end stays for the next start.
            if waiting.records == 0 || (closed && !stalled.is_zero()) {
                continue;
            }
            // A clock that was set back must not delay anything.
            let age = now.checked_sub(oldest).map_or(Duration::MAX, Duration::from_nanos);
            let wait =
                if closed || self.full(waiting) { Duration::ZERO } else { self.limits.interval.saturating_sub(age) };
            let wait = wait.max(stalled);
            if soonest.is_none_or(|(other, since, _)| (wait, oldest) < (other, since)) {
                soonest = Some((wait, oldest, class));
            }
        }
        match soonest {
            Some((Duration::ZERO, _, class)) => Due::Now(class),
            Some((wait, ..)) => Due::Within(wait),
            None if closed => Due::Never,
            None => Due::Later,
        }
    }

    /// Returns the oldest entries of a class, within the limits of a batch.
    pub(super) fn take(&self, class: Class) -> Batch {
        let mut state = self.state();
        let batch = state.lane(class).take(&self.limits);
        self.tell(&mut state);
        batch
    }

    /// Settles the batch (or part of one): its entries are not returned again.
    pub(super) fn settle(&self, batch: &Batch) {
        let Some(class) = batch.items.first().map(|item| item.class) else { return };
        let mut state = self.state();
        state.lane(class).settle(batch);
        if let Err(error) = state.lane(class).note() {
            self.board.queue_fails(&error);
        }
        self.tell(&mut state);
        drop(state);
        self.room.notify_all();
    }

    /// From now on nothing waits for space: a queue that blocks when full accepts further items.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
        self.room.notify_all();
    }

    /// Ends the effect of [`DiskQueue::hurry`]: appending waits for space again.
    pub fn calm(&self) {
        self.hurry.store(false, Ordering::Release);
    }

    /// Closes the queue to new items: what waits is returned at once, then [`DiskQueue::next`] ends.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.events.try_again();
        state.objects.try_again();
        drop(state);
        self.changed.notify_one();
    }

    /// Syncs what was appended since the last call to the disk.
    pub(in crate::export) fn sync(&self) {
        let (files, folders) = {
            let mut state = self.state();
            let mut files = state.events.take_unsynced();
            let folders = [state.events.folder().to_owned(), state.objects.folder().to_owned()];
            files.append(&mut state.objects.take_unsynced());
            (files, folders)
        };
        if files.is_empty() {
            return;
        }
        let files = files.iter().map(|(_, file)| file.sync_data());
        let folders = folders.iter().map(|folder| std::fs::File::open(folder)?.sync_all());
        if let Some(error) = files.chain(folders).find_map(Result::err) {
            self.board.queue_fails(&error);
        }
    }
}
