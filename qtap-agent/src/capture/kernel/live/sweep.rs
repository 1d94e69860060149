//! What no record tells, found by looking through the probes' tables: losses without a place, ends of UNIX connections, ends whose
//! record did not fit the ring, sessions of processes that ended.

use qtap_common::record::why;
use qtap_common::state::{Conn, Losses, conn_flag};

use super::Live;
use crate::capture::decode::loss;
use crate::capture::discover::procfs;
use crate::capture::recording::Fact;
use crate::model::conn::ConnId;
use crate::model::event::{Count, Counts, Event, SessionCounts};
use crate::model::time::KernelTime;

impl Live {
    /// A process ended: so did its sessions, whether or not it freed them.
    pub(super) fn exited(&mut self, pid: u32, time: KernelTime, out: &mut Vec<Event>) {
        let gone: Vec<_> =
            self.sessions.iter().filter(|(_, key)| key.tgid == pid).map(|(id, key)| (*id, *key)).collect();
        for (session, key) in gone {
            self.sessions.remove(&session);
            let Ok(state) = self.tables.sessions.get(&key, 0) else { continue };
            let _ = self.tables.sessions.remove(&key);
            let [sent, received] = [0, 1].map(|index| count(&state.dirs[index].count, None));
            self.tell(Fact::SessionClosed(SessionCounts { session, time, sent, received }), out);
        }
        self.unix.process_ended(pid, time);
        let fact = self.people.exited(pid, time);
        self.tell(fact, out);
    }

    /// What no record tells: losses without a place, ends of UNIX connections, ends whose record did not fit the ring.
    pub(super) fn sweep(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        let lost_records = self.sweep_losses(now, out);
        if lost_records {
            self.sweep_closed(now, out);
        }
        self.sweep_unix(now, out);
    }

    /// True when records that tell the end of something may be among what was lost.
    fn sweep_losses(&mut self, now: KernelTime, out: &mut Vec<Event>) -> bool {
        let mut ring_full = false;
        for reason in why::RING_FULL..why::COUNT as u8 {
            let Ok(per_cpu) = self.tables.losses.get(&u32::from(reason), 0) else { continue };
            let total = per_cpu.iter().fold(Losses::default(), |sum, losses| Losses {
                count: sum.count + losses.count,
                bytes: sum.bytes + losses.bytes,
            });
            let Some(told) = self.losses_told.get_mut(usize::from(reason)) else { continue };
            let (count, bytes) = (total.count.saturating_sub(told.count), total.bytes.saturating_sub(told.bytes));
            *told = total;
            if count > 0
                && let Some(name) = loss(reason)
            {
                ring_full |= reason == why::RING_FULL;
                self.tell(Fact::Lost { reason: name, count, bytes, time: now }, out);
            }
        }
        let undecodable = std::mem::take(&mut self.undecodable);
        if undecodable > 0 {
            let reason = crate::model::loss::Loss::Undecodable;
            self.tell(Fact::Lost { reason, count: undecodable, bytes: 0, time: now }, out);
        }
        ring_full
    }

    fn sweep_closed(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        let untold: Vec<_> =
            self.tables.conns.iter().flatten().filter(|(_, conn)| conn.flags & conn_flag::CLOSED_UNTOLD != 0).collect();
        for (address, conn) in untold {
            self.tell_closed(address, &conn, now, out);
        }
    }

    fn sweep_unix(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        let pids = self.unix.pids();
        if pids.is_empty() {
            return;
        }
        let gone = self.unix.take_gone(&procfs::unix_socket_inodes(&pids), now);
        if gone.is_empty() {
            return;
        }
        let closed = self.tables.conns.iter().flatten();
        let closed = closed.filter_map(|(address, conn)| Some((address, conn, *gone.get(&conn.ino)?)));
        for (address, conn, time) in closed.collect::<Vec<_>>() {
            self.tell_closed(address, &conn, time, out);
        }
    }

    fn tell_closed(&mut self, address: u64, conn: &Conn, time: KernelTime, out: &mut Vec<Event>) {
        let _ = self.tables.conns.remove(&address);
        self.unix.closed(ConnId(conn.id));
        let [sent, received] = [0, 1].map(|index| {
            let dir = &conn.dirs[index];
            count(&dir.count, (dir.kernel_final != 0).then_some(dir.count.kernel))
        });
        self.tell(Fact::Closed(Counts { conn: ConnId(conn.id), time, sent, received, unread: 0 }), out);
    }
}

fn count(count: &qtap_common::record::Count, kernel: Option<u64>) -> Count {
    Count {
        carried: count.carried,
        copied: count.copied,
        encrypted: count.encrypted,
        unwanted: count.unwanted,
        lost: count.lost,
        kernel,
    }
}
