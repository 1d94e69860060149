//! What `qtap test-connection` says about a store that does not accept its sample: the cause, and what to do about it. One table of all
//! possible causes.

use std::time::Duration;

use qtap_agent::export::settings::{OtlpProtocol, OtlpSettings, TlsSettings};
use qtap_agent::export::test_connection;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::authorities::Authority;
use super::otlp::{PROTOCOLS, output, port, settings, store};
use super::python::Receiver;
use super::relay::{Manner, Relay};

async fn said(settings: OtlpSettings) -> Result<(), String> {
    test_connection(&store(settings), "1.2.3", &output()).await
}

/// True when all words of one of the choices occur. Which symptom of a wrong protocol comes first depends on timing.
fn says(told: &str, choices: &[&str]) -> bool {
    choices.iter().any(|words| words.split(" & ").all(|word| told.contains(word)))
}

#[tokio::test]
async fn a_store_that_answers_no() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let grpc = protocol == OtlpProtocol::Grpc;
        let cases: Vec<(Value, &str)> = if grpc {
            vec![
                (
                    json!({"grpc": "UNAUTHENTICATED"}),
                    "UNAUTHENTICATED (scripted); credentials are missing or wrong: see auth and headers",
                ),
                (
                    json!({"grpc": "PERMISSION_DENIED"}),
                    "PERMISSION_DENIED (scripted); the credentials may not write here",
                ),
                (json!({"grpc": "UNIMPLEMENTED"}), "is it an HTTP port (protocol: http, 4318)?"),
                (json!({"grpc": "UNAVAILABLE"}), "UNAVAILABLE (scripted)"),
                (json!({"partial": 2, "message": "too old"}), "too old"),
                (json!({"partial": 2}), "the sample was rejected"),
            ]
        } else {
            vec![
                (
                    json!({"http": 401}),
                    "401 Unauthorized (scripted); credentials are missing or wrong: see auth and headers",
                ),
                (json!({"http": 403}), "403 Forbidden (scripted); the credentials may not write here"),
                (json!({"http": 404}), "404 Not Found (scripted); is /v1/logs missing from the endpoint, or doubled?"),
                (json!({"http": 503}), "503 Service Unavailable (scripted)"),
                (json!({"http": 308}), "it redirects elsewhere: give that address as the endpoint"),
                (json!({"partial": 2, "message": "too old"}), "too old"),
            ]
        };
        for (answer, words) in cases {
            receiver.plan(&json!({"answers": [answer]}));
            let told = said(settings(protocol, port(&receiver, protocol))).await.unwrap_err();
            assert!(told.contains(words), "{protocol:?} {answer}: {told}");
        }
        receiver.plan(&json!({}));
        assert_eq!(said(settings(protocol, port(&receiver, protocol))).await, Ok(()), "{protocol:?}");
        let line = receiver.next();
        let records = &line["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        let names: Vec<&Value> = records.as_array().unwrap().iter().map(|record| &record["eventName"]).collect();
        assert_eq!(names, ["qtap.connection", "qtap.object"], "a sample of each kind");
    }
}

#[tokio::test]
async fn a_store_that_is_not_reached() {
    for protocol in PROTOCOLS {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let silent = Relay::start(1, Manner::Silent).await;
        let at = |endpoint: String| OtlpSettings { endpoint, ..settings(protocol, 1) };
        let patient = |endpoint| OtlpSettings { timeout: Duration::from_millis(300), ..at(endpoint) };
        for (settings, words) in [
            (at(format!("127.0.0.1:{free}")), &["connection refused: nothing listens there"][..]),
            (
                at("no-such-host.invalid:1".into()),
                // Whether a name server answers at all is up to this machine.
                &[
                    "no-such-host.invalid:1: the name is not known (DNS): is the endpoint spelt right?",
                    "no-such-host.invalid:1: no answer from the name server (DNS)",
                ],
            ),
            (patient(format!("127.0.0.1:{}", silent.port)), &["no answer within 300ms (timeout)"]),
        ] {
            let told = said(settings).await.unwrap_err();
            assert!(says(&told, words), "{protocol:?}: {told}");
        }
    }
}

#[tokio::test]
async fn a_port_that_speaks_something_else() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    let authority = Authority::new("authority");
    let identity = authority.identity("localhost", false);
    const CLOSED: &str = "does the port speak this protocol";
    for protocol in PROTOCOLS {
        let other = match protocol {
            OtlpProtocol::Grpc => receiver.http,
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => receiver.grpc,
        };
        let tls = TlsSettings { enabled: true, insecure_skip_verify: true, ..TlsSettings::default() };
        let own = port(&receiver, protocol);
        let encrypted = Relay::start(own, Manner::Tls(identity.server(None))).await;
        let encrypted_other = Relay::start(other, Manner::Tls(identity.server(None))).await;
        let to = |port: u64, tls: &TlsSettings| OtlpSettings { tls: tls.clone(), ..settings(protocol, port) };
        let plain = TlsSettings::default();
        let wrong_port: &[&str] = match protocol {
            OtlpProtocol::Grpc => &["does not speak gRPC in the clear & protocol: http", CLOSED],
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => &["is it a gRPC port (protocol: grpc", CLOSED],
        };
        for (case, settings, choices) in [
            ("the other protocol's port", to(other, &plain), wrong_port),
            ("TLS to a port in the clear", to(own, &tls), &["it does not speak TLS: set tls.enabled: false", CLOSED]),
            (
                "in the clear to a TLS port",
                to(encrypted.port.into(), &plain),
                &["TLS port (tls.enabled: true)", "does it want TLS (tls.enabled: true)"],
            ),
        ] {
            let told = said(settings).await.unwrap_err();
            assert!(says(&told, choices), "{protocol:?}, {case}: {told}");
        }
        assert_eq!(said(to(encrypted.port.into(), &tls)).await, Ok(()), "{protocol:?}");
        let told = said(to(encrypted_other.port.into(), &tls)).await.unwrap_err();
        assert!(says(&told, &["is it a", CLOSED]), "{protocol:?}, the other protocol over TLS: {told}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_taken() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, trusted.pem()).unwrap();
    let tls = TlsSettings { enabled: true, ca_file: Some(ca_file), ..TlsSettings::default() };
    for protocol in PROTOCOLS {
        for (server, words) in [
            (trusted.identity("localhost", false).server(None), ""),
            (
                other.identity("localhost", false).server(None),
                "signed by an authority that is not trusted here: name it in tls.ca_file",
            ),
            (
                trusted.identity("elsewhere.test", false).server(None),
                "its certificate is for another name: see tls.server_name",
            ),
            (trusted.identity("localhost", true).server(None), "its certificate has expired"),
            (trusted.identity("localhost", false).server(Some(&other)), "client certificate (tls.cert_file)"),
        ] {
            let relay = Relay::start(port(&receiver, protocol), Manner::Tls(server)).await;
            let endpoint = format!("localhost:{}", relay.port);
            let told = said(OtlpSettings { endpoint, tls: tls.clone(), ..settings(protocol, 1) }).await;
            assert!(
                told.clone().map_or_else(|told| !words.is_empty() && told.contains(words), |()| words.is_empty()),
                "{protocol:?} {words}: {told:?}"
            );
        }
    }
}
