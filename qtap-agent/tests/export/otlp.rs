//! Whole stores against the Python receiver.

use std::time::Duration;

use qtap_agent::export::settings::{
    Auth, BatchSettings, Compression, Limits, OtlpProtocol, OtlpSettings, ProxySettings, ResourceSettings,
    RetrySettings, Secret, StoreKind, StoreSettings, TlsSettings,
};
use qtap_agent::export::{Health, Output, Store, StoreStatus, spawn, test_connection};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::record::Severity;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::python::Receiver;
use super::records::{connection, object, one_of_each};

pub(crate) const PROTOCOLS: [OtlpProtocol; 3] =
    [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson];

pub(crate) fn settings(protocol: OtlpProtocol, port: u64) -> OtlpSettings {
    OtlpSettings {
        resource: ResourceSettings {
            service_name: "shop".into(),
            environment: Some("test".into()),
            attributes: vec![("zone".into(), "a".into())],
        },
        endpoint: format!("127.0.0.1:{port}"),
        endpoint_is_exact: false,
        protocol,
        put: false,
        compression: Compression::None,
        headers: vec![("X-Key".into(), Secret::text("k"))],
        auth: Auth::None,
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(5),
        batch: BatchSettings { max_records: 100, max_bytes: 1 << 20, interval: Duration::from_millis(20) },
        retry: RetrySettings {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(50),
            max_elapsed: Duration::ZERO,
        },
        workers: 1,
        min_severity: Severity::Trace,
        limits: Limits::default(),
    }
}

pub(crate) fn store(settings: OtlpSettings) -> StoreSettings {
    StoreSettings {
        id: "otel".into(),
        events: true,
        objects: true,
        kind: StoreKind::Otlp(Box::new(settings)),
        queue: None,
    }
}

pub(crate) fn output() -> Output {
    Output::to(Box::new(std::io::sink()), false)
}

pub(crate) fn start(settings: OtlpSettings) -> Store {
    spawn(&store(settings), &Handle::current(), "1.2.3", &output()).unwrap()
}

pub(crate) fn port(receiver: &Receiver, protocol: OtlpProtocol) -> u64 {
    match protocol {
        OtlpProtocol::Grpc => receiver.grpc,
        OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => receiver.http,
    }
}

pub(crate) async fn finish(store: Store) -> StoreStatus {
    store.shutdown(Duration::from_secs(20)).await
}

/// Body texts of the records that the receiver accepted, in order.
pub(crate) fn bodies(lines: &[Value]) -> Vec<String> {
    taken(lines).iter().map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned()).collect()
}

/// The records that the receiver accepted, in order.
pub(crate) fn taken(lines: &[Value]) -> Vec<Value> {
    let mut out = Vec::new();
    for line in lines.iter().filter(|line| line["answer"] == "OK") {
        for resource in line["request"]["resourceLogs"].as_array().unwrap() {
            for scope in resource["scopeLogs"].as_array().unwrap() {
                out.extend(scope["logRecords"].as_array().unwrap().iter().cloned());
            }
        }
    }
    out
}

pub(crate) fn attribute<'a>(record: &'a Value, key: &str) -> &'a Value {
    let list = record["attributes"].as_array().unwrap();
    &list.iter().find(|attribute| attribute["key"] == key).unwrap_or_else(|| panic!("no {key}"))["value"]
}

#[tokio::test]
async fn all_transports_deliver_the_same_records() {
    let mut seen = Vec::new();
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({})) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        store.offer(&one_of_each());
        let status = finish(store).await;
        assert_eq!((status.health, status.exported_records), (Health::Healthy, 5), "{status:?}");
        assert!(status.losses.is_empty());
        let lines = receiver.finish();
        assert_eq!(lines[0]["headers"]["x-key"], "k");
        seen.push(lines[0]["request"].clone());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let resource = &seen[0]["resourceLogs"][0];
    assert_eq!(resource["schemaUrl"], "https://opentelemetry.io/schemas/1.44.0");
    assert_eq!(attribute(&resource["resource"], "service.name"), &json!({"stringValue": "shop"}));
    assert_eq!(attribute(&resource["resource"], "deployment.environment.name"), &json!({"stringValue": "test"}));
    assert_eq!(attribute(&resource["resource"], "zone"), &json!({"stringValue": "a"}));
    assert_eq!(resource["scopeLogs"][0]["scope"], json!({"name": "qtap", "version": "1.2.3"}));
    let records = resource["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records[0]["eventName"], "qtap.connection");
    assert_eq!(attribute(&records[0], "connection.bytes_sent"), &json!({"intValue": "517"}));
    assert_eq!(attribute(&records[0], "connection.loss.body_limit"), &json!({"intValue": "7"}));
    assert_eq!(records[1]["eventName"], "qtap.artifact_record");
    assert_eq!(records[1]["flags"], 1);
    assert_eq!(attribute(&records[1], "http.duration_ms"), &json!({"doubleValue": 8.25}));
    let types = attribute(&records[1], "http.response.header.content-type");
    assert_eq!(types, &json!({"arrayValue": {"values": [{"stringValue": "text/html"}]}}));
    assert_eq!(records[2]["eventName"], "qtap.object");
    assert_eq!(attribute(&records[2], "artifact.data"), &json!({"stringValue": "{\"a\":\"é\"}"}));
    assert_eq!(attribute(&records[2], "log.record.uid"), &json!({"stringValue": format!("{:032x}", 3)}));
    assert_eq!((&records[3]["eventName"], &records[4]["eventName"]), (&json!("qtap.request"), &json!("qtap.issue")));
    assert_eq!(attribute(&records[3], "request.auth.type"), &json!({"stringValue": "bearer_jwt"}));
    assert_eq!(attribute(&records[3], "request.auth.claim.iss"), &json!({"stringValue": "https://id.example"}));
    let reasons = [json!({"stringValue": "status"}), json!({"stringValue": "duration"})];
    assert_eq!(attribute(&records[4], "issue.reasons"), &json!({"arrayValue": {"values": reasons}}));
    assert_eq!(attribute(&records[4], "issue.duration_ms"), &json!({"doubleValue": 8.25}));
}

