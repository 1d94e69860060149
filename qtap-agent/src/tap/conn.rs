//! One connection: what is known of it, what its socket carried, and what became of that.
//!
//! ```text
//!             first bytes are no TLS record      HTTP/1, HTTP/2: the parser's affair
//! Undecided ───────────────────────────────▶ Plain
//!     └──────────────────────────────────────▶ Tls ──▶ hellos read; plaintext comes on the sessions bound to it
//!             a TLS record, or ciphertext
//! ```

use std::sync::Arc;

use super::common::Common;
use super::conservation::{Sealed, carried, misfit, unaccounted};
use super::deadlines::Due;
use super::handshake::Handshake;
use super::losses::Losses;
use super::pair::Pair;
use super::session::Share;
use super::stream::{Begin, LOOK_INTERVAL, Stream};
use super::uid::connection_uid;
use crate::model::conn::{Binding, Channel, ConnFacts, Direction, Protocol, Role, SessionId, TlsFacts, Transport};
use crate::model::conn::{ConnId, Endpoint};
use crate::model::event::{Count, Opened, Passed, Skip, Skipped};
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::loss::Loss;
use crate::model::observation::{ExchangeSeen, Observation};
use crate::model::process::Process;
use crate::model::time::KernelTime;
use crate::stream::hello::{Hello, is_tls};

/// Bits of an exchange's number that are its ordinal on its channel.
const ORDINAL_BITS: u32 = 40;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) key: Channel,
    facts: Arc<ConnFacts>,
    /// The process of the last event; the facts follow when they are told.
    pid: u32,
    /// The last that was known of it.
    process: Option<Arc<Process>>,
    socket: Socket,
    /// What the events told of the socket.
    own: Pair<Count>,
    /// What the kernel counted.
    counts: Option<Pair<Count>>,
    /// Sessions bound to it that live.
    pub(super) sessions: Vec<SessionId>,
    /// Share of the sessions that ended, and what was lost beside all channels.
    pub(super) done: Share,
    pub(super) requests: u64,
    pub(super) authority: Option<String>,
    /// Channels that told an exchange.
    pub(super) channels: u64,
    /// Number of the next report, and when it is due.
    pub(super) part: u32,
    pub(super) next_report: KernelTime,
    /// When it was closed, while what belongs to it may still come.
    pub(super) closed: Option<KernelTime>,
    /// True when its opening was never told: it ends when it falls silent.
    pub(super) implied: bool,
    /// Time of the last event.
    pub(super) last: KernelTime,
}

/// What the socket's bytes are.
#[derive(Debug)]
enum Socket {
    /// Nothing wanted was seen; offsets up to which nothing was wanted.
    Undecided(Pair<u64>),
    /// Plaintext.
    Plain(Box<Stream>),
    /// TLS; none once both hellos were read.
    Tls(Option<Box<Handshake>>),
}

impl Conn {
    /// A connection whose opening was told.
    pub(super) fn opened(opened: Opened, common: &Common) -> Self {
        let key = Channel::Socket(opened.conn);
        let facts = ConnFacts {
            uid: connection_uid(&common.host, key, opened.time),
            opened: opened.time,
            pid: opened.pid,
            transport: opened.transport,
            local: opened.local,
            peer: opened.peer,
            role: opened.role,
            tls: None,
            protocol: Protocol::Unknown,
            binding: None,
            joined_late: opened.joined_late,
        };
        Conn {
            key,
            pid: facts.pid,
            last: facts.opened,
            process: common.processes.get(facts.pid).cloned(),
            facts: Arc::new(facts),
            socket: Socket::Undecided(Pair::default()),
            own: Pair::default(),
            counts: None,
            sessions: Vec::new(),
            done: Share::default(),
            requests: 0,
            authority: None,
            channels: 0,
            part: 0,
            next_report: KernelTime(0),
            closed: None,
            implied: false,
        }
    }

    /// A connection of which bytes came but no opening, or a session's own that has no other.
    pub(super) fn implied(key: Channel, pid: u32, time: KernelTime, common: &Common) -> Self {
        let opened = Opened {
            conn: ConnId(0),
            time,
            pid,
            transport: Transport::Unknown,
            local: Endpoint::Unknown,
            peer: Endpoint::Unknown,
            role: Role::Unknown,
            joined_late: true,
        };
        let mut conn = Conn::opened(opened, common);
        conn.key = key;
        conn.implied = matches!(key, Channel::Socket(_));
        let facts = Arc::make_mut(&mut conn.facts);
        facts.uid = connection_uid(&common.host, key, time);
        if matches!(key, Channel::Session(_)) {
            facts.joined_late = false;
            facts.tls = Some(TlsFacts::default());
            facts.binding = Some(Binding::None);
        }
        conn
    }

