//! A secret in every setting that takes one, errors of every kind, servers that echo requests: no output contains the secret.

use std::time::Duration;

use qtap_agent::export::settings::{
    Algorithm, Auth, Grant, JwtSettings, OAuthSettings, OtlpProtocol, OtlpSettings, ProxySettings, Secret, TlsSettings,
};
use qtap_agent::export::{spawn, test_connection};
use serde_json::{Value, json};

use super::otlp::{PROTOCOLS, output, port, settings, store};
use super::python::Receiver;
use super::records::connection;
use super::relay::{Manner, Relay};

/// Part of each secret. Its base64 is also recognized, whatever precedes it.
const MARK: &str = "hunter2hunter2hunter2";

fn shown(text: &str) -> bool {
    let base64 = ["aHVudGVyMmh1bnRlcjJ", "h1bnRlcjJodW50ZXIyaHV", "odW50ZXIyaHVudGVyMmh1"];
    text.contains(MARK) || base64.iter().any(|mark| text.contains(mark))
}

fn auths() -> Vec<Auth> {
    let oauth = |grant| {
        Auth::OAuth2(Box::new(OAuthSettings {
            grant,
            token_url: "http://127.0.0.1:1/".into(),
            client_id: Some("me".into()),
            client_secret: Some(Secret::text(MARK)),
            scopes: Vec::new(),
            in_body: false,
            params: Vec::new(),
        }))
    };
    let jwt = JwtSettings {
        signing_key: Secret::text(MARK),
        algorithm: Algorithm::Hs256,
        key_id: None,
        issuer: "i".into(),
        subject: "s".into(),
        audience: "a".into(),
    };
    vec![
        Auth::None,
        Auth::Basic { username: "u".into(), password: Secret::text(MARK) },
        Auth::Header { name: "Authorization".into(), value: Secret::text(format!("Bearer {MARK}")) },
        Auth::Query { name: "key".into(), value: Secret::text(MARK) },
        oauth(Grant::ClientCredentials),
        oauth(Grant::Password { username: "u".into(), password: Secret::text(MARK) }),
        oauth(Grant::JwtBearer(Box::new(jwt))),
    ]
}

fn to_token_server(auth: Auth, server: &Receiver) -> Auth {
    match auth {
        Auth::OAuth2(mut oauth) => {
            oauth.token_url = format!("http://127.0.0.1:{}/", server.http);
            Auth::OAuth2(oauth)
        }
        other => other,
    }
}

/// All output of a store, in one text.
async fn said(settings: OtlpSettings) -> String {
    let store = store(settings);
    let mut out = format!("{store:?} {:?} ", test_connection(&store, "1.2.3", &output()).await);
    match spawn(&store, &tokio::runtime::Handle::current(), "1.2.3", &output()) {
        Ok(running) => {
            out.push_str(&format!("{running:?}"));
            running.offer(&[connection(1)]);
            tokio::time::sleep(Duration::from_millis(30)).await;
            out.push_str(&format!("{:?}", running.status()));
            out.push_str(&format!("{:?}", running.shutdown(Duration::from_millis(30)).await));
        }
        Err(error) => out.push_str(&format!("{error} {error:?}")),
    }
    out
}

fn answers(protocol: OtlpProtocol) -> Vec<Value> {
    let twice = |answer: Value| json!({"echo": true, "answers": [answer, answer, answer, answer]});
    match protocol {
        OtlpProtocol::Grpc => ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE", "INTERNAL"]
            .iter()
            .map(|code| twice(json!({"grpc": code})))
            .chain([twice(json!({"partial": 1, "message": format!("no {MARK}")}))])
            .collect(),
        OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => [301, 400, 401, 403, 404, 413, 429, 500, 503]
            .iter()
            .map(|code| twice(json!({"http": code})))
            .chain([json!({"answers": [{"reset": true}, {"half": true}, {"reset": true}, {"half": true}]})])
            .chain([twice(json!({"partial": 1, "message": format!("no {MARK}")}))])
            .collect(),
    }
}

#[tokio::test]
async fn servers_that_repeat_what_they_were_sent() {
    let (Some(mut server), Some(mut receiver)) =
        (Receiver::run("token_server.py", &json!({})), Receiver::start(&json!({})))
    else {
        return;
    };
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf] {
        for auth in auths() {
            if protocol == OtlpProtocol::Grpc && matches!(auth, Auth::Query { .. }) {
                continue;
            }
            let auth = to_token_server(auth, &server);
            for plan in answers(protocol) {
                let error = json!({"status": 400, "body": {"error": "invalid_grant"}});
                let tokens = json!({"keys": {"HS256": MARK}, "claims": {}, "echo": true});
                for tokens in [tokens.clone(), json!({"echo": true, "answers": [error, error, error]})] {
                    if !matches!(auth, Auth::OAuth2(_)) && tokens.get("answers").is_some() {
                        continue;
                    }
                    server.plan(&tokens);
                    receiver.plan(&plan);
                    let base = settings(protocol, port(&receiver, protocol));
                    let headers = vec![("X-Key".to_owned(), Secret::text(MARK))];
                    let text = said(OtlpSettings { auth: auth.clone(), headers, ..base }).await;
                    assert!(!shown(&text), "{protocol:?} {plan} {tokens}: {text}");
                    assert!(!text.contains("token-"), "a token: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn stores_that_are_not_reached() {
    let refusing = Relay::start(1, Manner::Refuse("HTTP/1.1 407 no\r\nContent-Length: 0\r\n\r\n")).await;
    let proxy = |port: u16| {
        let url = Some(Secret::text(format!("http://ann:{MARK}@127.0.0.1:{port}")));
        ProxySettings { http: url.clone(), https: url, no_proxy: String::new() }
    };
    let odd = |text: &str| ProxySettings { http: Some(Secret::text(text)), ..ProxySettings::default() };
    let tls = TlsSettings { enabled: true, insecure_skip_verify: true, ..TlsSettings::default() };
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpJson] {
        let base = || settings(protocol, 1);
        let far = || OtlpSettings { endpoint: "collector.invalid:1".into(), ..base() };
        let cases = [
            base(),
            far(),
            OtlpSettings { proxy: proxy(refusing.port), ..far() },
            OtlpSettings { proxy: proxy(refusing.port), tls: tls.clone(), ..far() },
            OtlpSettings { proxy: proxy(1), ..far() },
            OtlpSettings { proxy: odd(&format!("socks5://u:{MARK}@h")), ..far() },
            OtlpSettings { proxy: odd(&format!("http://u:{MARK}@:x")), ..far() },
            OtlpSettings { headers: vec![("k".into(), Secret::text(format!("{MARK}\n")))], ..base() },
        ];
        for settings in cases {
            for auth in auths() {
                let text = said(OtlpSettings { auth, ..settings.clone() }).await;
                assert!(!shown(&text), "{protocol:?}: {text}");
            }
        }
    }
}

/// An endpoint is shown, but without parts that do not belong in it.
#[tokio::test]
async fn endpoints_with_a_secret_in_them() {
    for protocol in PROTOCOLS {
        for endpoint in [format!("https://u:{MARK}@h"), format!("https://h:x/?key={MARK}"), format!("u:{MARK}@h:1/x")] {
            let store = store(OtlpSettings { endpoint, ..settings(protocol, 1) });
            let error = test_connection(&store, "1.2.3", &output()).await.unwrap_err();
            assert!(!shown(&error), "{error}");
        }
    }
}
