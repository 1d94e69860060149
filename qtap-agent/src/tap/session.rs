//! One TLS session: its plaintext, and the connection it belongs to once that is known.

use super::common::Common;
use super::conn::Conn;
use super::conservation::carried;
use super::deadlines::Due;
use super::greetings::Greeting;
use super::losses::Losses;
use super::memory::{Memory, Share as Held};
use super::pair::{Pair, add};
use super::stream::{Begin, LOOK_INTERVAL, Stream};
use crate::model::conn::{Binding, Channel, Direction, Protocol, SessionId};
use crate::model::event::{Count, Passed, SessionOpened, Skipped};
use crate::model::exchange::HttpExchange;
use crate::model::message::{Body, Field, Fields};
use crate::model::observation::Observation;
use crate::model::route::Appetite;
use crate::model::time::KernelTime;

/// Maximum number of exchanges held for a session whose connection is unknown; the next one ends the wait.
pub(super) const HELD_EXCHANGES: usize = 32;

/// A TLS session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) opened: KernelTime,
    /// The process of the last call.
    pub(super) pid: u32,
    /// The process that first used it.
    pub(super) opener: u32,
    pub(super) library: Option<String>,
    /// The library's number, if a connection has yet to confirm it.
    pub(super) on_trial: Option<u32>,
    /// The connection that its exchanges belong to: that of the socket, or one of its own.
    pub(super) home: Option<Channel>,
    pub(super) how: Binding,
    /// True once the connection has been informed that plaintext was seen.
    pub(super) told: bool,
    /// True if its connection was joined mid-stream.
    pub(super) joined_late: bool,
    /// True if it was first seen after its handshake.
    pub(super) begun_before: bool,
    /// True if its opening was never reported: the offset at which it begins is unknown.
    pub(super) implied: bool,
    /// True if another session was in progress on its connection when it was bound: it may run inside that one.
    pub(super) inside: bool,
    /// The hellos it wrote and read, if they passed through memory.
    pub(super) greetings: Pair<Option<Greeting>>,
    /// What the stack of its connection wants; `None` before it has one.
    appetite: Option<Appetite>,
    /// `None` before the first bytes.
    stream: Option<Box<Stream>>,
    /// Totals of the plaintext events.
    own: Pair<Count>,
    /// Exchanges that wait for a connection.
    pub(super) held: Vec<HttpExchange>,
    /// Memory held by those.
    waiting: Option<Held>,
    /// True if the stream was restarted on another connection: the final counts then cover more than this stream.
    restarted: bool,
}

/// A session's contribution to the sums of its connection.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) captured: u64,
    pub(super) losses: Losses,
    pub(super) plaintext: Pair<u64>,
    /// The same for sessions that may run inside another one (behind a proxy addressed over TLS).
    pub(super) inside: Pair<u64>,
    pub(super) calls: Pair<u64>,
    /// True if the plaintext is only part of what went through the socket.
    pub(super) partial: bool,
}

impl Share {
    /// Adds another share.
    pub(super) fn absorb(&mut self, other: &Share) {
        add(&mut self.captured, other.captured);
        self.losses.absorb(&other.losses);
        for direction in [Direction::Sent, Direction::Received] {
            add(self.plaintext.of_mut(direction), *other.plaintext.of(direction));
            add(self.inside.of_mut(direction), *other.inside.of(direction));
            add(self.calls.of_mut(direction), *other.calls.of(direction));
        }
        self.partial |= other.partial;
    }
}

impl Session {
    pub(super) fn new(opened: SessionOpened) -> Self {
        Session {
            id: opened.session,
            opened: opened.time,
            pid: opened.pid,
            opener: opened.pid,
            library: opened.library,
            on_trial: opened.on_trial,
            home: None,
            how: Binding::None,
            told: false,
            joined_late: opened.joined_late,
            begun_before: opened.joined_late,
            implied: false,
            inside: false,
            greetings: Pair::default(),
            appetite: None,
            stream: None,
            own: Pair::default(),
            held: Vec::new(),
            waiting: None,
            restarted: false,
        }
    }

