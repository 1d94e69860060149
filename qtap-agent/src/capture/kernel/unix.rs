//! Open UNIX connections. No tracepoint reports their end, so the agent looks for it in the kernel's list of sockets.
//!
//! In: what the probes report about them, which processes ended, and that list. Out: the connections that ended, and when, as precisely as known:
//! when the process ended, else when the connection was last seen alive (bytes passed, or an earlier list had it). Never the time of the check.

use std::collections::{HashMap, HashSet};

use crate::model::conn::ConnId;
use crate::model::time::KernelTime;

/// Most process ends that are remembered between two checks; a host has no more processes at once.
const ENDS_MAX: usize = 65_536;

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct UnixConns {
    open: HashMap<ConnId, Open>,
    /// Processes that ended since the last check.
    ended: HashMap<u32, KernelTime>,
}

#[derive(Debug)]
struct Open {
    inode: u64,
    pid: u32,
    /// When it was last seen alive.
    alive: KernelTime,
}

impl UnixConns {
    /// A connection was opened, or seen for the first time.
    pub(super) fn opened(&mut self, conn: ConnId, inode: u64, pid: u32, time: KernelTime) {
        self.open.insert(conn, Open { inode, pid, alive: time });
    }

    /// Bytes passed on a connection, which may or may not be one of these.
    pub(super) fn passed(&mut self, conn: ConnId, pid: u32, time: KernelTime) {
        if self.open.is_empty() {
            return;
        }
        if let Some(open) = self.open.get_mut(&conn) {
            (open.pid, open.alive) = (pid, time.max(open.alive));
        }
    }

    /// A connection ended, which may or may not be one of these.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    /// A process ended.
    pub(super) fn process_ended(&mut self, pid: u32, time: KernelTime) {
        if !self.open.is_empty() && self.ended.len() < ENDS_MAX {
            self.ended.insert(pid, time);
        }
    }

    /// The processes that use them. Empty: there is nothing to look for.
    pub(super) fn pids(&self) -> HashSet<u32> {
        self.open.values().map(|open| open.pid).collect()
    }

    /// Removes the connections whose sockets are not among the `alive` inode numbers. Returns their inode numbers, each with the time of its end.
    pub(super) fn take_gone(&mut self, alive: &HashSet<u64>, now: KernelTime) -> HashMap<u64, KernelTime> {
        let ended = std::mem::take(&mut self.ended);
        let gone = self.open.extract_if(|_, open| !alive.contains(&open.inode));
        let end = |open: &Open| match ended.get(&open.pid) {
            Some(end) => open.alive.max(*end),
            None => open.alive,
        };
        let gone = gone.map(|(_, open)| (open.inode, end(&open).min(now))).collect();
        self.open.values_mut().for_each(|open| open.alive = now);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_when_it_was_not_when_it_was_found() {
        let mut conns = UnixConns::default();
        for (conn, inode, pid) in [(1, 11, 7), (2, 12, 8), (3, 13, 9)] {
            conns.opened(ConnId(conn), inode, pid, KernelTime(10));
        }
        conns.passed(ConnId(1), 7, KernelTime(20));
        conns.passed(ConnId(99), 7, KernelTime(21));
        conns.process_ended(8, KernelTime(30));
        let gone = conns.take_gone(&HashSet::from([13]), KernelTime(1_000));
        assert_eq!(gone, HashMap::from([(11, KernelTime(20)), (12, KernelTime(30))]));
        assert_eq!(conns.pids(), HashSet::from([9]));
        let gone = conns.take_gone(&HashSet::new(), KernelTime(2_000));
        assert_eq!(gone, HashMap::from([(13, KernelTime(1_000))]), "it was there at the first look");
        conns.opened(ConnId(4), 14, 9, KernelTime(2_100));
        conns.closed(ConnId(4));
        assert!(conns.pids().is_empty() && conns.take_gone(&HashSet::new(), KernelTime(3_000)).is_empty());
    }
}
