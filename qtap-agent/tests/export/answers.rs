//! Every response an OTLP server can give, over each transport, and what the exporter does: accept, split, wait, report a wrong
//! configuration. The codes are those of the OTLP specification ("Failures", "OTLP/gRPC Response", "OTLP/HTTP Response"), sorted as in
//! the table of bad input.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qtap_agent::export::exporter::{Exporter, Item, Receipt, Takes};
use qtap_agent::export::otlp::Encoding;
use qtap_agent::export::otlp::grpc::GrpcExporter;
use qtap_agent::export::otlp::http::HttpExporter;
use qtap_agent::export::refusal::{Refusal, Remedy};
use qtap_agent::export::settings::{Compression, Limits, OtlpProtocol, OtlpSettings};
use qtap_agent::model::record::Record;
use serde_json::{Value, json};

use super::otlp::{PROTOCOLS, port, settings};
use super::python::Receiver;
use super::records::{connection, one_of_each};

const BOTH: Takes = Takes { events: true, objects: true };

/// An exporter over either transport.
pub(crate) enum Any {
    Grpc(GrpcExporter),
    Http(HttpExporter),
}

impl Any {
    pub(crate) fn new(settings: &OtlpSettings) -> Any {
        let http = |encoding| Any::Http(HttpExporter::new(settings, BOTH, encoding, "1.2.3").unwrap());
        match settings.protocol {
            OtlpProtocol::Grpc => Any::Grpc(GrpcExporter::new(settings, BOTH, "1.2.3").unwrap()),
            OtlpProtocol::HttpProtobuf => http(Encoding::Protobuf),
            OtlpProtocol::HttpJson => http(Encoding::Json),
        }
    }

    pub(crate) async fn send(&self) -> Result<Receipt, Refusal> {
        self.offer(&[connection(1)]).await
    }

    pub(crate) async fn offer(&self, records: &[Arc<Record>]) -> Result<Receipt, Refusal> {
        match self {
            Any::Grpc(exporter) => offer(exporter, records).await,
            Any::Http(exporter) => offer(exporter, records).await,
        }
    }
}

async fn offer(exporter: &impl Exporter, records: &[Arc<Record>]) -> Result<Receipt, Refusal> {
    let items: Vec<Item> = records.iter().flat_map(|record| exporter.prepare(record).items).collect();
    exporter.send(&items).await
}

const WAIT: Remedy = Remedy::Wait(None);

fn wait(millis: u64) -> Remedy {
    Remedy::Wait(Some(Duration::from_millis(millis)))
}

/// The result of one response; after it the store accepts again.
async fn answered(receiver: &mut Receiver, exporter: &Any, answer: &Value) -> Result<Receipt, Refusal> {
    receiver.plan(&json!({"answers": [answer]}));
    let result = exporter.send().await;
    assert_eq!(receiver.next()["transport"].as_str().map(|t| t.split('/').next().unwrap().len()), Some(4));
    assert_eq!(exporter.send().await, Ok(Receipt::default()), "after {answer}");
    result
}

