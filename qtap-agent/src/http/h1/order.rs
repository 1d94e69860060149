//! Which response answers which request on an HTTP/1 connection: the order says (RFC 9112 §9.3.2), as long as no message was lost.
//! In: what begins and ends in either direction, and what was lost. Out: exchanges, whole where that is certain, else halves.
//!
//! After a loss it is not known how many messages it took, so nothing is paired until order is certain again: when a client
//! that is known to wait for each answer before it asks again asks while nothing is under way. Then what comes next is the
//! answer. Of one that pipelines there are halves from then on. Requests that the limit left out are counted, so that order
//! is certain again when as many answers came.

use std::collections::VecDeque;

use crate::http::Sink;
use crate::http::pair::{Desk, Open};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;
use crate::model::message::Response;
use crate::model::time::KernelTime;

/// How often a client must have waited, while order was certain, to be taken for one that waits.
const WAITS: u64 = 2;
/// How many waits outweigh one request that was seen before the last answer ended: two threads may tell them in the wrong order.
const WAITS_PER_OVERLAP: u64 = 16;
/// How often in a row a client of which nothing else is known must seem to wait while order is not certain.
const ALTERNATIONS: u32 = 16;

/// A request in line, and what the connection may become.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) open: Open,
    /// CONNECT, or an Upgrade was asked for.
    pub(super) may_switch: bool,
}

impl Turn {
    /// False once its answer began, or was lost.
    fn awaits_answer(&self) -> bool {
        self.open.exchange.response.is_none() && !self.open.response_done
    }
}

/// The exchanges under way, in order.
#[derive(Debug)]
pub(super) struct Order {
    /// Requests not yet answered.
    queue: VecDeque<Turn>,
    /// The request being answered, or answered before it ended.
    answering: Option<Turn>,
    /// A response whose request is not known.
    orphan: Option<Open>,
    /// A request whose response won't be known.
    lone: Option<Open>,
    /// Why order is not certain; none while it is.
    doubt: Option<Incomplete>,
    /// Messages were lost at some time.
    lossy: bool,
    /// Requests that began after the last answer had ended, and before, while order was certain.
    waits: u64,
    overlaps: u64,
    /// Requests in a row that began after an answer had ended, while order was not certain.
    alternations: u32,
    /// Answers to come to requests that the limit left out.
    owed: u64,
    /// A response ended since the last request began.
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

    /// Bytes of memory it holds, heads and bodies aside.
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

    /// True when the next response has a request to answer.
    pub(super) fn has_unanswered(&self) -> bool {
        !self.queue.is_empty() || self.answering.as_ref().is_some_and(Turn::awaits_answer)
    }

    /// True when the newest request ended, may have ended HTTP/1 on this connection, and has no final answer yet.
    pub(super) fn awaits_switch(&self) -> bool {
        let newest = self.queue.back().or(self.answering.as_ref());
        newest.is_some_and(|turn| turn.may_switch && turn.open.request_done && turn.open.exchange.response.is_none())
    }

    /// A request begins; `at_rest` says that no response is under way.
    pub(super) fn begin_request(&mut self, turn: Turn, at_rest: bool, desk: &mut Desk, sink: &mut Sink) {
        // A request that is told late, after an answer that came after it, was not asked when nothing was under way.
        let in_time = turn.open.exchange.request.as_ref().is_some_and(|request| request.started >= self.last_answer);
        let none_open = self.queue.is_empty() && self.answering.is_none() && self.orphan.is_none();
        let idle = at_rest && in_time && none_open;
        if self.lossy && self.doubt.is_none() && self.has_unanswered() {
            // Order was believed to be certain because this client waits. It asks again: the answer was among what was lost.
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

    /// Learns whether the client waits, from a request that begins.
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

    /// The request that is being sent.
    pub(super) fn request(&mut self) -> Option<&mut Open> {
        let newest = self.queue.back_mut().or(self.answering.as_mut()).map(|turn| &mut turn.open);
        self.lone.as_mut().or(newest).filter(|open| !open.request_done)
    }

    /// The request being sent ended, or never will; what is whole is exported.
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

    /// The exchange that a response head, informational or final, belongs to; none when no request is known for it.
    pub(super) fn answered_by_next(&mut self) -> Option<&mut Turn> {
        if self.orphan.is_some() {
            return None;
        }
        if self.answering.is_none() {
            self.answering = self.queue.pop_front();
        }
        self.answering.as_mut().filter(|turn| turn.awaits_answer())
    }

    /// A response begins, be its request known or not.
    pub(super) fn note_answer(&mut self, time: KernelTime) {
        self.last_answer = self.last_answer.max(time);
    }

    /// A response begins whose request is not known: that was lost, or is told late. In either case what comes next may belong
    /// to another.
    pub(super) fn begin_orphan(&mut self, mut open: Open, response: Response) {
        if self.doubt.is_none() && open.exchange.incomplete != Some(Incomplete::JoinedLate) {
            self.lose(Incomplete::BytesLost);
        }
        open.request_done = true;
        open.answer(response);
        self.orphan = Some(open);
    }

    /// The response that is being received.
    pub(super) fn response(&mut self) -> Option<&mut Open> {
        let answering = self.answering.as_mut().map(|turn| &mut turn.open);
        self.orphan.as_mut().or(answering).filter(|open| open.exchange.response.is_some() && !open.response_done)
    }

    /// The response being received ended, or never will; what is whole is exported.
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

    /// How many messages were lost is not known.
    fn lose(&mut self, why: Incomplete) {
        self.lossy = true;
        self.owed = 0;
        self.alternations = 0;
        self.doubt = self.doubt.filter(|doubt| *doubt != Incomplete::Limit).or(Some(why));
    }

    /// The answered request takes bytes again: the connection became a tunnel. None when a newer one is under way.
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

    /// Takes the exchange being answered away from HTTP/1.
    pub(super) fn take_answering(&mut self) -> Option<Open> {
        self.answering.take().map(|turn| turn.open)
    }

    /// Time passed: tells what is due of what is under way.
    pub(super) fn look(&mut self, now: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        let turns = self.queue.iter_mut().chain(&mut self.answering).map(|turn| &mut turn.open);
        turns.chain(&mut self.orphan).chain(&mut self.lone).for_each(|open| open.look(now, desk, sink));
    }

    /// The direction of requests lost its thread: the one being sent never ends, and how many were lost is not known.
    pub(super) fn lose_requests(&mut self, why: Incomplete, desk: &mut Desk, sink: &mut Sink) {
        if let Some(open) = self.request() {
            open.spoil(why);
            open.request_done = true;
        }
        self.settle_request(desk, sink);
        self.lose(why);
    }

    /// The direction of responses lost its thread: the one being received never ends, the requests after it have no answer
    /// that could be told from another's.
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
            // The next request seemed to come before the last answer had ended, because that was lost: the client may have waited.
            self.overlaps = self.overlaps.saturating_sub(1);
        }
        self.lose(why);
        self.release_queue(why, desk, sink);
    }

    /// The requests in line have no answer that could be told from another's.
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

    /// Nothing more will come.
    pub(super) fn close(&mut self, still_open: bool, desk: &mut Desk, sink: &mut Sink) {
        let turns = self.answering.take().into_iter().chain(std::mem::take(&mut self.queue)).map(|turn| turn.open);
        let rest: Vec<Open> = turns.chain(self.orphan.take()).chain(self.lone.take()).collect();
        for mut open in rest {
            open.spoil_at_end(still_open);
            open.export(desk, sink);
        }
    }
}
