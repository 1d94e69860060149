//! HTTP, as it is seen from outside. In: [`Segment`]s and [`Gap`]s of one plaintext channel, in order per direction; time; the close.
//! Out, in a [`Sink`]: exchanges, and a count of every byte: captured, or lost under a name. It does no IO, asks for no time, keeps
//! no more than its [`Settings`] allow, and no input makes it panic.
//!
//! `detect` says what a channel speaks; `h1`, or `h2` with `hpack`, reads it; `body` and `pair` hold what is under way.

mod body;
mod channel;
mod detect;
mod h1;
mod h2;
mod hpack;
mod pair;

pub use self::channel::Http;

use crate::model::exchange::HttpExchange;
use crate::model::loss::Tally;

#[cfg(doc)]
use crate::model::segment::{Gap, Segment};

/// How much of what is said is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// False: only the sizes of bodies are kept.
    pub keep_bodies: bool,
    /// Bytes kept of one body.
    pub body_limit: usize,
    /// Bytes of one message head or trailer section: of HTTP/1 as text, of HTTP/2 as a header block.
    pub head_limit: usize,
    /// Pipelined requests, or HTTP/2 streams, held at once.
    pub max_in_flight: usize,
    /// Bytes kept of the bodies of all unfinished exchanges of one channel together; never less than `body_limit`.
    pub in_flight_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_bodies: true,
            body_limit: 2 << 20,
            head_limit: 256 << 10,
            max_in_flight: 1024,
            in_flight_limit: 64 << 20,
        }
    }
}

/// What comes out.
#[derive(Debug, Default)]
pub struct Sink {
    /// Exchanges that ended, in the order in which they did.
    pub exchanges: Vec<HttpExchange>,
    /// Bytes that no exchange has, by reason.
    pub losses: Tally,
    /// Bytes that were read: heads, framing, bodies.
    pub captured: u64,
}
