//! The interface of every kind of store. In: a record, which is prepared once as an [`Item`] of plain bytes that can be queued, resent and
//! split; then items to send. Out: the store's answer, as a [`Receipt`] or a [`Refusal`]. An exporter never waits to retry, never batches
//! and never queues; the code around it does that once for all exporters.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::refusal::Refusal;
use crate::model::record::{Record, RecordKind};
use crate::model::spool::SpoolFile;

/// Determines which records are dropped first when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Describes what happened: kept as long as there is any space.
    Event,
    /// Carries a body: dropped before events are.
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

/// The record classes that a store accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    /// Every record but objects.
    pub events: bool,
    /// Object records.
    pub objects: bool,
}

impl Takes {
    /// True when the store accepts records of that class.
    #[must_use]
    pub fn class(self, class: Class) -> bool {
        match class {
            Class::Event => self.events,
            Class::Object => self.objects,
        }
    }
}

/// One record in its store's format: bytes and names only, so that any queue can hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its class.
    pub class: Class,
    /// The encoded resource of the record (OTLP); items of one resource share it. Empty where there is none.
    pub resource: Bytes,
    /// The name it is stored under (object stores): the digest in hexadecimal. Empty where there is none.
    pub name: String,
    /// Media type (object stores). Empty where there is none.
    pub content_type: String,
    /// The encoded record, or the object's data.
    pub payload: Bytes,
    /// The object's data when it is too large for memory; `payload` is then empty.
    pub spooled: Option<Arc<SpoolFile>>,
}

impl Item {
    /// Memory that an item uses besides its payload, in bytes.
    pub const OVERHEAD_BYTES: usize = 256;

    /// Memory that it uses, in bytes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.payload.len() + Item::OVERHEAD_BYTES
    }
}

/// A record as prepared for a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Empty when the store does not take the record, several when the record is larger than the store's limit; in order.
    pub items: Vec<Item>,
    /// Number of attributes that were truncated or left out because of the store's limits.
    pub cut_attributes: u64,
    /// Bytes that were removed from them.
    pub cut_bytes: u64,
}

impl From<Option<Item>> for Prepared {
    fn from(item: Option<Item>) -> Prepared {
        Prepared { items: item.into_iter().collect(), ..Prepared::default() }
    }
}

/// The answer of a store that accepted the items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// How many of them it rejected nevertheless (OTLP partial success; a closed pipe).
    pub rejected: u64,
    /// The store's message about that, or a warning; shown to the operator.
    pub message: Option<String>,
}

/// A kind of store.
pub trait Exporter: Send + Sync + 'static {
    /// Prepares a record. The same record always gives the same items.
    fn prepare(&self, record: &Record) -> Prepared;

    /// Sends the items once. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// A [`Refusal`] that says whether the items, the store's settings or a temporary condition caused it. In that case the caller must
    /// assume that none of the items was stored.
    fn send(&self, items: &[Item]) -> impl Future<Output = Result<Receipt, Refusal>> + Send;
}