/// Each HTTP status, its remedy, and a word of the message for the operator.
const HTTP: &[(u16, Remedy, &str)] = &[
    (301, Remedy::Reconfigure, "redirects"),
    (302, Remedy::Reconfigure, "redirects"),
    (307, Remedy::Reconfigure, "redirects"),
    (308, Remedy::Reconfigure, "redirects"),
    (400, Remedy::Split, "400 Bad Request (scripted)"),
    (401, Remedy::Reconfigure, "see auth and headers"),
    (402, Remedy::Reconfigure, "402"),
    (403, Remedy::Reconfigure, "may not write here"),
    (404, Remedy::Reconfigure, "is /v1/logs missing"),
    (405, Remedy::Reconfigure, "method"),
    (406, Remedy::Reconfigure, "406"),
    (407, Remedy::Reconfigure, "proxy wants credentials"),
    (408, WAIT, "408"),
    (409, Remedy::Split, "409"),
    (410, Remedy::Split, "410"),
    (411, Remedy::Split, "411"),
    (413, Remedy::Split, "batch.max_bytes"),
    (414, Remedy::Split, "414"),
    (415, Remedy::Split, "see encoding and compression"),
    (421, Remedy::Reconfigure, "421"),
    (422, Remedy::Split, "422"),
    (425, WAIT, "425"),
    (426, Remedy::Reconfigure, "gRPC port"),
    (429, WAIT, "asks for less"),
    (431, Remedy::Split, "431"),
    (451, Remedy::Reconfigure, "451"),
    (500, WAIT, "500"),
    (501, WAIT, "501"),
    (502, WAIT, "502"),
    (503, WAIT, "503"),
    (504, WAIT, "504"),
    (505, Remedy::Reconfigure, "gRPC port"),
    (507, WAIT, "507"),
    (511, WAIT, "511"),
    (599, WAIT, "599"),
];

#[tokio::test]
async fn every_status_of_http() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson] {
        let exporter = Any::new(&settings(protocol, receiver.http));
        for (code, remedy, words) in HTTP {
            let refusal = answered(&mut receiver, &exporter, &json!({"http": code})).await.unwrap_err();
            assert_eq!(refusal.remedy, *remedy, "{code}");
            assert!(refusal.why.contains(words), "{code}: {}", refusal.why);
        }
    }
}

/// Where a status needs a human, Retry-After changes nothing; where it means waiting, Retry-After gives the time.
#[tokio::test]
async fn retry_after_with_every_status_that_waits() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    let exporter = Any::new(&settings(OtlpProtocol::HttpProtobuf, receiver.http));
    for (code, remedy, _) in HTTP {
        let answer = json!({"http": code, "retry_after": "7"});
        let refusal = answered(&mut receiver, &exporter, &answer).await.unwrap_err();
        assert_eq!(refusal.remedy, if *remedy == WAIT { wait(7000) } else { *remedy }, "{code}");
    }
    for (value, least, most) in [("0", 0, 0), ("3600", 300_000, 300_000), (" 5 ", 5000, 5000)] {
        let answer = json!({"http": 429, "retry_after": value});
        let Remedy::Wait(Some(time)) = answered(&mut receiver, &exporter, &answer).await.unwrap_err().remedy else {
            panic!("{value}")
        };
        assert!((least..=most).contains(&(time.as_millis() as u64)), "{value}: {time:?}");
    }
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(9));
    let refusal = answered(&mut receiver, &exporter, &json!({"http": 503, "retry_after": date})).await.unwrap_err();
    let Remedy::Wait(Some(time)) = refusal.remedy else { panic!("{refusal:?}") };
    assert!((7..=9).contains(&time.as_secs()), "{time:?}");
    for nonsense in ["soon", "-1", "1.5"] {
        let answer = json!({"http": 429, "retry_after": nonsense});
        assert_eq!(answered(&mut receiver, &exporter, &answer).await.unwrap_err().remedy, WAIT, "{nonsense}");
    }
}

/// Each gRPC code by itself.
const GRPC: &[(&str, Remedy, &str)] = &[
    ("CANCELLED", WAIT, "CANCELLED (scripted)"),
    ("UNKNOWN", WAIT, "UNKNOWN"),
    ("INVALID_ARGUMENT", Remedy::Split, "INVALID_ARGUMENT"),
    ("DEADLINE_EXCEEDED", WAIT, "DEADLINE_EXCEEDED"),
    ("NOT_FOUND", Remedy::Reconfigure, "is it an HTTP port"),
    ("ALREADY_EXISTS", Remedy::Split, "ALREADY_EXISTS"),
    ("PERMISSION_DENIED", Remedy::Reconfigure, "may not write here"),
    ("RESOURCE_EXHAUSTED", WAIT, "RESOURCE_EXHAUSTED"),
    ("FAILED_PRECONDITION", Remedy::Split, "FAILED_PRECONDITION"),
    ("ABORTED", WAIT, "ABORTED"),
    ("OUT_OF_RANGE", WAIT, "OUT_OF_RANGE"),
    ("UNIMPLEMENTED", Remedy::Reconfigure, "is it an HTTP port"),
    ("INTERNAL", WAIT, "INTERNAL"),
    ("UNAVAILABLE", WAIT, "UNAVAILABLE"),
    ("DATA_LOSS", WAIT, "DATA_LOSS"),
    ("UNAUTHENTICATED", Remedy::Reconfigure, "see auth and headers"),
];

