//! The two tables of HPACK as one address space (RFC 7541 §2.3): from 1 to 61 the static one, from 62 the dynamic one, newest first.
//! In: what header blocks insert and resize. Out: the field at an index, or that it is unknown.
//!
//! Indices count from the newest entry, so a table that lost its older entries is never wrong about the newer ones: what was
//! inserted before capture began, or exceeds this table's own bound, is unknown and never guessed.

use std::collections::VecDeque;

use bytes::Bytes;

use super::statics;
use crate::model::message::FieldText;

/// Initial size of the dynamic table (RFC 9113 §6.5.2).
const DEFAULT_BYTES: usize = 4096;
/// Limit on what is held of a dynamic table, whatever client and server agreed on; in practice they use 64 KiB.
pub(super) const LIMIT_BYTES: usize = 256 << 10;
/// Cost of an entry besides its octets (RFC 7541 §4.1).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// A field of the table.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: FieldText,
    pub(super) value: FieldText,
}

impl Entry {
    /// An entry of which nothing is known.
    pub(super) const UNKNOWN: Entry = Entry { name: FieldText::Unknown, value: FieldText::Unknown };

    fn size(&self) -> usize {
        let len = |text: &FieldText| text.bytes().map_or(0, Bytes::len);
        len(&self.name) + len(&self.value) + ENTRY_OVERHEAD_BYTES
    }
}

/// The table of one direction.
#[derive(Debug)]
pub(super) struct Table {
    dynamic: VecDeque<Entry>,
    size: usize,
    capacity: usize,
}

impl Table {
    /// Creates an empty table. If joined mid-stream, the encoder may already use a larger one: as much as the bound allows is kept.
    pub(super) fn new(joined_late: bool) -> Table {
        let capacity = if joined_late { LIMIT_BYTES } else { DEFAULT_BYTES };
        Table { dynamic: VecDeque::new(), size: 0, capacity }
    }

    /// The field at `index`; unknown if the entry was never seen.
    pub(super) fn get(&self, index: usize) -> Entry {
        let Some(position) = index.checked_sub(1) else { return Entry::UNKNOWN };
        if let Some((name, value)) = statics::ENTRIES.get(position) {
            let known = |text: &'static str| FieldText::Known(Bytes::from_static(text.as_bytes()));
            return Entry { name: known(name), value: known(value) };
        }
        self.dynamic.get(position - statics::ENTRIES.len()).cloned().unwrap_or(Entry::UNKNOWN)
    }

    /// Inserts a field, evicting the oldest ones first (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(self.capacity.saturating_sub(size));
        if size <= self.capacity {
            self.size += size;
            self.dynamic.push_front(entry);
        }
    }

    /// Applies a dynamic table size update (RFC 7541 §4.3), up to this table's own bound.
    pub(super) fn resize(&mut self, bytes: usize) {
        self.capacity = bytes.min(LIMIT_BYTES);
        self.evict(self.capacity);
    }

    /// A block of unknown content passed: no index can be trusted any more.
    pub(super) fn forget(&mut self) {
        self.dynamic.clear();
        self.size = 0;
        self.capacity = LIMIT_BYTES;
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.size + self.dynamic.capacity() * size_of::<Entry>()
    }

    fn evict(&mut self, bytes: usize) {
        while self.size > bytes {
            let Some(oldest) = self.dynamic.pop_back() else { break };
            self.size -= oldest.size();
        }
    }

    /// Size as RFC 7541 §4.1 counts it.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &'static str, value: &'static str) -> Entry {
        Entry { name: FieldText::Known(name.into()), value: FieldText::Known(value.into()) }
    }

    #[test]
    fn the_newest_entry_is_62_and_the_oldest_goes_first() {
        let mut table = Table::new(false);
        table.insert(entry("a", "1"));
        table.insert(entry("b", "2"));
        assert_eq!(table.get(62).name.text(), Some("b"));
        assert_eq!(table.get(63).name.text(), Some("a"));
        table.resize(34);
        assert_eq!(table.get(62).name.text(), Some("b"));
        assert_eq!(table.get(63).name.text(), None);
        assert_eq!(table.size(), 34);
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new(false);
        table.insert(entry("a", "1"));
        table.resize(40);
        table.insert(entry("long-name", "long-value"));
        assert_eq!(table.size(), 0);
        assert_eq!(table.get(62).name, FieldText::Unknown);
    }

    #[test]
    fn index_zero_and_unseen_entries_are_unknown() {
        let table = Table::new(true);
        assert_eq!(table.get(0).name, FieldText::Unknown);
        assert_eq!(table.get(61).name.text(), Some("www-authenticate"));
        assert_eq!(table.get(62).value, FieldText::Unknown);
        assert_eq!(table.get(usize::MAX).value, FieldText::Unknown);
    }
}
