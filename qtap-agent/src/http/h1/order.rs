//! Pairs responses with requests on an HTTP/1 connection: by order (RFC 9112 §9.3.2), as long as no message was lost. In: the messages
//! that begin and end in either direction, and losses. Out: exchanges, whole if the pairing is certain, otherwise halves.
//!
//! A loss may have taken any number of messages, so nothing is paired until order is certain again: when a client that is known to
//! wait for each response before its next request sends a request while nothing is in progress. The next response then answers it.
//! For a client that pipelines, only halves are exported from then on. Requests left out because of the limit are counted, so that
//! order is certain again after as many responses.

use std::collections::VecDeque;

use crate::http::Sink;
use crate::http::pair::{Desk, Open};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;
use crate::model::message::Response;
use crate::model::time::KernelTime;

/// How often a client must have waited, while order was certain, to count as one that waits.
const WAITS: u64 = 2;
/// How many waits outweigh one request seen before the last response ended: the records of two threads may arrive in the wrong order.
const WAITS_PER_OVERLAP: u64 = 16;
/// How often in a row a client, about which nothing else is known, must seem to wait while order is not certain.
const ALTERNATIONS: u32 = 16;

/// A queued request, and whether the connection may switch protocols after it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) open: Open,
    /// CONNECT, or asks for an Upgrade.
    pub(super) may_switch: bool,
}

impl Turn {
    /// False once its response began, or was lost.
    fn awaits_answer(&self) -> bool {
        self.open.exchange.response.is_none() && !self.open.response_done
    }
}

/// The exchanges in progress, in order.
#[derive(Debug)]
pub(super) struct Order {
    /// Requests not yet answered.
    queue: VecDeque<Turn>,
    /// The request being answered, or answered before the request itself ended.
    answering: Option<Turn>,
    /// A response whose request is unknown.
    orphan: Option<Open>,
    /// A request whose response will not be known.
    lone: Option<Open>,
    /// Why order is not certain; `None` while it is.
    doubt: Option<Incomplete>,
    /// Messages have been lost on this connection.
    lossy: bool,
    /// Requests that began after the last response had ended, and those that began before, while order was certain.
    waits: u64,
    overlaps: u64,
    /// Consecutive requests that began after a response had ended, while order was not certain.
    alternations: u32,
    /// Responses still expected for requests left out because of the limit.
    owed: u64,
    /// A response has ended since the last request began.
    answered: bool,
    /// When the last response began.
    last_answer: KernelTime,
    next_ordinal: u64,
    requests: u64,
}

impl Order {
    pub(super) fn new() -> Order {
        Order {
            queue: VecDeque::new(),
            answering: None,
            orphan: None,
            lone: None,
            doubt: None,
            lossy: false,
            waits: 0,
            overlaps: 0,
            alternations: 0,
            owed: 0,
            answered: false,
            last_answer: KernelTime(0),
            next_ordinal: 0,
            requests: 0,
        }
    }

