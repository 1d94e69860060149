//! HTTP/1.0 and HTTP/1.1 (RFC 9112). In: segments and gaps of both directions of one channel, time, and the close. Out: exchanges and
//! counts in the sink. `lane` splits a direction (`text`) into tokens, `head`, `sift` and `framing` parse heads, `order` pairs messages; this file joins
//! them.
//!
//! One direction sometimes waits for the other: briefly, for a response seen before its request (two threads, two records); and after
//! a CONNECT or an Upgrade, until the response shows whether the bytes that follow are HTTP. What waits is bounded.

mod framing;
mod head;
mod lane;
mod order;
mod sift;
mod text;
mod token;
mod tunnel;
mod wait;

use std::time::Duration;

use bytes::Bytes;

use self::framing::Framing;
pub(super) use self::framing::{length_of_request, length_of_response};
use self::lane::Lane;
use self::order::{Order, Turn};
use self::token::{Hole, Kind, Token};
use self::tunnel::Accepted;
use self::wait::Wait;
use super::Sink;
use super::messages::websockets_answered;
use super::pair::{Desk, Open, Stamp};
use super::parts::Way;
use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;
use crate::model::message::{Field, Response};
use crate::model::time::KernelTime;

pub(super) use self::token::Input;

/// How long a response waits for a request that may arrive one record later.
const WAIT: Duration = Duration::from_millis(200);
/// How long bytes after a CONNECT or Upgrade wait for its response.
const SWITCH_WAIT: Duration = Duration::from_secs(60);
/// How HTTP/2 follows.
#[derive(Debug)]
pub(super) enum Switch {
    /// By an upgrade: the request is its first stream (RFC 7540 §3.2).
    Upgraded(Box<Open>),
    /// Inside the tunnel of a CONNECT, which is an exchange of its own.
    InTunnel,
}

/// What the parser of HTTP/2 takes over.
#[derive(Debug)]
pub(super) struct Switched {
    pub(super) how: Switch,
    /// The number of the next exchange.
    pub(super) ordinal: u64,
    /// Input not yet read.
    pub(super) rest: Vec<(Direction, Input)>,
}

/// The parser of a channel that speaks HTTP/1.
#[derive(Debug)]
pub(super) struct H1 {
    /// The direction that carries requests.
    requests: Direction,
    up: Lane,
    down: Lane,
    order: Order,
    /// Since when each direction has been waiting, and whether it must stop waiting.
    up_waits: Wait,
    down_waits: Wait,
    /// Framing of the request being sent, if its body waits for a response (`Expect`) and none of it has been seen.
    expected: Option<Framing>,
    /// A CONNECT was accepted, and what its tunnel carries is not known yet.
    opening: bool,
    /// What the connection becomes once the request has ended: the answer that said so came before.
    accepted: Option<Accepted>,
    /// The connection goes on in HTTP/2.
    switch: Option<Switch>,
}

impl H1 {
    pub(super) fn new(requests: Direction, joined_late: bool) -> H1 {
        H1 {
            requests,
            up: Lane::new(Kind::Request, joined_late),
            down: Lane::new(Kind::Response, joined_late),
            order: Order::new(),
            up_waits: Wait::default(),
            down_waits: Wait::default(),
            expected: None,
            opening: false,
            accepted: None,
            switch: None,
        }
    }

    /// Takes input of one direction.
    pub(super) fn on_input(&mut self, direction: Direction, input: Input, desk: &mut Desk, sink: &mut Sink) {
        if direction == self.requests {
            self.up.put(input);
        } else {
            self.down.put(input);
        }
        self.run(desk, sink);
    }

    pub(super) fn on_tick(&mut self, now: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        let due = self.down_waits.tick(now, WAIT) | self.up_waits.tick(now, SWITCH_WAIT);
        if due {
            self.run(desk, sink);
        }
        self.order.look(now, desk, sink);
    }

    /// Bytes of memory held, not counting the channel's budget.
    pub(super) fn held(&self) -> usize {
        self.up.held() + self.down.held() + self.order.held()
    }

