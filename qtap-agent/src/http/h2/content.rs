//! Content whose length is known before it ends. In: the length declared by a head, and the octets of DATA frames. Out: when the last of them arrived.
//!
//! Content of any length but its `content-length` would be malformed (RFC 9113 §8.1.1), so content of that length is complete: its reader may
//! hang up or reset the stream without waiting for the frame that only marks the end. Trailers may still come, so nothing ends before then.

use crate::model::time::KernelTime;

/// The content of one half of an exchange.
#[derive(Debug, Default)]
pub(super) struct Content {
    declared: Option<u64>,
    came: u64,
    last: KernelTime,
}

impl Content {
    /// Sets the length declared by its head, which arrived at `time`.
    pub(super) fn declare(&mut self, length: Option<u64>, time: KernelTime) {
        self.declared = length;
        self.last = time;
    }

    /// Counts octets that arrived.
    pub(super) fn data(&mut self, octets: usize, time: KernelTime) {
        self.came = self.came.saturating_add(octets as u64);
        self.last = time;
    }

    /// When it was complete; `None` if it is not, or its length is unknown.
    pub(super) fn whole_at(&self) -> Option<KernelTime> {
        (self.declared == Some(self.came)).then_some(self.last)
    }
}
