//! OTLP logs: the names in a record (`map`), their encoding (`protobuf`, `json`), and the transport (`grpc`, `http`).
//! This file connects the first two. In: a record, then items. Out: an [`Item`], then one request body, grouped by resource.

pub mod compress;
mod dial;
pub mod endpoint;
pub mod grpc;
pub mod http;
pub mod json;
mod limits;
pub mod map;
pub mod protobuf;
pub mod readable;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use self::limits::Cuts;
use self::map::Entry;
use super::excerpt;
use super::exporter::{Class, Item, Prepared, Receipt, Takes};
use super::refusal::Refusal;
use super::settings::{Limits, OtlpSettings, ResourceSettings};
use crate::model::event::Host;
use crate::model::record::{Origin, Record, RecordKind, Severity};

/// Maximum number of cached encoded resources; a host has fewer services at a time. When the cache is full, it is cleared.
const RESOURCES_MAX: usize = 256;

/// Maximum number of cached encoded origins: connections that are busy at a time. When the cache is full, it is cleared.
const ORIGINS_MAX: usize = 1024;

/// Upper bound for a record and its envelope besides data, attributes and resource; the real size is far smaller.
const SMALL_BYTES: usize = 4 << 10;

/// How much the lengths and separators of an envelope may grow when it is filled, plus the numbers of a chunk.
const SLACK_BYTES: usize = 256;

/// The two encodings of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
}

/// Turns records into items and items into requests.
#[derive(Debug)]
pub struct Encoder {
    takes: Takes,
    encoding: Encoding,
    min_severity: Severity,
    resource: ResourceSettings,
    version: &'static str,
    limits: Limits,
    seen: Mutex<Seen>,
}

/// Caches of encoded data that is likely to be needed again.
#[derive(Debug, Default)]
struct Seen {
    /// Keyed by the address of the origin, which can't be reused while its `Arc` is held here.
    origins: HashMap<usize, (Arc<Origin>, Common)>,
    resources: Vec<KnownResource>,
}

/// What the records of one origin share, encoded.
#[derive(Debug, Clone)]
struct Common {
    attributes: Bytes,
    /// Number of attributes.
    count: usize,
    cuts: Arc<Cuts>,
    resource: Bytes,
}

/// A cached resource.
#[derive(Debug)]
struct KnownResource {
    host: Arc<Host>,
    service_name: String,
    encoded: Bytes,
}

impl Encoder {
    /// An encoder for records of `takes` at or above `min_severity`, without size limits; `version` is qtap's own.
    #[must_use]
    pub fn new(
        takes: Takes,
        encoding: Encoding,
        min_severity: Severity,
        resource: ResourceSettings,
        version: &'static str,
    ) -> Encoder {
        let most = usize::MAX;
        let limits = Limits { attribute_value_bytes: 0, record_attributes: 0, batch_records: most, batch_bytes: most };
        Encoder { takes, encoding, min_severity, resource, version, limits, seen: Mutex::default() }
    }

    /// The encoder for a store, with the store's limits.
    #[must_use]
    pub fn for_store(settings: &OtlpSettings, takes: Takes, encoding: Encoding, version: &'static str) -> Encoder {
        let encoder = Encoder::new(takes, encoding, settings.min_severity, settings.resource.clone(), version);
        Encoder { limits: settings.limits, ..encoder }
    }

    /// Encodes the record; no items when it is not for this store, several when its data exceeds the store's limits.
    #[must_use]
    pub fn prepare(&self, record: &Record) -> Prepared {
        let class = Class::of(record);
        if !self.takes.class(class) || record.severity < self.min_severity {
            return Prepared::default();
        }
        let record = &*excerpt::of(record, excerpt::OTLP_BYTES);
        let common = self.common(&record.origin);
        let mut entry = map::entry(record);
        let mut cuts = limits::cut(&mut entry.attributes, self.limits.attribute_value_bytes);
        cuts.add(&common.cuts);
        let data = data_of(record);
        let small = data.len().saturating_mul(6) + SMALL_BYTES < self.limits.batch_bytes
            && (self.limits.attribute_value_bytes == 0 || data.len() <= self.limits.attribute_value_bytes);
        let count = entry.attributes.len() + common.count + usize::from(!cuts.names.is_empty());
        let few = self.limits.record_attributes == 0 || count <= self.limits.record_attributes;
        if few && small {
            map::truncated(&mut entry.attributes, cuts.names.clone());
            let payload = self.encode(&entry, &common.attributes);
            if payload.len() + common.resource.len() + SMALL_BYTES < self.limits.batch_bytes {
                return self.prepared(class, vec![payload], &common, &cuts);
            }
        }
        self.within_limits(record, class, entry, &common, cuts)
    }

