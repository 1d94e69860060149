//! Files that change under a running store: authorities, client certificates, secrets. And connections that die silently.

use std::time::{Duration, Instant};

use qtap_agent::export::exporter::Receipt;
use qtap_agent::export::settings::{Auth, OtlpProtocol, OtlpSettings, Secret, TlsSettings};
use serde_json::json;

use super::answers::Any;
use super::authorities::Authority;
use super::otlp::{PROTOCOLS, port, settings};
use super::python::Receiver;
use super::relay::{Manner, Relay};

/// Time until a changed file is noticed: files are checked once a second.
const SEEN: Duration = Duration::from_millis(1100);

fn to(relay: &Relay, protocol: OtlpProtocol, tls: TlsSettings) -> OtlpSettings {
    let endpoint = format!("localhost:{}", relay.port);
    OtlpSettings { endpoint, tls, ..settings(protocol, relay.port.into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_is_trusted_without_a_restart() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        std::fs::write(&ca_file, old.pem()).unwrap();
        let relay =
            Relay::start(port(&receiver, protocol), Manner::Tls(old.identity("localhost", false).server(None))).await;
        let tls = TlsSettings { enabled: true, ca_file: Some(ca_file.clone()), ..TlsSettings::default() };
        let exporter = Any::new(&to(&relay, protocol, tls));
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");

        relay.become_of(Manner::Tls(new.identity("localhost", false).server(None)));
        // An incomplete file is no reason to stop: the old authority stays valid, and so does the connection.
        std::fs::write(&ca_file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        tokio::time::sleep(SEEN).await;
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");

        std::fs::write(&ca_file, new.pem()).unwrap();
        tokio::time::sleep(SEEN).await;
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}: the new one is trusted");
        // The old authority is not trusted any more: no connection verified with it is used any longer.
        relay.become_of(Manner::Tls(old.identity("localhost", false).server(None)));
        std::fs::write(&ca_file, format!("{}\n", new.pem())).unwrap();
        tokio::time::sleep(SEEN).await;
        assert!(exporter.send().await.unwrap_err().why.contains("tls.ca_file"), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_client_certificate_is_shown_without_a_restart() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        let (servers, old, new) = (Authority::new("servers"), Authority::new("old"), Authority::new("new"));
        std::fs::write(&ca_file, servers.pem()).unwrap();
        let (cert_file, key_file) = old.identity("client", false).write(folder.path());
        let server = servers.identity("localhost", false);
        let relay = Relay::start(port(&receiver, protocol), Manner::Tls(server.server(Some(&new)))).await;
        let tls = TlsSettings {
            enabled: true,
            ca_file: Some(ca_file),
            cert_file: Some(cert_file),
            key_file: Some(key_file),
            ..TlsSettings::default()
        };
        let exporter = Any::new(&to(&relay, protocol, tls));
        let refused = exporter.send().await.unwrap_err().why;
        assert!(refused.contains("client certificate"), "{protocol:?}: {refused}");
        new.identity("client", false).write(folder.path());
        tokio::time::sleep(SEEN).await;
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_secret_that_is_swapped_is_sent() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in PROTOCOLS {
        let path = folder.path().join("token");
        std::fs::write(&path, "Bearer one\n").unwrap();
        let value = Secret::file(path.clone()).unwrap();
        let auth = Auth::Header { name: "Authorization".into(), value };
        let exporter = Any::new(&OtlpSettings { auth, ..settings(protocol, port(&receiver, protocol)) });
        for (written, sent) in [("Bearer one\n", "Bearer one"), ("Bearer two", "Bearer two")] {
            std::fs::write(&path, written).unwrap();
            receiver.plan(&json!({"header": ["Authorization", sent]}));
            assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?} {sent}");
        }
        std::fs::write(&path, "two\nlines").unwrap();
        let refusal = exporter.send().await.unwrap_err();
        assert!(refusal.why.contains("`Authorization`") && !refusal.why.contains("lines"), "{}", refusal.why);
    }
}

/// The server vanished silently: the attempt that notices times out, and the next one connects anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_answer_is_left() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let relay = Relay::start(port(&receiver, protocol), Manner::Silent).await;
        let exporter = Any::new(&to(&relay, protocol, TlsSettings::default()));
        let limit = Duration::from_millis(300);
        assert!(tokio::time::timeout(limit, exporter.send()).await.is_err(), "{protocol:?}");
        relay.become_of(Manner::Plain);
        let started = Instant::now();
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{protocol:?}");
    }
}
