//! OTLP logs: what a record is called (`map`), how that is written (`protobuf`, `json`), and how it travels (`grpc`, `http`).
//! This file joins the first two: a record in, an [`Item`] out; items in, one request body out, grouped by resource.

pub mod compress;
pub mod endpoint;
pub mod grpc;
pub mod http;
pub mod json;
pub mod map;
pub mod protobuf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::exporter::{Class, Item, Receipt, Takes};
use super::settings::ResourceSettings;
use crate::model::event::Host;
use crate::model::record::{Origin, Record, Severity};

/// Resources remembered in their encoded form; more than a host has services at a time. When full, all are forgotten.
const RESOURCES_MAX: usize = 256;

/// Origins remembered in their encoded form: connections that are busy at a time. When full, all are forgotten.
const ORIGINS_MAX: usize = 1024;

/// The two forms of OTLP.
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
    seen: Mutex<Seen>,
}

/// What was encoded before and is likely to be needed again.
#[derive(Debug, Default)]
struct Seen {
    /// By the origin's address, which stays its own as long as it is kept here.
    origins: HashMap<usize, (Arc<Origin>, Common)>,
    resources: Vec<KnownResource>,
}

/// What the records of one origin share, encoded.
#[derive(Debug, Clone)]
struct Common {
    attributes: Bytes,
    resource: Bytes,
}

/// A resource that was encoded before.
#[derive(Debug)]
struct KnownResource {
    host: Arc<Host>,
    service_name: String,
    encoded: Bytes,
}

impl Encoder {
    /// An encoder for records of `takes` at or above `min_severity`; `version` is qtap's own.
    #[must_use]
    pub fn new(
        takes: Takes,
        encoding: Encoding,
        min_severity: Severity,
        resource: ResourceSettings,
        version: &'static str,
    ) -> Encoder {
        Encoder { takes, encoding, min_severity, resource, version, seen: Mutex::default() }
    }

    /// The record, encoded; none when it is not for this store.
    #[must_use]
    pub fn item(&self, record: &Record) -> Option<Item> {
        let class = Class::of(record);
        if !self.takes.class(class) || record.severity < self.min_severity {
            return None;
        }
        let common = self.common(&record.origin);
        let entry = map::entry(record);
        let payload = match self.encoding {
            Encoding::Protobuf => protobuf::record(&entry, &common.attributes),
            Encoding::Json => json::record(&entry, &common.attributes).into(),
        };
        let resource = common.resource;
        Some(Item { class, resource, name: String::new(), content_type: String::new(), payload, spooled: None })
    }

    fn common(&self, origin: &Arc<Origin>) -> Common {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let address = Arc::as_ptr(origin).addr();
        if let Some((_, common)) = seen.origins.get(&address) {
            return common.clone();
        }
        let attributes = map::origin(origin);
        let attributes = Bytes::from(match self.encoding {
            Encoding::Protobuf => protobuf::attributes(&attributes),
            Encoding::Json => json::attributes(&attributes),
        });
        let common = Common { attributes, resource: self.resource(origin, &mut seen.resources) };
        if seen.origins.len() >= ORIGINS_MAX {
            seen.origins.clear();
        }
        seen.origins.insert(address, (Arc::clone(origin), common.clone()));
        common
    }

    /// The encoded resource of an origin: the same bytes, shared, for the same host and service.
    fn resource(&self, origin: &Origin, known: &mut Vec<KnownResource>) -> Bytes {
        let service_name = map::service_name(&self.resource, origin);
        let found = known.iter().find(|k| k.service_name == *service_name && Arc::ptr_eq(&k.host, &origin.host));
        if let Some(found) = found {
            return found.encoded.clone();
        }
        let attributes = map::resource(&self.resource, &origin.host, &service_name, self.version);
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

    /// An `ExportLogsServiceRequest` with the items, those of one resource together, in order.
    #[must_use]
    pub fn request(&self, items: &[Item]) -> Vec<u8> {
        let mut groups: Vec<(&[u8], Vec<&[u8]>)> = Vec::with_capacity(1);
        for item in items {
            let payload = item.payload.as_ref();
            match groups.iter_mut().find(|(resource, _)| *resource == item.resource.as_ref()) {
                Some((_, records)) => records.push(payload),
                None => groups.push((&item.resource, vec![payload])),
            }
        }
        match self.encoding {
            Encoding::Protobuf => protobuf::request(&groups, self.version, map::SCHEMA_URL),
            Encoding::Json => json::request(&groups, self.version, map::SCHEMA_URL),
        }
    }
}

/// A success as the server told it. An empty partial success is a success; one with a message and nothing rejected is a
/// warning (OTLP specification, "Partial Success").
#[must_use]
pub fn receipt(rejected: i64, message: String) -> Receipt {
    Receipt { rejected: u64::try_from(rejected).unwrap_or(0), message: Some(message).filter(|text| !text.is_empty()) }
}
