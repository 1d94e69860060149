//! Appending to a queue on disk: makes space as the settings say, writes the items that fit with one write per lane, and counts the
//! others as lost or waits. Only the store's intake calls this, from one thread.
//!
//! Dropped first are the oldest objects; then, for an event, the oldest events; then the incoming item. Entries in flight are never dropped.

use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{DiskQueue, State};
use crate::export::exporter::{Class, Item};
use crate::export::queue::lane::{Count, Place, unix_ns};
use crate::export::queue::{frame, segment, spool};
use crate::export::settings::{Fsync, WhenFull};
use crate::model::loss::Loss;

/// If the queue does not drop the oldest, objects are admitted up to this share of the bounds, in quarters; the rest is for events.
const OBJECT_QUARTERS: u64 = 3;
/// How long appending waits before it tries again on a disk that was full.
const DISK_WAIT: Duration = Duration::from_secs(1);

/// Whether there is space for an item.
enum Room {
    Made,
    /// Only after the items admitted before it are written.
    Later,
    None,
}

/// The result of admitting items.
struct Admitted {
    items: Vec<Item>,
    /// Items that did not fit and must wait, in order.
    rest: Vec<Item>,
}

impl DiskQueue {
    /// Appends the items in order, and returns how many of them are now in the queue; the others were dropped and counted. Waits only
    /// if the queue is full and its settings say to block.
    pub fn append(&self, mut items: Vec<Item>) -> u64 {
        let mut kept = 0;
        while !items.is_empty() {
            let admitted = self.admit(items);
            items = admitted.rest;
            let blocked = admitted.items.is_empty() && !items.is_empty();
            for class in [Class::Event, Class::Object] {
                kept += self.write(class, &admitted.items);
            }
            if blocked {
                self.wait_for_room();
            }
        }
        kept
    }

    /// Waits until something is settled, or until `DISK_WAIT` has passed.
    fn wait_for_room(&self) {
        let state = self.state();
        if !self.hurry.load(Ordering::Acquire) {
            drop(self.room.wait_timeout(state, DISK_WAIT));
        }
    }

    /// Makes space as the settings say; items without space are counted as lost, or left to wait.
    fn admit(&self, items: Vec<Item>) -> Admitted {
        let mut state = self.state();
        let mut admitted = Admitted { items: Vec::with_capacity(items.len()), rest: Vec::new() };
        // Admitted, but not in a lane yet.
        let mut coming = Count::default();
        let mut dropped = (Count::default(), Count::default());
        let mut items = items.into_iter();
        while let Some(item) = items.next() {
            let bytes = cost(&item);
            let hopeless = !frame::fits(&item) || bytes > self.settings.max_bytes;
            let blocks = self.settings.when_full == WhenFull::Block;
            // In a hurry a queue that blocks accepts what is left although it is full: it promises to drop nothing.
            let anyway = blocks && self.hurry.load(Ordering::Acquire);
            let room = match () {
                () if hopeless => Room::None,
                () if anyway => Room::Made,
                () => self.make_room(&mut state, &item, coming, &admitted.items, &mut dropped.0),
            };
            match room {
                Room::Made => {
                    coming.add(1, bytes);
                    admitted.items.push(item);
                }
                Room::None if hopeless || !blocks => dropped.1.add(1, bytes),
                Room::None | Room::Later => admitted.rest = std::iter::once(item).chain(items.by_ref()).collect(),
            }
        }
        if dropped.0 != Count::default() {
            self.note(&mut state);
        }
        self.tell(&mut state);
        drop(state);
        self.lost(Loss::QueueDropOldest, dropped.0);
        self.lost(Loss::QueueDropNewest, dropped.1);
        admitted
    }

    /// Makes space for one more item by dropping what may be dropped for it: objects for anything, events only for events. `coming` is the
    /// size of `admitted`, which is not in a lane yet.
    fn make_room(&self, state: &mut State, item: &Item, coming: Count, admitted: &[Item], dropped: &mut Count) -> Room {
        loop {
            let mut held = state.held();
            held.add(coming.records + 1, coming.bytes + cost(item));
            if self.fits(item.class, held) {
                return Room::Made;
            }
            if self.settings.when_full != WhenFull::DropOldest {
                return Room::None;
            }
            let oldest = match (state.objects.drop_oldest(), item.class) {
                (Some(one), _) => Some(one),
                // Admitted objects can't be dropped before they are written, so write them first.
                (None, _) if admitted.iter().any(|item| item.class == Class::Object) => return Room::Later,
                (None, Class::Object) => None,
                (None, Class::Event) => state.events.drop_oldest(),
            };
            match oldest {
                Some(one) => dropped.add(one.records, one.bytes),
                None if item.class == Class::Event && !admitted.is_empty() => return Room::Later,
                None => return Room::None,
            }
        }
    }

