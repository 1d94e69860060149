//! HTTP/2 (RFC 9113). In: the bytes and holes of both directions of one channel, time, and the close. Out: exchanges and counts in
//! the sink. `lane` splits a direction into tokens (`shape` recognises frames, `block` assembles header blocks), `hpack` decodes
//! them, `stream` makes messages of them, `content` knows when declared content is complete, `reset` when a stream that was cut short is
//! over; this file joins them.
//!
//! Messages are paired by stream id, so a loss costs only the streams open at the time and, through the compression state, fields of
//! later blocks: those are unknown until they are sent again, never guessed.

mod block;
mod content;
mod lane;
mod reset;
mod shape;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::block::Block;
use self::lane::{Hole, Lane, Token};
use self::reset::Resets;
use self::stream::{Section, Stream};
use super::h1::Input;
use super::hpack::{Decoder, Limits};
use super::pair::{Desk, Open, Stamp};
use super::parts::Way;
use super::{Settings, Sink};
use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;
use crate::model::message::Fields;
use crate::model::time::KernelTime;

pub(super) use self::shape::looks_like_frames;

/// How long a response waits for a request that may arrive one record later.
const WAIT: Duration = Duration::from_millis(200);
/// How long one half waits for the other, whose end may have been lost.
const WAIT_AFTER_LOSS: Duration = Duration::from_secs(10);
/// Number of streams remembered after their end.
const ENDED: usize = 128;
/// How much larger than a header block its decoded fields may be.
const EXPANSION: usize = 4;

/// The parser of a channel that speaks HTTP/2.
#[derive(Debug)]
pub(super) struct H2 {
    /// The direction that carries requests; `None` until a header block shows it.
    requests: Option<Direction>,
    sides: [Side; 2],
    streams: BTreeMap<u32, Stream>,
    next_ordinal: u64,
    /// Lowest client stream whose request was seen; lower ones were opened before capture began.
    first: Option<u32>,
    /// Highest client stream whose request was seen: later ones are higher (RFC 9113 §5.1.1).
    newest: u32,
    /// Per direction, the streams changed since it last lost its place; the earlier ones were marked then. It may lose it every few bytes.
    exposed: [Vec<u32>; 2],
    /// Streams that ended last: what still arrives for them is not another exchange.
    ended: VecDeque<u32>,
    resets: Resets,
    /// The server answers no stream above this one (GOAWAY).
    last: Option<u32>,
    joined_late: bool,
    /// A direction lost its place in the stream of frames.
    lost_thread: bool,
    grpc: bool,
}

/// The state of one direction.
#[derive(Debug)]
struct Side {
    lane: Lane,
    decoder: Decoder,
}

impl H2 {
    pub(super) fn new(requests: Option<Direction>, joined_late: bool) -> H2 {
        let side = |direction| {
            let has_preface = requests == Some(direction) && !joined_late;
            Side { lane: Lane::new(has_preface, joined_late), decoder: Decoder::new(joined_late) }
        };
        H2 {
            requests,
            sides: [side(Direction::Sent), side(Direction::Received)],
            streams: BTreeMap::new(),
            next_ordinal: 0,
            first: None,
            newest: 0,
            exposed: [Vec::new(), Vec::new()],
            ended: VecDeque::new(),
            resets: Resets::default(),
            last: None,
            joined_late,
            lost_thread: false,
            grpc: false,
        }
    }

    /// Numbers its exchanges from here on: others were on the connection before.
    pub(super) fn number_from(&mut self, ordinal: u64) {
        self.next_ordinal = ordinal;
    }

    /// Takes over the request that became stream 1 by an upgrade (RFC 7540 §3.2).
    pub(super) fn adopt(&mut self, mut open: Open) {
        open.exchange.protocol = Protocol::Http2;
        self.next_ordinal = open.exchange.ordinal + 1;
        self.first = Some(1);
        self.newest = 1;
        self.streams.insert(1, Stream::of(open));
        self.expose(1);
    }

