//! The ring is read: a bounded number of records at a time, and to its end when the capture ends. In: the ring. Out: events, and how far it was read.

use super::Live;
use crate::capture::decode::time_of;
use crate::capture::discover::procfs;
use crate::capture::recording::Fact;
use crate::model::event::Event;
use crate::model::time::KernelTime;

/// Most records handled by one poll.
const RECORDS_PER_POLL: usize = 4096;

impl Live {
    /// Handles what waits in the ring. The ring is moved out of `self` meanwhile, so that a record can be read in place.
    pub(super) fn drain(&mut self, out: &mut Vec<Event>) -> usize {
        let Some(mut ring) = self.ring.take() else { return 0 };
        let (now, mut newest) = (procfs::now(), None);
        let count = ring.drain(RECORDS_PER_POLL, |bytes| {
            newest = time_of(bytes).or(newest);
            self.take(bytes, out);
        });
        // Who writes faster than is read here never lets the ring be empty, but its records come later and later.
        let until = if count < RECORDS_PER_POLL { Some(now) } else { newest };
        self.taken_until = until.map_or(self.taken_until, |until| until.max(self.taken_until));
        self.records += count as u64;
        self.ring = Some(ring);
        count
    }

    /// Number of ring records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// True once every record that was written before `time` was taken.
    #[must_use]
    pub fn has_taken_until(&self, time: KernelTime) -> bool {
        self.taken_until >= time
    }

    /// Scans the tables once more, when what was captured has ended.
    pub fn last_look(&mut self, out: &mut Vec<Event>) {
        self.drain(out);
        self.pass_on.iter_mut().for_each(|pass_on| pass_on());
        let now = procfs::now();
        self.look_again = true;
        self.sweep_ends(now, out);
        self.sweep(now, out);
        self.tell(Fact::Tick(now), out);
    }
}
