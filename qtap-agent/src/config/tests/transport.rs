//! OTLP stores: OAuth, limits, and the environment's settings where the file is silent.

use std::time::Duration;

use super::{bad, otlp, source, with_otel};
use crate::config::load;
use crate::export::settings::{
    Algorithm, Auth, Compression, Grant, JwtSettings, Limits, OAuthSettings, OtlpProtocol, OtlpSettings, Secret,
    StoreKind,
};

/// The store with these lines, read in this environment, and the notes.
fn within(lines: &str, variables: &[(&str, &str)]) -> (OtlpSettings, Vec<String>) {
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let (mut settings, notes) = load(source(&with_otel(lines)), &env).unwrap_or_else(|faults| panic!("{faults}"));
    let StoreKind::Otlp(store) = settings.stores.remove(0).kind else { panic!("{settings:?}") };
    (*store, notes.iter().map(ToString::to_string).collect())
}

fn store(lines: &str) -> OtlpSettings {
    within(lines, &[]).0
}

#[test]
fn every_grant_with_every_key() {
    let auth = |lines: &str| match store(&format!("auth: {{type: oauth2, token_url: 'https://t/token', {lines}}}")).auth
    {
        Auth::OAuth2(settings) => *settings,
        other => panic!("{other:?}"),
    };
    let base = OAuthSettings {
        grant: Grant::ClientCredentials,
        token_url: "https://t/token".into(),
        client_id: Some("me".into()),
        client_secret: Some(Secret::text("s")),
        scopes: Vec::new(),
        in_body: false,
        params: Vec::new(),
    };
    assert_eq!(auth("grant: client_credentials, client_id: me, client_secret: s"), base);
    let all = "grant: client_credentials, client_id: me, client_secret: s, scopes: [a, b], auth_style: body, params: {audience: x}";
    let scopes = vec!["a".to_owned(), "b".to_owned()];
    let params = vec![("audience".to_owned(), "x".to_owned())];
    assert_eq!(auth(all), OAuthSettings { scopes, in_body: true, params, ..base.clone() });
    let password = Grant::Password { username: "u".into(), password: Secret::text("p") };
    let alone = OAuthSettings { client_id: None, client_secret: None, ..base.clone() };
    assert_eq!(auth("grant: password, username: u, password: p"), OAuthSettings { grant: password, ..alone.clone() });
    let jwt = JwtSettings {
        signing_key: Secret::text("k"),
        algorithm: Algorithm::Rs256,
        key_id: None,
        issuer: "i".into(),
        subject: "i".into(),
        audience: "https://t/token".into(),
    };
    let bearer = |jwt: JwtSettings| Grant::JwtBearer(Box::new(jwt));
    assert_eq!(
        auth("grant: jwt_bearer, signing_key: k, issuer: i"),
        OAuthSettings { grant: bearer(jwt.clone()), ..alone.clone() }
    );
    let all = "grant: jwt_bearer, signing_key: k, client_id: i, algorithm: ES256, key_id: kid, subject: s, audience: a";
    let jwt = JwtSettings {
        algorithm: Algorithm::Es256,
        key_id: Some("kid".into()),
        subject: "s".into(),
        audience: "a".into(),
        ..jwt
    };
    assert_eq!(auth(all), OAuthSettings { grant: bearer(jwt), client_id: Some("i".into()), ..alone });
}

