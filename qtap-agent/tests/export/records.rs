//! Records like those of the pipeline.

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::model::event::Host;
use qtap_agent::model::process::Process;
use qtap_agent::model::record::{
    Address, ArtifactLink, ArtifactRecord, ConnectionRecord, IssueRecord, ObjectRecord, ObjectSummary, Origin, Record,
    RecordKind, RequestRecord, Severity, Timing, TraceContext,
};
use sha2::{Digest as _, Sha256};

/// SHA-256 as records write it.
pub(crate) fn digest(data: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(crate) fn origin() -> Arc<Origin> {
    let host = Host { name: "web-1".into(), id: "6f1e".into(), os_type: "linux".into(), ..Host::default() };
    let process = Process {
        pid: 4242,
        executable_path: "/usr/bin/curl".into(),
        command: "curl https://example.com/".into(),
        user_id: 1000,
        user_name: Some("ann".into()),
        ..Process::default()
    };
    Arc::new(Origin {
        host: Arc::new(host),
        connection_id: "018f0000-0000-7000-8000-000000000001".into(),
        direction: Some("egress-external"),
        transport: Some("tcp"),
        network_type: Some("ipv4"),
        protocol_name: Some("http"),
        protocol_version: Some("1.1"),
        protocol: Some("http1"),
        client: Some(Address::Inet([10, 0, 0, 1].into(), 40000)),
        server: Some(Address::Inet([93, 184, 216, 34].into(), 443)),
        peer: Some(Address::Inet([93, 184, 216, 34].into(), 443)),
        local: Some(Address::Inet([10, 0, 0, 1].into(), 40000)),
        process: Some(Arc::new(process)),
        tags: vec!["team:web".into()],
    })
}

fn record(number: u32, kind: RecordKind) -> Arc<Record> {
    Arc::new(Record {
        uid: format!("{number:032x}"),
        time_unix_ns: 1_700_000_000_123_456_789,
        observed_unix_ns: 1_700_000_000_223_456_789,
        severity: Severity::Info,
        line: format!("record {number}"),
        trace: None,
        origin: origin(),
        request_id: None,
        kind,
    })
}

pub(crate) fn connection(number: u32) -> Arc<Record> {
    record(
        number,
        RecordKind::Connection(Box::new(ConnectionRecord {
            state: "closed",
            finalized: true,
            bytes_sent: 517,
            bytes_received: 4096,
            losses: vec![("body_limit", 7)],
            duration_ms: 12.5,
            ..ConnectionRecord::default()
        })),
    )
}

pub(crate) fn artifact(number: u32) -> Arc<Record> {
    let mut out = (*record(
        number,
        RecordKind::Artifact(Box::new(ArtifactRecord {
            method: Some("GET".into()),
            url_full: Some("https://example.com/a?b=c".into()),
            status: Some(200),
            response_content_type: vec!["text/html".into()],
            timing: Timing { duration_ms: Some(8.25), ..Timing::default() },
            response_artifact: Some(ArtifactLink { url: "otel://x/y".into(), digest: digest(b"x") }),
            ..ArtifactRecord::default()
        })),
    ))
    .clone();
    out.trace = Some(TraceContext { trace_id: [0xab; 16], span_id: [0xcd; 8], flags: 1 });
    out.request_id = Some("r-1".into());
    Arc::new(out)
}

pub(crate) fn object(number: u32, data: &[u8]) -> Arc<Record> {
    record(
        number,
        RecordKind::Object(Box::new(ObjectRecord {
            artifact_type: "http_response",
            content_type: "application/json",
            data: Bytes::copy_from_slice(data),
            digest: digest(data),
            summary: ObjectSummary { status: Some(200), ..ObjectSummary::default() },
            ..ObjectRecord::default()
        })),
    )
}

pub(crate) fn request(number: u32) -> Arc<Record> {
    record(
        number,
        RecordKind::Request(Box::new(RequestRecord {
            auth_type: Some("bearer_jwt"),
            auth_digest: Some(digest(b"t")),
            claims: vec![("iss".into(), "https://id.example".into())],
            path_template: Some("/a/{id}".into()),
            ..RequestRecord::default()
        })),
    )
}

pub(crate) fn issue(number: u32) -> Arc<Record> {
    record(
        number,
        RecordKind::Issue(Box::new(IssueRecord {
            name: "slow".into(),
            reasons: vec!["status", "duration"],
            duration_ms: Some(8.25),
            ..IssueRecord::default()
        })),
    )
}

/// One record of each kind.
pub(crate) fn one_of_each() -> Vec<Arc<Record>> {
    vec![connection(1), artifact(2), object(3, r#"{"a":"é"}"#.as_bytes()), request(4), issue(5)]
}