    /// True once a gRPC call was seen.
    pub(super) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// Takes input of one direction.
    pub(super) fn on_input(&mut self, direction: Direction, input: Input, desk: &mut Desk, sink: &mut Sink) {
        match input {
            Input::Bytes(bytes, stamp) => {
                if let Some(side) = self.sides.get_mut(direction.index()) {
                    side.lane.feed(bytes, stamp);
                }
            }
            Input::Hole(len, stamp) => self.hole(direction, len, stamp, desk, sink),
        }
        while let Some(side) = self.sides.get_mut(direction.index()) {
            let token = side.lane.next(&desk.settings, sink);
            let stamp = side.lane.stamp;
            match token {
                Token::More => return,
                Token::Block(block) => self.block(direction, block, desk, sink),
                Token::BlockPiece(octets) => self.block_piece(direction, octets, desk),
                Token::BlockLost(block) => self.block_lost(direction, &block, desk, sink),
                Token::Data(id, piece) => self.data(direction, id, piece, stamp, desk, sink),
                Token::EndData(id) => self.end_data(direction, id, stamp, desk, sink),
                Token::Reset(id, code) => self.reset(direction, id, code, desk, sink),
                Token::GoAway(last) => self.go_away(direction, last, desk, sink),
                Token::Unframed => self.lose(direction, Incomplete::BytesLost, stamp, desk, sink),
                Token::NoFrames => self.lose(direction, Incomplete::Unparsed, stamp, desk, sink),
            }
        }
    }

    pub(super) fn on_tick(&mut self, now: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        let due = |stream: &Stream| {
            let limit = if stream.end_may_be_lost { WAIT_AFTER_LOSS } else { WAIT };
            stream.waits_since.is_some_and(|since| now.since(since) >= limit)
        };
        let due: Vec<u32> = self.streams.iter().filter(|(_, stream)| due(stream)).map(|(id, _)| *id).collect();
        for id in due {
            let why = self.why_half();
            self.export(id, why, desk, sink);
        }
        self.end_resets(Some(now), desk, sink);
        self.streams.values_mut().for_each(|stream| stream.open.look(now, desk, sink));
    }

    fn why_half(&self) -> Incomplete {
        match (self.lost_thread, self.joined_late) {
            (true, _) => Incomplete::BytesLost,
            (false, true) => Incomplete::JoinedLate,
            (false, false) => Incomplete::NoRequest,
        }
    }

    /// Bytes of memory held, not counting the channel's budget.
    pub(super) fn held(&self) -> usize {
        let [sent, received] = self.sides.each_ref().map(|side| side.lane.held() + side.decoder.held());
        sent + received + self.streams.len() * size_of::<Stream>()
    }

    pub(super) fn on_close(&mut self, still_open: bool, desk: &mut Desk, sink: &mut Sink) {
        for side in &mut self.sides {
            side.lane.close(sink);
        }
        let why = self.why_half();
        for (id, mut stream) in std::mem::take(&mut self.streams) {
            let refused = id % 2 == 1 && self.last.is_some_and(|last| id > last);
            if stream.reset.is_some() {
                stream.spoil_by_reset();
            } else if refused && stream.open.exchange.response.is_none() {
                stream.open.spoil(Incomplete::Reset);
            } else if !still_open {
                stream.end_what_is_whole();
            }
            if stream.open.response_done && (stream.open.request_done || stream.open.exchange.request.is_none()) {
                stream.spoil_if_headless(why);
            }
            stream.open.spoil_at_end(still_open);
            stream.open.export(desk, sink);
        }
    }

