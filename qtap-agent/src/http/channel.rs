//! One plaintext channel from its first byte to its last. In: segments, gaps, ticks, the close. Out: the same, passed to the parser of
//! the protocol that the first bytes prove. Until then they are held; once they prove that it is not HTTP they are only counted.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::body::Budget;
use super::detect::{self, LINE_LIMIT, Verdict};
use super::h1::{H1, Input, Switch, Switched};
use super::h2::{self, H2};
use super::introduction::{self, Begins};
use super::pair::{Desk, Stamp};
use super::{Settings, Sink};
use crate::model::conn::{ConnFacts, Direction, Protocol};
use crate::model::event::Host;
use crate::model::exchange::Incomplete;
use crate::model::judge::Scene;
use crate::model::loss::Loss;
use crate::model::process::Process;
use crate::model::route::Appetite;
use crate::model::segment::{Gap, Segment};
use crate::model::time::KernelTime;

/// Bytes of both directions in which HTTP is searched for on a channel joined mid-stream, before it is taken for something else. It
/// covers what a running transfer may still have to carry while the other direction is silent.
const SEARCH_LIMIT: u64 = 1 << 30;
/// The same limit for each direction, when both carry bytes.
const SEARCH_LIMIT_EACH: u64 = 256 << 10;
/// Pieces held of a channel whose protocol is unknown.
const PIECES: usize = 2 * LINE_LIMIT;
/// Bytes held of one direction of such a channel.
const WINDOW: usize = 4 * LINE_LIMIT;

/// The parser of one plaintext channel: a plain socket, or a TLS session.
#[derive(Debug)]
pub struct Http {
    desk: Desk,
    state: State,
    /// The protocol it spoke, set when it is closed.
    spoke: Protocol,
}

#[derive(Debug)]
enum State {
    Unknown(Unknown),
    H1(Box<H1>),
    H2(Box<H2>),
    Other,
}

/// What a channel carried while its protocol is unknown.
#[derive(Debug, Default)]
struct Unknown {
    held: VecDeque<(Direction, Input)>,
    held_bytes: usize,
    /// Bytes were lost: the channel is treated as if joined mid-stream.
    has_hole: bool,
    starts: [Start; 2],
}

/// The beginning of one direction.
#[derive(Debug, Default)]
struct Start {
    /// Its undecided bytes; if joined mid-stream, the last of them.
    bytes: BytesMut,
    seen: u64,
    /// A PROXY protocol header preceded it.
    introduced: bool,
}

impl Http {
    /// Creates the parser of a channel whose first byte comes next, or, with `joined_late`, of one joined mid-stream.
    #[must_use]
    pub fn new(settings: &Arc<Settings>, joined_late: bool) -> Http {
        let appetite = settings.wants.at_most();
        let desk =
            Desk { settings: Arc::clone(settings), budget: Budget::default(), joined_late, appetite, scene: None };
        Http { desk, state: State::Unknown(Unknown::default()), spoke: Protocol::Unknown }
    }

    /// Sets what the channel's stack wants, for requests that match no endpoint. Until then anything that any stack wants is kept.
    pub fn on_appetite(&mut self, appetite: Appetite) {
        self.desk.appetite = appetite;
    }

    /// Sets the host, connection and process of the channel. They are needed only if a judge decides which bodies are wanted.
    pub fn meet(&mut self, host: &Arc<Host>, conn: &Arc<ConnFacts>, process: Option<&Arc<Process>>) {
        if self.desk.settings.judge.is_none() || self.desk.scene.as_ref().is_some_and(|scene| scene.is(conn, process)) {
            return;
        }
        let (host, conn, process) = (Arc::clone(host), Arc::clone(conn), process.cloned());
        self.desk.scene = Some(Scene { host, conn, process });
    }

