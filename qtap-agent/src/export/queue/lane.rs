//! A lane: a sequence of segments. In: entries, appended at one end. Out: entries, returned from the other end, and forgotten when settled.
//! Damage is skipped and counted; what can't be read at the moment is waited for (`stall`); entries settled before a restart are not returned
//! again. The caller bounds the size.
//!
//! ```text
//!   settled, segment removed │ settled │ in flight  │ waits          │
//!                            │         └ some settled already        │
//!   ─────────────────────────┴─ low ───────────────── cursor ────────┴─ next ─► number
//! ```

mod recover;
mod stall;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use self::stall::Stall;
use super::frame::{self, Head};
use super::ledger::{Ledger, Settled};
use super::segment::{Reader, Segment, Step};
use super::spool;
use crate::export::batch::Batch;
use crate::export::settings::BatchSettings;

/// A segment without waiting entries is replaced when it is larger than this, so that a drained queue takes no disk space.
const DRAINED_BYTES: u64 = 64 << 10;

/// Records and bytes; the bytes are those in the files, including spooled ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    /// Records.
    pub(super) records: u64,
    /// Bytes.
    pub(super) bytes: u64,
}

impl Count {
    /// Adds records and bytes.
    pub(super) fn add(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }

    /// Subtracts, but not below zero, because the size of damaged entries is only an estimate.
    pub(super) fn sub(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_sub(records);
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.records == 0 {
            self.bytes = 0;
        }
    }
}

/// The place for the next block.
#[derive(Debug)]
pub(super) struct Place {
    /// The file.
    pub(super) file: Arc<File>,
    /// Offset in the file.
    pub(super) offset: u64,
    /// Number of the first entry.
    pub(super) seq: u64,
    /// The segment's salt.
    pub(super) salt: u32,
}

/// The state of reading a segment.
#[derive(Debug)]
struct Reading {
    /// First number of the segment.
    first: u64,
    reader: Reader,
    /// Bytes skipped since the last intact entry.
    damaged: u64,
}

/// The lane.
#[derive(Debug)]
pub(super) struct Lane {
    folder: PathBuf,
    segment_bytes: u64,
    /// True when the ledger must be synced to disk before a settled segment is removed.
    durable: bool,
    segments: VecDeque<Segment>,
    /// The file of the last segment, while it is appended to.
    active: Option<Arc<File>>,
    /// Files written since the last sync, each with the first number of its segment.
    unsynced: Vec<(u64, Arc<File>)>,
    reading: Option<Reading>,
    /// Read but not returned, because it did not fit the batch.
    peeked: Option<(Head, Bytes)>,
    /// The lowest number that has not been read.
    cursor: u64,
    /// The number of the next appended entry.
    next: u64,
    settled: Settled,
    ledger: Ledger,
    /// Everything not settled.
    held: Count,
    /// The part of `held` that is in flight: returned but not settled.
    out: Count,
    /// When the oldest waiting entry was accepted, approximately.
    oldest_unix_ns: u64,
    /// First number of each batch in flight, and when that entry was accepted.
    out_since: BTreeMap<u64, u64>,
    /// What damage cost, until the caller counts it.
    damage: Count,
    /// Reads that failed without damage being known.
    stall: Stall,
}

