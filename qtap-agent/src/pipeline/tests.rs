//! The pipeline as its neighbours see it: observations in, records out. What is expected was written from the contract of the
//! records, not from the code.
#![allow(clippy::unwrap_used)] // values that are not there are what these tests look for

use std::sync::Arc;

use bytes::Bytes;

use super::settings::{Artifacts, Format, HttpCapture, Level, Locator, Redact, RedactAction, Settings, Stack, Step};
use super::{Pipeline, RedactionKey};
use crate::model::conn::{Binding, ConnFacts, ConnectionUid, Endpoint, Protocol, Role, TlsFacts, Transport};
use crate::model::event::{Count, Host};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete};
use crate::model::loss::{Loss, Tally};
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::observation::{ConnState, ConnectionSeen, ExchangeSeen, Observation};
use crate::model::process::Process;
use crate::model::record::{Address, ArtifactRecord, ConnectionRecord, ObjectRecord, Record, RecordKind, Severity};
use crate::model::time::{KernelTime, WallClock};

/// 2026-01-02T03:04:05Z.
const BOOT: u64 = 1_767_323_045_000_000_000;
const LEVELS: [Level; 4] = [Level::None, Level::Summary, Level::Details, Level::Full];
const FORMATS: [Format; 3] = [Format::Json, Format::Http, Format::Text];
const ACTIONS: [RedactAction; 3] = [RedactAction::Mask, RedactAction::Hash, RedactAction::Drop];

fn known(text: &str) -> FieldText {
    FieldText::Known(Bytes::copy_from_slice(text.as_bytes()))
}

fn fields(list: &[(&str, &str)]) -> Fields {
    Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect())
}

fn body(text: &[u8]) -> Body {
    Body { chunks: vec![Bytes::copy_from_slice(text)], size: text.len() as u64, ..Body::default() }
}

fn ms(ms: u64) -> KernelTime {
    KernelTime(ms * 1_000_000)
}

