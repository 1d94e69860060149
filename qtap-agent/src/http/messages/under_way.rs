//! A WebSocket message being reassembled (RFC 6455 §5.4). In: payloads of its frames, masked as they arrived. Out: its plain data, as far
//! as it fits the limits. Only data that is masked, compressed, small or in pieces is copied.

use bytes::{Bytes, BytesMut};

use super::deflate::Inflate;
use super::frame::unmask;
use crate::http::body::Budget;
use crate::model::loss::Loss;
use crate::model::messages::{Message, MessageKind};
use crate::model::time::KernelTime;

/// Messages shorter than this are copied, so that they do not keep a whole segment alive.
const SMALL_BYTES: usize = 1024;

/// A message being reassembled.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) kind: MessageKind,
    pub(super) compressed: bool,
    pub(super) size: u64,
    /// Its first piece, if it need not be copied; then `data` is empty.
    slice: Bytes,
    data: BytesMut,
    truncated: bool,
    pub(super) holed: bool,
}

impl UnderWay {
    pub(super) fn new(kind: MessageKind, compressed: bool) -> UnderWay {
        UnderWay {
            kind,
            compressed,
            size: 0,
            slice: Bytes::new(),
            data: BytesMut::new(),
            truncated: false,
            holed: false,
        }
    }

    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.slice.len() + self.data.len()
    }

    /// Adds bytes, up to `room`. Returns how many of them were used, and why the others were not.
    pub(super) fn add(
        &mut self,
        bytes: Masked,
        room: usize,
        inflate: Option<&mut Inflate>,
        budget: &Budget,
    ) -> (usize, Loss) {
        let len = bytes.len();
        let room = if self.truncated { 0 } else { room };
        let (kept, why) = match inflate.filter(|_| self.compressed) {
            Some(inflate) => {
                let room = self.data.len() + room;
                let whole = inflate.run(&bytes.plain(), &mut self.data, room);
                (if whole { len } else { 0 }, if inflate.is_void() { Loss::Unparsed } else { Loss::BodyLimit })
            }
            None if self.holed => (len, Loss::BodyLimit),
            None => {
                let kept = len.min(room);
                self.append(bytes, kept, budget);
                (kept, Loss::BodyLimit)
            }
        };
        self.truncated |= kept < len;
        (kept, why)
    }

    /// Ends the message after its last frame; its data may reach `limit` bytes.
    pub(super) fn end(&mut self, limit: usize, inflate: Option<&mut Inflate>) {
        if let Some(inflate) = inflate.filter(|_| self.compressed) {
            let room = if self.truncated { 0 } else { limit };
            self.truncated |= !inflate.end(&mut self.data, room);
        }
    }

    /// The finished message, complete at `time`.
    pub(super) fn tell(self, time: KernelTime) -> Message {
        let UnderWay { kind, compressed, size, slice, data, truncated, .. } = self;
        Message {
            kind,
            time,
            size,
            compressed,
            undone: false,
            truncated,
            data: if slice.is_empty() { data.freeze() } else { slice },
        }
    }

    /// Adds the first `len` bytes, unmasked.
    fn append(&mut self, mut masked: Masked, len: usize, budget: &Budget) {
        masked.bytes.truncate(len);
        if self.len() == 0 && masked.key.is_none() && len >= SMALL_BYTES {
            self.slice = budget.own(masked.bytes);
            return;
        }
        if !self.slice.is_empty() {
            self.data = BytesMut::from(std::mem::take(&mut self.slice));
        }
        let from = self.data.len();
        self.data.extend_from_slice(&masked.bytes);
        if let (Some(key), Some(tail)) = (masked.key, self.data.get_mut(from..)) {
            unmask(tail, key, masked.at);
        }
    }
}

/// Bytes of a payload; the first one has offset `at` in its frame.
pub(super) struct Masked {
    pub(super) bytes: Bytes,
    pub(super) key: Option<[u8; 4]>,
    pub(super) at: u64,
}

impl Masked {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, unmasked.
    pub(super) fn plain(&self) -> Bytes {
        let Some(key) = self.key else { return self.bytes.clone() };
        let mut plain = self.bytes.to_vec();
        unmask(&mut plain, key, self.at);
        plain.into()
    }
}
