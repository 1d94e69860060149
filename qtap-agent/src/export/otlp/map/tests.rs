//! Tests: each kind of record with all its attributes, their names and their order.
#![allow(clippy::unwrap_used)] // tests

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::export::settings::ResourceSettings;
use crate::model::conn::{KernelTls, TlsFacts};
use crate::model::event::Host;
use crate::model::gen_ai::GenAi;
use crate::model::process::{Container, Pod, Process};
use crate::model::record::{
    ArtifactLink, ArtifactRecord, ConnectionRecord, IssueRecord, MessageProtocol, MessageSums, ObjectRecord,
    ObjectSummary, Origin, RequestRecord, Rpc, Timing,
};

fn record(origin: Origin, kind: RecordKind) -> Record {
    Record {
        uid: "u".into(),
        time_unix_ns: 1,
        observed_unix_ns: 2,
        severity: Severity::Warn,
        line: "line".into(),
        trace: None,
        origin: Arc::new(origin),
        request_id: None,
        kind,
    }
}

fn shown(record: &Record) -> Vec<String> {
    listed(&entry(record).attributes)
}

/// `key=value` with a letter for the type before the value, in order.
fn listed(attributes: &[Attribute<'_>]) -> Vec<String> {
    let one = |(key, value): &Attribute<'_>| match value {
        Value::Text(text) => format!("{key}=s:{text}"),
        Value::Bool(truth) => format!("{key}=b:{truth}"),
        Value::Int(number) => format!("{key}=i:{number}"),
        Value::Double(number) => format!("{key}=d:{number}"),
        Value::Bytes(bytes) => format!("{key}=x:{bytes:?}"),
        Value::Texts(texts) => format!("{key}=a:{}", texts.join("|")),
    };
    attributes.iter().map(one).collect()
}

fn full_origin() -> Origin {
    let container = Container {
        id: "c1".into(),
        name: Some("web".into()),
        image_name: Some("docker.io/library/nginx:1.27".into()),
        ..Container::default()
    };
    let pod = Pod {
        name: "web-0".into(),
        namespace: "shop".into(),
        container_name: Some("app".into()),
        uid: Some("u-1".into()),
        ..Pod::default()
    };
    let process = Process {
        pid: 7,
        executable_path: "/usr/sbin/nginx".into(),
        command: "nginx -g x".into(),
        user_id: 33,
        user_name: Some("www-data".into()),
        container: Some(Arc::new(container)),
        pod: Some(Arc::new(pod)),
        ..Process::default()
    };
    Origin {
        connection_id: "id".into(),
        direction: Some("ingress"),
        transport: Some("tcp"),
        network_type: Some("ipv6"),
        protocol_name: Some("http"),
        protocol_version: Some("2"),
        protocol: Some("grpc"),
        client: Some(Address::Inet("2001:db8::1".parse().unwrap(), 5)),
        server: Some(Address::Inet("2001:db8::2".parse().unwrap(), 443)),
        peer: Some(Address::Inet("2001:db8::1".parse().unwrap(), 5)),
        local: Some(Address::Unix("/run/x.sock".into())),
        process: Some(Arc::new(process)),
        tags: vec!["a:b".into(), "c:d".into()],
        ..Origin::default()
    }
}

#[test]
fn what_is_not_known_makes_no_attribute() {
    let record = record(Origin::default(), RecordKind::Artifact(Box::default()));
    assert_eq!(shown(&record), ["log.record.uid=s:u", "event.type=s:artifact_record"]);
    assert_eq!(origin(&record.origin), []);
}