    /// Takes the next bytes of one direction.
    pub fn on_segment(&mut self, segment: Segment, sink: &mut Sink) {
        if segment.payload.is_empty() {
            return;
        }
        self.desk.budget.begin_segment(segment.payload.len());
        let stamp = Stamp { time: segment.time, pid: segment.pid };
        self.on_input(segment.direction, Input::Bytes(segment.payload, stamp), sink);
    }

    /// Takes the next hole of one direction.
    pub fn on_gap(&mut self, gap: Gap, sink: &mut Sink) {
        sink.losses.add(gap.reason, gap.len);
        if gap.len == 0 {
            return;
        }
        let stamp = Stamp { time: gap.time, pid: 0 };
        self.on_input(gap.direction, Input::Hole(gap.len, stamp), sink);
    }

    fn on_input(&mut self, direction: Direction, input: Input, sink: &mut Sink) {
        match &mut self.state {
            State::Unknown(_) => self.decide(direction, input, sink),
            State::H1(h1) => {
                h1.on_input(direction, input, &mut self.desk, sink);
                self.follow_switch(sink);
            }
            State::H2(h2) => h2.on_input(direction, input, &mut self.desk, sink),
            State::Other => count_unparsed(&input, sink),
        }
    }

    /// Advances the time: whatever has waited too long for its other half is exported without it.
    pub fn on_tick(&mut self, now: KernelTime, sink: &mut Sink) {
        match &mut self.state {
            State::H1(h1) => {
                h1.on_tick(now, &mut self.desk, sink);
                self.follow_switch(sink);
            }
            State::H2(h2) => h2.on_tick(now, &mut self.desk, sink),
            State::Unknown(_) | State::Other => {}
        }
    }

    /// Ends the channel: it was closed, or (`still_open`) the agent stops. Everything held is exported.
    pub fn on_close(&mut self, _time: KernelTime, still_open: bool, sink: &mut Sink) {
        if let State::H1(h1) = &mut self.state {
            h1.on_close(still_open, &mut self.desk, sink);
            self.follow_switch(sink);
        }
        self.spoke = self.protocol();
        match std::mem::replace(&mut self.state, State::Other) {
            State::H2(mut h2) => h2.on_close(still_open, &mut self.desk, sink),
            State::Unknown(unknown) => unknown.held.iter().for_each(|(_, input)| count_unparsed(input, sink)),
            State::H1(_) | State::Other => {}
        }
        debug_assert_eq!(self.desk.budget.held(), 0, "what was held is let go");
    }

    /// Bytes of memory held: undecided input, bodies and heads of exchanges in progress, tables.
    #[must_use]
    pub fn held(&self) -> usize {
        let state = match &self.state {
            State::Unknown(unknown) => unknown.held(),
            State::H1(h1) => h1.held(),
            State::H2(h2) => h2.held(),
            State::Other => 0,
        };
        state + self.desk.budget.held()
    }

    /// Releases all memory: exchanges in progress are exported as they are, undecided bytes are counted, and what follows is
    /// parsed as if the channel were joined mid-stream now.
    pub fn shed(&mut self, time: KernelTime, sink: &mut Sink) {
        if !self.may_be_http() {
            return;
        }
        let before = std::mem::take(&mut sink.losses);
        let told = sink.exchanges.len();
        self.on_close(time, true, sink);
        sink.losses.rename(Loss::Unparsed, Loss::MemoryLimit);
        sink.losses.add(Loss::MemoryLimit, 0);
        sink.losses.merge(&before);
        let cut = sink.exchanges.iter_mut().skip(told).filter(|cut| cut.incomplete == Some(Incomplete::StillOpen));
        cut.for_each(|cut| cut.incomplete = Some(Incomplete::Limit));
        let (appetite, scene) = (self.desk.appetite, self.desk.scene.take());
        *self = Http::new(&self.desk.settings, true);
        (self.desk.appetite, self.desk.scene) = (appetite, scene);
    }