fn request() -> Request {
    Request {
        method: Some("POST".to_owned()),
        target: Some("/pay?id=7".to_owned()),
        scheme: None,
        authority: Some("shop.example:8443".to_owned()),
        version: Version::Http11,
        fields: fields(&[
            ("Host", "shop.example:8443"),
            ("User-Agent", "curl/8"),
            ("Content-Type", "application/json"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ]),
        body: body(br#"{"sum":"1 000"}"#),
        trailers: Fields::default(),
        started: ms(100),
        ended: Some(ms(110)),
    }
}

fn response() -> Response {
    Response {
        status: Some(200),
        reason: Bytes::from_static(b"OK"),
        informational: vec![100],
        version: Version::Http11,
        fields: fields(&[("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")]),
        body: body(b"paid\n"),
        trailers: Fields::default(),
        started: ms(112),
        ended: Some(ms(130)),
    }
}

fn http() -> HttpExchange {
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 42,
        request: Some(request()),
        response: Some(response()),
        incomplete: None,
    }
}

fn host() -> Arc<Host> {
    Arc::new(Host { name: "h".to_owned(), clock: WallClock { boot_unix_ns: BOOT }, ..Host::default() })
}

fn conn() -> ConnFacts {
    ConnFacts {
        uid: ConnectionUid([0x11; 16]),
        opened: ms(90),
        pid: 42,
        transport: Transport::Tcp,
        local: Endpoint::Inet("10.0.0.2:50000".parse().unwrap()),
        peer: Endpoint::Inet("[::ffff:93.184.216.34]:8443".parse().unwrap()),
        role: Role::Client,
        tls: Some(TlsFacts { sni: Some("shop.example".to_owned()), inspected: true, ..TlsFacts::default() }),
        protocol: Protocol::Http1,
        binding: Some(Binding::Nested),
        joined_late: false,
    }
}

fn process() -> Arc<Process> {
    let executable_path = "/usr/bin/curl".to_owned();
    Arc::new(Process { pid: 42, executable_path, command: "curl shop".to_owned(), ..Process::default() })
}

fn seen(http: HttpExchange) -> Observation {
    Observation::Exchange(Box::new(ExchangeSeen {
        host: host(),
        conn: Arc::new(conn()),
        process: Some(process()),
        number: 3,
        exchange: Exchange::Http(Box::new(http)),
        observed: ms(131),
    }))
}

fn report(state: ConnState, part: u32) -> ConnectionSeen {
    let mut losses = Tally::default();
    losses.add(Loss::BodyLimit, 70);
    ConnectionSeen {
        host: host(),
        conn: Arc::new(conn()),
        process: Some(process()),
        state,
        part,
        sent: Count { carried: 900, kernel: Some(1000), ..Count::default() },
        received: Count { carried: 2000, ..Count::default() },
        captured_bytes: 300,
        losses,
        requests: 1,
        authority: Some("user:pass@Shop.example:8443".to_owned()),
        observed: ms(590),
    }
}

fn settings(level: Level, format: Format, artifacts: Artifacts) -> Settings {
    let capture = Step::HttpCapture(HttpCapture { level, format, artifacts });
    Settings {
        http_stack: Some(Stack { name: "s".to_owned(), steps: vec![capture, Step::Redact(Redact::default())] }),
        locators: vec![Locator { store: "o".to_owned(), url: "stdout://{{DIGEST}}".to_owned(), min_bytes: 0 }],
        tags: vec!["team:a".to_owned()],
    }
}

fn apply(settings: Settings, observation: Observation) -> Vec<Record> {
    let mut out = Vec::new();
    Pipeline::new(settings, &RedactionKey([9; 32])).apply(observation, &mut out);
    out
}

fn json(level: Level, http: HttpExchange) -> Vec<Record> {
    apply(settings(level, Format::Json, Artifacts::Split), seen(http))
}

fn artifact(record: &Record) -> &ArtifactRecord {
    match &record.kind {
        RecordKind::Artifact(artifact) => artifact,
        RecordKind::Connection(_) | RecordKind::Object(_) => panic!("not an artifact record: {record:?}"),
    }
}

fn object(record: &Record) -> &ObjectRecord {
    match &record.kind {
        RecordKind::Object(object) => object,
        RecordKind::Connection(_) | RecordKind::Artifact(_) => panic!("not an object: {record:?}"),
    }
}

fn connection(record: &Record) -> &ConnectionRecord {
    match &record.kind {
        RecordKind::Connection(connection) => connection,
        RecordKind::Artifact(_) | RecordKind::Object(_) => panic!("not a connection: {record:?}"),
    }
}

fn data(record: &Record) -> &str {
    std::str::from_utf8(&object(record).data).unwrap()
}

#[test]
fn the_level_says_which_records_there_are() {
    for (level, wanted) in [(Level::None, 0), (Level::Summary, 1), (Level::Details, 3), (Level::Full, 3)] {
        assert_eq!(json(level, http()).len(), wanted, "{level:?}");
        let closed = Observation::Connection(Box::new(report(ConnState::Closed, 0)));
        assert_eq!(apply(settings(level, Format::Json, Artifacts::Split), closed).len(), 1, "{level:?}");
    }
    let transaction = apply(settings(Level::Full, Format::Json, Artifacts::Transaction), seen(http()));
    assert_eq!(transaction.len(), 2);
    assert_eq!(object(&transaction[1]).artifact_type, "http_transaction");
    let none = Settings { http_stack: None, ..settings(Level::Full, Format::Json, Artifacts::Split) };
    assert_eq!(apply(none, seen(http())).len(), 0, "no stack, no payload");
    let nowhere = Settings { locators: Vec::new(), ..settings(Level::Full, Format::Json, Artifacts::Split) };
    let records = apply(nowhere, seen(http()));
    assert_eq!(records.len(), 1, "an object that nobody stores is not made");
    assert_eq!(artifact(&records[0]).request_artifact, None);
}

#[test]
fn the_artifact_record_is_filled() {
    let records = json(Level::Full, http());
    let (record, about) = (&records[0], artifact(&records[0]));
    assert_eq!(record.time_unix_ns, BOOT + 100_000_000);
    assert_eq!(record.observed_unix_ns, BOOT + 131_000_000);
    assert_eq!(record.severity, Severity::Info);
    assert_eq!(record.line, "POST https://shop.example:8443/pay?id=7 → 200 in 30.0 ms");
    assert_eq!(record.request_id.as_deref(), Some("11111111-1111-1111-1111-111111111111-0000000003"));
    assert_eq!(record.trace.unwrap().flags, 1);
    assert_eq!(about.method.as_deref(), Some("POST"));
    assert_eq!(about.url_full.as_deref(), Some("https://shop.example:8443/pay?id=7"));
    assert_eq!(about.url_scheme.as_deref(), Some("https"));
    assert_eq!(about.url_path.as_deref(), Some("/pay"));
    assert_eq!(about.url_query.as_deref(), Some("id=7"));
    assert_eq!(about.status, Some(200));
    assert_eq!(about.user_agent.as_deref(), Some("curl/8"));
    assert_eq!((about.request_body_size, about.response_body_size), (Some(15), Some(5)));
    assert_eq!(about.request_content_type, ["application/json"]);
    assert_eq!(about.response_content_type, ["text/plain"]);
    assert_eq!((about.duration_ms, about.time_to_first_byte_ms), (Some(30.0), Some(2.0)));
    assert_eq!((&about.error_type, about.incomplete, about.rpc_system), (&None, None, None));
    let (request, response) = (object(&records[1]), object(&records[2]));
    for (link, object) in [(&about.request_artifact, request), (&about.response_artifact, response)] {
        let link = link.as_ref().unwrap();
        assert_eq!(link.digest, object.digest);
        assert_eq!(link.url.strip_prefix("stdout://"), object.digest.strip_prefix("sha256:"));
    }
    assert_eq!(records[1].uid.len(), 32);
    assert!(records[0].uid != records[1].uid && records[1].uid != records[2].uid);
    assert!(records.iter().all(|r| r.origin.connection_id == "11111111-1111-1111-1111-111111111111"));
}

#[test]
fn the_origin_is_filled() {
    let records = json(Level::Summary, http());
    let origin = &records[0].origin;
    assert_eq!(origin.direction, Some("egress-external"));
    assert_eq!((origin.transport, origin.network_type), (Some("tcp"), Some("ipv4")));
    assert_eq!(
        (origin.protocol_name, origin.protocol_version, origin.protocol),
        (Some("http"), Some("1.1"), Some("http1"))
    );
    let (near, far) = (Address::Inet([10, 0, 0, 2].into(), 50000), Address::Inet([93, 184, 216, 34].into(), 8443));
    assert_eq!((origin.client.as_ref(), origin.server.as_ref()), (Some(&near), Some(&far)));
    assert_eq!((origin.local.as_ref(), origin.peer.as_ref()), (Some(&near), Some(&far)));
    assert_eq!(origin.process.as_ref().unwrap().executable_name(), "curl");
    assert_eq!(origin.tags, ["team:a"]);
}

#[test]
fn the_exchange_tells_the_role_that_the_connection_does_not_know() {
    let mut observation = seen(HttpExchange { outgoing: false, ..http() });
    if let Observation::Exchange(seen) = &mut observation {
        seen.conn = Arc::new(ConnFacts { role: Role::Unknown, ..conn() });
    }
    let records = apply(settings(Level::Summary, Format::Json, Artifacts::Split), observation);
    assert_eq!(records[0].origin.direction, Some("ingress"));
    assert_eq!(records[0].origin.server, Some(Address::Inet([10, 0, 0, 2].into(), 50000)));
}

#[test]
fn the_connection_record_is_filled() {
    let apply_one =
        |seen| apply(settings(Level::None, Format::Json, Artifacts::Split), Observation::Connection(Box::new(seen)));
    let records = apply_one(report(ConnState::Closed, 2));
    let (record, about) = (&records[0], connection(&records[0]));
    assert_eq!(
        record.line,
        "connection closed: curl → shop.example (http1 over TLS), 1000 B sent, 2000 B received, 1 request, 500.0 ms, 70 B lost"
    );
    assert_eq!((record.time_unix_ns, record.request_id.as_ref()), (BOOT + 590_000_000, None));
    assert_eq!((about.state, about.part, about.finalized), ("closed", 2, true));
    assert_eq!((about.bytes_sent, about.bytes_received), (1000, 2000));
    assert_eq!((about.captured_bytes, about.lost_bytes), (300, 70));
    assert_eq!(about.losses, [("body_limit", 70)]);
    assert_eq!((about.duration_ms, about.requests), (500.0, 1));
    assert_eq!(about.endpoint_id.as_deref(), Some("shop.example"));
    assert_eq!(about.binding, Some("nested"));
    let open = apply_one(report(ConnState::Open, 0));
    assert_eq!((connection(&open[0]).state, connection(&open[0]).finalized), ("open", false));
    let unnamed = apply_one(ConnectionSeen {
        authority: None,
        conn: Arc::new(ConnFacts { tls: None, protocol: Protocol::Unknown, ..conn() }),
        ..report(ConnState::Active, 1)
    });
    assert_eq!(connection(&unnamed[0]).endpoint_id.as_deref(), Some("93.184.216.34"));
    assert_eq!(unnamed[0].origin.protocol, Some("tcp"));
}

#[test]
fn severity_and_error_type_follow_the_outcome() {
    let outcome = |status, outgoing, incomplete| {
        let http = HttpExchange { response: Some(Response { status, ..response() }), outgoing, incomplete, ..http() };
        let records = json(Level::Summary, http);
        (records[0].severity, artifact(&records[0]).error_type.clone())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(outcome(Some(399), true, None), (Severity::Info, None));
    assert_eq!(outcome(Some(404), true, None), (Severity::Warn, text("404")));
    assert_eq!(outcome(Some(404), false, None), (Severity::Warn, None));
    assert_eq!(outcome(Some(503), false, None), (Severity::Error, text("503")));
    assert_eq!(outcome(None, true, Some(Incomplete::NoResponse)), (Severity::Error, text("no_response")));
    assert_eq!(outcome(Some(200), true, Some(Incomplete::Reset)), (Severity::Error, text("reset")));
    assert_eq!(outcome(Some(200), true, Some(Incomplete::BytesLost)), (Severity::Info, text("bytes_lost")));
}

#[test]
fn grpc_is_named_as_the_conventions_have_it() {
    let mut http = HttpExchange { protocol: Protocol::Grpc, ..http() };
    if let (Some(request), Some(response)) = (&mut http.request, &mut http.response) {
        request.target = Some("/helloworld.Greeter/SayHello".to_owned());
        (request.version, response.version) = (Version::Http2, Version::Http2);
        response.trailers = fields(&[("grpc-status", "5")]);
    }
    let records = json(Level::Summary, http);
    let about = artifact(&records[0]);
    assert_eq!(about.rpc_system, Some("grpc"));
    assert_eq!(about.rpc_method.as_deref(), Some("helloworld.Greeter/SayHello"));
    assert_eq!(about.rpc_status.as_deref(), Some("NOT_FOUND"));
    assert_eq!(records[0].severity, Severity::Warn);
    assert_eq!((records[0].origin.protocol, records[0].origin.protocol_version), (Some("grpc"), Some("2")));
}

#[test]
fn half_an_exchange_makes_half_the_objects() {
    let http = HttpExchange { response: None, incomplete: Some(Incomplete::NoResponse), ..http() };
    let records = json(Level::Full, http);
    assert_eq!(records.len(), 2);
    let about = artifact(&records[0]);
    assert_eq!((about.status, about.duration_ms, about.incomplete), (None, None, Some("no_response")));
    assert!(about.request_artifact.is_some() && about.response_artifact.is_none());
    assert_eq!(records[0].line, "POST https://shop.example:8443/pay?id=7 → no status (no_response)");
}

/// As `sha256sum` gives them.
const REQUEST_DIGEST: &str = "2d66f0f9a00bfc787311365db68c918160d1ab335cd9089330f8709d566f6d1c";
const RESPONSE_DIGEST: &str = "3c42c70dc17f17b02103c56fe9d89a2a1cd0703e9bd65eae5b4ea4ddda5c4a16";

#[test]
fn json_artifacts_are_these() {
    let records = json(Level::Full, http());
    let wanted = format!(
        concat!(
            r#"{{"method":"POST","url":"https://shop.example:8443/pay?id=7","target":"/pay?id=7","protocol":"HTTP/1.1","#,
            r#""headers":[{{"name":"Host","value":"shop.example:8443"}},{{"name":"User-Agent","value":"curl/8"}},"#,
            r#"{{"name":"Content-Type","value":"application/json"}},"#,
            r#"{{"name":"traceparent","value":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}],"#,
            r#""body":{{"size":15,"kept":15,"digest":"sha256:{}","encoding":"text","data":"{{\"sum\":\"1 000\"}}"}},"#,
            r#""started_at":"2026-01-02T03:04:05.100000000Z","ended_at":"2026-01-02T03:04:05.110000000Z"}}"#,
        ),
        REQUEST_DIGEST
    );
    assert_eq!(data(&records[1]), wanted);
    let wanted = format!(
        concat!(
            r#"{{"status":200,"reason":"OK","informational":[100],"protocol":"HTTP/1.1","#,
            r#""headers":[{{"name":"Content-Type","value":"text/plain"}},{{"name":"X-A","value":"1"}},{{"name":"X-A","value":"2"}}],"#,
            r#""body":{{"size":5,"kept":5,"digest":"sha256:{}","encoding":"text","data":"paid\n"}},"#,
            r#""started_at":"2026-01-02T03:04:05.112000000Z","ended_at":"2026-01-02T03:04:05.130000000Z"}}"#,
        ),
        RESPONSE_DIGEST
    );
    assert_eq!(data(&records[2]), wanted);
    let details = json(Level::Details, http());
    let body = format!(r#""body":{{"size":5,"kept":5,"digest":"sha256:{RESPONSE_DIGEST}"}},"#);
    assert!(data(&details[2]).contains(&body), "{}", data(&details[2]));
    assert_eq!(object(&records[1]).content_type, "application/json");
}

#[test]
fn http_artifacts_are_the_messages() {
    let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(http()));
    assert_eq!(
        data(&records[1]),
        "POST /pay?id=7 HTTP/1.1\r\nHost: shop.example:8443\r\nUser-Agent: curl/8\r\nContent-Type: application/json\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n{\"sum\":\"1 000\"}"
    );
    let wanted = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-A: 2\r\n\r\npaid\n";
    assert_eq!(data(&records[2]), wanted);
    assert_eq!(object(&records[2]).content_type, "message/http");
    let details = apply(settings(Level::Details, Format::Http, Artifacts::Split), seen(http()));
    assert_eq!(data(&details[2]), wanted.trim_end_matches("paid\n"));
}

#[test]
fn http2_is_written_in_the_form_of_http1() {
    let mut http = HttpExchange { protocol: Protocol::Http2, ..http() };
    if let (Some(request), Some(response)) = (&mut http.request, &mut http.response) {
        (request.version, response.version) = (Version::Http2, Version::Http2);
        request.fields = fields(&[("accept", "a\r\nevil: b")]);
        request.body = Body::default();
        request.method = Some("GET".to_owned());
        response.reason = Bytes::new();
        response.fields = fields(&[("content-length", "5")]);
        response.trailers = fields(&[("x-sum", "9")]);
    }
    let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(http));
    let request = "GET /pay?id=7 HTTP/1.1\r\nHost: shop.example:8443\r\naccept: a  evil: b\r\n\r\n";
    assert_eq!(data(&records[1]), request);
    let response = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\npaid\n\r\n0\r\nx-sum: 9\r\n\r\n";
    assert_eq!(data(&records[2]), response);
}

#[test]
fn text_artifacts_are_for_reading() {
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Transaction), seen(http()));
    assert_eq!(
        data(&records[1]),
        "POST https://shop.example:8443/pay?id=7 HTTP/1.1\nHost: shop.example:8443\nUser-Agent: curl/8\n\
         Content-Type: application/json\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n\
         {\"sum\":\"1 000\"}\n\nHTTP/1.1 200 OK\nContent-Type: text/plain\nX-A: 1\nX-A: 2\n\npaid\n"
    );
}

