//! One record of each kind for `qtap test-connection`: harmless, and plainly a sample.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::model::record::{ConnectionRecord, ObjectRecord, Origin, Record, RecordKind, Severity};

/// What the sample object holds.
const DATA: &[u8] = b"{\"sample\":\"qtap test-connection\"}";

fn record(kind: RecordKind) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let origin = Origin { tags: vec!["qtap:sample".to_owned()], ..Origin::default() };
    Record {
        uid: format!("{now:032x}"),
        time_unix_ns: now,
        observed_unix_ns: now,
        // High enough for any `min_severity`.
        severity: Severity::Fatal,
        line: "a sample sent by qtap test-connection".to_owned(),
        trace: None,
        origin: Arc::new(origin),
        request_id: None,
        kind,
    }
}

/// A connection that never was.
#[must_use]
pub(super) fn event() -> Record {
    record(RecordKind::Connection(Box::new(ConnectionRecord {
        state: "closed",
        finalized: true,
        ..Default::default()
    })))
}

/// An object that says it is a sample.
#[must_use]
pub(super) fn object() -> Record {
    let hex: String = Sha256::digest(DATA).iter().map(|byte| format!("{byte:02x}")).collect();
    record(RecordKind::Object(Box::new(ObjectRecord {
        artifact_type: "http_request",
        content_type: "application/json",
        data: bytes::Bytes::from_static(DATA),
        digest: format!("sha256:{hex}"),
        ..Default::default()
    })))
}
