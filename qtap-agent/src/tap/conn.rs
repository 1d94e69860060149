//! One connection: what is known of it, what its socket carried, and how that was handled.
//!
//! ```text
//!             first bytes are not a TLS record   HTTP/1, HTTP/2: left to the parser
//! Undecided ───────────────────────────────▶ Plain
//!     └──────────────────────────────────────▶ Tls ──▶ hellos parsed; plaintext comes on the sessions bound to it
//!             a TLS record, or ciphertext
//! ```

use std::sync::Arc;

use super::advice::Quiet;
use super::common::Common;
use super::deadlines::Due;
use super::greetings::Greeting;
use super::handshake::Handshake;
use super::pair::{Pair, add};
use super::session::Share;
use super::stream::{Begin, LOOK_INTERVAL, Stream};
use super::tunnel::Tunnel;
use super::uid::connection_uid;
use crate::dns::Frames;
use crate::model::conn::{Binding, Channel, ConnFacts, Direction, Protocol, Role, SessionId, TlsFacts, Transport};
use crate::model::conn::{ConnId, Endpoint, Random};
use crate::model::dns::DnsAnswer;
use crate::model::event::{Count, Opened, Passed, Skip, Skipped};
use crate::model::message::Version;
use crate::model::observation::Observation;
use crate::model::process::Process;
use crate::model::route::{Appetite, Facts};
use crate::model::time::KernelTime;
use crate::stream::hello::{Hello, Place, is_tls};

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) key: Channel,
    pub(super) facts: Arc<ConnFacts>,
    /// The process of the last event; the facts are updated when they are reported.
    pub(super) pid: u32,
    /// What was last known of that process.
    pub(super) process: Option<Arc<Process>>,
    pub(super) socket: Socket,
    /// Totals of the events of the socket.
    pub(super) own: Pair<Count>,
    /// The kernel's counts.
    pub(super) counts: Option<Pair<Count>>,
    /// Live sessions bound to it.
    pub(super) sessions: Vec<SessionId>,
    /// Totals of the ended sessions, and losses outside all channels.
    pub(super) done: Share,
    pub(super) requests: u64,
    pub(super) authority: Option<String>,
    /// HTTP version of the last reported exchange.
    pub(super) version: Option<Version>,
    /// The last answer of a name server, if those are reported.
    pub(super) dns: Option<Arc<DnsAnswer>>,
    /// Number of channels that reported an exchange.
    pub(super) channels: u64,
    /// Number of the next report, and when it is due.
    pub(super) part: u32,
    pub(super) next_report: KernelTime,
    /// When it was closed, while more of it may still arrive.
    pub(super) closed: Option<KernelTime>,
    /// True if its opening was never reported: it ends when it falls silent.
    pub(super) implied: bool,
    /// Time of the last event.
    pub(super) last: KernelTime,
    pub(super) quiet: Quiet,
    /// The hellos that passed on its socket.
    pub(super) greetings: Pair<Option<Greeting>>,
    /// Hellos that followed plaintext; `None` before the first.
    pub(super) tunnel: Option<Box<Tunnel>>,
}

/// The kind of bytes on the socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// Nothing wanted has been seen; the offsets up to which nothing was wanted.
    Undecided(Pair<u64>),
    /// Plaintext.
    Plain(Box<Stream>),
    /// TLS; `None` once both hellos were parsed.
    Tls(Option<Box<Handshake>>),
    /// Answers of a name server.
    Dns(Box<Frames>),
}

