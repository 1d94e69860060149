//! Sample records for `qtap test-connection`, harmless and marked as samples. In: a store's settings. Out: one record of each kind it takes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::settings::{StoreKind, StoreSettings};
use crate::model::record::{ConnectionRecord, ObjectRecord, Origin, Record, RecordKind, Severity};

/// The data of the sample object.
const DATA: &[u8] = b"{\"sample\":\"qtap test-connection\"}";

fn record(severity: Severity, kind: RecordKind) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let origin = Origin { tags: vec!["qtap:sample".to_owned()], ..Origin::default() };
    Record {
        uid: format!("{now:032x}"),
        time_unix_ns: now,
        observed_unix_ns: now,
        severity,
        line: "a sample sent by qtap test-connection".to_owned(),
        trace: None,
        origin: Arc::new(origin),
        request_id: None,
        kind,
    }
}

/// The samples for a store, with severity info, or higher if the store requires it.
#[must_use]
pub(super) fn of(store: &StoreSettings) -> Vec<Record> {
    let severity = match &store.kind {
        StoreKind::Otlp(otlp) => otlp.min_severity.max(Severity::Info),
        StoreKind::Stdout(_, least) => (*least).max(Severity::Info),
        StoreKind::S3(_) => Severity::Info,
    };
    store.events.then(|| event(severity)).into_iter().chain(store.objects.then(|| object(severity))).collect()
}

/// A connection that never existed.
fn event(severity: Severity) -> Record {
    record(
        severity,
        RecordKind::Connection(Box::new(ConnectionRecord { state: "closed", finalized: true, ..Default::default() })),
    )
}

/// An object that says it is a sample.
fn object(severity: Severity) -> Record {
    let hex: String = Sha256::digest(DATA).iter().map(|byte| format!("{byte:02x}")).collect();
    record(
        severity,
        RecordKind::Object(Box::new(ObjectRecord {
            artifact_type: "http_request",
            content_type: "application/json",
            data: bytes::Bytes::from_static(DATA),
            digest: format!("sha256:{hex}"),
            ..Default::default()
        })),
    )
}
