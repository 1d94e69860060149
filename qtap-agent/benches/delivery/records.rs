//! Records as the pipeline would make them: small ones of about half a kilobyte encoded, and objects with bodies.

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::model::event::Host;
use qtap_agent::model::record::{
    Address, ConnectionRecord, ObjectRecord, ObjectSummary, Origin, Record, RecordKind, Severity,
};

fn record(number: u32, kind: RecordKind) -> Arc<Record> {
    let host = Host { name: "bench".to_owned(), id: "6f1e".to_owned(), ..Host::default() };
    let origin = Origin {
        host: Arc::new(host),
        connection_id: format!("018f0000-0000-7000-8000-{number:012x}"),
        transport: Some("tcp"),
        peer: Some(Address::Inet([127, 0, 0, 1].into(), 443)),
        ..Origin::default()
    };
    Arc::new(Record {
        uid: format!("{number:032x}"),
        time_unix_ns: 1_700_000_000_123_456_789,
        observed_unix_ns: 1_700_000_000_223_456_789,
        severity: Severity::Info,
        line: format!("connection {number} closed"),
        trace: None,
        origin: Arc::new(origin),
        request_id: None,
        kind,
    })
}

/// A connection's report.
pub(super) fn small(number: u32) -> Arc<Record> {
    let connection = ConnectionRecord {
        state: "closed",
        finalized: true,
        bytes_sent: 517,
        bytes_received: 4096,
        captured_bytes: 4613,
        duration_ms: 12.5,
        requests: 1,
        ..ConnectionRecord::default()
    };
    record(number, RecordKind::Connection(Box::new(connection)))
}

/// An object of so many bytes.
pub(super) fn object(number: u32, bytes: usize) -> Arc<Record> {
    let data: Vec<u8> = (0..bytes).map(|at| b' ' + ((at as u32 * 7 + number) % 90) as u8).collect();
    let object = ObjectRecord {
        artifact_type: "http_response",
        content_type: "text/plain",
        data: Bytes::from(data),
        digest: format!("sha256:{number:064x}"),
        summary: ObjectSummary { status: Some(200), ..ObjectSummary::default() },
        ..ObjectRecord::default()
    };
    record(number, RecordKind::Object(Box::new(object)))
}

/// Bytes of the bodies of all of them together.
pub(super) fn body_bytes(records: &[Arc<Record>]) -> usize {
    let size = |record: &Arc<Record>| match &record.kind {
        RecordKind::Object(object) => object.data.len(),
        _ => 0,
    };
    records.iter().map(size).sum()
}