    /// The channel's protocol, as far as it is known.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match &self.state {
            State::Unknown(_) => Protocol::Unknown,
            State::Other => self.spoke,
            State::H1(_) => Protocol::Http1,
            State::H2(h2) if h2.is_grpc() => Protocol::Grpc,
            State::H2(_) => Protocol::Http2,
        }
    }

    /// True while the protocol is unknown and the channel began with a PROXY protocol header.
    #[must_use]
    pub fn is_introduced(&self) -> bool {
        let introduced = |unknown: &Unknown| unknown.starts.iter().any(|start| start.introduced);
        matches!(&self.state, State::Unknown(unknown) if introduced(unknown))
    }

    /// False once the first bytes proved that it is not HTTP.
    #[must_use]
    pub fn may_be_http(&self) -> bool {
        !matches!(self.state, State::Other)
    }

    /// Goes over to HTTP/2 where HTTP/1 did: by `101 Switching Protocols` to h2c (RFC 7540 §3.2), or inside the tunnel of a CONNECT.
    fn follow_switch(&mut self, sink: &mut Sink) {
        let State::H1(h1) = &mut self.state else { return };
        let requests = h1.requests();
        let Some(Switched { how, ordinal, rest }) = h1.take_switch(&mut self.desk, sink) else { return };
        let mut h2 = H2::new(Some(requests), false);
        match how {
            Switch::Upgraded(open) => h2.adopt(*open),
            Switch::InTunnel => h2.number_from(ordinal),
        }
        for (direction, input) in rest {
            h2.on_input(direction, input, &mut self.desk, sink);
        }
        self.state = State::H2(Box::new(h2));
    }

    fn decide(&mut self, direction: Direction, input: Input, sink: &mut Sink) {
        let late = self.desk.joined_late;
        let State::Unknown(unknown) = &mut self.state else { return };
        let Some(input) = unknown.introduce(direction, input, late, sink) else { return };
        let decision = unknown.judge(direction, &input, late);
        unknown.hold(direction, input, sink);
        let state = match decision {
            None => return,
            Some(Decision::Other) => State::Other,
            Some(Decision::H1 { requests }) => State::H1(Box::new(H1::new(requests, late || unknown.has_hole))),
            Some(Decision::H2 { requests, late }) => State::H2(Box::new(H2::new(requests, late))),
        };
        if let State::Unknown(unknown) = std::mem::replace(&mut self.state, state) {
            for (direction, input) in unknown.held {
                self.on_input(direction, input, sink);
            }
        }
    }
}

enum Decision {
    H1 { requests: Direction },
    H2 { requests: Option<Direction>, late: bool },
    Other,
}

impl Unknown {
    fn held(&self) -> usize {
        let [sent, received] = self.starts.each_ref().map(|start| start.bytes.capacity());
        self.held_bytes + self.held.capacity() * size_of::<(Direction, Input)>() + sent + received
    }

    /// Holds input until the protocol is known; the oldest is dropped when there is more than the search needs.
    fn hold(&mut self, direction: Direction, input: Input, sink: &mut Sink) {
        self.held_bytes += input_len(&input);
        self.held.push_back((direction, input));
        while self.held_bytes > 4 * WINDOW || self.held.len() > PIECES {
            let Some((_, input)) = self.held.pop_front() else { break };
            self.held_bytes -= input_len(&input);
            count_unparsed(&input, sink);
        }
    }

