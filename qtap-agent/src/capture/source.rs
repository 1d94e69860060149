//! Seam 1: where events come from. The live kernel, a recording and a script implement the same trait.

use std::time::Duration;

use crate::model::conn::Channel;
use crate::model::event::Event;

/// Whether a source may deliver more events after a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There may be more.
    Open,
    /// Nothing more will ever come.
    Ended,
}

/// A source of events.
pub trait Source {
    /// Appends the available events to `out`, in order; waits at most `timeout` if there are none. The first event of a source is
    /// [`Event::Started`]. One call appends a bounded number of events.
    ///
    /// # Errors
    /// If nothing more can be read. Events read before the error are in `out`.
    fn poll(&mut self, timeout: Duration, out: &mut Vec<Event>) -> Result<Flow, SourceError>;

    /// Tells the source that nobody wants the payload of these channels, so it need not be copied. This is only advice: payload that arrives
    /// anyway does no harm, and a source that replays the past ignores it.
    fn leave_alone(&mut self, _channels: &[Channel]) {}
}

/// A source failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
