//! RST_STREAM and GOAWAY (RFC 9113 §6.4, §6.8). In: the sender, and the code or the last stream. Out: the end of exchanges, at once or shortly after.
//!
//! What a process sends is recorded when the sending call returns. By then its peer may have read it all and reset the stream, and another
//! thread of the process may have received the reset. So a received reset waits for what was being sent when it arrived.

use std::collections::VecDeque;

use super::stream::Stream;
use super::{Desk, ENDED, H2, Sink, WAIT};
use crate::http::pair::Stamp;
use crate::model::conn::Direction;
use crate::model::exchange::Incomplete;
use crate::model::time::KernelTime;

/// NO_ERROR of RST_STREAM (RFC 9113 §7).
const NO_ERROR: u32 = 0;
/// Codes with which a client ends a stream it wants no more of: NO_ERROR, STREAM_CLOSED (curl), CANCEL (most).
const NOT_WAITED_FOR: [u32; 3] = [NO_ERROR, 5, 8];

/// A reset of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reset {
    time: KernelTime,
    code: u32,
    by_client: bool,
}

/// Streams whose reset was received recently, oldest first.
#[derive(Debug, Default)]
pub(super) struct Resets(VecDeque<u32>);

impl Stream {
    /// Ends what `reset` does not spoil; true if both ends of the exchange are known then. After a response that ended, NO_ERROR only says that the
    /// rest of the request is not wanted (RFC 9113 §8.1; the client may send it in turn), and a code in [`NOT_WAITED_FOR`] from the client says that it
    /// has all it wants: nothing is missing.
    fn is_ended_by(&mut self, reset: Reset) -> bool {
        if reset.code == NO_ERROR && self.open.response_done && self.open.exchange.request.is_some() {
            self.open.request_done = true;
        }
        if reset.by_client && NOT_WAITED_FOR.contains(&reset.code) {
            self.end_what_is_whole();
        }
        self.open.is_done()
    }

    /// Nothing more will come: marks the exchange incomplete if the reset cut it short.
    pub(super) fn spoil_by_reset(&mut self) {
        if let Some(reset) = self.reset
            && !self.is_ended_by(reset)
        {
            self.open.spoil(Incomplete::Reset);
        }
    }
}

impl H2 {
    pub(super) fn reset(&mut self, direction: Direction, id: u32, code: u32, desk: &mut Desk, sink: &mut Sink) {
        let time = self.sides.get(direction.index()).map_or_else(KernelTime::default, |side| side.lane.stamp.time);
        let reset = Reset { time, code, by_client: self.requests == Some(direction) };
        if direction == Direction::Received
            && let Some(stream) = self.streams.get_mut(&id)
            && !stream.is_ended_by(reset)
        {
            if stream.reset.replace(reset).is_none() {
                self.resets.0.push_back(id);
                self.forget_resets_of_ended();
            }
            return;
        }
        self.end_by(reset, id, desk, sink);
    }

    /// True if the stream `id` was reset in the same direction before: what follows there belongs to no stream (RFC 9113 §5.1).
    pub(super) fn follows_reset(&self, direction: Direction, id: u32) -> bool {
        direction == Direction::Received && self.streams.get(&id).is_some_and(|stream| stream.reset.is_some())
    }

    /// Ends the streams whose reset was received [`WAIT`] ago; without `now`, all whose reset was received.
    pub(super) fn end_resets(&mut self, now: Option<KernelTime>, desk: &mut Desk, sink: &mut Sink) {
        while let Some(id) = self.resets.0.front().copied() {
            let reset = self.streams.get(&id).and_then(|stream| stream.reset);
            if let (Some(reset), Some(now)) = (reset, now)
                && now.since(reset.time) < WAIT
            {
                return;
            }
            self.resets.0.pop_front();
            if let Some(reset) = reset {
                self.end_by(reset, id, desk, sink);
            }
        }
    }

    fn end_by(&mut self, reset: Reset, id: u32, desk: &mut Desk, sink: &mut Sink) {
        let why = self.why_half();
        if let Some(stream) = self.streams.get_mut(&id) {
            if stream.is_ended_by(reset) {
                self.settle(id, Stamp::default(), desk, sink);
                return;
            }
            if stream.open.response_done && stream.open.exchange.request.is_none() {
                stream.spoil_if_headless(why);
            }
        }
        self.export(id, Incomplete::Reset, desk, sink);
    }

    /// Ends the streams above `last` that the receiver of a GOAWAY opened (RFC 9113 §6.8); requests still on their way to its sender stay unanswered.
    pub(super) fn go_away(&mut self, direction: Direction, last: u32, desk: &mut Desk, sink: &mut Sink) {
        let Some(requests) = self.requests else { return };
        let parity = u32::from(direction != requests);
        if direction != requests {
            self.last = Some(last);
        }
        let dropped: Vec<u32> =
            self.streams.range(last.saturating_add(1)..).map(|(id, _)| *id).filter(|id| id % 2 == parity).collect();
        for id in dropped {
            self.export(id, Incomplete::Reset, desk, sink);
        }
    }

    /// Drops entries of streams that have ended before their wait was over; the peer controls how many there are.
    fn forget_resets_of_ended(&mut self) {
        if self.resets.0.len() > 2 * self.streams.len() + ENDED {
            let streams = &self.streams;
            self.resets.0.retain(|id| streams.get(id).is_some_and(|stream| stream.reset.is_some()));
        }
    }
}
