//! OAuth 2.0 against a token endpoint in Python: each grant by its RFC, a token that is shared, renewed and refused, and the error
//! when there is none.

use std::time::Duration;

use qtap_agent::export::exporter::Receipt;
use qtap_agent::export::refusal::Remedy;
use qtap_agent::export::settings::{
    Algorithm, Auth, Grant, JwtSettings, OAuthSettings, OtlpProtocol, OtlpSettings, ProxySettings, Secret, TlsSettings,
};
use serde_json::{Value, json};

use super::answers::Any;
use super::authorities::Authority;
use super::otlp::{PROTOCOLS, bodies, finish, port, settings, start};
use super::python::Receiver;
use super::records::connection;
use super::relay::{Manner, Relay};

fn tokens(plan: &Value) -> Option<Receiver> {
    Receiver::run("token_server.py", plan)
}

fn credentials() -> OAuthSettings {
    OAuthSettings {
        grant: Grant::ClientCredentials,
        token_url: String::new(),
        client_id: Some("a client".into()),
        client_secret: Some(Secret::text("s3cr:et+%/é")),
        scopes: vec!["logs".into(), "write".into()],
        in_body: false,
        params: vec![("audience".into(), "https://collector".into())],
    }
}

fn with(oauth: OAuthSettings, server: &Receiver, base: OtlpSettings) -> OtlpSettings {
    let token_url = format!("http://127.0.0.1:{}/token", server.http);
    OtlpSettings { auth: Auth::OAuth2(Box::new(OAuthSettings { token_url, ..oauth })), ..base }
}

fn jwt(algorithm: Algorithm, key: &str) -> Grant {
    Grant::JwtBearer(Box::new(JwtSettings {
        signing_key: Secret::text(key),
        algorithm,
        key_id: Some("k1".into()),
        issuer: "issuer".into(),
        subject: "subject".into(),
        audience: "audience".into(),
    }))
}

/// The private and public key that the openssl program generates.
fn key_pair(arguments: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("key.pem");
    let made = std::process::Command::new("openssl").arg("genpkey").args(arguments).arg("-out").arg(&private).output();
    assert!(made.unwrap().status.success());
    let public = std::process::Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).output().unwrap();
    (std::fs::read_to_string(&private).unwrap(), String::from_utf8(public.stdout).unwrap())
}