#[test]
fn what_is_missing_from_a_body_is_said() {
    let cut = Body {
        chunks: vec![Bytes::from_static("abc".as_bytes()), Bytes::from_static(b"h\xc3")],
        size: 100,
        truncated: true,
        missing: std::iter::once(3..5).collect(),
    };
    let cut_http = HttpExchange { response: Some(Response { body: cut, ended: None, ..response() }), ..http() };
    let records = json(Level::Full, cut_http.clone());
    assert!(object(&records[2]).truncated && !object(&records[1]).truncated);
    assert_eq!(object(&records[2]).missing.first(), Some(&(3..5)));
    let text = data(&records[2]);
    assert!(text.contains(r#""body":{"size":100,"kept":4,"truncated":true,"missing":[[3,5]],"digest":"#), "{text}");
    assert!(text.contains(r#""data":"abch"}"#) && text.ends_with(r#""ended_at":null}"#), "{text}");
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Split), seen(cut_http));
    assert!(data(&records[2]).ends_with("abch\n[truncated: 4 of 100 bytes kept]\n[missing: bytes 3 to 5]\n"));
}

#[test]
fn coded_bodies_stand_as_carried_and_as_decoded() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"hello").unwrap();
    let carried = encoder.finish().unwrap();
    let with = |body: &[u8]| {
        let fields = fields(&[("content-encoding", "gzip")]);
        HttpExchange { response: Some(Response { body: self::body(body), fields, ..response() }), ..http() }
    };
    let records = json(Level::Full, with(&carried));
    let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
    assert_eq!(read["body"]["encoding"], "base64");
    assert_eq!(read["body"]["size"], carried.len());
    let hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let decoded = serde_json::json!({"size": 5, "digest": hello, "encoding": "text", "data": "hello"});
    assert_eq!(read["body"]["decoded"], decoded);
    assert_eq!(artifact(&records[0]).response_body_size, Some(carried.len() as u64));
    let records = json(Level::Full, with(b"not gzip"));
    let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
    assert_eq!(read["body"]["decoded"]["failed"], "gzip");
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Split), seen(with(&carried)));
    assert!(data(&records[2]).contains("\n\nhello\n[25 bytes as carried, decoded here]\n"), "{}", data(&records[2]));
}

