//! Seam 1: where events come from. The live kernel, a recording and a script answer the same call.

use std::time::Duration;

use crate::model::conn::Channel;
use crate::model::event::Event;

/// What a source has to say after a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There may be more.
    Open,
    /// Nothing more will ever come.
    Ended,
}

/// A source of events.
pub trait Source {
    /// Appends what there is to `out`, in order; waits at most `timeout` when there is nothing. The first event of a source is
    /// [`Event::Started`]. At most a bounded number of events is appended by one call.
    ///
    /// # Errors
    /// When nothing more can be read. What was read before the error is in `out`.
    fn poll(&mut self, timeout: Duration, out: &mut Vec<Event>) -> Result<Flow, SourceError>;

    /// Nobody wants what these channels carry: it need not be copied. Advice: what comes all the same does no harm, and a source of what is past
    /// has no use for it.
    fn leave_alone(&mut self, _channels: &[Channel]) {}
}

/// A source failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