#[test]
fn what_a_grant_needs_and_what_it_has_no_use_for() {
    for (lines, said) in [
        ("", "`grant` is missing in `auth`"),
        ("grant: client_credentials, client_id: me", "`client_secret` is missing in `auth`"),
        ("grant: password, username: u", "`password` is missing in `auth`"),
        ("grant: jwt_bearer, client_id: me", "`signing_key` is missing in `auth`"),
        ("grant: jwt_bearer, signing_key: hunter2", "`issuer` is missing in `auth`"),
        ("grant: password, username: u, password: p, issuer: i", "`issuer` has no meaning for this type and `grant`"),
        ("grant: client_credentials, client_id: a, client_secret: b, name: n", "`name` has no meaning"),
        (
            "grant: password, username: u, password: p, client_secret: hunter2",
            "a `client_secret` without a `client_id`",
        ),
        ("grant: implicit", "`grant` cannot be `implicit`"),
    ] {
        let told = bad(&with_otel(&format!("auth: {{type: oauth2, token_url: 'https://t', {lines}}}")));
        assert!(told.contains(said) && !told.contains("hunter2"), "{lines}: {told}");
    }
    for (url, said) in [("t.example/token", "`token_url` is no URL"), ("ftp://t", "cannot begin with `ftp://`")] {
        let lines = format!("auth: {{type: oauth2, grant: password, username: u, password: p, token_url: '{url}'}}");
        let told = bad(&with_otel(&lines));
        assert!(told.contains(said), "{told}");
    }
    let plain = "auth: {type: oauth2, grant: password, username: u, password: p, token_url: 'http://t/'}";
    assert!(within(plain, &[]).1[0].contains("without TLS"));
    let told = bad(&with_otel("auth: {type: basic, username: u, password: p, scopes: [a]}"));
    assert!(told.contains("`scopes` has no meaning for this type of `auth`"), "{told}");
}

#[test]
fn limits_bound_batches_too() {
    let all = "limits: {attribute_value_bytes: 4kb, record_attributes: 64, batch_records: 100, batch_bytes: 1mb}";
    let limited = store(all);
    let limits =
        Limits { attribute_value_bytes: 4096, record_attributes: 64, batch_records: 100, batch_bytes: 1 << 20 };
    assert_eq!(limited.limits, limits);
    assert_eq!((limited.batch.max_records, limited.batch.max_bytes), (100, (1 << 20) - (1 << 17)));
    assert_eq!(store("limits: {}"), otlp());
    let told = bad(&with_otel("limits: {attribute_value_bytes: 64}"));
    assert!(told.contains("digests and ids are longer"), "{told}");
}