#[tokio::test]
async fn binary_and_odd_data_arrive_as_they_are() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({})) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        let odd = "\u{0}\u{1f}\u{7f}\"\\/\u{2028}\r\n\t😀".repeat(20);
        store.offer(&[object(1, &[0xff, 0x00, 0x80]), object(2, odd.as_bytes())]);
        assert_eq!(finish(store).await.exported_records, 2);
        let records = taken(&receiver.finish());
        assert_eq!(attribute(&records[0], "artifact.data"), &json!({"bytesValue": "/wCA"}), "{protocol:?}");
        assert_eq!(attribute(&records[1], "artifact.data"), &json!({"stringValue": odd}), "{protocol:?}");
    }
}

#[tokio::test]
async fn compressed_requests_are_read_or_the_compression_steps_down() {
    for protocol in PROTOCOLS {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let Some(receiver) = Receiver::start(&json!({})) else { return };
            let store = start(OtlpSettings { compression, ..settings(protocol, port(&receiver, protocol)) });
            store.offer(&[connection(1)]);
            let status = finish(store).await;
            assert_eq!((status.exported_records, status.losses.is_empty()), (1, true), "{protocol:?} {compression:?}");
            assert_eq!(bodies(&receiver.finish()), ["record 1"]);
        }
    }
}

#[tokio::test]
async fn a_large_body_passes() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({})) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        let data = b"0123456789abcdef".repeat(512 << 10 >> 4);
        store.offer(&[object(1, &data)]);
        let status = finish(store).await;
        assert_eq!(status.exported_records, 1, "{protocol:?}: {status:?}");
        let records = taken(&receiver.finish());
        assert_eq!(attribute(&records[0], "artifact.data")["stringValue"].as_str().unwrap().as_bytes(), data);
    }
}

#[tokio::test]
async fn a_store_in_trouble_is_asked_again() {
    let http = json!({"answers": [{"http": 503}, {"http": 500}, {"reset": true}, {"http": 429, "retry_after": "0"}]});
    let grpc = json!({"answers": [{"grpc": "UNAVAILABLE"}, {"grpc": "INTERNAL"}, {"grpc": "RESOURCE_EXHAUSTED"},
        {"grpc": "UNAVAILABLE", "retry_delay_ms": 50}]});
    for protocol in PROTOCOLS {
        let plan = if protocol == OtlpProtocol::Grpc { &grpc } else { &http };
        let Some(receiver) = Receiver::start(plan) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        store.offer(&[connection(1)]);
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.health), (1, Health::Healthy), "{protocol:?}: {status:?}");
        assert!(status.losses.is_empty() && status.last_error.is_some());
        let lines = receiver.finish();
        assert_eq!((lines.len(), bodies(&lines)), (5, vec!["record 1".to_owned()]), "{protocol:?}");
    }
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let Some(receiver) = Receiver::start(&json!({"answers": [{"http": 429, "retry_after": "1"}]})) else { return };
    let store = start(settings(OtlpProtocol::HttpProtobuf, receiver.http));
    let before = std::time::Instant::now();
    store.offer(&[connection(1)]);
    assert_eq!(finish(store).await.exported_records, 1);
    assert!(before.elapsed() >= Duration::from_secs(1));
    let Some(receiver) = Receiver::start(&json!({"answers": [{"grpc": "UNAVAILABLE", "retry_delay_ms": 700}]})) else {
        return;
    };
    let store = start(settings(OtlpProtocol::Grpc, receiver.grpc));
    let before = std::time::Instant::now();
    store.offer(&[connection(1)]);
    assert_eq!(finish(store).await.exported_records, 1);
    assert!(before.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn what_is_too_large_is_halved_and_what_is_bad_is_dropped_alone() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({"max_records": 3, "poison": "record 5"})) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        store.offer(&(0..10).map(connection).collect::<Vec<_>>());
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.losses.count(Loss::ExportRejected)), (9, 1), "{protocol:?}");
        let want: Vec<String> = (0..10).filter(|n| *n != 5).map(|n| format!("record {n}")).collect();
        assert_eq!(bodies(&receiver.finish()), want, "{protocol:?}");
    }
}