#[test]
fn an_origin_in_full() {
    let mut record = record(full_origin(), RecordKind::Artifact(Box::default()));
    record.request_id = Some("r".into());
    let own = ["log.record.uid=s:u", "event.type=s:artifact_record", "connection.request_id=s:r"];
    assert_eq!(shown(&record), own);
    let want = [
        "connection.id=s:id",
        "connection.direction=s:ingress",
        "network.transport=s:tcp",
        "network.type=s:ipv6",
        "network.protocol.name=s:http",
        "network.protocol.version=s:2",
        "connection.protocol=s:grpc",
        "client.address=s:2001:db8::1",
        "client.port=i:5",
        "server.address=s:2001:db8::2",
        "server.port=i:443",
        "network.peer.address=s:2001:db8::1",
        "network.peer.port=i:5",
        "network.local.address=s:/run/x.sock",
        "process.pid=i:7",
        "process.executable.path=s:/usr/sbin/nginx",
        "process.executable.name=s:nginx",
        "process.command=s:nginx -g x",
        "process.user.id=i:33",
        "process.user.name=s:www-data",
        "container.id=s:c1",
        "container.name=s:web",
        "container.image.name=s:docker.io/library/nginx",
        "container.image.tags=a:1.27",
        "k8s.pod.name=s:web-0",
        "k8s.pod.uid=s:u-1",
        "k8s.namespace.name=s:shop",
        "k8s.container.name=s:app",
        "tags=a:a:b|c:d",
    ];
    assert_eq!(listed(&origin(&record.origin)), want);
}

#[test]
fn a_connection_in_full() {
    let tls = TlsFacts {
        version: Some("1.3".into()),
        alpn: Some("h2".into()),
        sni: Some("example.com".into()),
        inspected: true,
        library: Some("libssl.so.3".into()),
        uninspected_reason: None,
        in_kernel: KernelTls { sent: true, ..KernelTls::default() },
        joined_late: true,
    };
    let connection = ConnectionRecord {
        state: "closed",
        part: 2,
        finalized: true,
        bytes_sent: 1,
        bytes_received: 2,
        captured_bytes: 3,
        lost_bytes: 4,
        losses: vec![("ring_full", 3), ("unaccounted", 1)],
        duration_ms: 1.5,
        requests: 5,
        sampled_out: Some(4),
        endpoint_id: Some("example.com".into()),
        tls: Some(tls),
        binding: Some("nested"),
        dns: None,
    };
    let record = record(Origin::default(), RecordKind::Connection(Box::new(connection)));
    let want = [
        "log.record.uid=s:u",
        "event.type=s:connection",
        "connection.state=s:closed",
        "connection.part=i:2",
        "connection.finalized=b:true",
        "connection.bytes_sent=i:1",
        "connection.bytes_received=i:2",
        "connection.captured_bytes=i:3",
        "connection.lost_bytes=i:4",
        "connection.loss.ring_full=i:3",
        "connection.loss.unaccounted=i:1",
        "connection.duration_ms=d:1.5",
        "connection.requests=i:5",
        "connection.sampled_out=i:4",
        "connection.endpoint_id=s:example.com",
        "connection.binding=s:nested",
        "tls.protocol.version=s:1.3",
        "tls.next_protocol=s:h2",
        "connection.tls.sni=s:example.com",
        "connection.tls.inspected=b:true",
        "connection.tls.library=s:libssl.so.3",
        "connection.tls.kernel=s:sent",
        "connection.tls.joined_late=b:true",
    ];
    assert_eq!(shown(&record), want);
}