    /// Its opening is told after all.
    pub(super) fn explain(&mut self, opened: Opened) {
        if std::mem::take(&mut self.implied) {
            let facts = Arc::make_mut(&mut self.facts);
            facts.transport = opened.transport;
            facts.local = opened.local;
            facts.peer = opened.peer;
            facts.role = opened.role;
        }
        self.pid = opened.pid;
    }

    pub(super) fn joined_late(&self) -> bool {
        self.facts.joined_late
    }

    pub(super) fn opened_at(&self) -> KernelTime {
        self.facts.opened
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// True when TLS was recognised on the socket.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    pub(super) fn is_inspected(&self) -> bool {
        self.facts.tls.as_ref().is_some_and(|tls| tls.inspected)
    }

    /// The counts to report: the kernel's, but never less than what the events told.
    pub(super) fn counts(&self) -> Pair<Count> {
        let Some(mut counts) = self.counts else { return self.own };
        for direction in [Direction::Sent, Direction::Received] {
            let count = counts.of_mut(direction);
            count.carried = count.carried.max(self.own.of(direction).carried);
        }
        counts
    }

    /// The kernel's counts.
    pub(super) fn set_counts(&mut self, sent: Count, received: Count) {
        self.counts = Some(Pair { sent, received });
    }

    /// Bytes passed at the socket.
    #[inline]
    pub(super) fn on_passed(&mut self, passed: Passed, common: &mut Common, out: &mut Vec<Observation>) {
        let Passed { direction, offset, time, pid, payload, .. } = passed;
        (self.pid, self.last) = (pid, time);
        let own = self.own.of_mut(direction);
        own.carried += payload.len() as u64;
        own.copied += payload.len() as u64;
        if matches!(self.socket, Socket::Undecided(_)) {
            self.decide(is_tls(&payload), common);
        }
        match &mut self.socket {
            Socket::Plain(stream) => {
                stream.on_bytes(direction, offset, payload, time, pid, &mut common.sink);
                self.settle(common, time, out);
            }
            Socket::Tls(Some(handshake)) => {
                let hello = handshake.read(direction, offset, &payload);
                let over = handshake.is_over();
                self.on_hello(hello, over);
            }
            Socket::Tls(None) | Socket::Undecided(_) => {}
        }
    }

    /// Bytes passed at the socket that were not copied.
    pub(super) fn on_skipped(&mut self, skipped: &Skipped, common: &mut Common, out: &mut Vec<Observation>) {
        let Skipped { direction, offset, len, why, time, pid, .. } = *skipped;
        (self.pid, self.last) = (pid, time);
        self.count_skipped(direction, len, why);
        match (&mut self.socket, why) {
            (Socket::Undecided(wanted), Skip::Unwanted) => {
                let wanted = wanted.of_mut(direction);
                if *wanted == offset {
                    *wanted = offset.saturating_add(len);
                    return;
                }
                self.decide(false, common);
            }
            (Socket::Undecided(_), Skip::Lost(_)) => self.decide(false, common),
            (Socket::Undecided(_), Skip::Encrypted) => self.decide(true, common),
            (Socket::Plain(_), Skip::Encrypted) => {
                self.tls();
            }
            (Socket::Tls(Some(handshake)), Skip::Encrypted | Skip::Unwanted | Skip::Lost(_)) => {
                handshake.give_up(direction);
                let over = handshake.is_over();
                self.on_hello(None, over);
            }
            (Socket::Plain(_), Skip::Unwanted | Skip::Lost(_)) | (Socket::Tls(None), _) => {}
        }
        match (&mut self.socket, why) {
            (Socket::Plain(stream), _) => {
                stream.on_skipped(skipped, &mut common.sink);
                self.settle(common, time, out);
            }
            (Socket::Tls(_), Skip::Lost(loss)) => {
                self.done.losses.add(loss, len);
                common.losses.add(loss, len);
            }
            (Socket::Tls(_), Skip::Unwanted | Skip::Encrypted) | (Socket::Undecided(_), _) => {}
        }
    }

    fn count_skipped(&mut self, direction: Direction, len: u64, why: Skip) {
        let own = self.own.of_mut(direction);
        own.carried = own.carried.saturating_add(len);
        let part = match why {
            Skip::Encrypted => &mut own.encrypted,
            Skip::Unwanted => &mut own.unwanted,
            Skip::Lost(_) => &mut own.lost,
        };
        *part = part.saturating_add(len);
    }