#[test]
fn unknown_fields_are_null_and_never_guessed() {
    let unknown = Fields(vec![
        Field { name: known("a"), value: FieldText::Unknown },
        Field { name: FieldText::Unknown, value: FieldText::Unknown },
        Field { name: known("b"), value: FieldText::Known(Bytes::from_static(b"\xe9")) },
    ]);
    let http = HttpExchange { response: Some(Response { fields: unknown, status: None, ..response() }), ..http() };
    let records = json(Level::Full, http.clone());
    let wanted = r#""headers":[{"name":"a","value":null},{"name":null,"value":null},{"name":"b","value":"é"}]"#;
    assert!(data(&records[2]).contains(wanted), "{}", data(&records[2]));
    assert!(data(&records[2]).starts_with(r#"{"status":null,"#));
    let records = apply(settings(Level::Details, Format::Http, Artifacts::Split), seen(http));
    assert_eq!(&object(&records[2]).data[..], b"HTTP/1.1 ? OK\r\nb: \xe9\r\n\r\n");
}

#[test]
fn the_same_observations_give_the_same_records() {
    let run = || format!("{:?}", json(Level::Full, http()));
    assert_eq!(run(), run());
}

const CANARY: &str = "c4n4ry";

/// The canary in every place that redaction is to reach.
fn poisoned() -> HttpExchange {
    let secret = [
        ("Authorization", "Bearer c4n4ry"),
        ("COOKIE", "session=c4n4ry"),
        ("cookie", "c4n4ry"),
        ("X-Api-Key ", "c4n4ry"),
        ("Host", "user:c4n4ry@h"),
        ("Referer", "https://u:c4n4ry@h/a?x=1&Token=c4n4ry#access_token=c4n4ry"),
        ("Location", "//u:c4n4ry@h/cb?next=https%3A%2F%2Fh%2F%3Fapi_key%3Dc4n4ry"),
        ("Link", "<https://h/?sig=c4n4ry>; rel=next, </p;password=c4n4ry>"),
        ("X-Original-Url", "/a?%74oken=c4n4ry"),
        ("Set-Cookie", "a=c4n4ry"),
        ("User-Agent", "bot (+http://h/?key=c4n4ry)"),
        ("Content-Type", "a/b; u=?secret=c4n4ry"),
    ];
    let mut poison = fields(&secret);
    poison.0.push(Field { name: FieldText::Unknown, value: known("c4n4ry") });
    let target = "http://u:c4n4ry@h/p;token=c4n4ry/x?a=1&TOKEN=c4n4ry;c4n4ry&password[]=c4n4ry&u=%3Fkey%3Dc4n4ry";
    let request = Request {
        target: Some(target.to_owned()),
        authority: Some("u:c4n4ry@h".to_owned()),
        fields: poison.clone(),
        trailers: poison.clone(),
        ..request()
    };
    HttpExchange {
        request: Some(request),
        response: Some(Response { fields: poison.clone(), trailers: poison, ..response() }),
        ..http()
    }
}

fn poisoned_process() -> Arc<Process> {
    let command = "curl -H Authorization: Bearer c4n4ry --token=c4n4ry https://u:c4n4ry@h/?key=c4n4ry".to_owned();
    Arc::new(Process { command, ..Process::clone(&process()) })
}

#[test]
fn a_secret_leaves_through_no_field_at_any_level_in_any_format() {
    let origin_form = |http: &mut HttpExchange| {
        let request = http.request.as_mut().unwrap();
        request.target = Some("/p?token=c4n4ry&b=%2Fx%3Ftoken%3Dc4n4ry".to_owned());
    };
    let authority_form = |http: &mut HttpExchange| {
        let request = http.request.as_mut().unwrap();
        (request.method, request.target) = (Some("CONNECT".to_owned()), Some("u:c4n4ry@h:443".to_owned()));
    };
    let changes: [&dyn Fn(&mut HttpExchange); 4] =
        [&|_| {}, &origin_form, &authority_form, &|http| http.protocol = Protocol::Grpc];
    for (change, level, format, artifacts, action) in changes.iter().flat_map(|change| {
        LEVELS.into_iter().flat_map(move |level| {
            FORMATS.into_iter().flat_map(move |format| {
                let both = [Artifacts::Split, Artifacts::Transaction];
                both.into_iter()
                    .flat_map(move |a| ACTIONS.into_iter().map(move |action| (change, level, format, a, action)))
            })
        })
    }) {
        let mut http = poisoned();
        change(&mut http);
        let mut settings = settings(level, format, artifacts);
        settings.http_stack.as_mut().unwrap().steps[1] = Step::Redact(Redact { action, ..Redact::default() });
        let mut exchange = seen(http);
        if let Observation::Exchange(seen) = &mut exchange {
            seen.process = Some(poisoned_process());
        }
        let mut closed = report(ConnState::Closed, 0);
        (closed.authority, closed.process) = (Some("u:c4n4ry@h".to_owned()), Some(poisoned_process()));
        let mut records = apply(settings.clone(), exchange);
        records.extend(apply(settings, Observation::Connection(Box::new(closed))));
        for record in &records {
            let debug = format!("{record:?}");
            assert!(!debug.contains(CANARY), "{level:?} {format:?} {action:?}: {debug}");
            if let RecordKind::Object(object) = &record.kind {
                let data = String::from_utf8_lossy(&object.data);
                assert!(!data.contains(CANARY), "{level:?} {format:?} {action:?}: {data}");
            }
        }
    }
}

#[test]
fn without_a_redact_step_nothing_is_changed() {
    let mut settings = settings(Level::Full, Format::Json, Artifacts::Split);
    settings.http_stack.as_mut().unwrap().steps.truncate(1);
    let records = apply(settings, seen(poisoned()));
    assert!(artifact(&records[0]).url_full.as_ref().unwrap().contains(CANARY));
    assert!(data(&records[1]).contains(r#"{"name":"Authorization","value":"Bearer c4n4ry"}"#));
}
