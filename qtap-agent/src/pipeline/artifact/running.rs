//! The state of bodies that are reported in parts (decoders, and bytes that wait for redaction), kept from one part to the next in a
//! bounded table. In: a carry with the offset at which its body continues. Out: the same, when the next part begins exactly there.
//! A carry is lost if it was evicted or its body has a hole: the part is then shown as carried, or left out, and says so.

use std::collections::{BTreeMap, HashMap};

use super::decode::Decoder;
use crate::model::conn::ConnectionUid;
use crate::pipeline::redact::Streams;

/// Maximum number of entries.
const MOST: usize = 4096;
/// Maximum memory of all entries together: about five hundred gzip decoders, or thirty of br or zstd with windows of a megabyte.
const MOST_BYTES: usize = 32 << 20;

/// Identifies a body: connection, exchange number, true for the response.
pub(in crate::pipeline) type Key = (ConnectionUid, u64, bool);

/// The state with which a body continues.
#[derive(Debug)]
pub(in crate::pipeline) struct Carry {
    /// `None`: the body has no codings, or they can't be undone.
    pub(in crate::pipeline) decoder: Option<Decoder>,
    /// The coding that can't be undone, until it has been reported.
    pub(in crate::pipeline) failed: Option<String>,
    pub(in crate::pipeline) streams: Streams,
}

impl Carry {
    /// Approximate memory use in bytes.
    fn memory(&self) -> usize {
        size_of::<Carry>() + self.decoder.as_ref().map_or(0, Decoder::memory) + self.streams.memory()
    }
}

/// The table. The oldest entry is evicted first.
#[derive(Debug)]
pub(in crate::pipeline) struct Running {
    kept: HashMap<Key, Kept>,
    /// Keys in the order of insertion.
    order: BTreeMap<u64, Key>,
    puts: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    carry: Carry,
    /// Offset of the byte at which the body must continue.
    next: u64,
    nth: u64,
    bytes: usize,
}

impl Default for Running {
    fn default() -> Self {
        Running::bounded(MOST, MOST_BYTES)
    }
}

impl Running {
    fn bounded(most: usize, most_bytes: usize) -> Running {
        Running { kept: HashMap::new(), order: BTreeMap::new(), puts: 0, bytes: 0, most, most_bytes }
    }

    /// Removes and returns the state of the body `key`, if it continues at `offset`.
    pub(in crate::pipeline) fn take(&mut self, key: Key, offset: u64) -> Option<Carry> {
        let kept = self.kept.remove(&key)?;
        self.order.remove(&kept.nth);
        self.bytes -= kept.bytes;
        (kept.next == offset).then_some(kept.carry)
    }

    /// Stores the state of the body `key`, which continues at `next`.
    pub(in crate::pipeline) fn put(&mut self, key: Key, carry: Carry, next: u64) {
        drop(self.take(key, next));
        let bytes = carry.memory();
        if bytes > self.most_bytes {
            return;
        }
        while self.kept.len() >= self.most || self.bytes + bytes > self.most_bytes {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(gone) = self.kept.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
        self.puts += 1;
        self.order.insert(self.puts, key);
        self.bytes += bytes;
        self.kept.insert(key, Kept { carry, next, nth: self.puts, bytes });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        (ConnectionUid([1; 16]), number, true)
    }

    fn decoder() -> Carry {
        let streams = Streams::new(&crate::pipeline::redact::Looks::default(), "");
        Carry { decoder: Some(Decoder::new(&["gzip"]).unwrap()), failed: None, streams }
    }

    #[test]
    fn a_decoder_waits_for_the_next_byte_of_its_own_body() {
        let mut running = Running::default();
        running.put(key(1), decoder(), 10);
        assert!(running.take((ConnectionUid([1; 16]), 1, false), 10).is_none(), "the other direction");
        assert!(running.take(key(1), 10).is_some());
        assert!(running.take(key(1), 10).is_none(), "it was taken");
        running.put(key(1), decoder(), 10);
        assert!(running.take(key(1), 11).is_none(), "there is a hole before it");
        assert!(running.kept.is_empty() && running.order.is_empty() && running.bytes == 0);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut running = Running::bounded(2, 1 << 30);
        (1..=3).for_each(|number| running.put(key(number), decoder(), 0));
        assert!(running.take(key(1), 0).is_none());
        assert!(running.take(key(2), 0).is_some() && running.take(key(3), 0).is_some());
    }

    #[test]
    fn the_oldest_goes_when_they_hold_too_much() {
        let one = decoder().memory();
        let mut running = Running::bounded(100, 2 * one + one / 2);
        (1..=3).for_each(|number| running.put(key(number), decoder(), 0));
        assert_eq!((running.kept.len(), running.order.len(), running.bytes), (2, 2, 2 * one));
        assert!(running.take(key(1), 0).is_none() && running.take(key(3), 0).is_some());
        let mut tiny = Running::bounded(100, one - 1);
        tiny.put(key(1), decoder(), 0);
        assert!(tiny.take(key(1), 0).is_none(), "one that alone is too large is not kept");
    }
}