    /// True once plaintext, copied or not, was seen.
    pub(super) fn is_inspected(&self) -> bool {
        self.own.sent.carried > 0 || self.own.received.carried > 0
    }

    /// Plaintext so far, by the events.
    pub(super) fn own(&self) -> Pair<Count> {
        self.own
    }

    /// Sets what is wanted of the session, known once it has a connection.
    pub(super) fn on_appetite(&mut self, appetite: Appetite) {
        self.appetite = Some(appetite);
        self.stream.iter_mut().for_each(|stream| stream.on_appetite(appetite));
    }

    /// Stops parsing, since nobody wants the plaintext. False: it had already stopped.
    pub(super) fn leave_alone(&mut self, time: KernelTime, common: &mut Common) -> bool {
        let left = self.begun(common).leave_alone(time, &mut common.sink);
        self.settle(time, common);
        left
    }

    /// Plaintext passed; `conn`: the session's connection, if it has one by now.
    pub(super) fn on_passed(&mut self, passed: Passed, conn: Option<&Conn>, common: &mut Common) {
        let Passed { direction, offset, time, pid, payload, .. } = passed;
        self.pid = pid;
        let own = self.own.of_mut(direction);
        add(&mut own.carried, payload.len() as u64);
        add(&mut own.copied, payload.len() as u64);
        let stream = self.begun(common);
        if let Some(conn) = conn {
            stream.meet(&common.host, &conn.facts, common.processes.get(pid));
        }
        stream.on_bytes(direction, offset, payload, time, pid, &mut common.sink);
        self.settle(time, common);
    }

    /// Plaintext passed that was not copied.
    pub(super) fn on_skipped(&mut self, skipped: &Skipped, common: &mut Common) {
        let own = self.own.of_mut(skipped.direction);
        add(&mut own.carried, skipped.len);
        let stream = self.begun(common);
        stream.on_skipped(skipped, &mut common.sink);
        add(&mut common.counters.unwanted_bytes, stream.take_avoided());
        self.settle(skipped.time, common);
    }

