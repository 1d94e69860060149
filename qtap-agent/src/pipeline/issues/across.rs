//! Inspection of bodies that are reported in parts: the state that is kept from one part to the next. In: the parts of a response's body,
//! in order. Out: the decoded text of each, preceded by the end of the text before it, so that text split across two parts is found.
//!
//! What is kept between two parts is bounded in number and in bytes; if there is no space for it, or bytes are missing, the next part
//! is inspected by itself.

use std::borrow::Cow;
use std::collections::HashMap;

use super::LOOKED_AT;
use crate::model::conn::ConnectionUid;
use crate::model::message::Response;
use crate::pipeline::artifact;
use crate::pipeline::artifact::decode::{self, Decoded, Decoder};
use crate::pipeline::look::until_hole;
use crate::pipeline::spool::Bulk;

/// Maximum number of exchanges with kept state. Parts of any further exchange are inspected by themselves.
const MOST: usize = 4096;
/// Maximum bytes kept together, mostly decoders: about two hundred and fifty of gzip.
const MOST_BYTES: usize = 16 << 20;

/// Identifies an exchange: its connection, and its number there.
type Name = (ConnectionUid, u64);

/// The state kept for the next part of each exchange.
#[derive(Debug, Default)]
pub(super) struct Across {
    waiting: HashMap<Name, Before>,
    bytes: usize,
}

/// The state from the parts before a part.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Rules whose texts were found, one bit each.
    pub(super) found: u64,
    /// The end of the text so far.
    tail: Vec<u8>,
    /// True when `tail` is not all of the text.
    cut: bool,
    /// Decodes the following parts.
    decoder: Option<Decoder>,
    /// Offset of the byte at which the next part must begin.
    next: u64,
}

/// The text to inspect.
pub(super) struct Text<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Where matches may begin; the text before it only provides context for word and line boundaries.
    pub(super) from: usize,
}

impl Across {
    /// Removes and returns the state for the next part of that exchange.
    pub(super) fn take(&mut self, name: Name) -> Before {
        let before = self.waiting.remove(&name);
        self.bytes -= before.as_ref().map_or(0, Before::memory);
        before.unwrap_or_default()
    }

    /// Stores the state, because more parts follow.
    pub(super) fn put(&mut self, name: Name, mut before: Before) {
        if self.bytes + before.memory() > MOST_BYTES {
            before.forget();
        }
        if (before.found != 0 || before.waits()) && self.waiting.len() < MOST {
            self.bytes += before.memory();
            self.waiting.insert(name, before);
        }
    }
}

impl Before {
    /// The text of the next part, or of a whole body; `bulk`: its bytes are on disk. At most `carried` bytes of it are kept for the
    /// next part.
    pub(super) fn text<'a>(
        &mut self,
        response: &'a Response,
        part: bool,
        bulk: Option<&Bulk>,
        carried: usize,
    ) -> Text<'a> {
        let body = &response.body;
        if !part {
            let bytes = artifact::beginning(&response.fields, body, bulk, LOOKED_AT);
            return Text { bytes, from: 0 };
        }
        if self.next != body.offset {
            self.forget();
        }
        let codings = decode::codings(&response.fields);
        let (text, mut whole) = if codings.is_empty() {
            let text = artifact::beginning(&response.fields, body, None, LOOKED_AT);
            let whole = text.len() as u64 == body.size - body.offset;
            (text, whole)
        } else {
            let begun =
                self.decoder.take().or_else(|| (body.offset == 0).then(|| Decoder::new(&codings).ok()).flatten());
            let (data, goes_on) = begun.map(|decoder| self.decode(decoder, response)).unwrap_or_default();
            (Cow::Owned(data), goes_on)
        };
        whole &= body.kept() == body.size - body.offset;
        let from = usize::from(self.cut && !self.tail.is_empty());
        let bytes = if self.tail.is_empty() { text } else { Cow::Owned([&self.tail, &text[..]].concat()) };
        self.next = body.size;
        if whole {
            // One byte more than a match can need, because the beginning of a match may depend on the byte before it.
            let start = bytes.len().saturating_sub(carried);
            self.tail = bytes.get(start..).unwrap_or_default().to_vec();
            self.cut |= start > 0;
        } else {
            self.forget();
        }
        Text { bytes, from }
    }

    /// The decoded part, and whether more can follow.
    fn decode(&mut self, mut decoder: Decoder, response: &Response) -> (Vec<u8>, bool) {
        let carried = response.body.to_bytes();
        let joined = until_hole(&response.body, &carried);
        let mut decoded = Decoded::default();
        decoder.push(joined, LOOKED_AT, &mut decoded);
        let goes_on = !decoded.truncated && joined.len() == carried.len();
        self.decoder = goes_on.then_some(decoder);
        (decoded.data, goes_on)
    }

    fn forget(&mut self) {
        self.tail = Vec::new();
        self.cut = true;
        self.decoder = None;
    }

    fn waits(&self) -> bool {
        !self.tail.is_empty() || self.decoder.is_some()
    }

    fn memory(&self) -> usize {
        size_of::<Before>() + self.tail.len() + self.decoder.as_ref().map_or(0, Decoder::memory)
    }
}