#[tokio::test]
async fn every_grant_gets_a_token_that_the_store_takes() {
    let (rsa, rsa_public) = key_pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let (ec, ec_public) = key_pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let plan = json!({
        "client": ["a client", "s3cr:et+%/é"],
        "user": ["ann", "pass word&="],
        "keys": {"RS256": rsa_public, "ES256": ec_public, "HS256": "a shared secret of some length..."},
        "claims": {"iss": "issuer", "sub": "subject", "aud": "audience"},
    });
    let (Some(mut server), Some(mut receiver)) = (tokens(&plan), Receiver::start(&json!({}))) else { return };
    let user = Grant::Password { username: "ann".into(), password: Secret::text("pass word&=") };
    let cases = [
        (Grant::ClientCredentials, "client_credentials"),
        (user, "password"),
        (jwt(Algorithm::Rs256, &rsa), "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        (jwt(Algorithm::Es256, &ec), "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        (jwt(Algorithm::Hs256, "a shared secret of some length..."), "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ];
    for (grant, name) in cases {
        for in_body in [false, true] {
            for protocol in PROTOCOLS {
                let oauth = OAuthSettings { grant: grant.clone(), in_body, ..credentials() };
                let exporter = Any::new(&with(oauth, &server, settings(protocol, port(&receiver, protocol))));
                assert_eq!(exporter.send().await, Ok(Receipt::default()), "{name} {in_body}");
                let asked = server.next();
                assert_eq!((&asked["form"]["grant_type"], &asked["header"]), (&json!(name), &json!(!in_body)));
                assert_eq!(asked["form"]["scope"], "logs write");
                assert_eq!(asked["form"]["audience"], "https://collector");
                if name.contains("jwt") {
                    assert_eq!(asked["head"]["kid"], "k1");
                }
                let bearer = format!("Bearer {}", asked["token"].as_str().unwrap());
                assert_eq!(receiver.next()["headers"]["authorization"], bearer);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_one_token() {
    let (Some(mut server), Some(receiver)) = (tokens(&json!({})), Receiver::start(&json!({}))) else { return };
    for protocol in PROTOCOLS {
        server.plan(&json!({"answers": [{"stall": 0.3}]}));
        let mut settings = with(credentials(), &server, settings(protocol, port(&receiver, protocol)));
        settings.workers = 4;
        settings.batch.max_records = 1;
        let store = start(settings);
        store.offer(&(0..20).map(connection).collect::<Vec<_>>());
        assert_eq!(finish(store).await.exported_records, 20, "{protocol:?}");
        assert_eq!(server.said().len(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let (Some(mut server), Some(mut receiver)) = (tokens(&json!({})), Receiver::start(&json!({}))) else { return };
    let base = settings(OtlpProtocol::HttpJson, receiver.http);
    // A token that lives 1.25 s is renewed after 1 s; without a lifetime it is used until refused; text is read as a number.
    for (life, pause, asked) in
        [(json!(1.25), 1050, 2), (json!("1.25"), 1050, 2), (json!(3600), 0, 1), (Value::Null, 0, 1), (json!(0), 0, 2)]
    {
        server.plan(&json!({"expires_in": life}));
        let exporter = Any::new(&with(credentials(), &server, base.clone()));
        exporter.send().await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        exporter.send().await.unwrap();
        assert_eq!(server.said().len(), asked, "{life}");
    }
    // While the token endpoint fails, the old token is used until it expires.
    server.plan(&json!({"expires_in": 1.25}));
    let exporter = Any::new(&with(credentials(), &server, base.clone()));
    exporter.send().await.unwrap();
    receiver.said();
    server.plan(&json!({"answers": [{"status": 503, "body": {}}, {"status": 503, "body": {}}]}));
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(exporter.send().await, Ok(Receipt::default()));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(exporter.send().await.unwrap_err().why.contains("no token"));
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_per_refusal() {
    let (Some(mut server), Some(mut receiver)) = (tokens(&json!({})), Receiver::start(&json!({}))) else { return };
    for protocol in PROTOCOLS {
        let refused =
            if protocol == OtlpProtocol::Grpc { json!({"grpc": "UNAUTHENTICATED"}) } else { json!({"http": 401}) };
        receiver.plan(&json!({"answers": [refused]}));
        server.plan(&json!({}));
        let exporter = Any::new(&with(credentials(), &server, settings(protocol, port(&receiver, protocol))));
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
        let (first, second) = (receiver.next(), receiver.next());
        assert_ne!(first["headers"]["authorization"], second["headers"]["authorization"], "{protocol:?}");
        assert_eq!(server.said().len(), 2, "{protocol:?}");
        // A second refusal at once: the token is not the cause.
        receiver.plan(&json!({"answers": [refused, refused]}));
        let refusal = exporter.send().await.unwrap_err();
        assert_eq!(refusal.remedy, Remedy::Reconfigure, "{protocol:?}");
        assert!(refusal.why.contains("see auth and headers"), "{}", refusal.why);
        assert_eq!((receiver.next().is_object(), receiver.next().is_object()), (true, true));
        assert_eq!(server.said().len(), 1, "{protocol:?}");
    }
}

/// What a token endpoint may answer, and the result.
#[tokio::test]
async fn why_there_is_no_token_is_told() {
    let (Some(mut server), Some(mut receiver)) = (tokens(&json!({})), Receiver::start(&json!({}))) else { return };
    let exporter = Any::new(&with(credentials(), &server, settings(OtlpProtocol::Grpc, receiver.grpc)));
    let error = |status: u16, word: &str| json!({"status": status, "body": {"error": word}});
    for (answer, remedy, words) in [
        (error(401, "invalid_client"), Remedy::Reconfigure, "see auth.client_id"),
        (error(400, "invalid_client"), Remedy::Reconfigure, "see auth.client_id"),
        (error(400, "invalid_grant"), Remedy::Reconfigure, "invalid_grant"),
        (error(400, "invalid_scope"), Remedy::Reconfigure, "see auth.scopes"),
        (error(400, "unauthorized_client"), Remedy::Reconfigure, "see auth.grant"),
        (error(400, "unsupported_grant_type"), Remedy::Reconfigure, "see auth.grant"),
        (error(400, "invalid_request"), Remedy::Reconfigure, "400 Bad Request (invalid_request)"),
        (json!({"status": 404, "text": "<html>"}), Remedy::Reconfigure, "is auth.token_url right?"),
        (json!({"status": 429, "text": ""}), Remedy::Wait(None), "429"),
        (json!({"status": 500, "text": ""}), Remedy::Wait(None), "500"),
        (json!({"status": 503, "text": ""}), Remedy::Wait(None), "503"),
        (json!({"text": "<html>sign in</html>"}), Remedy::Wait(None), "is auth.token_url a token endpoint?"),
        (json!({"text": "{\"access_token\":\"\"}"}), Remedy::Wait(None), "without an access_token"),
        (json!({"text": "{\"access_token\":\"a\",\"token_type\":\"mac\"}"}), Remedy::Wait(None), "not of type Bearer"),
        (json!({"text": "{\"access_token\":\"a\\nb\"}"}), Remedy::Wait(None), "that a header cannot carry"),
    ] {
        server.plan(&json!({"answers": [answer]}));
        let refusal = exporter.send().await.unwrap_err();
        assert_eq!(refusal.remedy, remedy, "{answer}: {}", refusal.why);
        assert!(refusal.why.contains(words) && refusal.why.starts_with("no token: 127.0.0.1:"), "{}", refusal.why);
        assert!(receiver.said().is_empty(), "nothing is sent without a token");
    }
    // A token type in any case (RFC 6749 §5.1), and none at all.
    for answer in ["{\"access_token\":\"a\",\"token_type\":\"bearer\"}", "{\"access_token\":\"a\"}"] {
        server.plan(&json!({"answers": [{"text": answer}]}));
        let exporter = Any::new(&with(credentials(), &server, settings(OtlpProtocol::Grpc, receiver.grpc)));
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{answer}");
    }
}

#[tokio::test]
async fn a_store_waits_for_its_token_and_loses_nothing() {
    let plan = json!({"answers": [{"status": 503, "body": {}}, {"status": 401, "body": {"error": "invalid_client"}}]});
    let (Some(server), Some(receiver)) = (tokens(&plan), Receiver::start(&json!({}))) else { return };
    let store = start(with(credentials(), &server, settings(OtlpProtocol::Grpc, receiver.grpc)));
    store.offer(&[connection(1), connection(2)]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while store.status().exported_records < 2 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = finish(store).await;
    assert_eq!((status.exported_records, status.losses.is_empty()), (2, true), "{status:?}");
    assert!(status.last_error.unwrap().1.contains("see auth.client_id"));
    assert_eq!(bodies(&receiver.finish()), ["record 1", "record 2"]);
}

/// The token endpoint uses the TLS and proxy settings of the store, except the name to verify.
#[tokio::test]
async fn a_token_is_asked_for_as_the_store_is_reached() {
    let (Some(mut server), Some(receiver)) = (tokens(&json!({})), Receiver::start(&json!({}))) else { return };
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    for protocol in PROTOCOLS {
        let store = Manner::Tls(authority.identity("store.invalid", false).server(None));
        let store = Relay::start(port(&receiver, protocol), store).await;
        let tokens = Manner::Tls(authority.identity("localhost", false).server(None));
        let tokens = Relay::start(server.http, tokens).await;
        let tls = TlsSettings {
            enabled: true,
            ca_file: Some(ca_file.clone()),
            server_name: Some("store.invalid".into()),
            ..TlsSettings::default()
        };
        let token_url = format!("https://localhost:{}/token", tokens.port);
        let auth = Auth::OAuth2(Box::new(OAuthSettings { token_url, ..credentials() }));
        let endpoint = format!("127.0.0.1:{}", store.port);
        let exporter = Any::new(&OtlpSettings { endpoint, auth, tls, ..settings(protocol, 1) });
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
        assert_eq!(server.said().len(), 1);

        // Only the proxy can resolve the token endpoint; the store is on this host, and reached directly.
        let proxy = Relay::start(server.http, Manner::Proxy(None)).await;
        let url = Some(Secret::text(format!("http://127.0.0.1:{}", proxy.port)));
        let auth = OAuthSettings { token_url: "http://id.invalid/token".into(), ..credentials() };
        let exporter = Any::new(&OtlpSettings {
            auth: Auth::OAuth2(Box::new(auth)),
            proxy: ProxySettings { http: url.clone(), https: url, no_proxy: String::new() },
            ..settings(protocol, port(&receiver, protocol))
        });
        assert_eq!(exporter.send().await, Ok(Receipt::default()), "{protocol:?}");
        assert_eq!(proxy.heads().len(), 1);
        assert_eq!(server.said().len(), 1);
    }
}
