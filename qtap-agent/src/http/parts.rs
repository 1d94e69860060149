//! Exchanges reported in parts while they run: when a part is due, and what is in it. In: pieces of bodies, holes, time. Out: parts in
//! the sink. What has been reported is released, so that an endless body needs the memory of one part only.
//!
//! A body that grows too large for memory is passed on in pieces as well. Those say nothing about its end: they are put together
//! downstream, and the exchange is reported whole.
//!
//! A part is due by time when bytes of the exchange have waited for the interval and a body without a declared length is in
//! progress; by size when the possibly endless bodies hold as much as a part. A cut by size falls on the same byte however the
//! bytes were split on arrival.

use bytes::Bytes;

use super::Sink;
use super::body::Intake;
use super::manner::Manner;
use super::messages::{Env, WebSocket};
use super::pair::{Desk, Open};
use crate::model::exchange::{HttpExchange, Part};
use crate::model::time::KernelTime;

/// A large body holds at most this fraction (one part in `SHARE`) of the room left for all bodies of its channel.
const SHARE: usize = 8;

/// What has been reported of an exchange.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Number of parts reported.
    pub(super) told: u32,
    /// Since when bytes have been waiting.
    since: Option<KernelTime>,
    /// A body of the exchange is large: it is passed on in pieces, and reported whole at its end.
    pub(super) large: bool,
}

/// The two bodies of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Request,
    Response,
}

impl Open {
    /// The request's head came at `time`; its body is to be reported in this manner.
    pub(super) fn begin_request_body(&mut self, manner: Manner, time: KernelTime) {
        self.request_body.manner = manner;
        if manner != Manner::Declared {
            self.parts.since.get_or_insert(time);
        }
    }

    /// The response's head came at `time`; its body is to be reported in this manner. A request that waited long for its answer
    /// does not make a part due by itself.
    pub(super) fn begin_response_body(&mut self, manner: Manner, time: KernelTime) {
        self.response_body.manner = manner;
        if manner != Manner::Declared && self.parts.told == 0 {
            self.parts.since = Some(time);
        }
    }

    /// From here on the bodies are the two directions of a WebSocket connection. `early`: bytes that arrived before this was known
    /// are in the bodies.
    pub(super) fn become_websocket(
        &mut self,
        ends: (WebSocket, WebSocket),
        early: bool,
        desk: &mut Desk,
        sink: &mut Sink,
    ) {
        self.weigh(desk, sink);
        for (way, reader) in [(Way::Request, ends.0), (Way::Response, ends.1)] {
            let body = self.body(way);
            body.manner = Manner::Streamed;
            let pieces = if early { body.take_back(&mut desk.budget) } else { Some(Vec::new()) };
            body.read_websocket(reader);
            match pieces {
                Some(pieces) => pieces.into_iter().for_each(|piece| self.replay(way, piece, desk, sink)),
                None => self.lose_thread(way, desk, &mut Sink::default()),
            }
        }
    }

    /// Reads bytes that have been counted already.
    fn replay(&mut self, way: Way, mut piece: Bytes, desk: &mut Desk, sink: &mut Sink) {
        let (time, room, mut counted) =
            (self.parts.since.unwrap_or_default(), desk.settings.part_size(), Sink::default());
        let keep = self.keeps(desk);
        loop {
            let mut env = Env { time, settings: &desk.settings, keep, budget: &mut desk.budget, sink: &mut counted };
            if self.body(way).stream(&mut piece, room, &mut env) {
                self.tell(desk, sink);
            } else if piece.is_empty() {
                break;
            }
        }
        self.body(way).forget_uncounted();
    }

    /// An unknown number of bytes of a body was lost, and more may follow.
    pub(super) fn lose_thread(&mut self, way: Way, desk: &mut Desk, sink: &mut Sink) {
        let time = KernelTime::default();
        let keep = self.keeps(desk);
        self.body(way).lose_thread(&mut Env { time, settings: &desk.settings, keep, budget: &mut desk.budget, sink });
    }

