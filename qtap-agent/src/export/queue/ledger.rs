//! Which entries of a lane are settled and need not be returned again: all below a mark, and a few ranges above it (one worker
//! settles while another still sends). Stored in a file with two slots, written in turn, each with a generation and a CRC: if a write
//! is interrupted at any point, the other slot is still valid. Reading an older slot only means that something is sent twice.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a slot: a page.
const SLOT_BYTES: usize = 4096;
/// The head of a slot: mark, CRC, generation, low-water mark, number of ranges.
const HEAD_BYTES: usize = 32;
/// Maximum ranges in a slot. There is one per worker and per damaged place; ranges beyond are forgotten in a crash, and their entries sent again.
const RANGES_MAX: usize = (SLOT_BYTES - HEAD_BYTES) / 16;
/// The start of a slot.
const MARK: [u8; 4] = *b"qtL1";

/// Settled entries: numbers below `low`, and ordered, disjoint `ranges` (begin, end) above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settled {
    low: u64,
    ranges: Vec<(u64, u64)>,
}

impl Settled {
    /// All numbers below `low`.
    pub(super) fn below(low: u64) -> Settled {
        Settled { low, ranges: Vec::new() }
    }

    /// The lowest number that is not settled.
    pub(super) fn low(&self) -> u64 {
        self.low
    }

    /// One past the highest settled number.
    pub(super) fn high(&self) -> u64 {
        self.ranges.last().map_or(self.low, |(_, end)| *end)
    }

    /// True when `seq` is settled.
    pub(super) fn contains(&self, seq: u64) -> bool {
        self.unsettled_in(seq, seq + 1) == 0
    }

    /// How many numbers from `begin` to before `end` are not settled.
    pub(super) fn unsettled_in(&self, begin: u64, end: u64) -> u64 {
        let begin = begin.max(self.low);
        let all = end.saturating_sub(begin);
        let overlap = |(from, to): &(u64, u64)| (*to).min(end).saturating_sub((*from).max(begin));
        let first = self.ranges.partition_point(|(_, to)| *to <= begin);
        let known = self.ranges.get(first..).unwrap_or_default().iter().take_while(|(from, _)| *from < end);
        all - known.map(overlap).sum::<u64>()
    }

    /// Marks the numbers from `begin` to before `end` as settled.
    pub(super) fn add(&mut self, begin: u64, end: u64) {
        let (mut begin, mut end) = (begin.max(self.low), end);
        if begin >= end {
            return;
        }
        // Merge all ranges that touch the new one.
        let first = self.ranges.partition_point(|(_, to)| *to < begin);
        let last = self.ranges.partition_point(|(from, _)| *from <= end);
        if let Some(touched) = self.ranges.get(first..last).filter(|touched| !touched.is_empty()) {
            begin = touched.first().map_or(begin, |(from, _)| begin.min(*from));
            end = touched.last().map_or(end, |(_, to)| end.max(*to));
        }
        let last = last.max(first);
        if begin <= self.low {
            self.low = end;
            self.ranges.drain(first..last);
        } else {
            self.ranges.splice(first..last, [(begin, end)]);
        }
    }

    fn slot(&self, generation: u64) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        let kept = self.ranges.get(..self.ranges.len().min(RANGES_MAX)).unwrap_or_default();
        let numbers = [generation, self.low, kept.len() as u64];
        let ranges = kept.iter().flat_map(|(begin, end)| [*begin, *end]);
        for (place, number) in slot.split_at_mut(8).1.chunks_exact_mut(8).zip(numbers.into_iter().chain(ranges)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(slot.split_at(8).1);
        let (head, _) = slot.split_at_mut(8);
        head.copy_from_slice(&[MARK, crc.to_le_bytes()].concat());
        slot
    }

    fn read(slot: &[u8]) -> Option<(u64, Settled)> {
        let (head, rest) = slot.split_at_checked(8)?;
        let intact = head.get(..4) == Some(&MARK) && head.get(4..) == Some(&crc32fast::hash(rest).to_le_bytes());
        let mut numbers = rest.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        let (generation, low, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let mut settled = Settled::below(low);
        for _ in 0..count.min(RANGES_MAX as u64) {
            settled.add(numbers.next()?, numbers.next()?);
        }
        intact.then_some((generation, settled))
    }
}

/// The ledger file.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    generation: u64,
    written: Settled,
}