    fn block(&mut self, direction: Direction, block: Block, desk: &mut Desk, sink: &mut Sink) {
        let Some(side) = self.sides.get_mut(direction.index()) else { return };
        let ended = block.ends.then_some(side.lane.stamp.time);
        let octets = desk.budget.own(block.octets);
        let section = Section::new(side.decoder.decode(octets, limits(&desk.settings)));
        self.learn_direction(direction, &section, block.promised.is_some());
        let Some(requests) = self.requests else { return };
        let stamp = block.stamp;
        if let Some(promised) = block.promised {
            if let Some(stream) = self.stream(promised, stamp, desk, sink) {
                stream.open.hold_head(section.size, &mut desk.budget);
                self.grpc |= stream.request_block(section, stamp, Some(stamp.time));
            }
            return;
        }
        let is_request = direction == requests;
        if is_request && section.is_request() {
            self.first.get_or_insert(block.stream);
            self.newest = self.newest.max(block.stream);
        }
        let is_head = section.is_request() || section.status.is_some();
        let is_over = !is_request && self.is_over(block.stream);
        if (!is_head || is_over) && !self.is_known(block.stream) || self.follows_reset(direction, block.stream) {
            return;
        }
        let Some(stream) = self.stream(block.stream, stamp, desk, sink) else { return };
        stream.open.hold_head(section.size, &mut desk.budget);
        // Either head may be seen first: a second thread may have read the answer.
        let lacked = stream.lacks_a_head();
        let grpc = if is_request {
            stream.request_block(section, stamp, ended)
        } else {
            stream.response_block(section, stamp, ended)
        };
        if lacked && !stream.open.response_done {
            stream.follow_connect(desk, sink);
        }
        self.grpc |= grpc;
        self.settle(block.stream, stamp, desk, sink);
    }

