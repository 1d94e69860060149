//! Bodies of 64 MiB, over TLS and plain, in many calls and in one.

use super::lab::{Lab, digest, noise};
use super::nginx::Nginx;
use super::python::{Script, interpreter, script};
use super::qtap::exec_script;

const SIZE: usize = 64 << 20;

#[test]
fn whole_when_the_limit_allows() {
    let Some(lab) = Lab::open() else { return };
    let body = noise(SIZE);
    let wanted = digest(&body);
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("large.bin", &body);
    let file = lab.write("large.bin", &body).display().to_string();
    // Two at a time: the memory for waiting output is bounded.
    let turns = [
        format!(
            "curl -sk --http1.1 '{}' | cmp - {file} && curl -s -H Expect: -T {file} '{}'",
            nginx.https("/large.bin?tls"),
            nginx.http("/put/plain")
        ),
        format!(
            "curl -s '{}' | cmp - {file} && curl -sk --http1.1 -H Expect: -T {file} '{}'",
            nginx.http("/large.bin?plain"),
            nginx.https("/put/tls")
        ),
        format!("curl -sk --http2 '{}' | cmp - {file}", nginx.https("/large.bin?h2")),
    ];
    let mut told = 0;
    for turn in turns {
        let records = exec_script(&lab, &["--http-buffer-size", "65mb"], &turn).records;
        records.assert_whole();
        told += records.exchanges().len();
        for exchange in records.exchanges() {
            let side = if exchange.text("http.request.method") == "PUT" { "request" } else { "response" };
            assert_eq!(exchange.number(&format!("http.{side}.body.size")), SIZE as i64);
            let object = records.object(exchange.text(&format!("artifact.{side}.digest")));
            assert!(!object.flag("artifact.truncated"));
            assert_eq!(object.artifact()["body"]["digest"], wanted.as_str(), "{}", exchange.text("url.full"));
        }
    }
    assert_eq!(told, 5);
}

#[test]
fn in_one_write() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(mut plain)) = (interpreter(), Script::start("upstream.py", &[])) else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem").display().to_string(), lab.path("key.pem").display().to_string());
    let Some(mut tls) = Script::start("upstream.py", &["tls", &cert, &key]) else { return };
    let body = noise(SIZE);
    let file = lab.write("large.bin", &body).display().to_string();
    let client = format!("{} {} single_write", python.display(), script("client.py").display());
    let script = format!("{client} {} /tls {file} tls && {client} {} /plain {file} plain", tls.line(), plain.line());
    let captured = exec_script(&lab, &["--http-buffer-size", "65mb"], &script);
    let writes: Vec<_> = captured.stdout.lines().filter(|line| line.starts_with("wrote")).collect();
    assert_eq!(writes.len(), 2, "one write each: {}", captured.stdout);
    let hex = &digest(&body)["sha256:".len()..];
    assert_eq!(captured.stdout.matches(hex).count(), 2, "both arrived: {}", captured.stdout);
    let records = captured.records;
    records.assert_whole();
    for path in ["/tls", "/plain"] {
        let exchange = records.exchange_of(path);
        assert_eq!(exchange.number("http.request.body.size"), SIZE as i64);
        assert_eq!(records.artifact_of(exchange, "request")["body"]["digest"], digest(&body), "{path}");
    }
}

#[test]
fn cut_at_the_default_limit_and_counted() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(mut upstream)) = (interpreter(), Script::start("upstream.py", &[])) else { return };
    let body = noise(SIZE);
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("large.bin", &body);
    let file = lab.write("large.bin", &body).display().to_string();
    let script = format!(
        "set -e
curl -sk --http1.1 '{}' | cmp - {file}
curl -s '{}' | cmp - {file}
curl -sk --http1.1 -H Expect: -T {file} '{}'
{} {} single_write {} /put/one {file} plain",
        nginx.https("/large.bin?tls"),
        nginx.http("/large.bin?plain"),
        nginx.https("/put/tls"),
        python.display(),
        script("client.py").display(),
        upstream.line(),
    );
    let records = exec_script(&lab, &[], &script).records;
    assert_eq!(records.exchanges().len(), 4, "{}", records.told());
    for exchange in records.exchanges() {
        let sent = exchange.text("url.path").starts_with("/put");
        let side = if sent { "request" } else { "response" };
        assert_eq!(exchange.number(&format!("http.{side}.body.size")), SIZE as i64, "{}", records.told());
        let object = records.object(exchange.text(&format!("artifact.{side}.digest")));
        assert!(object.flag("artifact.truncated"), "{}", exchange.text("url.full"));
        let kept = object.artifact()["body"]["kept"].as_u64().unwrap();
        assert!(kept > 0 && kept <= 2_097_152, "{kept}");
        let closed = records.closed().into_iter().find(|one| one.connection() == exchange.connection()).unwrap();
        let lost = closed.number("connection.lost_bytes");
        assert_eq!(kept as i64 + lost, SIZE as i64, "kept {kept}, lost {:?}: {closed:?}", closed.losses());
    }
}

#[test]
fn what_nobody_asked_for_of_a_large_body_is_not_missed() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(mut plain)) = (interpreter(), Script::start("upstream.py", &[])) else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem").display().to_string(), lab.path("key.pem").display().to_string());
    let Some(mut tls) = Script::start("upstream.py", &["tls", &cert, &key]) else { return };
    let file = lab.write("large.bin", &noise(SIZE)).display().to_string();
    let client = format!("{} {} single_write", python.display(), script("client.py").display());
    let script = format!("{client} {} /tls {file} tls && {client} {} /plain {file} plain", tls.line(), plain.line());
    let config = lab.write("qtap.yaml", super::scope::config("level: summary", "").as_bytes()).display().to_string();
    let records = exec_script(&lab, &["--config", &config], &script).records;
    for path in ["/tls", "/plain"] {
        let exchange = records.exchange_of(path);
        assert_eq!(exchange.number("http.request.body.size"), SIZE as i64);
        assert!(!exchange.has("qtap.incomplete") && !exchange.has("error.type"), "{}", records.told());
    }
    assert!(records.closed().iter().all(|closed| closed.losses().contains_key("call_limit")), "{}", records.told());
}