    /// The number of the exchange that begins now.
    pub(super) fn ordinal(&mut self) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        ordinal
    }

    /// Bytes of memory held, not counting heads and bodies.
    pub(super) fn held(&self) -> usize {
        self.queue.capacity() * size_of::<Turn>()
    }

    /// Requests seen so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Why order is not certain.
    pub(super) fn doubt(&self) -> Option<Incomplete> {
        self.doubt
    }

    /// True if there is a request for the next response to answer.
    pub(super) fn has_unanswered(&self) -> bool {
        !self.queue.is_empty() || self.answering.as_ref().is_some_and(Turn::awaits_answer)
    }

    /// True if the newest request ended, may have ended HTTP/1 on this connection, and has no final response yet.
    pub(super) fn awaits_switch(&self) -> bool {
        let newest = self.queue.back().or(self.answering.as_ref());
        newest.is_some_and(|turn| turn.may_switch && turn.open.request_done && turn.open.exchange.response.is_none())
    }

    /// A request begins; `at_rest`: no response is in progress.
    pub(super) fn begin_request(&mut self, turn: Turn, at_rest: bool, desk: &mut Desk, sink: &mut Sink) {
        // A request whose record arrives late, after that of a later response, does not show that nothing was in progress.
        let in_time = turn.open.exchange.request.as_ref().is_some_and(|request| request.started >= self.last_answer);
        let none_open = self.queue.is_empty() && self.answering.is_none() && self.orphan.is_none();
        let idle = at_rest && in_time && none_open;
        if self.lossy && self.doubt.is_none() && self.has_unanswered() {
            // Order was considered certain because this client waits. It sends another request, so the response was among what was lost.
            self.doubt = Some(Incomplete::BytesLost);
            let unanswered = self.answering.take_if(|turn| turn.open.exchange.response.is_none());
            self.queue.extend(unanswered);
            self.release_queue(Incomplete::BytesLost, desk, sink);
        }
        self.weigh(idle);
        self.answered = false;
        self.requests += 1;
        if idle && self.client_waits() && self.owed == 0 {
            self.doubt = None;
        }
        let full = self.queue.len() >= desk.settings.max_in_flight || desk.budget.is_crowded();
        if self.doubt.is_none() && full {
            sink.losses.add(Loss::PipelineLimit, 0);
            self.doubt = Some(Incomplete::Limit);
        }
        match self.doubt {
            None => self.queue.push_back(turn),
            Some(why) => {
                self.owed += u64::from(why == Incomplete::Limit);
                self.export_lone(desk, sink);
                self.lone = Some(turn.open);
            }
        }
    }

    /// Learns, from a request that begins, whether the client waits.
    fn weigh(&mut self, idle: bool) {
        match (self.doubt, idle && self.answered) {
            (None, true) => self.waits += 1,
            (None, false) => self.overlaps += u64::from(!idle),
            (Some(_), true) => self.alternations = self.alternations.saturating_add(1),
            (Some(_), false) => self.alternations = 0,
        }
    }

    fn client_waits(&self) -> bool {
        let seen = self.waits >= WAITS && self.overlaps.saturating_mul(WAITS_PER_OVERLAP) <= self.waits;
        seen || (self.overlaps == 0 && self.alternations >= ALTERNATIONS)
    }

    /// The request being sent.
    pub(super) fn request(&mut self) -> Option<&mut Open> {
        let newest = self.queue.back_mut().or(self.answering.as_mut()).map(|turn| &mut turn.open);
        self.lone.as_mut().or(newest).filter(|open| !open.request_done)
    }

    /// The request being sent has ended, or never will; exchanges now whole are exported.
    pub(super) fn settle_request(&mut self, desk: &mut Desk, sink: &mut Sink) {
        if self.lone.as_ref().is_some_and(|open| open.request_done) {
            self.export_lone(desk, sink);
        }
        self.settle(desk, sink);
    }

    fn export_lone(&mut self, desk: &mut Desk, sink: &mut Sink) {
        if let Some(mut open) = self.lone.take() {
            open.spoil(self.doubt.unwrap_or(Incomplete::BytesLost));
            open.export(desk, sink);
        }
    }

    fn settle(&mut self, desk: &mut Desk, sink: &mut Sink) {
        if let Some(turn) = self.answering.take_if(|turn| turn.open.is_done()) {
            turn.open.export(desk, sink);
        }
    }

    /// The exchange that a response head, informational or final, belongs to; `None` if its request is unknown.
    pub(super) fn answered_by_next(&mut self) -> Option<&mut Turn> {
        if self.orphan.is_some() {
            return None;
        }
        if self.answering.is_none() {
            self.answering = self.queue.pop_front();
        }
        self.answering.as_mut().filter(|turn| turn.awaits_answer())
    }

    /// A response begins, whether its request is known or not.
    pub(super) fn note_answer(&mut self, time: KernelTime) {
        self.last_answer = self.last_answer.max(time);
    }

    /// A response begins whose request is unknown: the request was lost, or its record arrives late. Either way the next response may
    /// belong to another request.
    pub(super) fn begin_orphan(&mut self, mut open: Open, response: Response) {
        if self.doubt.is_none() && open.exchange.incomplete != Some(Incomplete::JoinedLate) {
            self.lose(Incomplete::BytesLost);
        }
        open.request_done = true;
        open.answer(response);
        self.orphan = Some(open);
    }

    /// The response being received.
    pub(super) fn response(&mut self) -> Option<&mut Open> {
        let answering = self.answering.as_mut().map(|turn| &mut turn.open);
        self.orphan.as_mut().or(answering).filter(|open| open.exchange.response.is_some() && !open.response_done)
    }

    /// The response being received has ended, or never will; exchanges now whole are exported.
    pub(super) fn settle_response(&mut self, desk: &mut Desk, sink: &mut Sink) {
        self.answered = true;
        if let Some(open) = self.orphan.take() {
            open.export(desk, sink);
            self.owed = self.owed.saturating_sub(1);
            if self.owed == 0 && self.doubt == Some(Incomplete::Limit) {
                self.doubt = None;
            }
        }
        self.settle(desk, sink);
    }

    /// An unknown number of messages was lost.
    fn lose(&mut self, why: Incomplete) {
        self.lossy = true;
        self.owed = 0;
        self.alternations = 0;
        self.doubt = self.doubt.filter(|doubt| *doubt != Incomplete::Limit).or(Some(why));
    }

    /// Lets the answered request take bytes again, because the connection became a tunnel. `None` if a newer request is in progress.
    pub(super) fn reopen_request(&mut self) -> Option<&mut Open> {
        let alone = self.queue.is_empty() && self.lone.is_none();
        match &mut self.answering {
            Some(turn) if alone && turn.open.request_done => {
                turn.open.request_done = false;
                if let Some(request) = &mut turn.open.exchange.request {
                    request.ended = None;
                }
                Some(&mut turn.open)
            }
            Some(_) | None => None,
        }
    }

    /// True if the request being answered has not ended.
    pub(super) fn is_asking(&self) -> bool {
        self.answering.as_ref().is_some_and(|turn| !turn.open.request_done)
    }

    /// Removes the exchange being answered, which continues in another protocol.
    pub(super) fn take_answering(&mut self) -> Option<Open> {
        self.answering.take().map(|turn| turn.open)
    }

    /// Reports the parts that are due of exchanges in progress.
    pub(super) fn look(&mut self, now: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        let turns = self.queue.iter_mut().chain(&mut self.answering).map(|turn| &mut turn.open);
        turns.chain(&mut self.orphan).chain(&mut self.lone).for_each(|open| open.look(now, desk, sink));
    }

    /// The parser lost its place in the direction of requests: the current one never ends, and an unknown number was lost.
    pub(super) fn lose_requests(&mut self, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        if let Some(open) = self.request() {
            open.spoil(why);
            open.request_done = true;
        }
        self.settle_request(desk, sink);
        self.lose(why);
    }

    /// The parser lost its place in the direction of responses: the current one never ends, and for the queued requests it cannot be
    /// known which response is theirs.
    pub(super) fn lose_responses(&mut self, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        if self.orphan.is_none() && self.answering.is_none() {
            self.answering = self.queue.pop_front();
        }
        if let Some(open) = &mut self.orphan {
            open.spoil(why);
            open.response_done = true;
        } else if let Some(turn) = &mut self.answering
            && !turn.open.response_done
        {
            turn.open.spoil(why);
            turn.open.response_done = true;
        }
        self.settle_response(desk, sink);
        if why == Incomplete::BytesLost && !self.queue.is_empty() {
            // The next request seemed to come before the last response had ended, because that end was lost: the client may have waited.
            self.overlaps = self.overlaps.saturating_sub(1);
        }
        self.lose(why);
        self.release_queue(why, desk, sink);
    }

    /// For the queued requests it cannot be known which response is theirs.
    fn release_queue(&mut self, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        for turn in std::mem::take(&mut self.queue) {
            let mut open = turn.open;
            if open.request_done {
                open.spoil(why);
                open.export(desk, sink);
            } else {
                self.lone = Some(open);
            }
        }
    }

    /// Nothing more will arrive.
    pub(super) fn close(&mut self, still_open: bool, desk: &mut Desk, sink: &mut Sink) {
        let turns = self.answering.take().into_iter().chain(std::mem::take(&mut self.queue)).map(|turn| turn.open);
        let rest: Vec<Open> = turns.chain(self.orphan.take()).chain(self.lone.take()).collect();
        for mut open in rest {
            open.spoil_at_end(still_open);
            open.export(desk, sink);
        }
    }
}
