//! Servers that already run when qtap starts; their clients are outside the scope.

use std::collections::BTreeMap;

use super::lab::{Lab, digest, noise, output_of};
use super::nginx::Nginx;
use super::python::{Script, interpreter, script};
use super::qtap::{Agent, exec_script};

fn curl(arguments: &[&str]) {
    output_of(std::process::Command::new("curl").arg("-s").args(arguments));
}

#[test]
fn nginx_with_its_clients_outside() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("hello.txt", b"hello\n");
    let file = lab.write("sent.bin", &noise(50_000));
    // No record reports the end of a UNIX socket, so a TCP connection follows it.
    let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
    curl(&["-k", "--http1.1", &nginx.https("/hello.txt?h1")]);
    curl(&["-k", "--http2", &nginx.https("/hello.txt?h2")]);
    curl(&["-k", "--http1.1", "-T", &file.display().to_string(), &nginx.https("/put/it")]);
    curl(&["-g", &format!("http://[::1]:{}/hello.txt?v6", nginx.http)]);
    curl(&["--unix-socket", &nginx.socket().display().to_string(), "http://x/hello.txt?unix"]);
    curl(&[&nginx.http("/sendfile/hello.txt")]);
    curl(&[&nginx.http("/none?missing")]);
    agent.wait_for("artifact_record", 7);
    let captured = agent.stop();
    assert_eq!(captured.code, Some(0));
    let records = captured.records;
    assert_eq!(records.exchanges().len(), 7, "{}", records.told());
    assert_eq!(records.objects().len(), 0, "summary keeps no artifacts");
    let workers = nginx.workers();
    for record in &records.all {
        assert_eq!(record.text("process.executable.name"), "nginx", "{record:?}");
        assert!(workers.contains(&(record.number("process.pid") as u32)), "{record:?}");
        assert_eq!(record.text("connection.direction"), "ingress", "{record:?}");
    }
    for exchange in records.exchanges() {
        let over_tcp = exchange.text("network.transport") == "tcp";
        assert!(!over_tcp || exchange.number("network.local.port") == exchange.number("server.port"));
        let port = if exchange.text("url.scheme") == "https" { nginx.https } else { nginx.http };
        assert!(!over_tcp || exchange.number("server.port") == i64::from(port), "{exchange:?}");
    }
    let of = |query: &str| records.exchanges().into_iter().find(|one| one.text("url.query") == query).unwrap();
    assert_eq!(of("h2").text("network.protocol.version"), "2");
    assert_eq!(of("v6").text("network.type"), "ipv6");
    assert_eq!(of("unix").text("network.transport"), "unix");
    assert_eq!(of("missing").number("http.response.status_code"), 404);
    assert_eq!(of("missing").log["severityText"], "WARN");
    assert_eq!(records.exchange_of("/put/it").number("http.request.body.size"), 50_000);
    // The bytes of a sendfile were never in nginx's memory: they are counted, and the exchange says so.
    let sent = records.exchange_of("/sendfile/hello.txt");
    assert_eq!(sent.number("http.response.body.size"), 6);
    let closed = records.closed().into_iter().find(|one| one.connection() == sent.connection()).unwrap();
    assert_eq!(closed.losses().get("sendfile"), Some(&6), "{closed:?}");
}

