//! The agent's end of the ring, and when the agent sleeps.
//!
//! The probes wake the agent only if it has said that it sleeps, or if a good part of the ring is full: a wake-up costs the target more
//! than writing the record. So while records arrive, the agent takes short naps between reads, from which nobody wakes it. Only after
//! several naps without a record does it say that it sleeps.

use std::os::fd::AsFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use qtap_common::state::{MAP_ASLEEP, MAP_RING};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::KernelError;

/// Pause between two reads of a ring that had records a moment ago.
const NAP: Duration = Duration::from_millis(1);
/// Naps without a record before the agent sleeps.
const NAPS: u32 = 4;

/// The reader's end of the ring.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    asleep: Array<MapData, u32>,
    idle_looks: u32,
    /// Most bytes of records that one read found, since this was last taken.
    most_waiting: u64,
}

impl Ring {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Ring, KernelError> {
        let ring = RingBuf::try_from(ebpf.take_map(MAP_RING).ok_or(KernelError::Object(MAP_RING))?)?;
        let asleep = Array::try_from(ebpf.take_map(MAP_ASLEEP).ok_or(KernelError::Object(MAP_ASLEEP))?)?;
        Ok(Ring { ring, asleep, idle_looks: 0, most_waiting: 0 })
    }

    /// Passes each waiting record to `take`, at most `limit` of them. Returns how many there were.
    pub(super) fn drain(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while count < limit {
            let Some(item) = self.ring.next() else { break };
            bytes += item.len() as u64;
            take(&item);
            count += 1;
        }
        self.most_waiting = self.most_waiting.max(bytes);
        self.idle_looks = if count > 0 { 0 } else { self.idle_looks.saturating_add(1) };
        count
    }

    /// Most bytes that one read found waiting since the last call.
    pub(super) fn take_most_waiting(&mut self) -> u64 {
        std::mem::take(&mut self.most_waiting)
    }

    /// Waits for records, at most `limit`: by a nap, or asleep.
    pub(super) fn wait(&mut self, limit: Duration) {
        if self.idle_looks <= NAPS {
            self.doze(limit.min(NAP));
            return;
        }
        // If the flag can't be set, nobody wakes the agent before `limit`.
        let _ = self.asleep.set(0, 1, 0);
        // A record written before the flag was set did not wake the agent.
        if !self.has_records() {
            self.doze(limit);
        }
        let _ = self.asleep.set(0, 0, 0);
    }

    fn doze(&self, limit: Duration) {
        let timeout = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
        let fd = self.ring.as_fd();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// True when `poll` would not wait: the ring is readable whenever it holds a record.
    fn has_records(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.ring.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }
}