#[tokio::test]
async fn every_code_of_grpc_with_and_without_retry_info() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    let exporter = Any::new(&settings(OtlpProtocol::Grpc, receiver.grpc));
    for (code, remedy, words) in GRPC {
        let refusal = answered(&mut receiver, &exporter, &json!({"grpc": code})).await.unwrap_err();
        assert_eq!(refusal.remedy, *remedy, "{code}");
        assert!(refusal.why.contains(words), "{code}: {}", refusal.why);
        let answer = json!({"grpc": code, "retry_delay_ms": 1500});
        let refusal = answered(&mut receiver, &exporter, &answer).await.unwrap_err();
        assert_eq!(refusal.remedy, if *remedy == WAIT { wait(1500) } else { *remedy }, "{code} with RetryInfo");
    }
    let long = json!({"grpc": "UNAVAILABLE", "retry_delay_ms": 3_600_000});
    assert_eq!(answered(&mut receiver, &exporter, &long).await.unwrap_err().remedy, wait(300_000));
}

/// "Too large" as servers in several languages say it. With RetryInfo it is throttling all the same.
#[tokio::test]
async fn resource_exhausted_by_size() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    let exporter = Any::new(&settings(OtlpProtocol::Grpc, receiver.grpc));
    for (message, remedy) in [
        ("grpc: received message larger than max (5242880 vs. 4194304)", Remedy::Split),
        ("grpc: received message after decompression larger than max 4194304", Remedy::Split),
        ("SERVER: Received message larger than max (5 vs. 4)", Remedy::Split),
        ("Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes", Remedy::Split),
        ("gRPC message exceeds maximum size 4194304: 5242880", Remedy::Split),
        ("request is too large", Remedy::Split),
        ("rate limit exceeded", WAIT),
        ("quota exhausted", WAIT),
        ("sending queue is full", WAIT),
    ] {
        let answer = json!({"grpc": "RESOURCE_EXHAUSTED", "message": message});
        let refusal = answered(&mut receiver, &exporter, &answer).await.unwrap_err();
        assert_eq!(refusal.remedy, remedy, "{message}");
        let answer = json!({"grpc": "RESOURCE_EXHAUSTED", "message": message, "retry_delay_ms": 100});
        assert_eq!(answered(&mut receiver, &exporter, &answer).await.unwrap_err().remedy, wait(100), "{message}");
    }
}

#[tokio::test]
async fn partial_success_in_every_form() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let exporter = Any::new(&settings(protocol, port(&receiver, protocol)));
        for (answer, rejected, message) in [
            (json!({"partial": 0}), 0, None),
            (json!({"partial": 0, "message": "old SDK"}), 0, Some("old SDK")),
            (json!({"partial": 1, "message": "too old"}), 1, Some("too old")),
            (json!({"partial": 1}), 1, None),
            (json!({"partial": 4_000_000_000_u64, "message": "é\"\n"}), 4_000_000_000, Some("é\"\n")),
        ] {
            let receipt = answered(&mut receiver, &exporter, &answer).await.unwrap();
            assert_eq!(receipt, Receipt { rejected, message: message.map(str::to_owned) }, "{protocol:?} {answer}");
        }
    }
}

