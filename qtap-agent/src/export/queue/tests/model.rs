//! Compares the queue with a model, lists in memory. After each step both hold the same, return the same, and have counted the same.

use std::collections::VecDeque;
use std::path::Path;

use proptest::prelude::*;

use super::super::frame;
use super::super::segment::{HEAD_BYTES, Opened, Segment, Step};
use super::{Bench, item, numbers, segments};
use crate::export::batch::Batch;
use crate::export::exporter::Class;
use crate::export::settings::{Fsync, QueueSettings, WhenFull};
use crate::model::loss::Loss;

#[derive(Debug, Clone)]
enum Deed {
    Push(Vec<(bool, usize)>),
    Next(bool),
    /// Settles one of the batches in flight: all of it, or its first half.
    Settle(usize, bool),
    /// Killed and restarted.
    Reopen,
    /// Killed, the last segment of a lane truncated by this many bytes, restarted.
    Cut(bool, u64),
    /// Killed, one byte of a lane changed, restarted.
    Corrupt(bool, u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => proptest::collection::vec((any::<bool>(), 8usize..150), 1..12).prop_map(Deed::Push),
        5 => any::<bool>().prop_map(Deed::Next),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, half)| Deed::Settle(which, half)),
        2 => Just(Deed::Reopen),
        1 => (any::<bool>(), 1u64..400).prop_map(|(lane, bytes)| Deed::Cut(lane, bytes)),
        1 => (any::<bool>(), any::<u64>()).prop_map(|(lane, at)| Deed::Corrupt(lane, at)),
    ]
}

fn class(object: bool) -> Class {
    if object { Class::Object } else { Class::Event }
}

/// Number and bytes of an entry.
type Entry = (u64, u64);

#[derive(Debug, Default)]
struct Model {
    waiting: [VecDeque<Entry>; 2],
    out: Vec<(Class, Vec<Entry>)>,
    next: u64,
    drop_oldest: (u64, u64),
    drop_newest: (u64, u64),
}

fn count(to: &mut (u64, u64), bytes: u64) {
    to.0 += 1;
    to.1 += bytes;
}

impl Model {
    fn lane(&mut self, class: Class) -> &mut VecDeque<Entry> {
        &mut self.waiting[usize::from(class == Class::Object)]
    }

    fn held(&self) -> (u64, u64) {
        let all = self.waiting.iter().flatten().chain(self.out.iter().flat_map(|(_, entries)| entries));
        all.fold((0, 0), |(records, bytes), entry| (records + 1, bytes + entry.1))
    }

    fn push(&mut self, class: Class, bytes: u64, settings: &QueueSettings) {
        let number = self.next;
        self.next += 1;
        loop {
            let (records, held) = self.held();
            let leave = class == Class::Object && settings.when_full != WhenFull::DropOldest;
            let share = |max: u64| if leave { max / 4 * 3 } else { max };
            if records < share(settings.max_records) && held + bytes <= share(settings.max_bytes) {
                self.lane(class).push_back((number, bytes));
                return;
            }
            let oldest = match (settings.when_full, class) {
                (WhenFull::DropOldest, Class::Object) => self.lane(Class::Object).pop_front(),
                (WhenFull::DropOldest, Class::Event) => {
                    self.waiting[1].pop_front().or_else(|| self.waiting[0].pop_front())
                }
                (WhenFull::DropNewest | WhenFull::Block, _) => None,
            };
            match oldest {
                Some((_, bytes)) => count(&mut self.drop_oldest, bytes),
                None => return count(&mut self.drop_newest, bytes),
            }
        }
    }

    /// What was in flight waits again, in order.
    fn killed(&mut self) {
        for (class, entries) in std::mem::take(&mut self.out) {
            self.lane(class).extend(entries);
        }
        self.waiting.iter_mut().for_each(|lane| lane.make_contiguous().sort_unstable());
    }

    fn knows(&self, class: Class, number: u64) -> bool {
        self.waiting[usize::from(class == Class::Object)].iter().any(|(known, _)| *known == number)
    }
}

/// The queue, its batches in flight, and the model.
struct Pair<'a> {
    folder: &'a Path,
    settings: QueueSettings,
    real: Bench,
    out: Vec<Batch>,
    model: Model,
}

