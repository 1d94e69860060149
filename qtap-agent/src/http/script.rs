//! For this module's tests only: a scripted channel that asserts at its end that every byte was counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::sync::Arc;

use bytes::Bytes;

use super::{Http, Settings, Sink};
use crate::model::conn::Direction;
use crate::model::exchange::HttpExchange;
use crate::model::loss::Loss;
use crate::model::segment::{Gap, Segment};
use crate::model::time::KernelTime;

/// A channel whose probed process is the client: requests are sent.
pub(super) struct Script {
    pub(super) http: Http,
    pub(super) sink: Sink,
    offsets: [u64; 2],
    now: u64,
}

impl Script {
    pub(super) fn new(joined_late: bool) -> Script {
        Script::with(Settings::default(), joined_late)
    }

    pub(super) fn with(settings: Settings, joined_late: bool) -> Script {
        Script { http: Http::new(&Arc::new(settings), joined_late), sink: Sink::default(), offsets: [0; 2], now: 0 }
    }

    fn pass(&mut self, direction: Direction, bytes: Bytes) {
        let at = &mut self.offsets[direction.index()];
        self.now += 1;
        let segment = Segment { direction, offset: *at, time: KernelTime(self.now), pid: 7, payload: bytes };
        *at += segment.payload.len() as u64;
        self.http.on_segment(segment, &mut self.sink);
    }

    /// The process sends.
    pub(super) fn up(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.pass(Direction::Sent, Bytes::copy_from_slice(bytes.as_ref()));
        self
    }

    /// The process receives.
    pub(super) fn down(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.pass(Direction::Received, Bytes::copy_from_slice(bytes.as_ref()));
        self
    }

    /// Bytes are lost.
    pub(super) fn gap(&mut self, direction: Direction, len: u64) -> &mut Self {
        let at = &mut self.offsets[direction.index()];
        self.now += 1;
        let gap = Gap { direction, offset: *at, len, reason: Loss::RingFull, time: KernelTime(self.now) };
        *at += len;
        self.http.on_gap(gap, &mut self.sink);
        self
    }

    /// Lets `ms` milliseconds pass without a tick.
    pub(super) fn pass_time(&mut self, ms: u64) -> &mut Self {
        self.now += ms * 1_000_000;
        self
    }

    /// Lets `ms` milliseconds pass, with a tick at the end.
    pub(super) fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms * 1_000_000;
        self.http.on_tick(KernelTime(self.now), &mut self.sink);
        self
    }

    /// The connection closes.
    pub(super) fn close(&mut self) -> &[HttpExchange] {
        self.end(false)
    }

    /// The agent stops (`still_open`), or the connection closes.
    pub(super) fn end(&mut self, still_open: bool) -> &[HttpExchange] {
        self.http.on_close(KernelTime(self.now), still_open, &mut self.sink);
        let counted = self.sink.captured + self.sink.losses.total_bytes();
        assert_eq!(counted, self.offsets.iter().sum::<u64>(), "bytes counted and bytes given");
        &self.sink.exchanges
    }
}

/// `METHOD TARGET|REQUEST BODY -> STATUS|RESPONSE BODY (why incomplete)`, with `-` for a missing half; preceded by `#N ` for a
/// part, `#N. ` for the last.
pub(super) fn line(exchange: &HttpExchange) -> String {
    let text = |body: &crate::model::message::Body| String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let request = exchange.request.as_ref().map_or("-".to_owned(), |r| {
        let part = |part: &Option<String>| part.clone().unwrap_or("?".to_owned());
        format!("{} {}|{}", part(&r.method), part(&r.target), text(&r.body))
    });
    let response = exchange.response.as_ref().map_or("-".to_owned(), |r| {
        let informational: String = r.informational.iter().map(|status| format!("{status} ")).collect();
        let status = r.status.map_or("?".to_owned(), |status| status.to_string());
        format!("{informational}{status}|{}", text(&r.body))
    });
    let why = exchange.incomplete.map_or(String::new(), |why| format!(" ({})", why.name()));
    let part = exchange.part.map_or(String::new(), |p| format!("#{}{} ", p.number, if p.last { "." } else { "" }));
    format!("{part}{request} -> {response}{why}")
}

/// All exchanges, one line each.
pub(super) fn lines(exchanges: &[HttpExchange]) -> Vec<String> {
    exchanges.iter().map(line).collect()
}
