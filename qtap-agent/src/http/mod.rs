//! Stand-in until the column lands.
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::{HttpExchange, Incomplete};
use crate::model::loss::Tally;
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::segment::{Gap, Segment};
use crate::model::time::KernelTime;

#[derive(Debug, Clone, Default)]
pub struct Settings {}

#[derive(Debug, Default)]
pub struct Sink {
    pub exchanges: Vec<HttpExchange>,
    pub losses: Tally,
    pub captured: u64,
}

#[derive(Debug)]
pub struct Http {
    buffers: [BytesMut; 2],
    open: VecDeque<HttpExchange>,
    ordinal: u64,
}

impl Http {
    pub fn new(_settings: &std::sync::Arc<Settings>, _joined_late: bool) -> Http {
        Http { buffers: Default::default(), open: VecDeque::new(), ordinal: 0 }
    }
    pub fn on_segment(&mut self, s: Segment, sink: &mut Sink) {
        sink.captured += s.payload.len() as u64;
        self.buffers[s.direction.index()].extend_from_slice(&s.payload);
        while self.parse(&s, sink) {}
    }
    fn parse(&mut self, s: &Segment, sink: &mut Sink) -> bool {
        let buffer = &mut self.buffers[s.direction.index()];
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|p| p + 4) else { return false };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let field = |name: &str| {
            head.lines().find_map(|l| {
                l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
            })
        };
        let len: usize = field("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        if buffer.len() < end + len {
            return false;
        }
        let _ = buffer.split_to(end);
        let body = buffer.split_to(len).freeze();
        let body = Body { size: len as u64, chunks: vec![body], ..Body::default() };
        let fields = Fields(vec![Field { name: FieldText::Known(Bytes::new()), value: FieldText::Unknown }]);
        let mut words = head.split(' ').map(str::to_owned);
        if head.starts_with("HTTP/") {
            if let Some(mut exchange) = self.open.pop_front() {
                exchange.response = Some(Response {
                    status: words.nth(1).and_then(|v| v.parse().ok()),
                    reason: Bytes::new(),
                    informational: vec![],
                    version: Version::Http11,
                    fields,
                    body,
                    trailers: Fields::default(),
                    started: s.time,
                    ended: Some(s.time),
                });
                sink.exchanges.push(exchange);
            }
        } else {
            let request = Request {
                method: words.next(),
                target: words.next(),
                scheme: None,
                authority: field("host"),
                version: Version::Http11,
                fields,
                body,
                trailers: Fields::default(),
                started: s.time,
                ended: Some(s.time),
            };
            self.open.push_back(HttpExchange {
                protocol: Protocol::Http1,
                ordinal: self.ordinal,
                outgoing: s.direction == Direction::Sent,
                pid: s.pid,
                request: Some(request),
                response: None,
                incomplete: None,
            });
            self.ordinal += 1;
        }
        true
    }
    pub fn on_gap(&mut self, g: Gap, sink: &mut Sink) {
        sink.losses.add(g.reason, g.len);
    }
    pub fn on_tick(&mut self, _now: KernelTime, _sink: &mut Sink) {}
    pub fn on_close(&mut self, _time: KernelTime, still_open: bool, sink: &mut Sink) {
        for mut exchange in self.open.drain(..) {
            exchange.incomplete = Some(if still_open { Incomplete::StillOpen } else { Incomplete::NoResponse });
            sink.exchanges.push(exchange);
        }
    }
    pub fn protocol(&self) -> Protocol {
        if self.ordinal > 0 { Protocol::Http1 } else { Protocol::Unknown }
    }
    pub fn may_be_http(&self) -> bool {
        true
    }
}