    pub(super) fn on_close(&mut self, still_open: bool, desk: &mut Desk, sink: &mut Sink) {
        while self.switch.is_none() && (self.opening || self.up.has_input() || self.down.has_input()) {
            self.up_waits.over = true;
            self.down_waits.over = true;
            if self.opening {
                self.open_tunnel(true, desk, sink);
            }
            self.run(desk, sink);
            if !self.up.has_input() {
                self.follow_request(false);
            }
        }
        if self.switch.is_some() {
            return;
        }
        if self.up.close(sink) && !still_open {
            self.end_request(Bytes::new(), desk, sink);
        }
        if self.down.close(sink) && !still_open {
            self.end_response(Bytes::new(), desk, sink);
        }
        self.order.close(still_open, desk, sink);
    }

    /// If the connection goes on in HTTP/2: what its parser takes over.
    pub(super) fn take_switch(&mut self, desk: &mut Desk, sink: &mut Sink) -> Option<Switched> {
        let how = self.switch.take()?;
        self.order.close(false, desk, sink);
        let up = std::mem::replace(&mut self.up, Lane::new(Kind::Request, false)).into_rest();
        let down = std::mem::replace(&mut self.down, Lane::new(Kind::Response, false)).into_rest();
        let of = |direction: Direction| move |input| (direction, input);
        let requests = self.requests;
        let rest = up.into_iter().map(of(requests)).chain(down.into_iter().map(of(requests.flip())));
        Some(Switched { how, ordinal: self.order.ordinal(), rest: rest.collect() })
    }

    /// The direction that carries requests.
    pub(super) fn requests(&self) -> Direction {
        self.requests
    }

    /// Reads both directions until neither can proceed.
    fn run(&mut self, desk: &mut Desk, sink: &mut Sink) {
        loop {
            if self.opening && !self.open_tunnel(false, desk, sink) {
                return;
            }
            let up = self.run_up(desk, sink);
            let down = self.run_down(desk, sink);
            if !(up || down) || self.switch.is_some() {
                return;
            }
        }
    }

    /// True while neither direction is read on.
    fn is_paused(&self) -> bool {
        self.opening || self.switch.is_some()
    }

    /// True while the direction of responses is not read on.
    fn is_down_paused(&self) -> bool {
        self.is_paused() || self.accepted == Some(Accepted::Http2)
    }

    /// Reads the direction of requests; true if it made progress.
    fn run_up(&mut self, desk: &mut Desk, sink: &mut Sink) -> bool {
        let mut moved = false;
        while !self.is_paused() && self.up.has_input() {
            if let Some(len) = self.up.advance() {
                self.hole_up(len, desk, sink);
            } else if self.up_shall_wait() {
                break;
            } else {
                self.read_up(desk, sink);
            }
            moved = true;
        }
        moved
    }

    fn up_shall_wait(&mut self) -> bool {
        if !self.up_may_switch() {
            return false;
        }
        self.up_waits.holds(self.up.stamp.time, self.up.waiting())
    }

    /// True if the next byte, even one of an empty line, may belong to a tunnel.
    fn up_may_switch(&self) -> bool {
        self.up.is_between() && self.up.waiting().0 > 0 && self.order.awaits_switch()
    }

    fn read_up(&mut self, desk: &mut Desk, sink: &mut Sink) {
        loop {
            match self.up.next(&desk.settings, sink) {
                Token::More => return,
                Token::Head(head, stamp) => self.request_head(head, stamp, desk, sink),
                Token::Piece(piece) => {
                    self.expected = None;
                    match self.order.request() {
                        Some(open) => open.take(Way::Request, piece, self.up.stamp.time, desk, sink),
                        None => sink.losses.add(Loss::Unparsed, piece.len() as u64),
                    }
                }
                Token::End(trailers) => self.end_request(trailers, desk, sink),
                Token::Broken(why) => self.lose_requests(why, desk, sink),
            }
            if self.up.is_about_to_begin() || self.up_may_switch() {
                return;
            }
        }
    }