#[tokio::test]
async fn partial_success_is_counted_and_shown() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({"answers": [{"partial": 1, "message": "too old"}]})) else {
            return;
        };
        let store = start(settings(protocol, port(&receiver, protocol)));
        store.offer(&[connection(1), connection(2)]);
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.losses.count(Loss::ExportRejected)), (1, 1), "{protocol:?}");
        let partial = status.last_partial.unwrap();
        assert_eq!((partial.rejected, partial.message.as_str()), (1, "too old"), "{protocol:?}");
        // The store is well: it took the request, and one record of it was not to its liking.
        assert_eq!((status.health, status.last_error), (Health::Healthy, None), "{protocol:?}");
        receiver.finish();
    }
}

// The receiver is read while the store works, so the store runs on another thread.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_keeps_the_records_and_says_so() {
    for protocol in PROTOCOLS {
        let Some(mut receiver) = Receiver::start(&json!({"header": ["X-Key", "other"]})) else { return };
        let store = start(settings(protocol, port(&receiver, protocol)));
        store.offer(&[connection(1)]);
        let line = receiver.next();
        assert_ne!(line["answer"], "OK");
        // A second response shows that the store is probed again; by then the status has the result of the first.
        receiver.next();
        let status = store.status();
        assert_eq!((status.health, status.buffered_records), (Health::Misconfigured, 1), "{protocol:?}: {status:?}");
        assert!(status.last_error.unwrap().1.contains("see auth and headers"));
        assert_eq!(finish(store).await.losses.count(Loss::Shutdown), 1);
    }
}

#[tokio::test]
async fn a_store_that_stalls_is_given_up_on_in_time() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({"answers": [{"stall": 3}]})) else { return };
        let timeout = Duration::from_millis(300);
        let store = start(OtlpSettings { timeout, ..settings(protocol, port(&receiver, protocol)) });
        store.offer(&[connection(1)]);
        let status = finish(store).await;
        assert_eq!(status.exported_records, 1, "{protocol:?}");
        assert!(status.last_error.unwrap().1.contains("no answer within 300ms"));
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named_and_the_rest_is_counted() {
    for protocol in PROTOCOLS {
        // A port that nobody listens on: bound, then released.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = start(settings(protocol, port.into()));
        store.offer(&[connection(1), connection(2)]);
        let status = store.shutdown(Duration::from_millis(300)).await;
        assert_eq!((status.health, status.losses.count(Loss::Shutdown)), (Health::Failing, 2), "{protocol:?}");
        assert_eq!(
            status.last_error.unwrap().1,
            format!("127.0.0.1:{port}: connection refused: nothing listens there")
        );
    }
}

#[tokio::test]
async fn below_the_lowest_severity_nothing_is_sent() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    let settings = settings(OtlpProtocol::HttpJson, receiver.http);
    let store = start(OtlpSettings { min_severity: Severity::Warn, ..settings });
    store.offer(&one_of_each());
    let status = finish(store).await;
    assert_eq!((status.exported_records, status.losses.is_empty(), status.sends), (0, true, 0));
    assert!(receiver.finish().is_empty());
}

#[tokio::test]
async fn put_query_and_basic_are_sent() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    let query = Auth::Query { name: "key".into(), value: Secret::text("a b") };
    let basic = Auth::Basic { username: "u".into(), password: Secret::text("p") };
    for auth in [query, basic] {
        let store = start(OtlpSettings { put: true, auth, ..settings(OtlpProtocol::HttpProtobuf, receiver.http) });
        store.offer(&[connection(1)]);
        finish(store).await;
    }
    let lines = receiver.finish();
    assert_eq!((&lines[0]["method"], &lines[0]["path"]), (&json!("PUT"), &json!("/v1/logs?key=a+b")));
    assert_eq!(lines[1]["headers"]["authorization"], "Basic dTpw");
}

