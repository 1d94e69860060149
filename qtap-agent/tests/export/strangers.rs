//! Servers that answer 2xx and are no OTLP servers: login pages, captive portals, other services. And lenient ones, which are. OTLP
//! specification, "OTLP/HTTP Response": the Content-Type is that of the request, and the body an `ExportLogsServiceResponse`.

use qtap_agent::export::exporter::Receipt;
use qtap_agent::export::refusal::{Refusal, Remedy};
use qtap_agent::export::settings::OtlpProtocol;

use super::answers::Any;
use super::far_end::{Asked, start};
use super::otlp::settings;

const FORMS: [OtlpProtocol; 2] = [OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson];

const PAGE: &str = "<!DOCTYPE html><html><body>Please log in</body></html>";

/// What one attempt comes to where the server answers so.
async fn answered(protocol: OtlpProtocol, code: u16, media_type: &'static str, body: &str) -> Result<Receipt, Refusal> {
    let body = body.to_owned();
    let header = move || (!media_type.is_empty()).then(|| ("content-type", media_type.to_owned()));
    let (port, _) = start(move |_: &Asked| Some((code, header().into_iter().collect(), body.clone()))).await;
    Any::new(&settings(protocol, port.into())).send().await
}

#[tokio::test]
async fn a_page_is_no_success() {
    for protocol in FORMS {
        for (code, media_type, body) in [
            (200, "text/html", PAGE),
            (200, "text/html; charset=utf-8", PAGE),
            (202, "TEXT/HTML", PAGE),
            (200, "application/xhtml+xml", PAGE),
            (200, "application/x-protobuf", PAGE),
            (200, "application/json", PAGE),
            (200, "application/json; charset=utf-8", "not found"),
        ] {
            let refusal = answered(protocol, code, media_type, body).await.unwrap_err();
            assert_eq!(refusal.remedy, Remedy::Reconfigure, "{media_type}");
            let said = refusal.why.contains("the answer is not OTLP's") && refusal.why.contains("endpoint");
            assert!(said && refusal.why.starts_with(&code.to_string()), "{}", refusal.why);
            assert!(!refusal.why.contains("log in") && refusal.why.len() < 300, "{}", refusal.why);
        }
    }
}

#[tokio::test]
async fn what_lenient_servers_answer_is_a_success() {
    let long = format!("{{\"said\": \"{}\"}}", "x".repeat(100 << 10));
    for protocol in FORMS {
        for (code, media_type, body) in [
            (200, "", ""),
            (204, "", ""),
            (200, "text/html", ""),
            (202, "application/json", ""),
            (202, "application/json", "{}"),
            (200, "application/json", "{\"status\": \"ok\"}"),
            (200, "application/json", &long),
            (200, "application/x-protobuf", ""),
            (200, "application/x-protobuf", "\n\0"),
            (200, "text/plain", "ok"),
            (200, "text/plain; charset=utf-8", "accepted"),
            (200, "", "ok"),
        ] {
            assert_eq!(
                answered(protocol, code, media_type, body).await,
                Ok(Receipt::default()),
                "{media_type} {body:.20}"
            );
        }
        // In the form that the answer names, whatever was asked in.
        let want = Receipt { rejected: 1, message: Some("old".to_owned()) };
        let json = "{\"partialSuccess\": {\"rejectedLogRecords\": \"1\", \"errorMessage\": \"old\"}}";
        assert_eq!(answered(protocol, 200, "application/json", json).await, Ok(want.clone()));
        assert_eq!(
            answered(protocol, 200, "application/x-protobuf", "\n\u{7}\u{8}\u{1}\u{12}\u{3}old").await,
            Ok(want)
        );
    }
}

/// Keys in an endpoint's own query, which a server may repeat.
#[tokio::test]
async fn a_key_in_the_endpoint_is_never_shown() {
    let plain = || vec![("content-type", "text/plain".to_owned())];
    for protocol in FORMS {
        for code in [400, 404, 503] {
            let (port, _) = start(move |asked: &Asked| Some((code, plain(), format!("no {}", asked.line)))).await;
            let endpoint = format!("http://127.0.0.1:{port}/v1/logs?api_key=hunter2%2Fhunter2&b=hunter2hunter2");
            let exporter = Any::new(&qtap_agent::export::settings::OtlpSettings { endpoint, ..settings(protocol, 1) });
            let refusal = exporter.send().await.unwrap_err();
            assert!(refusal.why.contains("api_key") && !refusal.why.contains("hunter2"), "{}", refusal.why);
        }
    }
}