/// Now, as Unix nanoseconds.
pub(super) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Lane {
    /// Everything not settled.
    pub(super) fn held(&self) -> Count {
        self.held
    }

    /// What waits, that is, is not in flight.
    pub(super) fn waiting(&self) -> Count {
        let mut waiting = self.held;
        waiting.sub(self.out.records, self.out.bytes);
        waiting
    }

    /// When the oldest waiting entry was accepted, in Unix nanoseconds; a lower bound.
    pub(super) fn oldest_unix_ns(&self) -> u64 {
        self.oldest_unix_ns
    }

    /// When the oldest unsettled entry was accepted, approximately; none if all are settled.
    pub(super) fn oldest_held_unix_ns(&self) -> Option<u64> {
        let waits = (self.waiting().records > 0).then_some(self.oldest_unix_ns);
        self.out_since.values().copied().chain(waits).min()
    }

    /// What damage cost since the last call.
    pub(super) fn take_damage(&mut self) -> Count {
        std::mem::take(&mut self.damage)
    }

    /// How long nothing can be taken, because the files could not be read; zero when nothing is in the way.
    pub(super) fn stalled(&self) -> Duration {
        self.stall.wait(Instant::now())
    }

    /// Why the files can't be read; none if they can.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.stall.why()
    }

    /// Makes the next try to read due now.
    pub(super) fn try_again(&mut self) {
        self.stall.cut_short(Instant::now());
    }

    /// The place for the next block of `bytes`; starts a new segment if the last one is full or drained.
    ///
    /// # Errors
    /// When a new segment can't be created.
    pub(super) fn place(&mut self, bytes: u64) -> io::Result<Place> {
        let begun = self.segments.back().filter(|_| self.active.is_some()).map(|segment| segment.len);
        let drained = self.held.records == 0;
        let roll = begun.is_none_or(|len| {
            let full = len > super::segment::HEAD_BYTES && len + bytes > self.segment_bytes;
            full || (drained && len > DRAINED_BYTES)
        });
        if roll {
            self.roll()?;
        }
        match (&self.active, self.segments.back()) {
            (Some(file), Some(segment)) => {
                Ok(Place { file: Arc::clone(file), offset: segment.len, seq: self.next, salt: segment.salt })
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn roll(&mut self) -> io::Result<()> {
        self.active = None;
        self.remove_settled()?;
        let (segment, file) = Segment::create(&self.folder, self.next)?;
        self.segments.push_back(segment);
        self.active = Some(Arc::new(file));
        Ok(())
    }

    /// Notes that a block was written at its place: `records` entries of `bytes`, and `spooled` bytes in separate files.
    pub(super) fn appended(&mut self, place: &Place, records: u64, bytes: u64, spooled: u64) {
        if self.waiting().records == 0 {
            self.oldest_unix_ns = unix_ns();
        }
        self.next = place.seq + records;
        if let Some(segment) = self.segments.back_mut() {
            segment.end = self.next;
            segment.len = place.offset + bytes;
            if self.unsynced.last().is_none_or(|(first, _)| *first != segment.first) {
                self.unsynced.push((segment.first, Arc::clone(&place.file)));
            }
        }
        self.held.add(records, bytes + spooled);
    }

    /// Files written since the last call.
    pub(super) fn take_unsynced(&mut self) -> Vec<(u64, Arc<File>)> {
        std::mem::take(&mut self.unsynced)
    }

    /// Folder of its files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the oldest entries within the limits; an entry that alone exceeds them is returned alone. Empty also while the files can't be
    /// read ([`Lane::stalled`]).
    pub(super) fn take(&mut self, limits: &BatchSettings) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0u64;
        while batch.len() < limits.max_records && self.stalled().is_zero() {
            let Some((head, entry)) = self.oldest() else { break };
            self.oldest_unix_ns = head.accepted_unix_ns;
            let (mut item, file_bytes) = frame::item(&head, &entry);
            let payload = item.payload.len() as u64 + file_bytes;
            if !batch.is_empty() && bytes + payload > limits.max_bytes as u64 {
                self.peeked = Some((head, entry));
                break;
            }
            if head.spooled {
                match spool::lend(&self.folder, head.seq, file_bytes) {
                    Ok(file) => item.spooled = Some(Arc::new(file)),
                    Err(error) if !self.stall.is_damage(&error, &self.folder, Instant::now()) => {
                        self.stall.begin(&error, Instant::now());
                        self.peeked = Some((head, entry));
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the file of a queued object is gone");
                        self.lose(head.seq, head.seq + 1, entry.len() as u64 + file_bytes);
                        continue;
                    }
                }
            }
            self.stall.end();
            bytes += payload;
            if batch.is_empty() {
                self.out_since.insert(head.seq, head.accepted_unix_ns);
            }
            self.out.add(1, entry.len() as u64 + file_bytes);
            batch.items.push(item);
            batch.seqs.push(head.seq);
        }
        batch
    }

    /// Settles a batch that was returned. The caller then writes the ledger ([`Lane::note`]).
    pub(super) fn settle(&mut self, batch: &Batch) {
        let (Some(first), Some(last)) = (batch.seqs.first(), batch.seqs.last()) else { return };
        // Numbers between two entries of a batch that are not in it were settled before, or lost.
        self.settled.add(*first, last + 1);
        self.out_since.retain(|seq, _| !(*first..=*last).contains(seq));
        let mut bytes = 0;
        for (item, seq) in batch.items.iter().zip(&batch.seqs) {
            bytes += frame::len(item) as u64;
            if let Some(file) = &item.spooled {
                bytes += file.bytes();
                spool::remove(&self.folder, *seq);
            }
        }
        self.out.sub(batch.len() as u64, bytes);
        self.held.sub(batch.len() as u64, bytes);
    }

    /// Drops the oldest waiting entry. None: nothing waits.
    pub(super) fn drop_oldest(&mut self) -> Option<Count> {
        let (head, entry) = self.oldest()?;
        let bytes = entry.len() as u64 + frame::file_bytes(&head, &entry);
        if head.spooled {
            spool::remove(&self.folder, head.seq);
        }
        self.settled.add(head.seq, head.seq + 1);
        self.held.sub(1, bytes);
        self.oldest_unix_ns = head.accepted_unix_ns;
        Some(Count { records: 1, bytes })
    }

    /// Drops enough of the oldest entries to free disk space: all waiting ones in the oldest segment that has any.
    pub(super) fn drop_segment(&mut self) -> Count {
        let mut dropped = Count::default();
        let first = self.peeked.as_ref().map_or(self.cursor, |(head, _)| head.seq);
        let Some(end) = self.segments.iter().map(|segment| segment.end).find(|end| *end > first) else {
            return dropped;
        };
        if self.segments.back().is_some_and(|last| last.end == end) {
            self.active = None;
        }
        let next = |lane: &Lane| lane.peeked.as_ref().map_or(lane.cursor, |(head, _)| head.seq);
        while next(self) < end {
            let Some(one) = self.drop_oldest() else { break };
            dropped.add(one.records, one.bytes);
        }
        dropped
    }

    /// Writes the ledger, and removes segments in which everything is settled.
    ///
    /// # Errors
    /// When it can't be written; after a crash, settled entries are then sent again.
    pub(super) fn note(&mut self) -> io::Result<()> {
        self.ledger.write(&self.settled)?;
        self.remove_settled()
    }

    fn remove_settled(&mut self) -> io::Result<()> {
        let open = self.active.is_some();
        let last = self.segments.len().saturating_sub(1);
        let done = |(index, segment): (usize, &Segment)| {
            let kept = open && index == last;
            (!kept && self.settled.unsettled_in(segment.first, segment.end) == 0).then_some(segment.first)
        };
        let firsts: Vec<u64> = self.segments.iter().enumerate().filter_map(done).collect();
        if firsts.is_empty() {
            return Ok(());
        }
        self.ledger.write(&self.settled)?;
        if self.durable {
            // Otherwise a power failure could bring back an old ledger without the segment it refers to.
            self.ledger.sync()?;
        }
        let gone = |first: u64| firsts.binary_search(&first).is_ok();
        for segment in self.segments.iter().filter(|segment| gone(segment.first)) {
            fs::remove_file(&segment.path)?;
        }
        self.segments.retain(|segment| !gone(segment.first));
        self.unsynced.retain(|(first, _)| !gone(*first));
        self.reading.take_if(|reading| gone(reading.first));
        Ok(())
    }

    /// The oldest waiting entry: the one that was read before, or the next. None: nothing waits, or it can't be read at the moment.
    fn oldest(&mut self) -> Option<(Head, Bytes)> {
        if self.peeked.is_some() {
            return self.peeked.take();
        }
        if !self.stalled().is_zero() {
            return None;
        }
        match self.read() {
            Ok(found) => {
                self.stall.end();
                found
            }
            Err(error) => {
                self.stall.begin(&error, Instant::now());
                None
            }
        }
    }

    /// The next unsettled entry, in order; damage before it is counted.
    fn read(&mut self) -> io::Result<Option<(Head, Bytes)>> {
        while self.cursor < self.next {
            let Some(first) = self.segments.iter().find(|segment| segment.end > self.cursor).map(|s| s.first) else {
                self.lose(self.cursor, self.next, 0);
                self.cursor = self.next;
                break;
            };
            if first > self.cursor {
                self.lose(self.cursor, first, 0);
                self.cursor = first;
            }
            match self.step(first) {
                Ok((Step::Entry(head, _), _)) if head.seq < self.cursor => {}
                Ok((Step::Entry(head, entry), _)) => {
                    let damaged = self.reading.as_mut().map_or(0, |reading| std::mem::take(&mut reading.damaged));
                    self.lose(self.cursor, head.seq, damaged);
                    self.cursor = head.seq + 1;
                    if !self.settled.contains(head.seq) {
                        return Ok(Some((head, entry)));
                    }
                }
                Ok((Step::Damage(bytes), _)) => {
                    if let Some(reading) = self.reading.as_mut() {
                        reading.damaged += bytes;
                    }
                }
                Ok((Step::End, end)) => self.skip_rest(end),
                Err((error, end)) if self.stall.is_damage(&error, &self.folder, Instant::now()) => {
                    tracing::warn!(%error, "a queue file can't be read, and is given up");
                    self.stall.end();
                    self.skip_rest(end);
                }
                Err((error, _)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// One step of the reader in the segment whose first number is `first`; and the segment's end.
    fn step(&mut self, first: u64) -> Result<(Step, u64), (io::Error, u64)> {
        let Some(segment) = self.segments.iter().find(|segment| segment.first == first) else {
            return Ok((Step::End, self.next));
        };
        let end = segment.end;
        if self.reading.as_ref().is_none_or(|reading| reading.first != first) {
            let reader = segment.reader().map_err(|error| (error, end))?;
            self.reading = Some(Reading { first, reader, damaged: 0 });
        } else if self.stall.why().is_some()
            && let Some(reading) = self.reading.as_mut()
        {
            reading.reader.reopen(segment).map_err(|error| (error, end))?;
        }
        let Some(reading) = self.reading.as_mut() else { return Ok((Step::End, end)) };
        reading.reader.next(segment.len, end).map(|step| (step, end)).map_err(|error| (error, end))
    }

    /// Skips the rest of the segment that ends before `end`.
    fn skip_rest(&mut self, end: u64) {
        let damaged = self.reading.take().map_or(0, |reading| reading.damaged);
        self.lose(self.cursor, end, damaged);
        self.cursor = end;
    }

    /// Counts the entries from `begin` to before `end` as lost, with `bytes` of damage in the files.
    fn lose(&mut self, begin: u64, end: u64, bytes: u64) {
        let records = self.settled.unsettled_in(begin, end);
        self.settled.add(begin, end);
        // Skipping an area that was already skipped, or had only settled entries, costs nothing.
        if records > 0 {
            self.held.sub(records, bytes);
            self.damage.add(records, bytes);
        }
    }
}