    /// What the socket carries is known now.
    fn decide(&mut self, tls: bool, common: &Common) {
        let Socket::Undecided(wanted) = &self.socket else { return };
        if tls {
            self.socket = Socket::Tls(Some(Box::default()));
            let facts = Arc::make_mut(&mut self.facts);
            facts.protocol = Protocol::Tls;
            facts.binding.get_or_insert(Binding::None);
            self.tls();
        } else {
            let late = self.facts.joined_late;
            let begin = |offset: u64| Begin { offset, unknown: late };
            let begin = Pair { sent: begin(wanted.sent), received: begin(wanted.received) };
            self.socket = Socket::Plain(Box::new(Stream::new(&common.http, late, begin)));
        }
    }

    fn tls(&mut self) -> &mut TlsFacts {
        Arc::make_mut(&mut self.facts).tls.get_or_insert_default()
    }

    fn on_hello(&mut self, hello: Option<Hello>, over: bool) {
        match hello {
            Some(Hello::Client { server_name }) => self.tls().sni = server_name,
            Some(Hello::Server { version, alpn }) => {
                let tls = self.tls();
                (tls.version, tls.alpn) = (version, alpn);
            }
            None => {}
        }
        if over {
            self.socket = Socket::Tls(None);
        }
    }

    /// A session is joined to it.
    pub(super) fn bind(&mut self, session: SessionId, how: Binding) {
        if !self.sessions.contains(&session) {
            self.sessions.push(session);
        }
        let facts = Arc::make_mut(&mut self.facts);
        facts.tls.get_or_insert_default();
        if matches!(facts.binding, None | Some(Binding::None)) {
            facts.binding = Some(how);
        }
    }

    /// Plaintext of a session of its own was seen.
    pub(super) fn inspect(&mut self, library: Option<&str>) {
        let tls = self.tls();
        tls.inspected = true;
        tls.uninspected_reason = None;
        if tls.library.is_none() {
            tls.library = library.map(str::to_owned);
        }
    }

    /// Says why no plaintext was seen.
    pub(super) fn set_uninspected_reason(&mut self, reason: &str) {
        let same = |tls: &TlsFacts| tls.uninspected_reason.as_deref() == Some(reason);
        if self.facts.tls.as_ref().is_some_and(|tls| !tls.inspected && !same(tls)) {
            self.tls().uninspected_reason = Some(reason.to_owned());
        }
    }

    /// Tells an exchange. `slot`: number of its channel on this connection.
    pub(super) fn export(
        &mut self,
        exchange: HttpExchange,
        slot: u64,
        observed: KernelTime,
        common: &mut Common,
        out: &mut Vec<Observation>,
    ) {
        self.learn(&exchange);
        let conn = self.facts(common);
        let process = match common.processes.get(exchange.pid) {
            Some(process) => Some(process.clone()),
            None if exchange.pid == self.pid => self.process.clone(),
            None => None,
        };
        if process.is_none() {
            common.losses.add(Loss::ProcessUnknown, 0);
        }
        let ordinal = exchange.ordinal & ((1 << ORDINAL_BITS) - 1);
        self.requests += 1;
        common.counters.exchanges += 1;
        out.push(Observation::Exchange(Box::new(ExchangeSeen {
            host: common.host.clone(),
            conn,
            process,
            number: slot << ORDINAL_BITS | ordinal,
            exchange: Exchange::Http(Box::new(exchange)),
            observed,
        })));
    }

    /// What an exchange tells of its connection.
    fn learn(&mut self, exchange: &HttpExchange) {
        if self.authority.is_none() {
            self.authority = exchange.request.as_ref().and_then(|request| request.authority.clone());
        }
        if self.facts.role == Role::Unknown {
            let role = if exchange.outgoing { Role::Client } else { Role::Server };
            Arc::make_mut(&mut self.facts).role = role;
        }
        self.set_protocol(exchange.protocol);
    }

    fn set_protocol(&mut self, protocol: Protocol) {
        if protocol == Protocol::Unknown {
            return;
        }
        if self.facts.protocol != protocol {
            Arc::make_mut(&mut self.facts).protocol = protocol;
        }
        let alpn = match protocol {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 | Protocol::Grpc => "h2",
            Protocol::Unknown | Protocol::Tls => return,
        };
        if self.facts.tls.as_ref().is_some_and(|tls| tls.alpn.is_none()) {
            self.tls().alpn = Some(alpn.to_owned());
        }
    }