#[test]
fn an_artifact_in_full() {
    let link = |name: &str| Some(ArtifactLink { url: format!("u-{name}"), digest: format!("d-{name}") });
    let artifact = ArtifactRecord {
        method: Some("POST".into()),
        url_full: Some("https://h/p?q".into()),
        url_scheme: Some("https".into()),
        url_path: Some("/p".into()),
        url_query: Some("q".into()),
        status: Some(503),
        user_agent: Some("ua".into()),
        request_body_size: Some(0),
        response_body_size: Some(9),
        request_content_type: vec!["text/plain".into()],
        response_content_type: vec!["a/b".into(), "c/d".into()],
        timing: Timing {
            duration_ms: Some(2.5),
            time_to_first_byte_ms: Some(0.0),
            request_transfer_ms: Some(1.0),
            response_transfer_ms: Some(0.5),
        },
        gen_ai: None,
        rpc: Some(Rpc { method: Some("p.S/M".into()), status: Some("OK".into()), message: Some("all is well".into()) }),
        request_messages: Some(MessageSums { of: MessageProtocol::Grpc, count: 1, bytes: 7, close_code: None }),
        response_messages: Some(MessageSums {
            of: MessageProtocol::WebSocket,
            count: 2,
            bytes: 8,
            close_code: Some(1000),
        }),
        tracestate: vec!["a=1".into()],
        error_type: Some("503".into()),
        incomplete: Some("gap"),
        request_artifact: link("req"),
        response_artifact: link("res"),
        parts: Some(3),
    };
    let record = record(Origin::default(), RecordKind::Artifact(Box::new(artifact)));
    let want = [
        "log.record.uid=s:u",
        "event.type=s:artifact_record",
        "http.request.method=s:POST",
        "url.full=s:https://h/p?q",
        "url.scheme=s:https",
        "url.path=s:/p",
        "url.query=s:q",
        "http.response.status_code=i:503",
        "user_agent.original=s:ua",
        "http.request.body.size=i:0",
        "http.response.body.size=i:9",
        "http.request.header.content-type=a:text/plain",
        "http.response.header.content-type=a:a/b|c/d",
        "http.duration_ms=d:2.5",
        "http.time_to_first_byte_ms=d:0",
        "http.request_transfer_ms=d:1",
        "http.response_transfer_ms=d:0.5",
        "rpc.system.name=s:grpc",
        "rpc.method=s:p.S/M",
        "rpc.status_code=s:OK",
        "rpc.status_message=s:all is well",
        "rpc.request.message_count=i:1",
        "rpc.request.message_bytes=i:7",
        "websocket.response.message_count=i:2",
        "websocket.response.message_bytes=i:8",
        "websocket.response.close_code=i:1000",
        "http.request.header.tracestate=a:a=1",
        "error.type=s:503",
        "qtap.incomplete=s:gap",
        "artifact.request.url=s:u-req",
        "artifact.request.digest=s:d-req",
        "artifact.response.url=s:u-res",
        "artifact.response.digest=s:d-res",
        "artifact.parts=i:3",
    ];
    assert_eq!(shown(&record), want);
    let entry = entry(&record);
    assert_eq!((entry.event_name, entry.severity_number, entry.severity_text), ("qtap.artifact_record", 13, "WARN"));
    assert_eq!((entry.body, entry.time_unix_ns, entry.observed_unix_ns), ("line", 1, 2));
}

#[test]
fn a_request_in_full() {
    let request = RequestRecord {
        auth_type: Some("bearer_jwt"),
        auth_source: Some("authorization".into()),
        auth_digest: Some("sha256:00".into()),
        claims: vec![("iss".into(), "me".into())],
        method: Some("GET".into()),
        host: Some("h".into()),
        path: Some("/a/1".into()),
        path_template: Some("/a/{id}".into()),
        status: Some(200),
        body_bytes: Some(0),
        response_body_bytes: Some(9),
        duration_ms: Some(2.5),
    };
    let record = record(Origin::default(), RecordKind::Request(Box::new(request)));
    let want = [
        "log.record.uid=s:u",
        "event.type=s:request",
        "request.auth.type=s:bearer_jwt",
        "request.auth.source=s:authorization",
        "request.auth.digest=s:sha256:00",
        "request.auth.claim.iss=s:me",
        "request.method=s:GET",
        "request.host=s:h",
        "request.path=s:/a/1",
        "request.path_template=s:/a/{id}",
        "request.status_code=i:200",
        "request.body_bytes=i:0",
        "request.response_body_bytes=i:9",
        "request.duration_ms=d:2.5",
    ];
    assert_eq!(shown(&record), want);
    assert_eq!(entry(&record).event_name, "qtap.request");
}

