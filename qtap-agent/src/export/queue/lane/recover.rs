//! Opening a lane: what its files hold, and which entries of it wait. The last segment is scanned fully, because its last entry may be incomplete,
//! and so are segments that are partly settled; other damage is found when it is read.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::stall::Stall;
use super::{Count, Lane, unix_ns};
use crate::export::queue::ledger::{Ledger, Settled};
use crate::export::queue::segment::{self, Opened, Segment, Step};
use crate::export::queue::spool;

impl Lane {
    /// Opens the lane in `folder`, or creates one.
    ///
    /// # Errors
    /// When the folder can't be created, read or written.
    pub(in crate::export::queue) fn open(folder: &Path, segment_bytes: u64, durable: bool) -> io::Result<Lane> {
        fs::create_dir_all(folder)?;
        let (ledger, settled) = Ledger::open(&folder.join("settled"))?;
        let mut lane = Lane {
            folder: folder.to_owned(),
            segment_bytes,
            durable,
            segments: VecDeque::new(),
            active: None,
            unsynced: Vec::new(),
            reading: None,
            peeked: None,
            cursor: 0,
            next: 0,
            settled: Settled::default(),
            ledger,
            held: Count::default(),
            out: Count::default(),
            oldest_unix_ns: unix_ns(),
            out_since: BTreeMap::new(),
            damage: Count::default(),
            stall: Stall::default(),
        };
        lane.find_segments()?;
        let begin = lane.segments.front().map_or(0, |segment| segment.first);
        lane.settled = settled.unwrap_or_else(|| Settled::below(begin));
        lane.recover()?;
        Ok(lane)
    }

    /// Finds all segments in the folder, in order.
    fn find_segments(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            match Segment::open(&entry?.path())? {
                Some(Opened::Segment(segment)) => found.push(segment),
                Some(Opened::Empty(path)) => fs::remove_file(path)?,
                Some(Opened::Unknown(path)) => {
                    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
                    let aside = Segment::set_aside(&path)?;
                    tracing::warn!(file = %aside.display(), "a queue file of another version of qtap is set aside");
                    self.damage.bytes += bytes;
                }
                None => {}
            }
        }
        found.sort_by_key(|segment| segment.first);
        self.segments = found.into();
        Ok(())
    }

    /// Completes what the file names say about the segments: the last one is truncated after its last intact entry and appended to
    /// from there, and settled entries are subtracted.
    fn recover(&mut self) -> io::Result<()> {
        let firsts: Vec<u64> = self.segments.iter().skip(1).map(|segment| segment.first).collect();
        for (segment, end) in self.segments.iter_mut().zip(firsts) {
            segment.end = end;
        }
        self.next = self.settled.high();
        if let Some(mut last) = self.segments.pop_back() {
            self.cut(&mut last)?;
            // A settled number is not assigned again, even if the entry itself did not survive a power failure.
            self.next = self.next.max(last.end);
            let file = File::options().read(true).write(true).open(&last.path)?;
            if last.end == self.next && last.len < self.segment_bytes {
                self.active = Some(Arc::new(file));
            }
            self.segments.push_back(last);
        }
        self.cursor = self.settled.low();
        let begin = self.segments.front().map_or(self.next, |segment| segment.first);
        self.held.records = self.settled.unsettled_in(self.cursor, begin);
        for index in 0..self.segments.len() {
            self.count(index)?;
        }
        let spooled = spool::sweep(&self.folder, |seq| seq < self.next && !self.settled.contains(seq))?;
        self.held.bytes += spooled;
        self.remove_settled()?;
        if let Some((head, entry)) = self.oldest() {
            self.oldest_unix_ns = head.accepted_unix_ns;
            self.peeked = Some((head, entry));
        }
        Ok(())
    }

    /// Truncates the segment after its last intact entry.
    fn cut(&mut self, segment: &mut Segment) -> io::Result<()> {
        let mut reader = segment.reader()?;
        let (mut intact, mut cut) = (reader.at(), 0);
        loop {
            match reader.next(segment.len, u64::MAX)? {
                Step::Entry(head, _) => {
                    (intact, cut) = (reader.at(), 0);
                    segment.end = head.seq + 1;
                }
                Step::Damage(bytes) => cut += bytes,
                Step::End => break,
            }
        }
        if cut > 0 {
            File::options().write(true).open(&segment.path)?.set_len(intact)?;
            tracing::warn!(file = %segment.path.display(), bytes = cut, "the queue file ended in the middle of an entry and was cut there");
            self.damage.bytes += cut;
            segment.len = intact;
        }
        Ok(())
    }

    /// Adds the unsettled entries of a segment to the totals.
    fn count(&mut self, index: usize) -> io::Result<()> {
        let Some(segment) = self.segments.get(index) else { return Ok(()) };
        let (first, end) = (segment.first, segment.end);
        let unsettled = self.settled.unsettled_in(first, end);
        let mut bytes = segment.len - segment::HEAD_BYTES;
        if unsettled > 0 && unsettled < end - first {
            let (mut reader, mut next, mut damaged) = (segment.reader()?, first, 0);
            loop {
                let (seq, size) = match reader.next(segment.len, end)? {
                    Step::Damage(more) => {
                        damaged += more;
                        continue;
                    }
                    Step::Entry(head, entry) => (head.seq, entry.len() as u64),
                    Step::End => (end, 0),
                };
                // Damage among settled entries is no loss and holds no records.
                if self.settled.unsettled_in(next, seq) == 0 {
                    bytes -= damaged;
                }
                if seq == end {
                    break;
                }
                if self.settled.contains(seq) {
                    bytes -= size;
                }
                (next, damaged) = (seq + 1, 0);
            }
        }
        if unsettled > 0 {
            self.held.add(unsettled, bytes);
        }
        Ok(())
    }
}
