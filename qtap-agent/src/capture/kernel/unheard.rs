//! Processes that are left out entirely, and their records that are still in the ring. The probes learn of a verdict a moment after a program was
//! executed; what it did until then is in the ring, after the record of its `exec`. The ring is in order, so it can be recognized here.
//!
//! In: verdicts, forks, exits, events. Out: whether an event is dropped, that is, neither passed on nor recorded.

use std::collections::HashSet;
use std::hash::Hash;

use crate::model::conn::{Channel, ConnId, SessionId};
use crate::model::event::Event;

/// Most connections, and sessions, of such processes that are remembered until they end: as many as the probes' tables hold.
const CHANNELS_MAX: usize = 65_536;

/// The processes, connections and sessions whose events are dropped.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    pids: HashSet<u32>,
    conns: HashSet<ConnId>,
    sessions: HashSet<SessionId>,
}

impl Unheard {
    /// A verdict on a process.
    pub(super) fn judged(&mut self, pid: u32, left_out: bool) {
        if left_out {
            self.pids.insert(pid);
        } else {
            self.pids.remove(&pid);
        }
    }

    /// A child inherits its parent's verdict until it executes something. Returns true if the child is left out.
    pub(super) fn forked(&mut self, parent: u32, child: u32) -> bool {
        let left_out = self.pids.contains(&parent);
        self.judged(child, left_out);
        left_out
    }

    /// A process ended: its id may soon be reused.
    pub(super) fn exited(&mut self, pid: u32) {
        self.pids.remove(&pid);
    }

    /// True if the event belongs to such a process, or to a connection or session that one opened.
    pub(super) fn hides(&mut self, event: &Event) -> bool {
        match event {
            Event::Opened(opened) => self.pids.contains(&opened.pid) && remember(&mut self.conns, opened.conn),
            Event::SessionOpened(opened) => {
                self.pids.contains(&opened.pid) && remember(&mut self.sessions, opened.session)
            }
            Event::Passed(passed) => self.is_of(passed.pid, passed.channel),
            Event::Skipped(skipped) => self.is_of(skipped.pid, skipped.channel),
            Event::Datagram(datagram) => self.pids.contains(&datagram.pid),
            Event::SessionHello(hello) => self.is_of(hello.pid, Channel::Session(hello.session)),
            Event::Bound { session, conn, .. } => self.sessions.contains(session) || self.conns.contains(conn),
            Event::Progress(counts) => self.conns.contains(&counts.conn),
            Event::KernelTls(given) => self.conns.contains(&given.conn),
            Event::Closed(counts) => self.conns.remove(&counts.conn),
            Event::SessionClosed(counts) => self.sessions.remove(&counts.session),
            Event::SessionJoined(joined) => self.sessions.remove(&joined.part),
            Event::Started(_)
            | Event::ProcessSeen(_)
            | Event::ContainerSeen(_)
            | Event::ProcessGone { .. }
            | Event::Lost { .. }
            | Event::Tick(_) => false,
        }
    }

    fn is_of(&self, pid: u32, channel: Channel) -> bool {
        self.pids.contains(&pid)
            || match channel {
                Channel::Socket(conn) => self.conns.contains(&conn),
                Channel::Session(session) => self.sessions.contains(&session),
            }
    }
}

fn remember<T: Eq + Hash>(set: &mut HashSet<T>, channel: T) -> bool {
    if set.len() < CHANNELS_MAX {
        set.insert(channel);
    }
    true
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::conn::{Direction, Endpoint, Role, Transport};
    use crate::model::event::{Count, Counts, Opened, Passed};
    use crate::model::time::KernelTime;

    fn opened(pid: u32, conn: u64) -> Event {
        let (local, peer) = (Endpoint::Unknown, Endpoint::Unknown);
        let (conn, time) = (ConnId(conn), KernelTime(1));
        Event::Opened(Opened {
            conn,
            time,
            pid,
            transport: Transport::Tcp,
            local,
            peer,
            role: Role::Client,
            joined_late: false,
        })
    }

    fn passed(pid: u32, conn: u64) -> Event {
        let (channel, time) = (Channel::Socket(ConnId(conn)), KernelTime(2));
        Event::Passed(Passed {
            channel,
            direction: Direction::Sent,
            offset: 0,
            time,
            pid,
            payload: Bytes::from_static(b"x"),
        })
    }

    fn closed(conn: u64) -> Event {
        let (sent, received) = (Count::default(), Count::default());
        Event::Closed(Counts { conn: ConnId(conn), time: KernelTime(3), sent, received, unread: 0, shook: false })
    }

    #[test]
    fn what_is_said_after_the_verdict_is_not_heard_to_its_end() {
        let mut unheard = Unheard::default();
        assert!(!unheard.hides(&opened(7, 1)), "before it");
        unheard.judged(7, true);
        assert!(unheard.hides(&opened(7, 2)) && unheard.hides(&passed(7, 2)) && unheard.hides(&passed(7, 1)));
        assert!(!unheard.hides(&opened(8, 3)) && !unheard.hides(&passed(8, 3)));
        unheard.exited(7);
        assert!(unheard.hides(&closed(2)), "the end comes after that of the process");
        assert!(!unheard.hides(&closed(2)) && !unheard.hides(&closed(1)) && !unheard.hides(&closed(3)));
        assert!(!unheard.hides(&opened(7, 4)), "the number is another's");
    }

    #[test]
    fn a_child_is_not_heard_until_it_is_another_program() {
        let mut unheard = Unheard::default();
        unheard.judged(7, true);
        assert!(unheard.forked(7, 9) && unheard.hides(&opened(9, 1)));
        unheard.judged(9, false);
        assert!(!unheard.hides(&opened(9, 2)) && unheard.hides(&passed(9, 1)));
        assert!(!unheard.forked(8, 10));
    }
}
