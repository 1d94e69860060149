//! Finds the next message in a direction that lost its place, or was joined inside one. In: bytes. Out: a head, if a start line is followed by nothing
//! but fields; what is skipped is counted.

use bytes::Buf;

use super::{Kind, Lane, State, Token};
use crate::http::detect::{self, LINE_LIMIT};
use crate::http::{Settings, Sink};
use crate::model::loss::Loss;

impl Lane {
    /// Skips line by line until a line ends in a start line.
    pub(super) fn look_for_start(&mut self, sink: &mut Sink) {
        let Some(at) = memchr::memchr(b'\n', self.text.front()) else {
            self.hold_tail(sink);
            return;
        };
        let mut line = self.text.take(at + 1);
        if !self.text.held().is_empty() {
            self.text.hold(&line);
            line = self.text.release();
        }
        let excess = line.len().saturating_sub(LINE_LIMIT);
        let whole = self.line_is_whole && excess == 0;
        let window = line.get(excess..).unwrap_or_default();
        let start = match self.kind {
            Kind::Request => detect::request_start(window, whole),
            Kind::Response => detect::response_start(window),
        };
        self.line_is_whole = true;
        let skip = start.map_or(line.len(), |start| excess + start);
        if skip > 0 {
            sink.losses.add(Loss::Unparsed, skip as u64);
        }
        if start.is_some() {
            line.advance(skip);
            self.head_stamp = self.stamp;
            self.text.hold(&line);
            self.line_at = line.len();
            self.state = State::Proving;
        }
    }

    /// Holds the beginning of a line, up to the maximum length of a start line.
    fn hold_tail(&mut self, sink: &mut Sink) {
        let tail = self.text.take(usize::MAX);
        let excess = tail.len().saturating_sub(LINE_LIMIT);
        let mut dropped = excess;
        if excess > 0 {
            dropped += self.text.drop_held(0);
        }
        self.text.hold(tail.get(excess..).unwrap_or_default());
        if self.text.held().len() > 4 * LINE_LIMIT {
            dropped += self.text.drop_held(LINE_LIMIT);
        }
        if dropped > 0 {
            sink.losses.add(Loss::Unparsed, dropped as u64);
            self.line_is_whole = false;
        }
    }

    /// Reads the field lines after a start line that was found, up to the empty line; a line that is not a field disproves the head.
    pub(super) fn prove(&mut self, settings: &Settings, sink: &mut Sink) -> Option<Token> {
        while self.text.hold_line(settings.head_limit) {
            let line = self.text.held().get(self.line_at..).unwrap_or_default();
            if matches!(line, b"\n" | b"\r\n") {
                self.state = State::Head;
                return Some(Token::Head(self.text.release(), self.head_stamp));
            }
            if !detect::is_field_line(line) {
                let held = self.text.release();
                self.reject(held, sink);
                return None;
            }
            self.line_at = self.text.held().len();
        }
        if self.text.held().len() >= settings.head_limit {
            let dropped = self.text.drop_held(0);
            sink.losses.add(Loss::HeadLimit, dropped as u64);
            self.search();
            self.line_is_whole = false;
        }
        None
    }
}
