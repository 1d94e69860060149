//! The pure core: events in, observations out.
//!
//! In: [`Event`]s, in the order of the source, and the time, as one of them. Out: exchanges, each with all that is
//! known of its connection and process; and reports on connections, the last of which accounts for every byte.
//! The same events always give the same observations: no clock, randomness, file, socket or thread is used here.
//!
//! The tap identifies a connection by its kernel number and a TLS session by its own; each has its own reassembly and parser. A
//! session's exchanges belong to the connection it is bound to; those of a session not bound in time get a connection of their own.
//! Everything is bounded; what exceeds a bound is counted.

mod advice;
mod answers;
mod closing;
mod common;
mod conn;
mod conns;
mod conservation;
mod counters;
mod deadlines;
mod greetings;
mod handshake;
mod held;
mod joining;
mod losses;
mod memory;
mod names;
mod pair;
mod parts;
mod processes;
mod relief;
mod report;
mod session;
mod sessions;
mod stream;
mod telling;
mod trial;
mod tunnel;
mod uid;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use counters::Counters;
pub use pair::Pair;

use self::common::Common;
use self::conn::Conn;
use self::deadlines::Due;
use self::held::Held;
use self::memory::Memory;
use self::pair::add;
use self::parts::Parts;
use self::session::Session;
use self::trial::Trials;
use crate::http;
use crate::model::conn::{Channel, SessionId};
use crate::model::eras::Eras;
use crate::model::event::{Event, Passed, SessionOpened, Skipped};
use crate::model::loss::{Loss, Tally};
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

/// Maximum number of connections, and of sessions, in the tables.
pub const CONNECTIONS: usize = 65_536;

/// How long an exchange waits for its session to be bound.
const BINDING_WAIT: Duration = Duration::from_secs(1);

/// How long after the close of a connection, or the exit of a process, events of it may still arrive.
const LINGER: Duration = Duration::from_millis(500);

/// How long a connection whose opening was never reported must be silent to be over.
const IMPLIED_SILENCE: Duration = Duration::from_secs(60);

/// Settings of the tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Settings of the HTTP parsers.
    pub http: http::Settings,
    /// Parse answers of name servers over TCP.
    pub reads_dns: bool,
    /// Report answers of name servers as connections.
    pub audit_dns: bool,
}

/// The tap.
#[derive(Debug, Default)]
pub struct Tap {
    /// By channel: that of the socket, or that of a session bound to none.
    conns: HashMap<Channel, Conn>,
    sessions: HashMap<SessionId, Session>,
    /// Sessions by process.
    by_pid: BTreeSet<(u32, SessionId)>,
    /// Sessions joined to a connection here, not yet returned by [`Tap::take_joined`].
    joined: Vec<SessionId>,
    /// Data whose session is not known yet.
    parts: Parts,
    /// Libraries whose found functions await confirmation by a call.
    trials: Trials,
    /// Observations that wait for facts about their containers.
    held: Held,
    common: Common,
}