    /// What is known of it, to be told.
    pub(super) fn facts(&mut self, common: &Common) -> Arc<ConnFacts> {
        if self.facts.pid != self.pid {
            Arc::make_mut(&mut self.facts).pid = self.pid;
            self.process = None;
        }
        if let Some(process) = common.processes.get(self.pid) {
            self.process = Some(process.clone());
        }
        self.facts.clone()
    }

    /// Its process, as known when the facts were last told.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.process.clone()
    }

    /// The deadline for a look has passed.
    pub(super) fn look_passed(&mut self) {
        if let Socket::Plain(stream) = &mut self.socket {
            stream.look_passed();
        }
    }

    /// Time passed.
    pub(super) fn on_look(&mut self, now: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        let counts = self.counts();
        if let Socket::Plain(stream) = &mut self.socket {
            stream.on_look(now, &counts, &mut common.sink);
            self.settle(common, now, out);
        }
    }

    /// True when, by the kernel's counts, bytes of the socket are still to come.
    pub(super) fn lacks(&self) -> bool {
        match (&self.socket, &self.counts) {
            (Socket::Plain(stream), Some(counts)) => stream.lacks(counts) || stream.has_hole(),
            (Socket::Plain(_) | Socket::Undecided(_) | Socket::Tls(_), _) => false,
        }
    }

    /// Nothing comes any more at the socket. With final counts the sums must meet them.
    pub(super) fn on_close(
        &mut self,
        time: KernelTime,
        still_open: bool,
        common: &mut Common,
        out: &mut Vec<Observation>,
    ) {
        let counts = self.counts.filter(|_| self.closed.is_some() && matches!(self.key, Channel::Socket(_)));
        if let (Socket::Undecided(_), Some(counts)) = (&self.socket, &counts)
            && self.lacks_all(counts)
        {
            self.decide(false, common);
        }
        match (&mut self.socket, counts) {
            (Socket::Plain(stream), counts) => {
                stream.on_close(time, counts.as_ref(), still_open, &mut common.sink);
                self.settle(common, time, out);
                if let Socket::Plain(stream) = &mut self.socket {
                    stream.balance(counts.as_ref(), &mut common.losses);
                }
            }
            (Socket::Tls(_), Some(counts)) => self.balance_sealed(&counts, common),
            (Socket::Tls(_), None) | (Socket::Undecided(_), _) => {}
        }
    }

    /// True when bytes were carried of which none came.
    fn lacks_all(&self, counts: &Pair<Count>) -> bool {
        [Direction::Sent, Direction::Received].into_iter().any(|direction| {
            let count = counts.of(direction);
            carried(count) > count.unwanted.max(self.own.of(direction).unwanted).saturating_add(count.encrypted)
        })
    }

    /// After the last session ended: what a TLS connection carried must meet the kernel's count, and fit its plaintext.
    fn balance_sealed(&mut self, counts: &Pair<Count>, common: &mut Common) {
        let mut missing = 0;
        for direction in [Direction::Sent, Direction::Received] {
            let count = counts.of(direction);
            missing += unaccounted(carried(count), count.carried);
            if self.is_inspected() && !self.done.partial {
                missing += misfit(Sealed {
                    ciphertext: carried(count),
                    plaintext: *self.done.plaintext.of(direction),
                    calls: *self.done.calls.of(direction),
                    joined_late: self.facts.joined_late,
                });
            }
        }
        if missing > 0 {
            self.done.losses.add(Loss::Unaccounted, missing);
            common.losses.add(Loss::Unaccounted, missing);
        }
    }

    /// What the channel of the socket, and the sessions that ended, add up to.
    pub(super) fn share(&self) -> (u64, Losses) {
        let (mut captured, mut losses) = (self.done.captured, self.done.losses.clone());
        if let Socket::Plain(stream) = &self.socket {
            captured += stream.captured;
            losses.absorb(&stream.losses);
        }
        (captured, losses)
    }

    /// Takes what the sink holds of the socket's channel: sums to the stream, exchanges out.
    #[inline]
    fn settle(&mut self, common: &mut Common, time: KernelTime, out: &mut Vec<Observation>) {
        let Socket::Plain(stream) = &mut self.socket else { return };
        stream.settle(&mut common.sink, &mut common.losses);
        if stream.wants_look() {
            common.deadlines.add(time.plus(LOOK_INTERVAL), Due::Look(self.key));
        }
        if !common.sink.exchanges.is_empty() {
            let (slot, protocol) = (stream.slot(&mut self.channels), stream.protocol());
            self.set_protocol(protocol);
            let mut exchanges = std::mem::take(&mut common.sink.exchanges);
            for exchange in exchanges.drain(..) {
                self.export(exchange, slot, time, common, out);
            }
            common.sink.exchanges = exchanges;
        }
    }
}