    fn request_head(&mut self, head: Bytes, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        let len = head.len() as u64;
        let Some(parsed) = head::request(&desk.budget.own(head.clone()), stamp.time) else {
            self.up.reject(head, sink);
            self.lose_requests(Incomplete::Unparsed, desk, sink);
            return;
        };
        count_head(len, parsed.left_out, sink);
        self.up_waits.reset();
        let mut open = Open::new(Protocol::Http1, self.order.ordinal(), self.requests == Direction::Sent, stamp.pid);
        open.begin_request_body(parsed.framing.manner(&parsed.request.fields), stamp.time);
        open.exchange.request = Some(parsed.request);
        open.spoil_if(parsed.left_out > 0, Incomplete::Unparsed);
        let fields = open.exchange.request.as_ref().map_or(0, |request| request.fields.0.len());
        open.hold_head(len as usize + fields * size_of::<Field>(), &mut desk.budget);
        let turn = Turn { open, may_switch: parsed.may_switch };
        self.order.begin_request(turn, self.down.is_at_rest(), desk, sink);
        self.expected = parsed.expects.then_some(parsed.framing);
        self.up.begin(parsed.framing);
        if parsed.framing == Framing::Unknowable {
            self.lose_requests(Incomplete::Unparsed, desk, sink);
        }
    }

    fn end_request(&mut self, trailers: Bytes, desk: &mut Desk, sink: &mut Sink) {
        self.expected = None;
        let time = self.up.stamp.time;
        if let Some(open) = self.order.request() {
            open.hold_head(trailers.len(), &mut desk.budget);
            let trailers = head::trailers(&trailers);
            open.spoil_if(trailers.lacks, Incomplete::Unparsed);
            open.end_request(trailers.fields, time);
        }
        self.order.settle_request(desk, sink);
        self.follow_request(true);
    }

    fn lose_requests(&mut self, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        self.order.lose_requests(why, desk, sink);
        self.follow_request(false);
    }

    fn hole_up(&mut self, len: u64, desk: &mut Desk, sink: &mut Sink) {
        self.expected = None;
        let (body, through) = match self.up.hole(len, sink) {
            Hole::InBody(body) => (body, false),
            Hole::Through(body) => (body, true),
        };
        if let Some(open) = self.order.request() {
            open.miss(Way::Request, body, self.up.stamp.time, desk, sink);
        }
        if through {
            self.lose_requests(Incomplete::BytesLost, desk, sink);
        }
    }

    /// Reads the direction of responses; true if it made progress.
    fn run_down(&mut self, desk: &mut Desk, sink: &mut Sink) -> bool {
        let mut moved = false;
        while !self.is_down_paused() && self.down.has_input() {
            if let Some(len) = self.down.advance() {
                self.hole_down(len, desk, sink);
            } else if self.down_shall_wait(desk) {
                break;
            } else {
                self.read_down(desk, sink);
            }
            moved = true;
        }
        moved
    }

    fn down_shall_wait(&mut self, desk: &Desk) -> bool {
        let hopeless = self.order.doubt().is_some() || (desk.joined_late && self.order.requests() == 0);
        if !self.down.is_about_to_begin() || self.order.has_unanswered() || hopeless {
            return false;
        }
        self.down_waits.holds(self.down.stamp.time, self.down.waiting())
    }

    fn read_down(&mut self, desk: &mut Desk, sink: &mut Sink) {
        loop {
            match self.down.next(&desk.settings, sink) {
                Token::More => return,
                Token::Head(head, stamp) => self.response_head(head, stamp, desk, sink),
                Token::Piece(piece) => match self.order.response() {
                    Some(open) => open.take(Way::Response, piece, self.down.stamp.time, desk, sink),
                    None => sink.losses.add(Loss::Unparsed, piece.len() as u64),
                },
                Token::End(trailers) => self.end_response(trailers, desk, sink),
                Token::Broken(why) => self.order.lose_responses(why, desk, sink),
            }
            if self.down.is_about_to_begin() || self.is_down_paused() {
                return;
            }
        }
    }

