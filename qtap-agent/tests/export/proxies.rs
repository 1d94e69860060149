//! Stores behind a proxy: tunnels, forwarded requests, credentials, exceptions, and proxies that refuse, cut or are absent.

use qtap_agent::export::exporter::Receipt;
use qtap_agent::export::refusal::Remedy;
use qtap_agent::export::settings::{OtlpProtocol, OtlpSettings, ProxySettings, Secret, TlsSettings};
use serde_json::json;

use super::answers::Any;
use super::authorities::Authority;
use super::otlp::{PROTOCOLS, port, settings};
use super::python::Receiver;
use super::relay::{Manner, Relay};

fn proxies(relay: &Relay, user: &str) -> ProxySettings {
    let url = Some(Secret::text(format!("http://{user}127.0.0.1:{}", relay.port)));
    ProxySettings { http: url.clone(), https: url, no_proxy: String::new() }
}

/// A store that only the proxy can find, because DNS does not have its name.
fn behind(protocol: OtlpProtocol, proxy: ProxySettings) -> OtlpSettings {
    OtlpSettings { endpoint: "collector.invalid:4000".into(), proxy, ..settings(protocol, 1) }
}

#[tokio::test]
async fn a_store_is_reached_through_a_proxy_that_knows_its_name() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let relay = Relay::start(port(&receiver, protocol), Manner::Proxy(None)).await;
        let exporter = Any::new(&behind(protocol, proxies(&relay, "")));
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
        let head = relay.heads().remove(0);
        // gRPC in the clear needs a tunnel; an HTTP/1 request is forwarded.
        let line = match protocol {
            OtlpProtocol::Grpc => "CONNECT collector.invalid:4000 HTTP/1.1",
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => {
                "POST http://collector.invalid:4000/v1/logs HTTP/1.1"
            }
        };
        assert_eq!(head.lines().next(), Some(line));
    }
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_is_verified_for_the_store() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    for protocol in PROTOCOLS {
        for (name, good) in [("collector.invalid", true), ("other.invalid", false)] {
            let server = Manner::Tls(authority.identity(name, false).server(None));
            let store = Relay::start(port(&receiver, protocol), server).await;
            let relay = Relay::start(store.port.into(), Manner::Proxy(None)).await;
            let tls = TlsSettings { enabled: true, ca_file: Some(ca_file.clone()), ..TlsSettings::default() };
            let exporter = Any::new(&OtlpSettings { tls, ..behind(protocol, proxies(&relay, "")) });
            let sent = exporter.send().await;
            assert_eq!(sent.is_ok(), good, "{protocol:?}: {sent:?}");
            assert_eq!(relay.heads()[0].lines().next(), Some("CONNECT collector.invalid:4000 HTTP/1.1"));
            if let Err(refusal) = sent {
                assert!(refusal.why.contains("tls.server_name"), "{}", refusal.why);
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_is_told_who_we_are_and_nobody_else_is() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        for encrypted in [false, true] {
            let authority = Authority::new("authority");
            let server = Manner::Tls(authority.identity("collector.invalid", false).server(None));
            let store = Relay::start(port(&receiver, protocol), if encrypted { server } else { Manner::Plain }).await;
            // "ann:open sesame"
            let wanted = Manner::Proxy(Some("Basic YW5uOm9wZW4gc2VzYW1l".into()));
            let relay = Relay::start(store.port.into(), wanted).await;
            let tls = TlsSettings { enabled: encrypted, insecure_skip_verify: true, ..TlsSettings::default() };
            let with = |user: &str| OtlpSettings { tls: tls.clone(), ..behind(protocol, proxies(&relay, user)) };
            let refusal = Any::new(&with("ann:hunter2@")).send().await.unwrap_err();
            assert!(refusal.why.contains("proxy wants"), "{protocol:?}: {}", refusal.why);
            assert_eq!(refusal.remedy, Remedy::Reconfigure, "{protocol:?}");
            assert!(!refusal.why.contains("hunter2"));
            receiver.said();
            assert_eq!(Any::new(&with("ann:open%20sesame@")).send().await, Ok(Receipt::default()), "{protocol:?}");
            let line = receiver.next();
            if encrypted || protocol == OtlpProtocol::Grpc {
                assert!(line["headers"].get("proxy-authorization").is_none(), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn proxies_that_refuse_cut_or_are_not_there() {
    for protocol in PROTOCOLS {
        for (manner, words) in [
            (Manner::Refuse("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "the proxy refuses"),
            (Manner::Refuse("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "the proxy refuses"),
            (Manner::Refuse("HTTP/1.1 200 OK"), "closed the connection"),
            (Manner::Refuse(""), "closed the connection"),
        ] {
            let relay = Relay::start(1, manner).await;
            let tls = TlsSettings { enabled: true, insecure_skip_verify: true, ..TlsSettings::default() };
            let exporter = Any::new(&OtlpSettings { tls, ..behind(protocol, proxies(&relay, "")) });
            let refusal = exporter.send().await.unwrap_err();
            assert!(refusal.why.contains(words), "{protocol:?}: {}", refusal.why);
            assert!(refusal.why.contains("collector.invalid:4000 (through the proxy 127.0.0.1:"), "{}", refusal.why);
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let none = ProxySettings { http: Some(Secret::text(format!("127.0.0.1:{free}"))), ..ProxySettings::default() };
        let refusal = Any::new(&behind(protocol, none)).send().await.unwrap_err();
        let want = format!(
            "collector.invalid:4000 (through the proxy 127.0.0.1:{free}): connection refused: nothing listens there"
        );
        assert_eq!(refusal.why, want, "{protocol:?}");
    }
}

/// A proxy that cuts the connection in the middle of a request, at any point: nothing counts as sent, and the next attempt succeeds.
#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let relay = Relay::start(port(&receiver, protocol), Manner::Plain).await;
        let endpoint = format!("127.0.0.1:{}", relay.port);
        let exporter = Any::new(&OtlpSettings { endpoint, ..settings(protocol, 1) });
        for bytes in [0, 1, 20, 100, 400] {
            relay.become_of(Manner::Cut(bytes));
            let fresh =
                Any::new(&OtlpSettings { endpoint: format!("127.0.0.1:{}", relay.port), ..settings(protocol, 1) });
            let refusal = fresh.send().await.unwrap_err();
            assert_eq!(refusal.remedy, Remedy::Wait(None), "{protocol:?} {bytes}: {}", refusal.why);
            relay.become_of(Manner::Plain);
            assert_eq!(fresh.send().await, Ok(Receipt::default()), "{protocol:?} {bytes}");
        }
        assert_eq!(exporter.send().await, Ok(Receipt::default()));
    }
}

#[tokio::test]
async fn who_is_excepted_is_reached_directly() {
    let Some(receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        let relay = Relay::start(1, Manner::Refuse("")).await;
        // This host is reached directly without an exception; other hosts need one.
        let here = OtlpSettings { proxy: proxies(&relay, ""), ..settings(protocol, port(&receiver, protocol)) };
        assert_eq!(Any::new(&here).send().await, Ok(Receipt::default()), "{protocol:?}");
        let proxy = ProxySettings { no_proxy: ".invalid".into(), ..proxies(&relay, "") };
        let refusal = Any::new(&behind(protocol, proxy)).send().await.unwrap_err();
        // No proxy is named, and the name was looked up here; what comes of that is up to this machine's name servers.
        let why = &refusal.why;
        assert!(why.starts_with("collector.invalid:4000: ") && why.contains("(DNS)"), "{why}");
        assert!(relay.heads().is_empty());
    }
}
