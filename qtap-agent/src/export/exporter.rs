//! What every kind of store answers to. A record comes in and is made ready once, as an [`Item`] of plain bytes that can be
//! queued, resent and split; items go out, and the store's answer comes back as a [`Receipt`] or a [`Refusal`]. An exporter
//! never waits to retry, never batches, never queues: that is done once for all of them, around it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::refusal::Refusal;
use crate::model::record::{Record, RecordKind};
use crate::model::spool::SpoolFile;

/// Which records are given up first when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Says what happened: kept as long as there is room at all.
    Event,
    /// Carries a body: shed before events are.
    Object,
}

impl Class {
    /// The class of a record.
    #[must_use]
    pub fn of(record: &Record) -> Class {
        match record.kind {
            RecordKind::Connection(_) | RecordKind::Artifact(_) | RecordKind::Request(_) | RecordKind::Issue(_) => {
                Class::Event
            }
            RecordKind::Object(_) => Class::Object,
        }
    }
}

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    /// Every record but objects.
    pub events: bool,
    /// Object records.
    pub objects: bool,
}

impl Takes {
    /// True when the store takes records of that class.
    #[must_use]
    pub fn class(self, class: Class) -> bool {
        match class {
            Class::Event => self.events,
            Class::Object => self.objects,
        }
    }
}

/// One record as its store wants it: bytes and names only, so that any queue can hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its class.
    pub class: Class,
    /// The encoded resource it stands under (OTLP); items of one resource share it. Empty where there is none.
    pub resource: Bytes,
    /// What it is stored under (object stores): the digest's hexadecimal digits. Empty where there is none.
    pub name: String,
    /// Media type (object stores). Empty where there is none.
    pub content_type: String,
    /// The encoded record, or the object's data.
    pub payload: Bytes,
    /// The object's data where it is too large for memory; then `payload` is empty.
    pub spooled: Option<Arc<SpoolFile>>,
}

impl Item {
    /// What an item costs in memory beside its payload, in bytes.
    pub const OVERHEAD_BYTES: usize = 256;

    /// What it costs in memory, in bytes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.payload.len() + Item::OVERHEAD_BYTES
    }
}

/// What a record became for a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// None when the store does not take it, several when it is larger than the store takes at once; in order.
    pub items: Vec<Item>,
    /// Attributes of it that were cut, or left out, because the store takes no more.
    pub cut_attributes: u64,
    /// Bytes that were cut from them.
    pub cut_bytes: u64,
}

impl From<Option<Item>> for Prepared {
    fn from(item: Option<Item>) -> Prepared {
        Prepared { items: item.into_iter().collect(), ..Prepared::default() }
    }
}

/// The store took the items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// How many of them it refused all the same (OTLP partial success; a closed pipe).
    pub rejected: u64,
    /// What it said about that, or as a warning; shown to the operator.
    pub message: Option<String>,
}

/// A kind of store.
pub trait Exporter: Send + Sync + 'static {
    /// Makes a record ready. The same record always gives the same items.
    fn prepare(&self, record: &Record) -> Prepared;

    /// Offers the items once. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// A [`Refusal`] that says whether the items, the store's settings or the moment is to blame. None of the items may be
    /// taken as stored then.
    fn send(&self, items: &[Item]) -> impl Future<Output = Result<Receipt, Refusal>> + Send;
}
