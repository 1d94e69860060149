//! A batch of items that are sent together. A batch is bounded by record count, by encoded bytes and by the age of its oldest item;
//! `queue` applies these bounds when a batch is taken.

use super::exporter::Item;

/// Items of one request, in the order they were offered; never empty when it comes from a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The items.
    pub items: Vec<Item>,
    /// Sequence numbers of the items in a disk queue, with which they are settled; empty for a queue in memory.
    pub(super) seqs: Vec<u64>,
}

impl Batch {
    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Size of the payloads, in encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.payload.len()).sum()
    }

    /// Memory that the items use, in bytes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.items.iter().map(Item::footprint).sum()
    }

    /// Both halves, in order, to try after a store refused the whole. A single item stays in the first half.
    #[must_use]
    pub fn halves(mut self) -> (Batch, Batch) {
        let middle = self.items.len().div_ceil(2);
        let seqs = self.seqs.split_off(middle.min(self.seqs.len()));
        let items = self.items.split_off(middle);
        (self, Batch { items, seqs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::exporter::Class;

    fn batch(sizes: &[usize]) -> Batch {
        let item = |size: &usize| Item {
            class: Class::Event,
            resource: bytes::Bytes::new(),
            name: String::new(),
            content_type: String::new(),
            payload: vec![0; *size].into(),
            spooled: None,
        };
        Batch { items: sizes.iter().map(item).collect(), seqs: sizes.iter().map(|size| *size as u64).collect() }
    }

    #[test]
    fn halves_keep_order_and_everything() {
        assert_eq!(batch(&[1, 2, 3]).halves(), (batch(&[1, 2]), batch(&[3])));
        assert_eq!(batch(&[1]).halves(), (batch(&[1]), batch(&[])));
    }

    #[test]
    fn bytes_are_the_payload() {
        assert_eq!(batch(&[1, 2, 3]).bytes(), 6);
    }
}