/// No complete response: the records are sent again, whether or not the server has them.
#[tokio::test]
async fn a_connection_that_breaks_is_waited_for() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson] {
        let exporter = Any::new(&settings(protocol, receiver.http));
        for answer in [json!({"reset": true}), json!({"half": true})] {
            let refusal = answered(&mut receiver, &exporter, &answer).await.unwrap_err();
            assert_eq!(refusal.remedy, WAIT, "{protocol:?} {answer}: {}", refusal.why);
        }
    }
}

/// A server that accepts fewer encodings than requested gets one that it accepts, and none is tried twice once that is known.
#[tokio::test]
async fn compression_steps_down_to_what_a_server_takes() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for (asked, takes, tried) in [
        (Compression::Zstd, json!(["gzip"]), vec![Some("zstd"), Some("gzip")]),
        (Compression::Zstd, json!([]), vec![Some("zstd"), Some("gzip"), None]),
        (Compression::Gzip, json!(["gzip"]), vec![Some("gzip")]),
        (Compression::Gzip, json!([]), vec![Some("gzip"), None]),
        (Compression::None, json!([]), vec![None]),
    ] {
        for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson] {
            receiver.plan(&json!({"encodings": takes}));
            let exporter = Any::new(&OtlpSettings { compression: asked, ..settings(protocol, receiver.http) });
            for _ in 0..2 {
                assert_eq!(exporter.send().await, Ok(Receipt::default()), "{asked:?} {takes}");
            }
            // The second batch is sent at once in the encoding that was accepted.
            for encoding in tried.iter().chain(tried.last()) {
                assert_eq!(receiver.next()["headers"]["content-encoding"].as_str(), *encoding, "{asked:?} {takes}");
            }
        }
    }
}

/// The path of a URL that is used unchanged, and of one to which the logs path is appended.
#[tokio::test]
async fn paths_and_methods() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for (endpoint, exact, path) in [
        ("http://127.0.0.1:PORT", false, "/v1/logs"),
        ("http://127.0.0.1:PORT/", false, "/v1/logs"),
        ("127.0.0.1:PORT", false, "/v1/logs"),
        ("http://127.0.0.1:PORT/otlp", false, "/otlp/v1/logs"),
        ("http://127.0.0.1:PORT/otlp/v1/logs", false, "/otlp/v1/logs"),
        ("http://127.0.0.1:PORT/custom", true, "/custom"),
        ("http://127.0.0.1:PORT", true, "/"),
    ] {
        for put in [false, true] {
            receiver.plan(&json!({"path": path}));
            let endpoint = endpoint.replace("PORT", &receiver.http.to_string());
            let base = settings(OtlpProtocol::HttpProtobuf, receiver.http);
            let exporter = Any::new(&OtlpSettings { endpoint, endpoint_is_exact: exact, put, ..base });
            assert_eq!(exporter.send().await, Ok(Receipt::default()), "{path}");
            let line = receiver.next();
            assert_eq!((&line["path"], &line["method"]), (&json!(path), &json!(if put { "PUT" } else { "POST" })));
            assert_eq!(line["headers"]["user-agent"], "qtap/1.2.3");
            assert_eq!(line["headers"]["content-type"], "application/x-protobuf");
        }
    }
}

/// No request exceeds the `limits`: several records that are too large together are to be split.
#[tokio::test]
async fn a_request_beyond_the_limits_is_not_sent() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let base = settings(protocol, port(&receiver, protocol));
        let few = Limits { batch_records: 2, ..Limits::default() };
        let small = Limits { batch_bytes: 2000, ..Limits::default() };
        for limits in [few, small] {
            let exporter = Any::new(&OtlpSettings { limits, ..base.clone() });
            assert_eq!(exporter.offer(&one_of_each()).await.unwrap_err().remedy, Remedy::Split, "{protocol:?}");
            assert!(receiver.said().is_empty());
            assert_eq!(exporter.offer(&[connection(1)]).await, Ok(Receipt::default()));
            assert_eq!(receiver.next()["answer"], "OK");
        }
    }
}