impl Pair<'_> {
    fn step(&mut self, deed: &Deed) -> Result<(), TestCaseError> {
        match deed {
            Deed::Push(items) => {
                let items: Vec<_> = (self.model.next..)
                    .zip(items)
                    .map(|(number, (object, size))| item(class(*object), number, *size))
                    .collect();
                for item in &items {
                    self.model.push(item.class, frame::len(item) as u64, &self.settings);
                }
                self.real.queue.append(items);
            }
            Deed::Next(object) => {
                let batch = self.real.queue.take(class(*object));
                let got = numbers(&batch);
                let entries: Vec<Entry> = self.model.lane(class(*object)).drain(..got.len()).collect();
                prop_assert_eq!(&got, &entries.iter().map(|(number, _)| *number).collect::<Vec<_>>());
                prop_assert!(!got.is_empty() || self.model.lane(class(*object)).is_empty());
                if !got.is_empty() {
                    self.model.out.push((class(*object), entries));
                    self.out.push(batch);
                }
            }
            Deed::Settle(..) if self.out.is_empty() => {}
            Deed::Settle(which, half) => {
                let index = which % self.out.len();
                let batch = self.out.swap_remove(index);
                let (class, mut entries) = self.model.out.swap_remove(index);
                let (first, second) = if *half { batch.halves() } else { (batch, Batch::default()) };
                self.real.queue.settle(&first);
                entries.drain(..first.len());
                if !second.is_empty() {
                    self.out.push(second);
                    self.model.out.push((class, entries));
                }
            }
            Deed::Reopen => self.reopen(),
            Deed::Cut(object, bytes) => self.hurt(class(*object), |files| {
                let (path, len) = files.last()?;
                let len = len.saturating_sub(*bytes).max(HEAD_BYTES);
                let cut = (path.clone(), len..u64::MAX);
                std::fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
                Some(cut)
            })?,
            Deed::Corrupt(object, at) => self.hurt(class(*object), |files| {
                let all: u64 = files.iter().map(|(_, len)| len).sum();
                let mut at = at.checked_rem(all)?;
                let (path, _) = files.iter().find(|(_, len)| {
                    let here = at < *len;
                    at -= if here { 0 } else { *len };
                    here
                })?;
                let mut bytes = std::fs::read(path).unwrap();
                bytes[at as usize] ^= 0x20;
                std::fs::write(path, bytes).unwrap();
                Some((path.clone(), at..at + 1))
            })?,
        }
        let held = self.real.queue.held();
        prop_assert_eq!(held, self.model.held());
        prop_assert_eq!(self.real.lost(Loss::QueueDropOldest), self.model.drop_oldest);
        prop_assert_eq!(self.real.lost(Loss::QueueDropNewest), self.model.drop_newest);
        prop_assert_eq!(self.real.lost(Loss::QueueDamaged), (0, 0));
        Ok(())
    }

    fn reopen(&mut self) {
        self.out.clear();
        self.model.killed();
        self.real = Bench::open(self.folder, self.settings);
        (self.model.drop_oldest, self.model.drop_newest) = ((0, 0), (0, 0));
    }

    /// Damages a lane while the queue is closed. Untouched entries are returned afterwards, in order; damaged ones are counted once, and not
    /// again after another restart.
    #[allow(clippy::type_complexity)] // the path of the file, and which of its bytes
    fn hurt(
        &mut self,
        class: Class,
        how: impl FnOnce(&[(std::path::PathBuf, u64)]) -> Option<(std::path::PathBuf, std::ops::Range<u64>)>,
    ) -> Result<(), TestCaseError> {
        self.reopen();
        let files: Vec<_> = segments(self.folder, class)
            .into_iter()
            .map(|path| (path.clone(), path.metadata().unwrap().len()))
            .collect();
        let entries = entries(&files);
        let Some((path, bytes)) = how(&files) else { return Ok(()) };
        let touched: Vec<&(std::path::PathBuf, u64, std::ops::Range<u64>)> = entries
            .iter()
            .filter(|(file, _, at)| *file == path && at.start < bytes.end && bytes.start < at.end)
            .collect();
        // Damaged entries at the very end are truncated; their number is unknown, unless a later one is recorded as settled.
        let last = entries.last().map(|(_, number, _)| *number);
        let at_end = touched.iter().any(|(_, number, _)| Some(*number) == last);
        let hurt: Vec<u64> =
            touched.iter().map(|(_, number, _)| *number).filter(|number| self.model.knows(class, *number)).collect();
        self.real = Bench::open(self.folder, self.settings);
        let want: Vec<u64> =
            self.model.lane(class).drain(..).map(|(number, _)| number).filter(|n| !hurt.contains(n)).collect();
        prop_assert_eq!(self.real.drain(class), want);
        let (records, lost) = self.real.lost(Loss::QueueDamaged);
        prop_assert!(records == hurt.len() as u64 || (at_end && records < hurt.len() as u64), "{} counted", records);
        // A file that ends at the end of an entry appears intact.
        let whole = touched.iter().all(|(_, _, at)| bytes.start <= at.start);
        prop_assert!(lost > 0 || hurt.is_empty() || whole);
        self.real = Bench::open(self.folder, self.settings);
        prop_assert_eq!(self.real.lost(Loss::QueueDamaged), (0, 0));
        Ok(())
    }
}

/// File, number and position of every entry.
fn entries(files: &[(std::path::PathBuf, u64)]) -> Vec<(std::path::PathBuf, u64, std::ops::Range<u64>)> {
    let mut all = Vec::new();
    for (path, len) in files {
        let Some(Opened::Segment(segment)) = Segment::open(path).unwrap() else { panic!() };
        let mut reader = segment.reader().unwrap();
        loop {
            let from = reader.at();
            match reader.next(*len, u64::MAX).unwrap() {
                Step::Entry(head, entry) => {
                    let payload = frame::item(&head, &entry).0.payload;
                    let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
                    all.push((path.clone(), number, from..reader.at()));
                }
                // Caused by an earlier deed.
                Step::Damage(_) => {}
                Step::End => break,
            }
        }
    }
    all
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let when_full = prop_oneof![Just(WhenFull::DropOldest), Just(WhenFull::DropNewest)];
    (when_full, prop_oneof![Just(u64::MAX), 4u64..40], prop_oneof![Just(1u64 << 20), 300u64..4000]).prop_map(
        |(when_full, max_records, max_bytes)| QueueSettings { when_full, max_records, max_bytes, fsync: Fsync::Never },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(settings in settings(), deeds in proptest::collection::vec(deed(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let real = Bench::open(folder.path(), settings);
        let mut pair = Pair { folder: folder.path(), settings, real, out: Vec::new(), model: Model::default() };
        for deed in &deeds {
            pair.step(deed)?;
        }
        // In the end everything held can be taken, and only the segment being appended to stays on disk.
        pair.reopen();
        for class in [Class::Event, Class::Object] {
            let want: Vec<u64> = pair.model.lane(class).drain(..).map(|(number, _)| number).collect();
            prop_assert_eq!(pair.real.drain(class), want);
            prop_assert!(segments(folder.path(), class).len() <= 1);
        }
        prop_assert_eq!(pair.real.queue.held(), (0, 0));
    }
}