#[test]
fn an_issue_in_full() {
    let link = |name: &str| Some(ArtifactLink { url: format!("u-{name}"), digest: format!("d-{name}") });
    let issue = IssueRecord {
        name: "slow".into(),
        category: Some("latency".into()),
        reasons: vec!["status", "duration"],
        method: Some("GET".into()),
        url: Some("https://h/a".into()),
        status: Some(503),
        duration_ms: Some(2.5),
        error_type: Some("503".into()),
        request_artifact: link("req"),
        response_artifact: link("res"),
    };
    let record = record(Origin::default(), RecordKind::Issue(Box::new(issue)));
    let want = [
        "log.record.uid=s:u",
        "event.type=s:issue",
        "issue.name=s:slow",
        "issue.category=s:latency",
        "issue.reasons=a:status|duration",
        "issue.method=s:GET",
        "issue.url=s:https://h/a",
        "issue.status_code=i:503",
        "issue.duration_ms=d:2.5",
        "issue.error_type=s:503",
        "issue.request.url=s:u-req",
        "issue.request.digest=s:d-req",
        "issue.response.url=s:u-res",
        "issue.response.digest=s:d-res",
    ];
    assert_eq!(shown(&record), want);
    assert_eq!(entry(&record).event_name, "qtap.issue");
}

#[test]
fn an_object_in_full() {
    let object = |data: &'static [u8]| ObjectRecord {
        artifact_type: "http_request",
        content_type: "message/http",
        data: Bytes::from_static(data),
        spooled: None,
        digest: "sha256:00".into(),
        truncated: true,
        missing: vec![0..10, 5..5, 100..101],
        part: Some(1),
        summary: ObjectSummary {
            method: Some("GET".into()),
            host: Some("h".into()),
            path: Some("/".into()),
            status: Some(200),
            duration_ms: Some(0.5),
            content_type: Some("text/html".into()),
            process: Some("curl".into()),
        },
    };
    let want = [
        "log.record.uid=s:u",
        "event.type=s:object",
        "artifact.type=s:http_request",
        "artifact.content_type=s:message/http",
        "artifact.size_bytes=i:2",
        "artifact.digest=s:sha256:00",
        "artifact.truncated=b:true",
        "artifact.missing=a:0-9|100-100",
        "artifact.part=i:1",
        "artifact.summary.method=s:GET",
        "artifact.summary.host=s:h",
        "artifact.summary.path=s:/",
        "artifact.summary.status=i:200",
        "artifact.summary.duration_ms=d:0.5",
        "artifact.summary.content_type=s:text/html",
        "artifact.summary.process=s:curl",
    ];
    for (data, value) in [("é".as_bytes(), "artifact.data=s:é"), (&[0xff, 0xfe], "artifact.data=x:[255, 254]")] {
        let shown = shown(&record(Origin::default(), RecordKind::Object(Box::new(object(data)))));
        assert_eq!(shown[..want.len()], want);
        assert_eq!(shown[want.len()..], [value]);
    }
}

#[test]
fn a_service_may_be_named_per_record() {
    let settings = |name: &str| ResourceSettings { service_name: name.into(), ..ResourceSettings::default() };
    let named = |name: &str, origin: &Origin| service_name(&settings(name), origin).into_owned();
    let mut origin = full_origin();
    assert_eq!(named("shop", &origin), "shop");
    assert_eq!(named("edge-{process}", &origin), "edge-nginx");
    assert_eq!(named("{k8s}", &origin), "app");
    let mut process = (**origin.process.as_ref().unwrap()).clone();
    let mut pod = (**process.pod.as_ref().unwrap()).clone();
    pod.labels.insert("app.kubernetes.io/name".into(), "front".into());
    process.pod = Some(Arc::new(pod));
    origin.process = Some(Arc::new(process));
    assert_eq!(named("{k8s}", &origin), "front");
    assert_eq!(named("{process}", &Origin::default()), "unknown_service");
}