    fn body(&mut self, way: Way) -> &mut Intake {
        match way {
            Way::Request => &mut self.request_body,
            Way::Response => &mut self.response_body,
        }
    }

    /// Takes the next piece of a body.
    pub(super) fn take(&mut self, way: Way, mut piece: Bytes, time: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        self.weigh(desk, sink);
        self.look(time, desk, sink);
        self.parts.since.get_or_insert(time);
        let keep = self.keeps(desk);
        if self.body(way).manner != Manner::Streamed {
            self.make_room(way, piece.len(), desk, sink);
            let mut env = Env { time, settings: &desk.settings, keep, budget: &mut desk.budget, sink };
            self.body(way).push(piece, &mut env);
            return;
        }
        loop {
            let other = match way {
                Way::Request => self.response_body.waiting(),
                Way::Response => self.request_body.waiting(),
            };
            let room = desk.settings.part_size().saturating_sub(other).max(1);
            let mut env = Env { time, settings: &desk.settings, keep, budget: &mut desk.budget, sink: &mut *sink };
            if self.body(way).stream(&mut piece, room, &mut env) {
                self.tell(desk, sink);
            } else if piece.is_empty() {
                return;
            }
        }
    }

    /// Passes on what is held if the next `len` bytes would make a body too large for memory. Both bodies go together. They are pieces
    /// of an exchange reported whole, unless one of them may never end or carries parsed messages, or parts were reported before.
    fn make_room(&mut self, way: Way, len: usize, desk: &mut Desk, sink: &mut Sink) {
        let Some(large) = desk.settings.large() else { return };
        let most = if self.parts.large { desk.settings.part_size() } else { large };
        // The more all bodies of the channel hold, the less one may hold: so there is always room for the next.
        let most = most.min(desk.budget.room(&desk.settings) / SHARE);
        let waiting = self.body(way).waiting();
        if waiting == 0 || waiting.saturating_add(len) <= most {
            return;
        }
        let ends = |body: &Intake| body.manner != Manner::Streamed && !body.has_reader();
        self.parts.large |= self.parts.told == 0 && ends(&self.request_body) && ends(&self.response_body);
        self.tell(desk, sink);
    }

    /// Records bytes of a body that were lost; the caller has counted them.
    pub(super) fn miss(&mut self, way: Way, len: u64, time: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        self.look(time, desk, sink);
        self.parts.since.get_or_insert(time);
        let keep = self.keeps(desk);
        let mut env = Env { time, settings: &desk.settings, keep, budget: &mut desk.budget, sink: &mut *sink };
        if self.body(way).hole(len, &mut env) {
            self.tell(desk, sink);
        }
    }

    /// Reports a part if one is due at `now`.
    pub(super) fn look(&mut self, now: KernelTime, desk: &mut Desk, sink: &mut Sink) {
        let waited = self.parts.since.is_some_and(|since| now.since(since) >= desk.settings.part_interval);
        if waited && self.runs() && !self.parts.large {
            self.tell(desk, sink);
        }
    }

    /// True while a body without a declared length is in progress.
    fn runs(&self) -> bool {
        let asks = self.exchange.request.is_some() && !self.request_done;
        let answers = self.exchange.response.is_some() && !self.response_done;
        let open = |body: &Intake| body.manner != Manner::Declared;
        (asks && open(&self.request_body)) || (answers && open(&self.response_body))
    }

    fn tell(&mut self, desk: &mut Desk, sink: &mut Sink) {
        let large = self.parts.large;
        let part = Part { number: self.parts.told, last: false, large };
        self.note_holes();
        let mut exchange = HttpExchange { incomplete: None, part: Some(part), ..self.exchange.clone() };
        if let Some(request) = &mut exchange.request {
            request.body = self.request_body.cut(large, &desk.settings, &mut desk.budget);
        }
        if let Some(response) = &mut exchange.response {
            response.body = self.response_body.cut(large, &desk.settings, &mut desk.budget);
        }
        self.parts = Parts { told: self.parts.told.saturating_add(1), since: None, large };
        sink.exchanges.push(exchange);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
