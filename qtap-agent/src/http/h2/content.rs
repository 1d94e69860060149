//! Content whose length is known before it ends. In: what a head declares, and the octets of DATA frames. Out: when the last of them came.
//!
//! Content of another length than `content-length` says would be malformed (RFC 9113 §8.1.1), so content that is as long as that is all there: whoever reads it may hang
//! up, or reset the stream, without waiting for the frame that would only say that it is over. Trailers may still come, so nothing ends before somebody does.

use crate::model::time::KernelTime;

/// The content of one half of an exchange.
#[derive(Debug, Default)]
pub(super) struct Content {
    declared: Option<u64>,
    came: u64,
    last: KernelTime,
}

impl Content {
    /// What its head, which came at `time`, declares its length to be.
    pub(super) fn declare(&mut self, length: Option<u64>, time: KernelTime) {
        self.declared = length;
        self.last = time;
    }

    /// So many octets of it came.
    pub(super) fn data(&mut self, octets: usize, time: KernelTime) {
        self.came = self.came.saturating_add(octets as u64);
        self.last = time;
    }

    /// When it was all there; none: it is not, or its length is not known.
    pub(super) fn whole_at(&self) -> Option<KernelTime> {
        (self.declared == Some(self.came)).then_some(self.last)
    }
}
