//! HTTP, as it is seen from outside. In: [`Segment`]s and [`Gap`]s of one plaintext channel, in order per direction; time; the close.
//! Out, in a [`Sink`]: exchanges, and a count of every byte: captured, or lost under a name. It does no IO, asks for no time, keeps
//! no more than its [`Settings`] allow, and no input makes it panic.
//!
//! `detect` says what a channel speaks; `h1`, or `h2` with `hpack`, reads it; `pair`, `body` and `parts` hold what is under
//! way, `messages` what bodies say that are streams of messages.

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

/// How much of what is said is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// False: only the sizes of bodies are kept.
    pub keep_bodies: bool,
    /// Who tells, exchange by exchange, whether bodies are kept that its stack wants at most; none: all of them are.
    pub judge: Option<Judge>,
    /// Which exchanges are wanted, and how much of them.
    pub wants: Arc<Wants>,
    /// Bytes kept of one body; of one that is told in parts, of each part. Also of one message inside a body.
    pub body_limit: usize,
    /// Bytes of one message head or trailer section: of HTTP/1 as text, of HTTP/2 as a header block.
    pub head_limit: usize,
    /// Pipelined requests, or HTTP/2 streams, held at once.
    pub max_in_flight: usize,
    /// Bytes kept of the bodies of all unfinished exchanges of one channel together; never less than what is
    /// held of one body.
    pub in_flight_limit: usize,
    /// How long bytes of a body that may never end wait before they are told as a part.
    pub part_interval: Duration,
    /// Bytes of such a body that are told as a part at once; never more than `body_limit`.
    pub part_bytes: usize,
    /// Bytes of a body above which it is handed on in pieces, to be put together elsewhere; none: it is kept here. It means nothing
    /// unless it is less than `body_limit`.
    pub large_bytes: Option<usize>,
}

impl Settings {
    /// Bytes of a body above which it is handed on in pieces.
    fn large(&self) -> Option<usize> {
        self.large_bytes.filter(|large| self.keep_bodies && *large < self.body_limit)
    }

    /// Most bytes of one body that are held here.
    #[must_use]
    pub fn held_of_a_body(&self) -> usize {
        self.large().unwrap_or(self.body_limit)
    }

    /// Bytes of a body that may never end that are told as a part at once.
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

/// What comes out.
#[derive(Debug, Default)]
pub struct Sink {
    /// Exchanges that ended, and parts of those that run, in the order in which they did.
    pub exchanges: Vec<HttpExchange>,
    /// Bytes that no exchange has, by reason.
    pub losses: Tally,
    /// Bytes that were read: heads, framing, bodies.
    pub captured: u64,
    /// Those of them that were bytes of bodies and not kept, or let go, because nobody wants them.
    pub unwanted: u64,
}