impl Tap {
    /// Creates an empty tap.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let memory = Memory::new(settings.http.held_of_a_body());
        let leaves_some_alone = settings.http.wants.leaves_some_alone();
        let Settings { http, reads_dns, audit_dns } = settings;
        let http = Eras::new(Arc::new(http));
        let common = Common { http, memory, leaves_some_alone, reads_dns, audit_dns, ..Common::default() };
        Tap { common, ..Tap::default() }
    }

    /// Limits what all streams hold together to `bytes`, or the default bound if that is lower.
    pub fn hold_at_most(&mut self, bytes: usize) {
        self.common.memory.at_most(bytes);
    }

    /// Applies these settings to connections and sessions opened after `since`; the others keep theirs.
    pub fn begin(&mut self, settings: Settings, since: KernelTime) {
        let Settings { http, reads_dns, audit_dns } = settings;
        self.common.leaves_some_alone |= http.wants.leaves_some_alone();
        (self.common.reads_dns, self.common.audit_dns) = (reads_dns, audit_dns);
        self.common.http.begin(since, Arc::new(http));
    }

    /// Drops settings that no open connection or session uses any more; returns when each of them began to apply.
    pub fn ended_settings(&mut self) -> Vec<KernelTime> {
        if self.common.http.len() == 1 {
            return Vec::new();
        }
        let sessions = self.sessions.values().map(|session| session.opened);
        let open = self.conns.values().map(Conn::opened_at).chain(sessions);
        let over = self.common.http.over(open.chain(self.held.opened()));
        over.iter().for_each(|since| self.common.http.end(*since));
        over
    }

    /// Processes one event; appends the observations.
    pub fn on_event(&mut self, event: Event, out: &mut Vec<Observation>) {
        self.common.counters.event(&event);
        let (time, before) = (event.time(), out.len());
        let tick = if let Event::Tick(now) = event { Some(now) } else { None };
        if let Some(event) = self.hold_part(event, out) {
            self.take_event(event, out);
        }
        self.common.counters.unwanted(&mut self.common.sink);
        if let (true, Some(time)) = (self.common.memory.is_over(), time) {
            self.relieve(time, out);
        }
        self.hold_back(before, tick, out);
    }

    fn take_event(&mut self, event: Event, out: &mut Vec<Observation>) {
        match event {
            Event::Passed(passed) => self.on_passed(passed, out),
            Event::Skipped(skipped) => self.on_skipped(&skipped, out),
            Event::Datagram(datagram) => self.on_datagram(datagram, out),
            Event::Opened(opened) => self.on_opened(opened),
            Event::Progress(counts) => self.on_progress(&counts),
            Event::Closed(counts) => self.on_closed(&counts, out),
            Event::SessionOpened(opened) => self.on_session_opened(opened),
            Event::SessionHello(hello) => self.on_session_hello(&hello),
            Event::KernelTls(given) => self.on_kernel_tls(given),
            Event::Bound { session, conn, how, time } => self.on_bound(session, conn, how, time, out),
            Event::SessionClosed(counts) => self.on_session_closed(&counts, out),
            Event::Started(host) => self.common.host = host,
            Event::ProcessSeen(process) => {
                if !self.common.processes.seen(process) {
                    self.common.losses.add(Loss::ProcessUnknown, 0);
                }
            }
            Event::ContainerSeen(seen) => self.on_container(&seen, out),
            Event::ProcessGone { pid, time } => self.on_process_gone(pid, time),
            Event::Lost { reason, count, bytes, time: _ } => self.common.losses.add_many(reason, count, bytes),
            Event::Tick(now) => self.on_tick(now, out),
            // Handled by `hold_part`.
            Event::SessionJoined(_) => {}
        }
    }

    /// The agent stops: everything open is reported as far as it is known.
    pub fn finish(&mut self, now: KernelTime, out: &mut Vec<Observation>) {
        let before = out.len();
        let mut sessions: Vec<_> = self.sessions.values().map(|session| (session.opened, session.id)).collect();
        sessions.sort_unstable();
        for (_, session) in sessions {
            let home = self.sessions.get(&session).and_then(|session| self.conns.get(&session.home?));
            let still_open = home.is_none_or(|conn| conn.closed.is_none());
            self.end_session(session, None, now, still_open, out);
        }
        let mut conns: Vec<_> = self.conns.values().map(|conn| (conn.opened_at(), conn.key)).collect();
        conns.sort_unstable();
        for (_, conn) in conns {
            let still_open = self.conns.get(&conn).is_some_and(|conn| conn.closed.is_none());
            self.end_conn(conn, now, still_open, out);
        }
        self.common.counters.unwanted(&mut self.common.sink);
        self.hold_back(before, None, out);
        self.let_all_go(out);
    }

    /// Losses so far, on all connections and outside them.
    #[must_use]
    pub fn losses(&self) -> &Tally {
        &self.common.losses
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.common.counters
    }

    /// Channels that became unwanted since the last call: advice to the source.
    pub fn take_unwanted(&mut self) -> Vec<Channel> {
        std::mem::take(&mut self.common.unwanted)
    }

    /// Sessions that were joined to a connection here, not by the kernel, since the last call.
    pub fn take_joined(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.joined)
    }

    fn on_passed(&mut self, passed: Passed, out: &mut Vec<Observation>) {
        let (channel, pid, time, len) = (passed.channel, passed.pid, passed.time, passed.payload.len() as u64);
        match channel {
            Channel::Socket(_) => {
                if let Some(conn) = self.conns.get_mut(&channel) {
                    add(self.common.counters.bytes.of_mut(passed.direction), len);
                    return conn.on_passed(passed, &mut self.common, out);
                }
            }
            Channel::Session(id) => {
                self.join(id, time, out);
                if let Some(session) = self.sessions.get_mut(&id) {
                    let conn = session.home.and_then(|home| self.conns.get(&home));
                    session.on_passed(passed, conn, &mut self.common);
                    return self.deliver(id, time, out);
                }
            }
        }
        if self.imply(channel, pid, time) {
            self.on_passed(passed, out);
        } else {
            self.turn_away(channel, len);
        }
    }

    fn on_skipped(&mut self, skipped: &Skipped, out: &mut Vec<Observation>) {
        let Skipped { channel, direction, len, time, pid, .. } = *skipped;
        match channel {
            Channel::Socket(_) => {
                if let Some(conn) = self.conns.get_mut(&channel) {
                    add(self.common.counters.bytes.of_mut(direction), len);
                    return conn.on_skipped(skipped, &mut self.common, out);
                }
            }
            Channel::Session(id) => {
                self.join(id, time, out);
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.on_skipped(skipped, &mut self.common);
                    return self.deliver(id, time, out);
                }
            }
        }
        if self.imply(channel, pid, time) {
            self.on_skipped(skipped, out);
        } else {
            self.turn_away(channel, len);
        }
    }

    /// Adds a channel whose opening was never reported; false: the table is full, or the channel is known to have ended.
    fn imply(&mut self, channel: Channel, pid: u32, time: KernelTime) -> bool {
        if self.common.ended.contains(channel) {
            return false;
        }
        match channel {
            Channel::Socket(_) => {
                let conn = Conn::implied(channel, pid, time, &self.common);
                let added = self.add_conn(conn);
                if added {
                    self.common.deadlines.add(time.plus(IMPLIED_SILENCE), Due::Finish(channel));
                }
                added
            }
            Channel::Session(session) => {
                let added = self.add_session(SessionOpened {
                    session,
                    time,
                    pid,
                    library: None,
                    joined_late: true,
                    is_part: false,
                    on_trial: None,
                });
                self.sessions.get_mut(&session).into_iter().for_each(|session| session.implied = true);
                added
            }
        }
    }

    /// Counts bytes that no connection or session takes.
    fn turn_away(&mut self, channel: Channel, bytes: u64) {
        let late = self.common.ended.contains(channel);
        self.common.losses.add(if late { Loss::Unaccounted } else { Loss::StreamTableFull }, bytes);
    }

    fn on_tick(&mut self, now: KernelTime, out: &mut Vec<Observation>) {
        self.common.processes.on_tick(now);
        while let Some((time, due)) = self.common.deadlines.pop(now) {
            match due {
                Due::Look(channel) => {
                    self.look_passed(channel);
                    self.on_look(channel, now, out);
                }
                Due::Unbound(session) => self.on_unbound(session, now, out),
                Due::Part(part) => self.parts.give_up(part),
                Due::ProcessEnd(pid) => self.on_process_end(pid, time, now, out),
                Due::Finish(channel) => self.on_finish(channel, now, out),
                Due::Report(channel) => self.on_report(channel, time, now, out),
            }
        }
    }

    fn look_passed(&mut self, channel: Channel) {
        match channel {
            Channel::Socket(_) => self.conns.get_mut(&channel).into_iter().for_each(Conn::look_passed),
            Channel::Session(id) => self.sessions.get_mut(&id).into_iter().for_each(Session::look_passed),
        }
    }

    fn on_look(&mut self, channel: Channel, now: KernelTime, out: &mut Vec<Observation>) {
        match channel {
            Channel::Socket(_) => {
                if let Some(conn) = self.conns.get_mut(&channel) {
                    conn.on_look(now, &mut self.common, out);
                }
            }
            Channel::Session(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.on_look(now, &mut self.common);
                    self.deliver(id, now, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