#[test]
fn configured_resource_attributes_win() {
    let settings = ResourceSettings {
        service_name: "s".into(),
        environment: Some("prod".into()),
        attributes: vec![("host.name".into(), "mine".into()), ("zone".into(), "a".into())],
    };
    let node = Some("n".to_owned());
    let host = Host { name: "h".into(), id: "i".into(), node, os_type: "linux".into(), ..Host::default() };
    let list = resource(&settings, &host, "s", "1.0");
    let keys: Vec<&str> = list.iter().map(|(key, _)| key.as_ref()).collect();
    let want = [
        "service.name",
        "service.version",
        "deployment.environment.name",
        "environment",
        "host.id",
        "k8s.node.name",
        "os.type",
        "host.name",
        "zone",
    ];
    assert_eq!(keys, want);
    assert_eq!(list[7].1, Value::Text("mine".into()));
}

/// The names are those of `docs/gen_ai.md`, which gives the origin of each.
#[test]
fn a_call_of_a_language_model_in_full() {
    let text = |text: &str| Some(text.to_owned());
    let call = GenAi {
        provider: "openai",
        operation: "chat",
        request_model: text("a"),
        temperature: Some(0.5),
        top_p: Some(0.25),
        top_k: Some(3.0),
        frequency_penalty: Some(1.0),
        presence_penalty: Some(2.0),
        max_tokens: Some(4),
        seed: Some(5),
        choice_count: Some(6),
        stop_sequences: vec!["x".to_owned()],
        encoding_formats: vec!["float".to_owned()],
        response_id: text("b"),
        response_model: text("c"),
        finish_reasons: vec!["stop".to_owned()],
        input_tokens: Some(7),
        output_tokens: Some(8),
        cache_read_tokens: Some(9),
        cache_creation_tokens: Some(10),
        reasoning_tokens: Some(11),
    };
    let artifact = ArtifactRecord { gen_ai: Some(Box::new(call)), ..ArtifactRecord::default() };
    let shown = shown(&record(Origin::default(), RecordKind::Artifact(Box::new(artifact))));
    let want = [
        "gen_ai.provider.name=s:openai",
        "gen_ai.operation.name=s:chat",
        "gen_ai.request.model=s:a",
        "gen_ai.request.temperature=d:0.5",
        "gen_ai.request.top_p=d:0.25",
        "gen_ai.request.top_k=d:3",
        "gen_ai.request.frequency_penalty=d:1",
        "gen_ai.request.presence_penalty=d:2",
        "gen_ai.request.max_tokens=i:4",
        "gen_ai.request.seed=i:5",
        "gen_ai.request.choice.count=i:6",
        "gen_ai.request.stop_sequences=a:x",
        "gen_ai.request.encoding_formats=a:float",
        "gen_ai.response.id=s:b",
        "gen_ai.response.model=s:c",
        "gen_ai.response.finish_reasons=a:stop",
        "gen_ai.usage.input_tokens=i:7",
        "gen_ai.usage.output_tokens=i:8",
        "gen_ai.usage.cache_read.input_tokens=i:9",
        "gen_ai.usage.cache_creation.input_tokens=i:10",
        "gen_ai.usage.reasoning.output_tokens=i:11",
    ];
    assert_eq!(
        shown.iter().filter(|line| line.starts_with("gen_ai.")).collect::<Vec<_>>(),
        want.iter().collect::<Vec<_>>()
    );
    let page = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gen_ai.md"));
    let page = page.expect("docs/gen_ai.md");
    for line in want {
        let name = line.split('=').next().expect("a name");
        assert!(page.contains(&format!("| `{name}` |")), "docs/gen_ai.md does not tell of {name}");
    }
}