    /// Removes a PROXY protocol header from the start of a direction and returns what follows. All bytes held of the direction so far belong to it.
    fn introduce(&mut self, direction: Direction, input: Input, late: bool, sink: &mut Sink) -> Option<Input> {
        let Some(start) = self.starts.get_mut(direction.index()) else { return Some(input) };
        let Input::Bytes(bytes, stamp) = &input else { return Some(input) };
        if late || self.has_hole || start.introduced {
            return Some(input);
        }
        let before = start.bytes.len();
        start.bytes.extend_from_slice(bytes);
        let begins = introduction::measure(&start.bytes);
        start.bytes.truncate(before);
        let Begins::Header(len) = begins else { return Some(input) };
        let rest = bytes.slice(len.saturating_sub(before).min(bytes.len())..);
        *start = Start { introduced: true, ..Start::default() };
        self.held.retain(|(way, _)| *way != direction);
        self.held_bytes = self.held.iter().map(|(_, input)| input_len(input)).sum();
        sink.captured += len as u64;
        (!rest.is_empty()).then_some(Input::Bytes(rest, *stamp))
    }

    fn judge(&mut self, direction: Direction, input: &Input, late: bool) -> Option<Decision> {
        let start = self.starts.get_mut(direction.index())?;
        let bytes = match input {
            Input::Bytes(bytes, _) => bytes,
            Input::Hole(..) => {
                start.bytes.clear();
                self.has_hole = true;
                return None;
            }
        };
        let late = late || self.has_hole;
        start.seen += bytes.len() as u64;
        start.bytes.extend_from_slice(bytes);
        if !late && !start.introduced && introduction::measure(&start.bytes) == Begins::More {
            return None;
        }
        match detect::first_bytes(&start.bytes) {
            Verdict::Request if !late => return Some(Decision::H1 { requests: direction }),
            Verdict::Response if !late => return Some(Decision::H1 { requests: direction.flip() }),
            Verdict::Preface => return Some(Decision::H2 { requests: Some(direction), late: false }),
            // Joined mid-stream, it may be the client's as well: its preface may have passed before.
            Verdict::ServerSettings => {
                return Some(Decision::H2 { requests: (!late).then_some(direction.flip()), late });
            }
            Verdict::More if !late => return None,
            Verdict::Other if !late => return Some(Decision::Other),
            Verdict::Request | Verdict::Response | Verdict::More | Verdict::Other => {}
        }
        let found = search(&start.bytes, bytes, direction);
        let excess = start.bytes.len().saturating_sub(LINE_LIMIT).max(last_line(&start.bytes));
        drop(start.bytes.split_to(excess));
        let [sent, received] = self.starts.each_ref().map(|start| start.seen);
        let hopeless = sent.min(received) > SEARCH_LIMIT_EACH || sent + received > SEARCH_LIMIT;
        found.or(hopeless.then_some(Decision::Other))
    }
}

/// The offset of the last whole line: it may be a start line that nothing has followed yet.
fn last_line(window: &[u8]) -> usize {
    let end = memchr::memrchr(b'\n', window).unwrap_or(0);
    memchr::memrchr(b'\n', window.get(..end).unwrap_or_default()).map_or(0, |before| before + 1)
}

/// Searches for a start line that a field or an empty line follows, or for frames, in a direction joined mid-stream. A start line alone proves nothing: logs of HTTP
/// are full of them, and are themselves carried by HTTP.
fn search(window: &[u8], newest: &Bytes, direction: Direction) -> Option<Decision> {
    if h2::looks_like_frames(newest) {
        return Some(Decision::H2 { requests: None, late: true });
    }
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', window) {
        let (line, behind) = (window.get(at..=end).unwrap_or_default(), window.get(end + 1..).unwrap_or_default());
        at = end + 1;
        if !detect::may_follow_start(behind) {
            continue;
        }
        if detect::request_start(line, false).is_some() {
            return Some(Decision::H1 { requests: direction });
        }
        if detect::response_start(line).is_some() {
            return Some(Decision::H1 { requests: direction.flip() });
        }
    }
    None
}

fn input_len(input: &Input) -> usize {
    match input {
        Input::Bytes(bytes, _) => bytes.len(),
        Input::Hole(..) => 0,
    }
}

fn count_unparsed(input: &Input, sink: &mut Sink) {
    let len = input_len(input);
    if len > 0 {
        sink.losses.add(Loss::Unparsed, len as u64);
    }
}
