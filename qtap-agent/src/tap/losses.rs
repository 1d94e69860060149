//! A tally of losses that takes no memory while nothing is lost, which is nearly always.

use crate::model::loss::{Loss, Tally};

/// Losses of one channel or connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Losses(Option<Box<Tally>>);

impl Losses {
    /// Counts one occurrence that cost `bytes`; nothing if `bytes` is 0.
    pub(super) fn add(&mut self, loss: Loss, bytes: u64) {
        if bytes > 0 {
            self.0.get_or_insert_default().add(loss, bytes);
        }
    }

    /// Adds a tally.
    pub(super) fn merge(&mut self, tally: &Tally) {
        if !tally.is_empty() {
            self.0.get_or_insert_default().merge(tally);
        }
    }

    /// Adds those of another channel or connection.
    pub(super) fn absorb(&mut self, other: &Losses) {
        if let Some(tally) = &other.0 {
            self.merge(tally);
        }
    }

    /// Bytes lost for any reason.
    #[must_use]
    pub(super) fn total_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |tally| tally.total_bytes())
    }

    /// Returns them as a separate tally.
    #[must_use]
    pub(super) fn tally(&self) -> Tally {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}
