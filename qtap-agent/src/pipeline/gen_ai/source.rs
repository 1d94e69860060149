//! Where the bytes of a body are: in memory, as carried or decoded, or on disk. In: a redacted body, or a part of one. Out: its bytes,
//! for reading documents from. Reads no more from disk than the maximum size of a document.

use bytes::Bytes;
use serde_json::Value;

use super::frames::{Frames, WHOLE};
use crate::model::message::Body;
use crate::pipeline::look::Undone;
use crate::pipeline::spool::Bulk;

/// The bytes of a body.
pub(super) enum Source<'a> {
    Memory(Bytes),
    Disk(&'a Bulk),
}

impl Source<'_> {
    /// The redacted bytes of `body`. `bulk`: its bytes on disk.
    pub(super) fn of<'a>(body: &Body, undone: &'a Option<Undone>, bulk: Option<&'a Bulk>) -> Source<'a> {
        match (undone, bulk) {
            (Some(Undone { bulk: Some(bulk), .. }), _) | (None, Some(bulk)) => Source::Disk(bulk),
            (Some(undone), _) => Source::Memory(undone.decoded.data.clone().into()),
            (None, None) => Source::Memory(body.to_bytes()),
        }
    }

    /// Number of bytes that may have to be remembered.
    pub(super) fn len(&self) -> usize {
        match self {
            Source::Memory(bytes) => bytes.len(),
            Source::Disk(bulk) => usize::try_from(bulk.len()).unwrap_or(usize::MAX).min(WHOLE),
        }
    }

    /// Passes its documents to `take`. `last`: nothing follows.
    pub(super) fn read(&self, frames: &mut Frames, last: bool, take: &mut impl FnMut(Value)) {
        match self {
            Source::Memory(bytes) => frames.push(bytes, last, take),
            Source::Disk(bulk) if frames.is_too_small_for(bulk.len()) => {}
            Source::Disk(bulk) => {
                let read = bulk.each(WHOLE as u64, |block| {
                    frames.push(block, false, take);
                    Ok(())
                });
                // A body that was truncated, or could not be read, has no last document.
                let whole = read.is_ok() && bulk.len() <= WHOLE as u64;
                frames.push(&[], last && whole, take);
            }
        }
    }
}