/// The content of the file at `path`, if it has a valid slot.
pub(super) fn read(path: &Path) -> Option<Settled> {
    newest(&std::fs::read(path).ok()?).map(|(_, settled)| settled)
}

fn newest(bytes: &[u8]) -> Option<(u64, Settled)> {
    bytes.chunks_exact(SLOT_BYTES).filter_map(Settled::read).max_by_key(|(generation, _)| *generation)
}

impl Ledger {
    /// Opens or creates the file at `path`; also returns its content, or `None` if the file is new or damaged.
    ///
    /// # Errors
    /// When it can't be read or created.
    pub(super) fn open(path: &Path) -> io::Result<(Ledger, Option<Settled>)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let fresh = file.metadata()?.len() < bytes.len() as u64;
        if fresh {
            // Allocate both slots now, because the ledger matters most when the disk is full.
            file.write_all_at(&bytes, 0)?;
        }
        file.read_exact_at(&mut bytes, 0)?;
        let (generation, settled) =
            newest(&bytes).map_or((0, None), |(generation, settled)| (generation, Some(settled)));
        Ok((Ledger { file, generation, written: settled.clone().unwrap_or_default() }, settled))
    }

    /// Writes `settled`, unless the file already has it.
    ///
    /// # Errors
    /// When it can't be written; the previous slot is still valid then.
    pub(super) fn write(&mut self, settled: &Settled) -> io::Result<()> {
        if self.written == *settled {
            return Ok(());
        }
        let generation = self.generation + 1;
        self.file.write_all_at(&settled.slot(generation), (generation % 2) * SLOT_BYTES as u64)?;
        self.generation = generation;
        self.written.clone_from(settled);
        Ok(())
    }

    /// Syncs the file, so that it survives a power failure.
    ///
    /// # Errors
    /// When the sync fails.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares `Settled` with a set of numbers.
        #[test]
        fn settled_is_a_set(adds in proptest::collection::vec((0u64..60, 0u64..10), 0..40), low in 0u64..5) {
            let (mut settled, mut set) = (Settled::below(low), (0..low).collect::<BTreeSet<u64>>());
            for (begin, length) in adds {
                settled.add(begin, begin + length);
                set.extend(begin..begin + length);
            }
            for seq in 0..80 {
                prop_assert_eq!(settled.contains(seq), set.contains(&seq), "{}", seq);
            }
            for (begin, end) in [(0, 80), (3, 40), (10, 11), (7, 7)] {
                let missing = (begin..end).filter(|seq| !set.contains(seq)).count() as u64;
                prop_assert_eq!(settled.unsettled_in(begin, end), missing);
            }
            prop_assert_eq!(settled.low(), (0..).find(|seq| !set.contains(seq)).unwrap());
            prop_assert_eq!(settled.high(), set.last().map_or(0, |last| last + 1));
            prop_assert_eq!(Settled::read(&settled.slot(7)), Some((7, settled)));
        }
    }

    #[test]
    fn a_write_that_was_broken_off_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settled");
        let (mut ledger, read) = Ledger::open(&path).unwrap();
        assert_eq!(read, None);
        let (mut first, mut second) = (Settled::below(5), Settled::below(5));
        first.add(9, 12);
        second.add(9, 14);
        ledger.write(&first).unwrap();
        ledger.write(&second).unwrap();
        assert_eq!(Ledger::open(&path).unwrap().1, Some(second.clone()));
        // Generation 2 is in the first slot.
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..SLOT_BYTES).filter(|cut| *cut < 80 || cut % 97 == 0) {
            let mut torn = whole.clone();
            torn[cut] ^= 0xff;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Ledger::open(&path).unwrap().1, Some(first.clone()), "{cut}");
        }
        std::fs::write(&path, &whole[..100]).unwrap();
        assert!(Ledger::open(&path).is_ok());
    }

    #[test]
    fn what_does_not_fit_a_slot_is_forgotten_not_mistaken() {
        let mut settled = Settled::below(1);
        (0..400).for_each(|n| settled.add(10 * n + 5, 10 * n + 7));
        let (_, read) = Settled::read(&settled.slot(1)).unwrap();
        assert_eq!(read.ranges.len(), RANGES_MAX);
        assert!((0..10_000).all(|seq| !read.contains(seq) || settled.contains(seq)));
    }
}