impl Conn {
    /// A connection whose opening was reported.
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
            domain: None,
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
            version: None,
            dns: None,
            channels: 0,
            part: 0,
            next_report: KernelTime(0),
            closed: None,
            implied: false,
            quiet: Quiet::default(),
            greetings: Pair::default(),
            tunnel: None,
        }
    }

    /// A connection of which bytes arrived but no opening, or one made for a session that is bound to none.
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

    /// Its opening is reported after all.
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

    /// True if TLS was recognised on the socket.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// True if TLS was recognised on it, from its beginning or after plaintext (CONNECT).
    pub(super) fn carries_tls(&self) -> bool {
        self.is_tls() || self.own.sent.encrypted > 0 || self.own.received.encrypted > 0
    }

    pub(super) fn is_inspected(&self) -> bool {
        self.facts.tls.as_ref().is_some_and(|tls| tls.inspected)
    }

    /// The counts to report: the kernel's, but never less than the totals of the events.
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

    /// Bytes passed on the socket.
    #[inline]
    pub(super) fn on_passed(&mut self, passed: Passed, common: &mut Common, out: &mut Vec<Observation>) {
        let Passed { direction, offset, time, pid, payload, .. } = passed;
        (self.pid, self.last) = (pid, time);
        let own = self.own.of_mut(direction);
        add(&mut own.carried, payload.len() as u64);
        add(&mut own.copied, payload.len() as u64);
        if matches!(self.socket, Socket::Undecided(_)) && !payload.is_empty() {
            let place = match (self.facts.joined_late, offset) {
                (true, _) => Place::Middle,
                (false, 0) => Place::Beginning,
                (false, _) => Place::BehindLoss,
            };
            self.decide(is_tls(&payload, place), common);
        }
        if matches!(self.socket, Socket::Plain(_)) && Tunnel::wants(self.tunnel.as_deref(), direction, &payload) {
            let random = self.tunnel.get_or_insert_default().read(direction, offset, &payload);
            random.into_iter().for_each(|random| self.greeted(direction, random, common));
        }
        match &mut self.socket {
            Socket::Dns(_) => self.on_answers(direction, offset, &payload, common),
            Socket::Plain(stream) => {
                stream.meet(&common.host, &self.facts, common.processes.get(pid));
                stream.on_bytes(direction, offset, payload, time, pid, &mut common.sink);
                self.settle(common, time, out);
            }
            Socket::Tls(Some(handshake)) => {
                let hello = handshake.read(direction, offset, &payload);
                let over = handshake.is_over();
                self.on_hello(direction, hello, over, common);
            }
            Socket::Tls(None) | Socket::Undecided(_) => {}
        }
    }

    /// Bytes passed on the socket that were not copied.
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
            (Socket::Plain(stream), Skip::Encrypted) => {
                let was_lost = stream.says_nothing();
                self.tls();
                if was_lost {
                    self.seal(time, common, out);
                }
            }
            (Socket::Tls(Some(handshake)), Skip::Encrypted | Skip::Unwanted | Skip::Lost(_)) => {
                let hello = handshake.give_up(direction);
                let over = handshake.is_over();
                self.on_hello(direction, hello, over, common);
            }
            (Socket::Plain(_), Skip::Unwanted | Skip::Lost(_)) | (Socket::Tls(None) | Socket::Dns(_), _) => {}
        }
        match (&mut self.socket, why) {
            (Socket::Plain(stream), _) => {
                stream.on_skipped(skipped, &mut common.sink);
                add(&mut common.counters.unwanted_bytes, stream.take_avoided());
                self.settle(common, time, out);
            }
            (Socket::Tls(_) | Socket::Dns(_), Skip::Lost(loss)) => {
                self.done.losses.add(loss, len);
                common.losses.add(loss, len);
            }
            (Socket::Tls(_) | Socket::Dns(_), Skip::Unwanted | Skip::Encrypted) | (Socket::Undecided(_), _) => {}
        }
    }

    fn count_skipped(&mut self, direction: Direction, len: u64, why: Skip) {
        let own = self.own.of_mut(direction);
        add(&mut own.carried, len);
        let part = match why {
            Skip::Encrypted => &mut own.encrypted,
            Skip::Unwanted => &mut own.unwanted,
            Skip::Lost(_) => &mut own.lost,
        };
        add(part, len);
    }

    /// What was taken for plaintext was only a hole where the hello should be.
    fn seal(&mut self, time: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        if let Socket::Plain(stream) = &mut self.socket {
            stream.on_close(time, None, false, &mut common.sink);
            self.settle(common, time, out);
        }
        if let Socket::Plain(stream) = std::mem::replace(&mut self.socket, Socket::Undecided(Pair::default())) {
            self.done.captured = stream.captured;
            self.done.losses.absorb(&stream.losses);
        }
        self.decide(true, common);
        self.socket = Socket::Tls(None);
    }

    /// Sets what the socket carries, now that it is known.
    pub(super) fn decide(&mut self, tls: bool, common: &Common) {
        let Socket::Undecided(wanted) = &self.socket else { return };
        if tls {
            self.socket = Socket::Tls(Some(Box::default()));
            let facts = Arc::make_mut(&mut self.facts);
            facts.protocol = Protocol::Tls;
            facts.binding.get_or_insert(Binding::None);
            self.tls();
        } else if self.asks_names(common) {
            self.socket = Socket::Dns(Box::default());
            Arc::make_mut(&mut self.facts).protocol = Protocol::Dns;
        } else {
            let late = self.facts.joined_late;
            let begin = |offset: u64| Begin { offset, unknown: self.implied };
            let begin = Pair { sent: begin(wanted.sent), received: begin(wanted.received) };
            let mut stream = Box::new(Stream::new(common.http.of(self.facts.opened), &common.memory, late, begin));
            stream.on_appetite(self.appetite(common));
            self.socket = Socket::Plain(stream);
        }
    }

    /// What its stack wants, as far as the known facts decide that.
    pub(super) fn appetite(&self, common: &Common) -> Appetite {
        let process = common.processes.get(self.pid).or(self.process.as_ref());
        let wants = &common.http.of(self.facts.opened).wants;
        wants.appetite_of(&Facts::of(&self.facts, process.map(|process| &**process), None))
    }

    /// The TLS facts; from now on it is a TLS connection.
    pub(super) fn tls(&mut self) -> &mut TlsFacts {
        Arc::make_mut(&mut self.facts).tls.get_or_insert_default()
    }

    fn on_hello(&mut self, direction: Direction, hello: Option<Hello>, over: bool, common: &mut Common) {
        match hello {
            Some(Hello::Client { server_name, random }) => {
                self.tls().sni = server_name;
                self.greeted(direction, random, common);
            }
            Some(Hello::Server { version, alpn, random }) => {
                let tls = self.tls();
                (tls.version, tls.alpn) = (version, alpn);
                self.greeted(direction, random, common);
            }
            None => {}
        }
        if over {
            self.socket = Socket::Tls(None);
        }
    }

    /// A hello passed on its socket: a session with the same hello belongs to this connection.
    fn greeted(&mut self, direction: Direction, random: Random, common: &mut Common) {
        let (Channel::Socket(conn), pid) = (self.key, self.pid) else { return };
        if self.greetings.of(direction).is_none() {
            let greeting = Greeting { pid, direction, random };
            *self.greetings.of_mut(direction) = Some(greeting);
            common.greetings.add(greeting, conn);
        }
    }

    /// The deadline of a check has passed.
    pub(super) fn look_passed(&mut self) {
        if let Socket::Plain(stream) = &mut self.socket {
            stream.look_passed();
        }
    }

    /// Checks what waits in the socket's channel at `now`.
    pub(super) fn on_look(&mut self, now: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        let counts = self.counts();
        if let Socket::Plain(stream) = &mut self.socket {
            stream.on_look(now, &counts, &mut common.sink);
            self.settle(common, now, out);
        }
    }

    /// Bytes of memory held by the socket's channel.
    pub(super) fn held(&self) -> usize {
        match &self.socket {
            Socket::Plain(stream) => stream.held(),
            Socket::Undecided(_) | Socket::Tls(_) | Socket::Dns(_) => 0,
        }
    }

    /// Releases what the socket's channel holds; what follows counts as another channel.
    pub(super) fn shed(&mut self, now: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        if let Socket::Plain(stream) = &mut self.socket {
            stream.shed(now, &mut common.sink);
        }
        self.settle(common, now, out);
        if let Socket::Plain(stream) = &mut self.socket {
            stream.leave();
        }
    }

    /// The protocol, as far as the parser of the socket's bytes knows it.
    pub(super) fn socket_protocol(&self) -> Protocol {
        match &self.socket {
            Socket::Plain(stream) => stream.protocol(),
            Socket::Undecided(_) | Socket::Tls(_) | Socket::Dns(_) => Protocol::Unknown,
        }
    }

    /// Takes the sink's contents for the socket's channel: sums go to the stream, exchanges out.
    #[inline]
    pub(super) fn settle(&mut self, common: &mut Common, time: KernelTime, out: &mut Vec<Observation>) {
        let Socket::Plain(stream) = &mut self.socket else { return };
        stream.settle(&mut common.sink, &mut common.losses);
        if stream.wants_look() {
            common.deadlines.add(time.plus(LOOK_INTERVAL), Due::Look(self.key));
        }
        if !common.sink.exchanges.is_empty() {
            let (slot, protocol) = (stream.slot(&mut self.channels), stream.protocol());
            self.set_protocol(protocol);
            let mut exchanges = std::mem::take(&mut common.sink.exchanges);
            for mut exchange in exchanges.drain(..) {
                // It was sent in the clear, even if the connection has switched to TLS since (CONNECT).
                if let (Some(_), Some(request)) = (&self.facts.tls, &mut exchange.request) {
                    request.scheme.get_or_insert_with(|| "http".to_owned());
                }
                self.export(exchange, slot, time, common, out);
            }
            common.sink.exchanges = exchanges;
            self.leave_alone_if_quiet(time, common, out);
        }
    }
}