    fn response_head(&mut self, head: Bytes, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        let len = head.len() as u64;
        let Some(parsed) = head::response(&desk.budget.own(head.clone()), stamp.time) else {
            let Some(head) = self.down.leave_unasked(head, sink) else { return };
            self.down.reject(head, sink);
            self.order.lose_responses(Incomplete::Unparsed, desk, sink);
            return;
        };
        count_head(len, parsed.left_out, sink);
        self.down_waits.reset();
        let (status, response, lacks) = (parsed.status, parsed.response, parsed.left_out > 0);
        self.order.note_answer(stamp.time);
        let Some(turn) = self.order.answered_by_next() else {
            self.orphan_head(status, response, stamp, desk, sink);
            return;
        };
        // The client decides whether to send the body. After 100 it does (RFC 9110 §10.1.1); after a final status it may send the next request instead.
        let refused =
            self.expected.take_if(|_| status == 100 || !matches!(status, 101..=199) && !turn.open.request_done);
        if matches!(status, 100..=199) && status != 101 {
            turn.open.inform(status);
            self.down.begin_next();
            return;
        }
        let method = turn.open.exchange.request.as_ref().and_then(|request| request.method.as_deref());
        let framing = framing::of_response(&response.fields, status, method);
        if status == 101 && tunnel::names_h2c(&response.fields) {
            turn.open.inform(status);
            self.upgrade();
            return;
        }
        let connected = status != 101 && tunnel::is_connect(turn) && framing == Framing::ToClose;
        let unasked = framing::unasked(&response.fields, framing);
        turn.open.begin_response_body(framing.manner(&response.fields), stamp.time);
        turn.open.answer(response);
        turn.open.spoil_if(lacks, Incomplete::Unparsed);
        self.opening = connected && self.up.is_between();
        if self.opening {
            return;
        }
        self.down.begin(framing);
        self.down.note_unasked(unasked, &desk.settings);
        // Of a body that has begun the rest comes.
        if let Some(framing) = refused.filter(|_| self.up.is_untouched()) {
            self.up.begin_unsure(framing);
        }
        if connected || status == 101 {
            self.become_tunnel(desk, sink);
        }
        if framing == Framing::Unknowable {
            self.order.lose_responses(Incomplete::Unparsed, desk, sink);
        }
    }

    /// Handles a response whose request is unknown.
    fn orphan_head(&mut self, status: u16, response: Response, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        if matches!(status, 100..=199) && status != 101 {
            self.down.begin_next();
            return;
        }
        let framing = framing::of_response(&response.fields, status, None);
        let late = desk.joined_late && self.order.requests() == 0;
        let why = if late { Some(Incomplete::JoinedLate) } else { self.order.doubt() };
        let mut open = Open::new(Protocol::Http1, self.order.ordinal(), self.requests == Direction::Sent, stamp.pid);
        open.spoil(why.unwrap_or(Incomplete::NoRequest));
        open.begin_response_body(framing.manner(&response.fields), stamp.time);
        let ends = websockets_answered(&response);
        self.order.begin_orphan(open, response);
        if let Some((open, ends)) = self.order.response().zip(ends) {
            open.become_websocket(ends, false, desk, sink);
        }
        self.down.begin_unsure(framing);
        if framing == Framing::Unknowable {
            self.order.lose_responses(Incomplete::Unparsed, desk, sink);
        }
    }

    fn end_response(&mut self, trailers: Bytes, desk: &mut Desk, sink: &mut Sink) {
        let time = self.down.stamp.time;
        if let Some(open) = self.order.response() {
            let trailers = head::trailers(&trailers);
            open.spoil_if(trailers.lacks, Incomplete::Unparsed);
            open.end_response(trailers.fields, time);
        }
        self.order.settle_response(desk, sink);
    }

    fn hole_down(&mut self, len: u64, desk: &mut Desk, sink: &mut Sink) {
        let (body, through) = match self.down.hole(len, sink) {
            Hole::InBody(body) => (body, false),
            Hole::Through(body) => (body, true),
        };
        if let Some(open) = self.order.response() {
            open.miss(Way::Response, body, self.down.stamp.time, desk, sink);
        }
        if through {
            self.order.lose_responses(Incomplete::BytesLost, desk, sink);
        }
    }
}

/// Counts a head, `left_out` bytes of which are lines that are no fields.
fn count_head(len: u64, left_out: usize, sink: &mut Sink) {
    let left_out = left_out as u64;
    sink.captured += len - left_out;
    if left_out > 0 {
        sink.losses.add(Loss::Unparsed, left_out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
