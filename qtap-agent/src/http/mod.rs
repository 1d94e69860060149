//! HTTP as seen from outside. In: the [`Segment`]s and [`Gap`]s of one plaintext channel, in order per direction; ticks; the close.
//! Out, in a [`Sink`]: exchanges, and an account of every byte: captured, or lost for a named reason. This module does no IO, never
//! reads a clock, holds no more than its [`Settings`] allow, and does not panic on any input.
//!
//! `detect` recognises the protocol of a channel; `h1`, or `h2` with `hpack`, parses it; `pair`, `body` and `parts` hold exchanges
//! in progress; `messages` parses bodies that are streams of messages.

mod body;
mod channel;
mod detect;
mod h1;
mod h2;
mod hpack;
mod introduction;
mod keeping;
mod manner;
mod messages;
mod pair;
mod parts;
#[cfg(test)]
mod script;
#[cfg(test)]
mod timing;

pub use self::channel::Http;

use std::sync::Arc;
use std::time::Duration;

use crate::model::exchange::HttpExchange;
use crate::model::judge::Judge;
use crate::model::loss::Tally;
use crate::model::route::Wants;

#[cfg(doc)]
use crate::model::segment::{Gap, Segment};

/// Limits on what is kept of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// False: only the sizes of bodies are recorded.
    pub keep_bodies: bool,
    /// Decides, exchange by exchange, whether to keep bodies that the stack may want. `None`: all of them are kept.
    pub judge: Option<Judge>,
    /// Which exchanges are wanted, and how much of each.
    pub wants: Arc<Wants>,
    /// Bytes kept of one body; if the body is reported in parts, of each part. The same limit holds for one message inside a body.
    pub body_limit: usize,
    /// Limit in bytes for one message head or trailer section: as text for HTTP/1, as a header block for HTTP/2.
    pub head_limit: usize,
    /// Pipelined requests, or HTTP/2 streams, held at once.
    pub max_in_flight: usize,
    /// Bytes kept of the bodies of all unfinished exchanges of one channel together; never less than the limit for
    /// one body.
    pub in_flight_limit: usize,
    /// How long bytes of a possibly endless body wait before they are reported as a part.
    pub part_interval: Duration,
    /// Bytes of such a body that make up a part; never more than `body_limit`.
    pub part_bytes: usize,
    /// Size in bytes above which a body is passed on in pieces that are reassembled downstream; `None`: the whole body is kept here.
    /// Ignored unless it is less than `body_limit`.
    pub large_bytes: Option<usize>,
}

impl Settings {
    /// Size in bytes above which a body is passed on in pieces.
    fn large(&self) -> Option<usize> {
        self.large_bytes.filter(|large| self.keep_bodies && *large < self.body_limit)
    }

    /// Upper bound on the bytes of one body held here.
    #[must_use]
    pub fn held_of_a_body(&self) -> usize {
        self.large().unwrap_or(self.body_limit)
    }

    /// Size in bytes of one part of a possibly endless body.
    fn part_size(&self) -> usize {
        self.part_bytes.min(self.body_limit).max(1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_bodies: true,
            judge: None,
            wants: Arc::default(),
            body_limit: 2 << 20,
            head_limit: 256 << 10,
            max_in_flight: 1024,
            in_flight_limit: 64 << 20,
            part_interval: Duration::from_secs(10),
            part_bytes: 1 << 20,
            large_bytes: None,
        }
    }
}

/// The parser's output.
#[derive(Debug, Default)]
pub struct Sink {
    /// Finished exchanges, and parts of unfinished ones, in the order in which they were completed.
    pub exchanges: Vec<HttpExchange>,
    /// Bytes that belong to no exchange, by reason.
    pub losses: Tally,
    /// Bytes that were parsed: heads, framing, bodies.
    pub captured: u64,
    /// The part of `captured` that is body bytes not kept, or released, because nobody wants them.
    pub unwanted: u64,
}