#[tokio::test]
async fn a_connection_can_be_tested() {
    for protocol in PROTOCOLS {
        let Some(receiver) = Receiver::start(&json!({})) else { return };
        let good = store(settings(protocol, port(&receiver, protocol)));
        assert_eq!(test_connection(&good, "1.2.3", &output()).await, Ok(()), "{protocol:?}");
        let wrong = match protocol {
            OtlpProtocol::Grpc => receiver.http,
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => receiver.grpc,
        };
        let error = test_connection(&store(settings(protocol, wrong)), "1.2.3", &output()).await.unwrap_err();
        // Which symptom comes first depends on timing; each message asks the right question.
        let asks = |error: &str| error.contains("is it a") || error.contains("does the port speak this protocol");
        assert!(asks(&error), "{protocol:?}: {error}");
        let tls = TlsSettings { enabled: true, insecure_skip_verify: true, ..TlsSettings::default() };
        let tls = OtlpSettings { tls, ..settings(protocol, port(&receiver, protocol)) };
        let error = test_connection(&store(tls), "1.2.3", &output()).await.unwrap_err();
        assert!(error.contains("it does not speak TLS") || asks(&error), "{protocol:?}: {error}");
        assert_eq!(taken(&receiver.finish()).len(), 2);
    }
}

/// A sample must wake nobody, and no store may filter it out.
#[tokio::test]
async fn a_sample_is_no_more_severe_than_it_has_to_be() {
    for (lowest, wanted) in [(Severity::Trace, "INFO"), (Severity::Info, "INFO"), (Severity::Error, "ERROR")] {
        let Some(receiver) = Receiver::start(&json!({})) else { return };
        let protocol = OtlpProtocol::HttpJson;
        let settings = settings(protocol, port(&receiver, protocol));
        let store = store(OtlpSettings { min_severity: lowest, ..settings });
        assert_eq!(test_connection(&store, "1.2.3", &output()).await, Ok(()));
        let lines = receiver.finish();
        let sent = taken(&lines);
        assert!(!sent.is_empty() && sent.iter().all(|record| record["severityText"] == wanted), "{sent:?}");
    }
}

#[tokio::test]
async fn tls_is_verified_as_asked() {
    for protocol in PROTOCOLS {
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("cert.pem");
        let plan = json!({"tls": {"name": "collector.test", "certificate": certificate, "key": directory.path().join("key.pem")}});
        let Some(receiver) = Receiver::start(&plan) else { return };
        let test = async |tls: TlsSettings| {
            let settings = settings(protocol, port(&receiver, protocol));
            test_connection(&store(OtlpSettings { tls, ..settings }), "1.2.3", &output()).await
        };
        let plain = test(TlsSettings::default()).await.unwrap_err();
        assert!(plain.contains("TLS"), "{protocol:?}: {plain}");
        let own = TlsSettings { enabled: true, ca_file: Some(certificate.clone()), ..TlsSettings::default() };
        let name = Some("collector.test".to_owned());
        let wrong = test(own.clone()).await.unwrap_err();
        assert!(wrong.contains("tls.server_name"), "{protocol:?}: {wrong}");
        assert_eq!(test(TlsSettings { server_name: name.clone(), ..own.clone() }).await, Ok(()), "{protocol:?}");
        let unknown = TlsSettings { ca_file: None, server_name: name, ..own.clone() };
        let unknown = test(unknown).await.unwrap_err();
        // A machine without any trusted certificates reports that instead.
        assert!(unknown.contains("tls.ca_file"), "{protocol:?}: {unknown}");
        let skip = TlsSettings { ca_file: None, insecure_skip_verify: true, ..own };
        assert_eq!(test(skip).await, Ok(()), "{protocol:?}");
        assert_eq!(taken(&receiver.finish()).len(), 4);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    for protocol in PROTOCOLS {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let tls = json!({"name": "collector.test", "certificate": certificate, "key": key, "client": true});
        let Some(receiver) = Receiver::start(&json!({"tls": tls})) else { return };
        let test = async |tls: TlsSettings| {
            let settings = settings(protocol, port(&receiver, protocol));
            test_connection(&store(OtlpSettings { tls, ..settings }), "1.2.3", &output()).await
        };
        let without = TlsSettings {
            enabled: true,
            ca_file: Some(certificate.clone()),
            server_name: Some("collector.test".into()),
            ..TlsSettings::default()
        };
        let error = test(without.clone()).await.unwrap_err();
        assert!(error.contains("client certificate"), "{protocol:?}: {error}");
        let half = TlsSettings { cert_file: Some(certificate.clone()), ..without.clone() };
        assert!(test(half).await.unwrap_err().contains("one is missing"));
        let with = TlsSettings { cert_file: Some(certificate), key_file: Some(key), ..without };
        assert_eq!(test(with).await, Ok(()), "{protocol:?}");
        assert_eq!(taken(&receiver.finish()).len(), 2);
    }
}
