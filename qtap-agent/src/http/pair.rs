//! An exchange in progress, for every HTTP version: both halves, until it is exported. In: heads, bodies, ends and failures, as the
//! parser of the protocol finds them. Out: an [`HttpExchange`] in the sink.

use super::body::{Budget, Intake};
use super::keeping::Keeping;
use super::parts::Parts;
use super::{Settings, Sink};
use crate::model::conn::Protocol;
use crate::model::exchange::{HttpExchange, Incomplete, Part};
use crate::model::judge::Scene;
use crate::model::message::{Fields, Request, Response};
use crate::model::route::Appetite;
use crate::model::time::KernelTime;

/// How many informational responses are kept.
const INFORMATIONAL: usize = 16;

/// When bytes passed, and which process sent or received them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) time: KernelTime,
    pub(super) pid: u32,
}

/// An exchange in progress.
#[derive(Debug)]
pub(super) struct Open {
    /// What is known of it; the bodies are kept outside it until the end.
    pub(super) exchange: HttpExchange,
    /// Body of the request.
    pub(super) request_body: Intake,
    /// Body of the response.
    pub(super) response_body: Intake,
    /// The request has ended, or never will.
    pub(super) request_done: bool,
    /// The response has ended, or never will.
    pub(super) response_done: bool,
    /// Informational responses that came before the response.
    pub(super) informational: Vec<u16>,
    /// What has been reported of it.
    pub(super) parts: Parts,
    /// Whether its bodies are kept.
    pub(super) keeping: Keeping,
    /// Bytes of heads it holds, as counted in its channel's budget.
    head_bytes: usize,
}

impl Open {
    /// Creates an exchange of which nothing is known yet.
    pub(super) fn new(protocol: Protocol, ordinal: u64, outgoing: bool, pid: u32) -> Open {
        let exchange = HttpExchange {
            protocol,
            ordinal,
            outgoing,
            pid,
            request: None,
            response: None,
            incomplete: None,
            part: None,
        };
        Open {
            exchange,
            request_body: Intake::default(),
            response_body: Intake::default(),
            request_done: false,
            response_done: false,
            informational: Vec::new(),
            parts: Parts::default(),
            keeping: Keeping::default(),
            head_bytes: 0,
        }
    }

    /// Counts the bytes of a head that the exchange holds.
    pub(super) fn hold_head(&mut self, bytes: usize, budget: &mut Budget) {
        self.head_bytes += bytes;
        budget.hold_head(bytes);
    }

    /// Marks the exchange incomplete. The first cause stays: a hole in a body precedes whatever is noted after it, even if the
    /// body has not been passed on yet.
    pub(super) fn spoil(&mut self, why: Incomplete) {
        self.note_holes();
        self.exchange.incomplete.get_or_insert(why);
    }

    /// Marks the exchange incomplete, if it is.
    pub(super) fn spoil_if(&mut self, is_so: bool, why: Incomplete) {
        if is_so {
            self.spoil(why);
        }
    }

    /// A hole in a body makes the exchange incomplete.
    pub(super) fn note_holes(&mut self) {
        if self.request_body.has_holes() || self.response_body.has_holes() {
            self.exchange.incomplete.get_or_insert(Incomplete::BytesLost);
        }
    }

    /// Notes an informational response (RFC 9110 §15.2).
    pub(super) fn inform(&mut self, status: u16) {
        if self.informational.len() < INFORMATIONAL {
            self.informational.push(status);
        }
    }

    /// Sets the head of the final response.
    pub(super) fn answer(&mut self, mut response: Response) {
        response.informational = std::mem::take(&mut self.informational);
        self.exchange.response = Some(response);
    }

    /// The request's last byte was seen at `time`.
    pub(super) fn end_request(&mut self, trailers: Fields, time: KernelTime) {
        self.request_done = true;
        if let Some(request) = &mut self.exchange.request {
            request.trailers = trailers;
            request.ended = Some(time);
        }
    }

    /// The response's last byte was seen at `time`.
    pub(super) fn end_response(&mut self, trailers: Fields, time: KernelTime) {
        self.response_done = true;
        if let Some(response) = &mut self.exchange.response {
            response.trailers = trailers;
            response.ended = Some(time);
        }
    }

    /// True if both halves have ended.
    pub(super) fn is_done(&self) -> bool {
        self.request_done && self.response_done
    }

    /// Marks the exchange incomplete, with the reason, if nothing more will arrive and a half has not ended.
    pub(super) fn spoil_at_end(&mut self, still_open: bool) {
        let began = self.exchange.response.is_some() || !self.request_done;
        if !self.is_done() {
            self.spoil(match (still_open, began) {
                (true, _) => Incomplete::StillOpen,
                (false, true) => Incomplete::ClosedEarly,
                (false, false) => Incomplete::NoResponse,
            });
        }
    }

    /// Puts the exchange, or its last part, into the sink. Without a request and a response there is nothing to export.
    pub(super) fn export(mut self, desk: &mut Desk, sink: &mut Sink) {
        self.weigh(desk, sink);
        self.note_holes();
        let Desk { settings, budget, .. } = desk;
        budget.release_head(self.head_bytes);
        let request_body = self.request_body.finish(settings, budget, sink);
        let response_body = self.response_body.finish(settings, budget, sink);
        if let Some(request) = &mut self.exchange.request {
            request.body = request_body;
        }
        if let Some(response) = &mut self.exchange.response {
            response.body = response_body;
        }
        if self.parts.told > 0 {
            self.exchange.part = Some(Part { number: self.parts.told, last: true, large: self.parts.large });
        }
        if self.exchange.request.is_some() || self.exchange.response.is_some() {
            sink.exchanges.push(self.exchange);
        }
    }
}

/// What every parser of one channel works with.
#[derive(Debug)]
pub(super) struct Desk {
    /// Limits.
    pub(super) settings: std::sync::Arc<Settings>,
    /// Body bytes kept by exchanges in progress.
    pub(super) budget: Budget,
    /// The channel was joined mid-stream.
    pub(super) joined_late: bool,
    /// Host, connection and process, as far as they are known.
    pub(super) scene: Option<Scene>,
    /// What the channel's stack wants, for requests whose authority matches no endpoint.
    pub(super) appetite: Appetite,
}

impl Desk {
    /// True if bodies of an exchange with this authority are kept.
    pub(super) fn keeps_bodies_of(&self, authority: Option<&str>) -> bool {
        let wants = &self.settings.wants;
        let named = authority.and_then(|authority| wants.routes.by_name(authority));
        self.settings.keep_bodies && named.map_or(self.appetite, |stack| wants.appetite(stack)).bodies
    }
}

/// The `Host` field, for a request without another authority.
pub(super) fn host(request: &Request) -> Option<String> {
    request.fields.get("host").map(str::to_owned)
}