    /// Octets of a header block too long to be held: they change the compression table like those of any other.
    fn block_piece(&mut self, direction: Direction, octets: Bytes, desk: &Desk) {
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.decoder.decode_piece(desk.budget.own(octets), limits(&desk.settings));
        }
    }

    /// If joined mid-stream, the first header block of a known kind shows which side is the client.
    fn learn_direction(&mut self, direction: Direction, section: &Section, is_promise: bool) {
        if self.requests.is_some() {
            return;
        }
        if is_promise || section.status.is_some() {
            self.requests = Some(direction.flip());
        } else if section.is_request() {
            self.requests = Some(direction);
        }
    }

    /// True if the stream is open, or was opened before capture began, or its opening may have been lost.
    fn is_known(&self, id: u32) -> bool {
        let before = self.joined_late && self.first.is_none_or(|first| id < first);
        self.streams.contains_key(&id) || ((before || self.lost_thread) && !self.ended.contains(&id))
    }

    /// True if the stream ended, however long ago: any client stream that is not open and lies between the first and the newest request seen.
    fn is_over(&self, id: u32) -> bool {
        let was_asked = id % 2 == 1 && self.first.is_some_and(|first| (first..=self.newest).contains(&id));
        self.ended.contains(&id) || (was_asked && !self.lost_thread && !self.streams.contains_key(&id))
    }

    /// The stream `id`, opened if it is not; if there are too many, the oldest is exported to make room.
    fn stream(&mut self, id: u32, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) -> Option<&mut Stream> {
        let outgoing = self.requests? == Direction::Sent;
        if !self.streams.contains_key(&id) {
            if self.streams.len() >= desk.settings.max_in_flight || desk.budget.is_crowded() {
                self.end_resets(None, desk, sink);
            }
            while self.streams.len() >= desk.settings.max_in_flight.max(1) || desk.budget.is_crowded() {
                let Some(oldest) = self.streams.keys().next().copied() else { break };
                sink.losses.add(Loss::PipelineLimit, 0);
                self.export(oldest, Incomplete::Limit, desk, sink);
            }
            self.streams.insert(id, Stream::new(self.next_ordinal, outgoing, stamp));
            self.next_ordinal += 1;
        }
        self.expose(id);
        self.streams.get_mut(&id)
    }

    /// Notes that the stream `id` changed.
    fn expose(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        for (exposed, is_exposed) in self.exposed.iter_mut().zip(&mut stream.is_exposed) {
            if !std::mem::replace(is_exposed, true) {
                exposed.push(id);
            }
        }
        let most = 2 * self.streams.len() + ENDED;
        for exposed in self.exposed.iter_mut().filter(|exposed| exposed.len() > most) {
            exposed.sort_unstable();
            exposed.dedup();
            exposed.retain(|id| self.streams.contains_key(id));
        }
    }

    fn block_lost(&mut self, direction: Direction, block: &Block, desk: &mut Desk, sink: &mut Sink) {
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.decoder.forget();
        }
        let Some(requests) = self.requests else { return };
        let is_request = direction == requests || block.promised.is_some();
        let id = block.promised.unwrap_or(block.stream);
        let Some(stream) = self.stream(id, block.stamp, desk, sink) else { return };
        stream.open.spoil(Incomplete::Unparsed);
        if is_request {
            stream.blank_request(block.stamp);
        } else {
            stream.blank_response(block.stamp);
        }
        if block.ends || block.promised.is_some() {
            end(stream, is_request, block.stamp.time);
        }
        self.settle(id, block.stamp, desk, sink);
    }

    fn data(&mut self, direction: Direction, id: u32, piece: Bytes, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        if piece.is_empty() {
            return;
        }
        let is_request = self.requests == Some(direction);
        let known = self.requests.is_some() && self.is_known(id) && !self.follows_reset(direction, id);
        let Some(stream) = known.then(|| self.stream(id, stamp, desk, sink)).flatten() else {
            // The stream was reset, or opened before capture began.
            sink.losses.add(Loss::Unparsed, piece.len() as u64);
            return;
        };
        stream.data(if is_request { Way::Request } else { Way::Response }, piece, stamp, desk, sink);
    }

    fn end_data(&mut self, direction: Direction, id: u32, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        let is_request = self.requests == Some(direction);
        if self.follows_reset(direction, id) {
            return;
        }
        let way = if is_request { Way::Request } else { Way::Response };
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.has_ended(way)) {
            end(stream, is_request, stamp.time);
            self.settle(id, stamp, desk, sink);
        }
    }

    /// Exports a stream if both of its ends were seen.
    fn settle(&mut self, id: u32, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        let why = self.why_half();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.open.is_done() {
            stream.note_wait(stamp.time);
            return;
        }
        stream.spoil_if_headless(why);
        if let Some(stream) = self.take(id) {
            stream.open.export(desk, sink);
        }
    }

    fn take(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
        Some(stream)
    }

    fn export(&mut self, id: u32, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        if let Some(mut stream) = self.take(id) {
            stream.open.spoil(why);
            stream.open.export(desk, sink);
        }
    }

    fn hole(&mut self, direction: Direction, len: u64, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        let Some(side) = self.sides.get_mut(direction.index()) else { return };
        let (in_data, through) = match side.lane.hole(len, sink) {
            Hole::Skipped => (None, false),
            Hole::InData(id, len) => (Some((id, len)), false),
            Hole::Through(in_data) => (in_data, true),
        };
        let is_request = self.requests == Some(direction);
        if let Some((id, len)) = in_data
            && self.requests.is_some()
            && self.is_known(id)
            && let Some(stream) = self.stream(id, stamp, desk, sink)
        {
            if is_request {
                stream.blank_request(stamp);
                stream.open.miss(Way::Request, len, stamp.time, desk, sink);
            } else {
                stream.blank_response(stamp);
                stream.open.miss(Way::Response, len, stamp.time, desk, sink);
            }
        }
        if through {
            self.lose(direction, Incomplete::BytesLost, stamp, desk, sink);
        }
    }

    /// A direction lost its place: its compression state is void, and streams open in it may have ended unseen.
    fn lose(&mut self, direction: Direction, why: Incomplete, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.decoder.forget();
        }
        self.lost_thread = true;
        let is_request = self.requests == Some(direction);
        let way = if is_request { Way::Request } else { Way::Response };
        let exposed = self.exposed.get_mut(direction.index()).map(std::mem::take).unwrap_or_default();
        for id in exposed {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if let Some(is_exposed) = stream.is_exposed.get_mut(direction.index()) {
                *is_exposed = false;
            }
            let done = if is_request { stream.open.request_done } else { stream.open.response_done };
            // After the reset nothing of the stream comes in that direction.
            let is_over = done || (direction == Direction::Received && stream.reset.is_some());
            if !is_over {
                stream.open.spoil(why);
                stream.open.lose_thread(way, desk, sink);
                stream.end_may_be_lost = true;
                stream.note_wait(stamp.time);
            }
        }
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { octets: settings.head_limit, fields: settings.head_limit.saturating_mul(EXPANSION) }
}

fn end(stream: &mut Stream, is_request: bool, time: KernelTime) {
    if is_request {
        stream.open.end_request(Fields::default(), time);
    } else {
        stream.open.end_response(Fields::default(), time);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