    fn fits(&self, class: Class, held: Count) -> bool {
        let leave_room = class == Class::Object && self.events && self.settings.when_full != WhenFull::DropOldest;
        let share = |max: u64| if leave_room { max / 4 * OBJECT_QUARTERS } else { max };
        let max_records = if self.settings.max_records == 0 { u64::MAX } else { self.settings.max_records };
        held.bytes <= share(self.settings.max_bytes) && held.records <= share(max_records)
    }

    fn lost(&self, loss: Loss, what: Count) {
        if what != Count::default() {
            self.board.lost(loss, what.records, what.bytes);
        }
    }

    /// Writes the items of a class, and returns how many are now in the queue. If the disk is full, drops the oldest entries or waits,
    /// as the settings say.
    fn write(&self, class: Class, items: &[Item]) -> u64 {
        let items: Vec<&Item> = items.iter().filter(|item| item.class == class).collect();
        if items.is_empty() {
            return 0;
        }
        loop {
            let error = match self.try_write(class, &items) {
                Ok(()) => {
                    self.board.queue_works();
                    return items.len() as u64;
                }
                Err(error) => error,
            };
            self.board.queue_fails(&error);
            let freed = match self.settings.when_full {
                WhenFull::DropOldest => is_full(&error) && self.free_disk(class),
                WhenFull::DropNewest => false,
                WhenFull::Block => {
                    self.wait_for_room();
                    !self.hurry.load(Ordering::Acquire)
                }
            };
            if !freed {
                let bytes = items.iter().map(|item| cost(item)).sum();
                self.lost(Loss::QueueUnwritable, Count { records: items.len() as u64, bytes });
                return 0;
            }
        }
    }

    fn try_write(&self, class: Class, items: &[&Item]) -> io::Result<()> {
        let bytes: u64 = items.iter().map(|item| frame::len(item) as u64).sum();
        let mut state = self.state();
        let lane = state.lane(class);
        let place = lane.place(bytes)?;
        let folder = lane.folder().to_owned();
        drop(state);
        // Only this thread appends, so the place stays free while others read and settle.
        let sync = self.settings.fsync == Fsync::Always;
        let (accepted, mut spooled) = (unix_ns(), 0);
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        block.clear();
        for (seq, item) in (place.seq..).zip(items) {
            if let Some(file) = &item.spooled {
                spool::keep(&folder, seq, file, sync)?;
                spooled += file.bytes();
            }
            block.push(item, seq, accepted, place.salt);
        }
        block.write(&place.file, place.offset)?;
        if sync {
            // What is reported as lost must not be there after all.
            sync_now(&place, &folder).inspect_err(|_| drop(place.file.set_len(place.offset)))?;
        }
        let mut state = self.state();
        let lane = state.lane(class);
        let before = lane.waiting();
        lane.appended(&place, items.len() as u64, block.len(), spooled);
        block.clear();
        let news = before.records == 0 || (!self.full(before) && self.full(lane.waiting()));
        self.tell(&mut state);
        drop(state);
        if news {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Drops the oldest entries to make space for newer ones on a full disk. False: there is nothing left to drop.
    fn free_disk(&self, class: Class) -> bool {
        let mut state = self.state();
        let mut freed = state.objects.drop_segment();
        if freed.records == 0 && class == Class::Event {
            freed = state.events.drop_segment();
        }
        self.note(&mut state);
        self.tell(&mut state);
        drop(state);
        self.lost(Loss::QueueUnwritable, freed);
        freed.records > 0
    }
}

/// True when space would help. Whatever else keeps the disk from being written, dropping what waits on it would only lose that too.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What an item takes in the queue, in bytes: its entry and its file.
fn cost(item: &Item) -> u64 {
    frame::len(item) as u64 + item.spooled.as_ref().map_or(0, |file| file.bytes())
}

fn sync_now(place: &Place, folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    segment::fault::check_sync()?;
    place.file.sync_data()?;
    // First block of a segment: sync the folder too, so that the file name is not lost.
    if place.offset <= segment::HEAD_BYTES { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}