    /// As [`Encoder::prepare`], for a record that exceeds the store's limits as it is.
    fn within_limits<'r>(
        &self,
        record: &'r Record,
        class: Class,
        mut entry: Entry<'r>,
        common: &Common,
        mut cuts: Cuts,
    ) -> Prepared {
        let data = data_of(record);
        entry.attributes.extend(map::origin(&record.origin));
        limits::cut(&mut entry.attributes, self.limits.attribute_value_bytes);
        let spare = map::CHUNK_ATTRIBUTES * usize::from(!data.is_empty()) + 1;
        let most = self.limits.record_attributes;
        entry.dropped_attributes =
            limits::leave_out(&mut entry.attributes, most.saturating_sub(spare).max(most.min(1)));
        cuts.left_out = entry.dropped_attributes;
        // Size without the data; the slack includes the numbers of a chunk.
        let envelope = self.write(&[(&common.resource, Vec::new())]).len() + SLACK_BYTES;
        let room = self.limits.batch_bytes.saturating_sub(envelope);
        let rest = |entry: &Entry<'_>| self.encode(&map::without_data(entry), &[]).len();
        map::truncated(&mut entry.attributes, cuts.names.clone());
        if rest(&entry) > room / 2 {
            // A limit so small that all values together take less than half of the space, even at six bytes for each byte.
            let few = room / 16 / (entry.attributes.len() + 2);
            cuts.add(&limits::cut(&mut entry.attributes, few.max(1)));
            map::truncated(&mut entry.attributes, cuts.names.clone());
            let end = limits::floor(entry.body, few);
            entry.body = entry.body.get(..end).unwrap_or_default();
        }
        let room = room.saturating_sub(rest(&entry));
        let ranges = limits::chunks(data, self.encoding, self.limits.attribute_value_bytes, room);
        let count = ranges.len();
        let payload = |(index, range): (usize, Range<usize>)| {
            let mut entry = entry.clone();
            if count > 1 {
                map::chunk(&mut entry, data, range, index, count);
            }
            self.encode(&entry, &[])
        };
        let payloads = ranges.into_iter().enumerate().map(payload).collect();
        self.prepared(class, payloads, common, &cuts)
    }

    fn prepared(&self, class: Class, payloads: Vec<Bytes>, common: &Common, cuts: &Cuts) -> Prepared {
        let item = |payload| Item {
            class,
            resource: common.resource.clone(),
            name: String::new(),
            content_type: String::new(),
            payload,
            spooled: None,
        };
        let items = payloads.into_iter().map(item).collect();
        Prepared { items, cut_attributes: cuts.attributes(), cut_bytes: cuts.bytes }
    }

    fn encode(&self, entry: &Entry<'_>, shared: &[u8]) -> Bytes {
        match self.encoding {
            Encoding::Protobuf => protobuf::record(entry, shared),
            Encoding::Json => json::record(entry, shared).into(),
        }
    }

    fn common(&self, origin: &Arc<Origin>) -> Common {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let address = Arc::as_ptr(origin).addr();
        if let Some((_, common)) = seen.origins.get(&address) {
            return common.clone();
        }
        let mut attributes = map::origin(origin);
        let cuts = Arc::new(limits::cut(&mut attributes, self.limits.attribute_value_bytes));
        let count = attributes.len();
        let attributes = Bytes::from(match self.encoding {
            Encoding::Protobuf => protobuf::attributes(&attributes),
            Encoding::Json => json::attributes(&attributes),
        });
        let common = Common { attributes, count, cuts, resource: self.resource(origin, &mut seen.resources) };
        if seen.origins.len() >= ORIGINS_MAX {
            seen.origins.clear();
        }
        seen.origins.insert(address, (Arc::clone(origin), common.clone()));
        common
    }

    /// The encoded resource of an origin; the same host and service share the same bytes.
    fn resource(&self, origin: &Origin, known: &mut Vec<KnownResource>) -> Bytes {
        let service_name = map::service_name(&self.resource, origin);
        let found = known.iter().find(|k| k.service_name == *service_name && Arc::ptr_eq(&k.host, &origin.host));
        if let Some(found) = found {
            return found.encoded.clone();
        }
        let mut attributes = map::resource(&self.resource, &origin.host, &service_name, self.version);
        limits::cut(&mut attributes, self.limits.attribute_value_bytes);
        let encoded = Bytes::from(match self.encoding {
            Encoding::Protobuf => protobuf::resource(&attributes),
            Encoding::Json => json::resource(&attributes),
        });
        if known.len() >= RESOURCES_MAX {
            known.clear();
        }
        let service_name = service_name.into_owned();
        known.push(KnownResource { host: Arc::clone(&origin.host), service_name, encoded: encoded.clone() });
        encoded
    }

    /// Encodes an `ExportLogsServiceRequest` with the items, in order, grouped by resource.
    ///
    /// # Errors
    /// When several items together exceed the store's limits; the batch must then be sent in halves.
    pub fn request(&self, items: &[Item]) -> Result<Vec<u8>, Refusal> {
        let mut groups: Vec<(&[u8], Vec<&[u8]>)> = Vec::with_capacity(1);
        for item in items {
            let payload = item.payload.as_ref();
            match groups.iter_mut().find(|(resource, _)| *resource == item.resource.as_ref()) {
                Some((_, records)) => records.push(payload),
                None => groups.push((&item.resource, vec![payload])),
            }
        }
        let request = self.write(&groups);
        if items.len() > 1 && (items.len() > self.limits.batch_records || request.len() > self.limits.batch_bytes) {
            return Err(Refusal::split("the batch is larger than limits.batch_records and batch_bytes allow"));
        }
        Ok(request)
    }

    fn write(&self, groups: &[(&[u8], Vec<&[u8]>)]) -> Vec<u8> {
        match self.encoding {
            Encoding::Protobuf => protobuf::request(groups, self.version, map::SCHEMA_URL),
            Encoding::Json => json::request(groups, self.version, map::SCHEMA_URL),
        }
    }
}

/// The data of an object, if it is in memory.
fn data_of(record: &Record) -> &[u8] {
    match &record.kind {
        RecordKind::Object(object) => &object.data,
        RecordKind::Connection(_) | RecordKind::Artifact(_) | RecordKind::Request(_) | RecordKind::Issue(_) => &[],
    }
}

/// The receipt for a server's success. An empty partial success is a success; one with a message and nothing rejected is a
/// warning (OTLP specification, "Partial Success").
#[must_use]
pub fn receipt(rejected: i64, message: String) -> Receipt {
    Receipt { rejected: u64::try_from(rejected).unwrap_or(0), message: Some(message).filter(|text| !text.is_empty()) }
}