/// Each variable alone; the one for logs wins over the general one, the file over both.
#[test]
fn variables_hold_where_the_file_is_silent() {
    let told = |lines: &str, variables: &[(&str, &str)]| {
        let (store, notes) = within(lines, variables);
        assert!(notes.is_empty(), "{lines} {variables:?}: {notes:?}");
        store
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1");
    let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:2/x");
    let at = |store: OtlpSettings| (store.endpoint, store.endpoint_is_exact);
    assert_eq!(at(told("", &[endpoint])), ("http://general:1".to_owned(), false));
    assert_eq!(at(told("protocol: http", &[endpoint, logs])), ("http://logs:2/x".to_owned(), true));
    assert_eq!(at(told("endpoint: file:3", &[endpoint, logs])), ("file:3".to_owned(), false));
    assert_eq!(at(told("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])), ("localhost:4317".to_owned(), false));

    let protocol = |value| ("OTEL_EXPORTER_OTLP_PROTOCOL", value);
    for (lines, value, want) in [
        ("", "grpc", OtlpProtocol::Grpc),
        ("", "http/protobuf", OtlpProtocol::HttpProtobuf),
        ("", "http/json", OtlpProtocol::HttpJson),
        ("encoding: json", "http/protobuf", OtlpProtocol::HttpJson),
        ("protocol: http", "http/json", OtlpProtocol::HttpJson),
        ("protocol: http", "grpc", OtlpProtocol::HttpProtobuf),
        ("protocol: grpc", "http/json", OtlpProtocol::Grpc),
    ] {
        assert_eq!(told(lines, &[protocol(value)]).protocol, want, "{lines} {value}");
    }
    assert_eq!(
        told("", &[protocol("grpc"), ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json")]).endpoint,
        "localhost:4318"
    );

    assert_eq!(told("", &[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]).compression, Compression::None);
    assert_eq!(told("compression: zstd", &[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]).compression, Compression::Zstd);
    assert_eq!(told("", &[("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2500")]).timeout, Duration::from_millis(2500));
    assert_eq!(told("timeout: 3s", &[("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")]).timeout, Duration::from_secs(3));
}

#[test]
fn headers_of_the_environment_are_percent_decoded() {
    let variable = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b%2C , x=1,X=2,authorization=Basic%20eA%3D%3D");
    let want = vec![
        ("api-key".to_owned(), Secret::text("a b,")),
        ("X".to_owned(), Secret::text("2")),
        ("authorization".to_owned(), Secret::text("Basic eA==")),
    ];
    assert_eq!(within("", &[variable]), (OtlpSettings { headers: want.clone(), ..otlp() }, Vec::new()));
    // A key of the file overrides the variable, even when it is empty.
    assert_eq!(within("headers: {}", &[variable]).0.headers, []);
    assert_eq!(within("headers: {a: b}", &[variable]).0.headers, [("a".to_owned(), Secret::text("b"))]);
    // The headers may be meant for another endpoint.
    let (store, notes) = within("endpoint: h:1", &[variable]);
    assert_eq!(store.headers, want);
    assert!(notes[0].contains("OTEL_EXPORTER_OTLP_HEADERS") && notes[0].contains("`headers: {}`"), "{notes:?}");
}

/// "INSECURE … only applies to OTLP/gRPC when an endpoint is provided without the http or https scheme"; its default is false.
#[test]
fn tls_of_the_environment() {
    let endpoint = |value| ("OTEL_EXPORTER_OTLP_ENDPOINT", value);
    let insecure = |value| ("OTEL_EXPORTER_OTLP_INSECURE", value);
    for (lines, variables, tls) in [
        ("", vec![endpoint("h:1")], true),
        ("", vec![endpoint("h:1"), insecure("true")], false),
        ("", vec![endpoint("http://h:1"), insecure("false")], false),
        ("endpoint: h:1", vec![], false),
        ("endpoint: h:1", vec![insecure("false")], true),
        ("endpoint: h:1\ntls: {enabled: false}", vec![insecure("false")], false),
        ("protocol: http\nendpoint: h:1", vec![insecure("false")], false),
        ("", vec![], false),
    ] {
        assert_eq!(within(lines, &variables).0.tls.enabled, tls, "{lines} {variables:?}");
    }
    let folder = tempfile::tempdir().expect("a directory");
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "").expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (ca, cert, key, other) = (file("ca"), file("cert"), file("key"), file("other"));
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", cert.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
    ];
    let tls = within("", &variables).0.tls;
    let want = [&ca, &cert, &key].map(|path| Some(path.into()));
    assert_eq!([tls.ca_file, tls.cert_file, tls.key_file], want);
    let tls = within(&format!("tls: {{enabled: true, ca_file: '{other}'}}"), &variables).0.tls;
    assert_eq!((tls.ca_file, tls.cert_file.is_some()), (Some(other.into()), true));
    let missing = [("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file")];
    let env = |name: &str| missing.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let faults = load(source(&with_otel("")), &env).map(|_| ()).expect_err("a fault").to_string();
    assert!(faults.contains("`OTEL_EXPORTER_OTLP_CERTIFICATE` names cannot be read"), "{faults}");
}

/// "Values that are not recognised: a warning, and as if it was not set" (Environment Variable Specification).
#[test]
fn what_a_variable_cannot_be_is_said_without_its_value() {
    for (name, value) in [
        ("PROTOCOL", "hunter2"),
        ("COMPRESSION", "hunter2"),
        ("TIMEOUT", "hunter2"),
        ("TIMEOUT", "1"),
        ("INSECURE", "hunter2"),
        ("HEADERS", "hunter2"),
        ("HEADERS", "a b=hunter2"),
        ("HEADERS", "a=hunter2%0a"),
    ] {
        let variable = format!("OTEL_EXPORTER_OTLP_{name}");
        let (store, notes) = within("", &[(&variable, value)]);
        assert_eq!(store, otlp(), "{name}");
        assert!(notes.len() == 1 && notes[0].contains(&variable) && !notes[0].contains("hunter2"), "{notes:?}");
    }
    let env = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://u:hunter2@h".to_owned());
    let faults = load(source(&with_otel("")), &env).map(|_| ()).expect_err("a fault").to_string();
    assert!(faults.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !faults.contains("hunter2"), "{faults}");
}

/// A key in the query of an endpoint, in a line that a note or a fault quotes.
#[test]
fn the_query_of_an_endpoint_is_not_quoted() {
    let url = "https://h:4317/v1/logs?api_key=hunter2&b=hunter2#hunter2";
    for quoted in [format!("'{url}'"), format!("\"{url}\""), url.to_owned()] {
        let (_, notes) = within(&format!("protocol: http\nendpoint: {quoted}"), &[]);
        assert!(notes.len() == 1 && notes[0].contains("h:4317/v1/logs?api_key="), "{notes:?}");
        assert!(!notes[0].contains("hunter2"), "{notes:?}");
    }
    for line in ["endpoint: ftp://h/?key=hunter2", "endpoint: 'h:x/?key=hunter2'", "endpoint: 'http://u:hunter2?x@h'"] {
        assert!(!bad(&with_otel(line)).contains("hunter2"), "{}", bad(&with_otel(line)));
    }
    let text = with_otel("endpoint: https://h/?key=hunter2\nendpoint: [");
    assert!(!bad(&text).contains("hunter2"), "{}", bad(&text));
}

/// A client certificate without its key, and the reverse, wherever either comes from.
#[test]
fn half_an_identity_is_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("file");
    std::fs::write(&path, "").expect("a file");
    let path = path.to_str().expect("UTF-8");
    for (lines, set, missing) in [
        ("endpoint: https://h:1", "CLIENT_CERTIFICATE", "CLIENT_KEY"),
        ("endpoint: https://h:1", "CLIENT_KEY", "CLIENT_CERTIFICATE"),
        ("tls: {enabled: true}", "LOGS_CLIENT_CERTIFICATE", "CLIENT_KEY"),
        ("tls: {enabled: true}\nprotocol: http", "LOGS_CLIENT_KEY", "CLIENT_CERTIFICATE"),
    ] {
        let variable = format!("OTEL_EXPORTER_OTLP_{set}");
        let env = |name: &str| (name == variable).then(|| path.to_owned());
        let faults = load(source(&with_otel(lines)), &env).map(|_| ()).expect_err("a fault").to_string();
        let said =
            faults.contains(&format!("`{variable}`")) && faults.contains(&format!("OTEL_EXPORTER_OTLP_{missing}"));
        assert!(said, "{faults}");
        // Where nothing is encrypted, neither is used.
        let plain = load(source(&with_otel("endpoint: http://h:1")), &env);
        assert!(plain.is_ok(), "{plain:?}");
    }
    for (given, missing) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        let faults = bad(&with_otel(&format!("tls: {{enabled: true, {given}: '{path}'}}")));
        assert!(faults.contains(&format!("a `{given}` without a `{missing}`")), "{faults}");
        let s3 =
            format!("version: 2\nservices: {{object_stores: [{{type: s3, bucket: b, tls: {{{given}: '{path}'}}}}]}}\n");
        assert!(bad(&s3).contains(&format!("a `{given}` without a `{missing}`")), "{}", bad(&s3));
    }
}

#[test]
fn proxies_are_those_of_the_environment() {
    let proxy = within("", &[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b"), ("no_proxy", "x,y")]).0.proxy;
    assert_eq!((proxy.https, proxy.http, proxy.no_proxy.as_str()), (Some(Secret::text("http://a")), None, "x,y"));
    let proxy = within("", &[("http_proxy", "http://c")]).0.proxy;
    assert_eq!((proxy.https, proxy.http), (None, Some(Secret::text("http://c"))));
}
