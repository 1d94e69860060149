//! What no record reports, found by scanning the probes' tables: losses without a position in a stream, ends of UNIX connections, ends whose
//! record did not fit the ring, sessions of processes that ended.

use std::time::Duration;

use qtap_common::record::why;
use qtap_common::state::{Conn, Losses, Session, SessionKey, call, conn_flag};

use super::super::probed::used_among;
use super::super::ring::Ring;
use super::super::standing::RingUse;
use super::Live;
use super::looks::id_of;
use crate::capture::decode::loss;
use crate::capture::discover::procfs;
use crate::capture::recording::Fact;
use crate::capture::unfinished;
use crate::model::conn::{ConnId, SessionId};
use crate::model::event::{Count, Counts, Event, SessionCounts};
use crate::model::time::KernelTime;

/// How often goroutines' calls are scanned for those that nobody will end: each is looked up, and there may be tens of thousands.
const SWEEP_GOROUTINES: Duration = Duration::from_secs(30);

/// `1` if the kernel counts how often programs run, and how long (kernel 5.1); off by default, since each run then reads the clock twice.
const RUNS_ARE_COUNTED: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Live {
    /// A process ended, and so did its sessions, whether or not it freed them.
    pub(super) fn exited(&mut self, pid: u32, time: KernelTime, out: &mut Vec<Event>) {
        self.tell_unfinished(pid, time, out);
        self.end_sessions_of(pid, time, out);
        self.speakers.remove(&pid);
        self.unheard.exited(pid);
        self.standing.exited(pid);
        self.forget_jvm(pid);
        if self.losses_of(why::RING_FULL).count > self.ring_full_seen || self.look_again {
            self.sweep_sessions(|key| key.tgid == pid, time, out);
        }
        self.unix.process_ended(pid, time);
        let fact = self.people.exited(pid, time);
        self.tell(fact, out);
    }

    /// What a Go program was writing when it ended. It may have been sent by then, as the last write before an exit often is, but the call that wrote
    /// it has no end that a probe could see. The bytes are reported as lost.
    fn tell_unfinished(&mut self, pid: u32, time: KernelTime, out: &mut Vec<Event>) {
        let mut sessions = self.sessions.values().filter(|key| key.tgid == pid);
        if !sessions.any(|key| self.tables.sessions.get(key, 0).is_ok_and(|state| self.decoder.is_go(state.library))) {
            return;
        }
        for frame in self.tables.take_goroutines(pid).into_iter().filter(|frame| frame.call == call::WRITE) {
            let key = SessionKey { ssl: frame.ssl, tgid: pid, ended: 0 };
            let Ok(mut state) = self.tables.sessions.get(&key, 0) else { continue };
            let sent = &mut state.dirs[0].count;
            let offset = sent.carried;
            (sent.carried, sent.lost) = (sent.carried + frame.len, sent.lost + frame.len);
            if self.tables.sessions.insert(key, state, 0).is_ok() {
                self.take(&unfinished::sent(SessionId(state.id), pid, time, offset, frame.len), out);
            }
        }
    }

    /// Ends the known sessions of a process.
    pub(super) fn end_sessions_of(&mut self, pid: u32, time: KernelTime, out: &mut Vec<Event>) {
        let known = self.sessions.iter().filter(|(_, key)| key.tgid == pid);
        let gone: Vec<_> = known
            .filter_map(|(id, key)| {
                Some((*key, self.tables.sessions.get(key, 0).ok().filter(|state| state.id == id.0)?))
            })
            .collect();
        self.sessions.retain(|_, key| key.tgid != pid);
        for (key, state) in gone {
            self.tell_session_closed(&key, &state, time, out);
        }
    }

    /// What no record reports: losses without a position, ends of UNIX connections.
    pub(super) fn sweep(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        self.count();
        self.sweep_losses(now, out);
        self.sweep_unix(now, out);
        if now.since(self.last_sweep_of_goroutines) >= SWEEP_GOROUTINES {
            self.last_sweep_of_goroutines = now;
            self.tables.forget_goroutines(|pid| !procfs::lives(pid));
        }
        self.let_go_of_files(now);
    }

    /// Removes probes from files that nobody uses any more. If a process maps one again, it is reported as if the file were new.
    fn let_go_of_files(&mut self, now: KernelTime) {
        let Some(tls) = &mut self.tls else { return };
        let gone = tls.let_go(now);
        if gone.is_empty() {
            return;
        }
        self.tables.tell_again(|file| gone.contains(&id_of(file)));
        // Processes that mapped one meanwhile were not reported.
        for (pid, path) in used_among(&gone) {
            self.attach_library_of(pid, &path);
        }
    }

    /// Updates the figures: what the probes cost, and how full their ring was.
    fn count(&mut self) {
        let waiting_bytes = self.ring.as_mut().map_or(0, Ring::take_most_waiting);
        let ring = RingUse { waiting_bytes, full: self.losses_of(why::RING_FULL).count };
        let counts = std::fs::read(RUNS_ARE_COUNTED).is_ok_and(|answer| answer.first() == Some(&b'1'));
        self.standing.counted(ring, if counts { self.probes.ran() } else { Vec::new() });
    }

    /// Finds ends whose record did not fit the ring, and sessions of processes whose end no record reports.
    pub(super) fn sweep_ends(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        let full = self.losses_of(why::RING_FULL).count;
        let more = full > self.ring_full_seen;
        // Once more after the number has stopped growing: the last ones may have been in progress.
        if more || self.look_again {
            self.look_again = more;
            self.ring_full_seen = full;
            self.sweep_closed(now, out);
            self.sweep_sessions(|key| key.ended != 0 || !procfs::lives(key.tgid), now, out);
            // The others end with their processes, also those whose beginning did not fit the ring.
            let there = self.tables.sessions.iter().flatten();
            self.sessions.extend(there.map(|(key, state)| (SessionId(state.id), key)));
        }
    }

    /// What was lost so far, for one reason.
    fn losses_of(&self, reason: u8) -> Losses {
        let Ok(per_cpu) = self.tables.losses.get(&u32::from(reason), 0) else { return Losses::default() };
        per_cpu.iter().fold(Losses::default(), |sum, losses| Losses {
            count: sum.count + losses.count,
            bytes: sum.bytes + losses.bytes,
        })
    }

    fn sweep_losses(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        for reason in why::RING_FULL..why::COUNT as u8 {
            let total = self.losses_of(reason);
            let Some(told) = self.losses_told.get_mut(usize::from(reason)) else { continue };
            let (count, bytes) = (total.count.saturating_sub(told.count), total.bytes.saturating_sub(told.bytes));
            *told = total;
            if count > 0
                && let Some(name) = loss(reason)
            {
                self.tell(Fact::Lost { reason: name, count, bytes, time: now }, out);
            }
        }
        let undecodable = std::mem::take(&mut self.undecodable);
        if undecodable > 0 {
            let reason = crate::model::loss::Loss::Undecodable;
            self.tell(Fact::Lost { reason, count: undecodable, bytes: 0, time: now }, out);
        }
    }

    fn sweep_closed(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        let untold: Vec<_> =
            self.tables.conns.iter().flatten().filter(|(_, conn)| conn.flags & conn_flag::CLOSED_UNTOLD != 0).collect();
        for (address, conn) in untold {
            self.tell_closed(address, &conn, now, out);
        }
    }

    /// Reports sessions that are over, whether or not a record reported them.
    fn sweep_sessions(&mut self, is_over: impl Fn(&SessionKey) -> bool, now: KernelTime, out: &mut Vec<Event>) {
        let over: Vec<_> = self.tables.sessions.iter().flatten().filter(|(key, _)| is_over(key)).collect();
        for (key, state) in over {
            self.tell_session_closed(&key, &state, now, out);
        }
    }

    fn tell_session_closed(&mut self, key: &SessionKey, state: &Session, time: KernelTime, out: &mut Vec<Event>) {
        let _ = self.tables.sessions.remove(key);
        let session = SessionId(state.id);
        self.sessions.remove(&session);
        let [sent, received] = [0, 1].map(|index| count(&state.dirs[index].count, None));
        self.tell_end(Fact::SessionClosed(SessionCounts { session, time, sent, received }), out);
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

    pub(super) fn tell_closed(&mut self, address: u64, conn: &Conn, time: KernelTime, out: &mut Vec<Event>) {
        // Another one may have got its address meanwhile.
        if self.tables.conns.get(&address, 0).is_ok_and(|there| there.id == conn.id) {
            let _ = self.tables.conns.remove(&address);
        }
        self.unix.closed(ConnId(conn.id));
        let [sent, received] = [0, 1].map(|index| {
            let dir = &conn.dirs[index];
            count(&dir.count, (dir.kernel_final != 0).then_some(dir.count.kernel))
        });
        let shook = conn.dirs[0].shook != 0;
        self.tell_end(Fact::Closed(Counts { conn: ConnId(conn.id), time, sent, received, unread: 0, shook }), out);
    }

    /// Reports an end that was found, unless its events are dropped.
    fn tell_end(&mut self, fact: Fact, out: &mut Vec<Event>) {
        if !fact.clone().into_event().is_some_and(|event| self.unheard.hides(&event)) {
            self.tell(fact, out);
        }
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