    /// The deadline of a check has passed.
    pub(super) fn look_passed(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.look_passed();
        }
    }

    /// Checks what waits in its stream at `now`.
    pub(super) fn on_look(&mut self, now: KernelTime, common: &mut Common) {
        let own = self.own;
        if let Some(stream) = &mut self.stream {
            stream.on_look(now, &own, &mut common.sink);
        }
        self.settle(now, common);
    }

    /// Bytes of memory held by its stream and by the exchanges that wait for a connection.
    pub(super) fn held(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.held()) + self.waiting.as_ref().map_or(0, Held::bytes)
    }

    /// Releases what its stream holds.
    pub(super) fn shed(&mut self, now: KernelTime, common: &mut Common) {
        if let Some(stream) = &mut self.stream {
            stream.shed(now, &mut common.sink);
        }
        self.settle(now, common);
    }

    /// Holds exchanges until the session has a connection.
    pub(super) fn hold(&mut self, exchanges: &mut Vec<HttpExchange>, memory: &Memory) {
        let bytes = exchanges.iter().map(weight).sum::<usize>();
        let waiting = self.waiting.get_or_insert_with(|| memory.share());
        waiting.set(waiting.bytes() + bytes);
        self.held.append(exchanges);
    }

    /// Takes the exchanges that waited for a connection.
    pub(super) fn take_held(&mut self) -> Vec<HttpExchange> {
        self.waiting = None;
        std::mem::take(&mut self.held)
    }

    /// Informs `conn` that plaintext was seen, and exports the available exchanges on it.
    pub(super) fn drain(&mut self, conn: &mut Conn, time: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        if !self.told && self.is_inspected() {
            conn.inspect(self.library.as_deref());
            self.told = true;
        }
        let Some(stream) = &mut self.stream else { return };
        if self.held.is_empty() && common.sink.exchanges.is_empty() {
            return;
        }
        let slot = stream.slot(&mut conn.channels);
        conn.set_protocol(stream.protocol());
        let mut exchanges = std::mem::take(&mut common.sink.exchanges);
        for exchange in self.take_held().into_iter().chain(exchanges.drain(..)) {
            conn.export(exchange, slot, time, common, out);
        }
        common.sink.exchanges = exchanges;
    }

    /// The session leaves its connection: on the next one it is another channel.
    pub(super) fn leave(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.leave();
        }
    }

    /// Restarts the stream: a session whose connection ended is joined to another one, because the library reuses it. What
    /// follows is a stream of its own.
    pub(super) fn restart(&mut self) {
        self.stream = None;
        self.own = Pair::default();
        self.told = false;
        self.restarted = true;
    }

    /// The session ended; if there are final counts, the sums must match them.
    pub(super) fn on_close(
        &mut self,
        time: KernelTime,
        counts: Option<&Pair<Count>>,
        still_open: bool,
        common: &mut Common,
    ) {
        let counts = counts.filter(|_| !self.restarted);
        if let Some(counts) = counts
            && carried(&counts.sent).saturating_add(carried(&counts.received)) > 0
        {
            // Even if no data of it arrived: then all of it is missing.
            self.begun(common);
            self.own = *counts;
        }
        let Some(stream) = &mut self.stream else { return };
        stream.on_close(time, counts, still_open, &mut common.sink);
        stream.settle(&mut common.sink, &mut common.losses);
        stream.balance(counts, &mut common.losses);
        add(&mut common.counters.unwanted_bytes, stream.take_avoided());
    }

    /// The protocol, as far as its parser knows it.
    pub(super) fn protocol(&self) -> Protocol {
        self.stream.as_ref().map_or(Protocol::Unknown, |stream| stream.protocol())
    }

    /// Its contribution to the sums of its connection.
    pub(super) fn share(&self) -> Share {
        let calls = |direction| self.stream.as_ref().map_or(0, |stream| stream.calls(direction));
        let plaintext = Pair { sent: self.own.sent.carried, received: self.own.received.carried };
        let (plaintext, inside) = if self.inside { (Pair::default(), plaintext) } else { (plaintext, Pair::default()) };
        Share {
            captured: self.stream.as_ref().map_or(0, |stream| stream.captured),
            losses: self.stream.as_ref().map(|stream| stream.losses.clone()).unwrap_or_default(),
            plaintext,
            inside,
            calls: Pair { sent: calls(Direction::Sent), received: calls(Direction::Received) },
            partial: self.restarted,
        }
    }

    /// The stream, created at first use.
    fn begun(&mut self, common: &Common) -> &mut Stream {
        let (joined_late, appetite, http) = (self.joined_late, self.appetite, common.http.of(self.opened));
        let begin = Begin { offset: 0, unknown: self.implied || self.restarted };
        self.stream.get_or_insert_with(|| {
            let begin = Pair { sent: begin, received: begin };
            let mut stream = Box::new(Stream::new(http, &common.memory, joined_late, begin));
            appetite.into_iter().for_each(|appetite| stream.on_appetite(appetite));
            stream
        })
    }

    #[inline]
    fn settle(&mut self, now: KernelTime, common: &mut Common) {
        let Some(stream) = &mut self.stream else { return };
        stream.settle(&mut common.sink, &mut common.losses);
        if stream.wants_look() {
            common.deadlines.add(now.plus(LOOK_INTERVAL), Due::Look(Channel::Session(self.id)));
        }
    }
}

/// Approximate memory cost of an exchange.
fn weight(exchange: &HttpExchange) -> usize {
    let message = |fields: &Fields, body: &Body| fields.0.len() * size_of::<Field>() + body.kept() as usize;
    let request = exchange.request.as_ref().map_or(0, |request| message(&request.fields, &request.body));
    let response = exchange.response.as_ref().map_or(0, |response| message(&response.fields, &response.body));
    size_of::<HttpExchange>() + request + response
}