#[test]
fn a_proxy_and_its_upstream_are_never_mixed() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut upstream) = Script::start("upstream.py", &[]) else { return };
    let upstream_port: u16 = upstream.line().parse().unwrap();
    let nginx = Nginx::start(&lab, upstream_port);
    let pids = [nginx.pid(), upstream.child.pid()].map(|pid| pid.to_string());
    let agent = Agent::start(&lab, ["--pid", &pids[0], "--pid", &pids[1]]);
    for number in 0..10 {
        curl(&[&nginx.http(&format!("/up/plain/{number}"))]);
        curl(&["-k", "--http2", &nginx.https(&format!("/up/tls/{number}"))]);
    }
    agent.wait_for("artifact_record", 60);
    let records = agent.stop().records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 60, "{}", records.told());
    let mut legs: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for exchange in records.exchanges() {
        legs.entry(exchange.text("url.path")).or_default().push(exchange);
    }
    assert_eq!(legs.len(), 20);
    let upstream_port = i64::from(upstream_port);
    for (path, legs) in legs {
        let front = if path.starts_with("/up/tls") { nginx.https } else { nginx.http };
        let is = |direction: &str, name: &str, port: i64| {
            let mut fitting = legs.iter().filter(|leg| {
                leg.text("connection.direction").starts_with(direction)
                    && leg.text("process.executable.name").starts_with(name)
                    && leg.number("server.port") == port
            });
            fitting.next().is_some() && fitting.next().is_none()
        };
        assert!(is("ingress", "nginx", i64::from(front)), "{path}: {legs:?}");
        assert!(is("egress", "nginx", upstream_port), "{path}: {legs:?}");
        assert!(is("ingress", "python", upstream_port), "{path}: {legs:?}");
        let connections: std::collections::BTreeSet<_> = legs.iter().map(|leg| leg.connection()).collect();
        assert_eq!(connections.len(), 3, "{path}");
    }
}

/// Load balancers name their client before the first byte (`proxy_protocol`, `send-proxy`): both ends, in text and in binary, plain and before TLS.
#[test]
fn behind_the_proxy_protocol() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &noise(50_000));
    let [plain, tls] = nginx.introduced;
    let asked = format!(
        "set -e; cd '{}'
        curl -s --haproxy-protocol 'http://127.0.0.1:{plain}/a.txt?curl' -o a 'http://127.0.0.1:{plain}/a.txt?again' -o b
        curl -sk --haproxy-protocol --http1.1 'https://127.0.0.1:{tls}/a.txt?tls' -o c
        curl -sk --haproxy-protocol --http2 'https://127.0.0.1:{tls}/a.txt?h2' -o d
        '{}' '{}' {plain}",
        lab.dir().display(),
        python.display(),
        script("introduced.py").display(),
    );
    let names = ["again", "binary", "binary-at-once", "by-byte", "curl", "h2", "local", "text-at-once", "tls"];
    let hold = |records: &super::records::Records| {
        records.assert_whole();
        let mut told: Vec<_> = records.exchanges().iter().map(|one| one.text("url.query")).collect();
        told.sort_unstable();
        assert_eq!(told, names, "{}", records.told());
        for exchange in records.exchanges() {
            let over_tls = ["tls", "h2"].contains(&exchange.text("url.query"));
            let (scheme, port) = if over_tls { ("https", tls) } else { ("http", plain) };
            assert_eq!((exchange.text("url.scheme"), exchange.number("server.port")), (scheme, i64::from(port)));
            assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(50_000)));
        }
    };
    hold(&exec_script(&lab, &[], &asked).records);
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &config, "--pid", &nginx.pid().to_string()]);
    output_of(std::process::Command::new("sh").args(["-c", &asked]));
    agent.wait_for("\"artifact_record\"", names.len());
    hold(&agent.stop().records);
}

#[test]
fn bodies_seen_by_a_server_in_python() {
    let Some(lab) = Lab::open() else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem").display().to_string(), lab.path("key.pem").display().to_string());
    let Some(mut upstream) = Script::start("upstream.py", &["tls", &cert, &key]) else { return };
    let port = upstream.line();
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes());
    let file = lab.write("sent.bin", &noise(70_000));
    let pid = upstream.child.pid().to_string();
    let agent = Agent::start(&lab, ["--config", &config.display().to_string(), "--pid", &pid]);
    let data = format!("@{}", file.display());
    curl(&["-k", "--data-binary", &data, &format!("https://127.0.0.1:{port}/posted")]);
    agent.wait_for("\"artifact_record\"", 1);
    let records = agent.stop().records;
    records.assert_whole();
    let exchange = records.exchange_of("/posted");
    assert_eq!(records.artifact_of(exchange, "request")["body"]["digest"], digest(&noise(70_000)));
    assert_eq!(exchange.text("connection.direction"), "ingress");
}
