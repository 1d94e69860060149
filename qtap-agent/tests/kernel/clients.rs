//! Common client programs, each captured from its first byte: the records must match what the program did.

use std::process::Command;
use std::time::Duration;

use super::lab::{Guarded, Lab, digest, free_ports, noise, slowed, wait_for_port};
use super::nginx::{Nginx, certificate};
use super::python::{Script, interpreter, script};
use super::qtap::{Captured, exec_script, run_exec, text};
use super::records::{Record, parse};

const BODY: &[u8] = "{\"greeting\": \"grüße\"}\n".as_bytes();

/// Facts of the contract that hold for every curl of these tests.
fn assert_is_curls(record: &Record, port: u16) {
    assert!(record.number("process.pid") > 1);
    assert_eq!(record.text("process.executable.path"), "/usr/bin/curl");
    assert_eq!(record.text("process.executable.name"), "curl");
    assert!(record.text("process.command").starts_with("curl -s"), "{record:?}");
    assert_eq!((record.number("process.user.id"), record.text("process.user.name")), (0, "root"));
    assert_eq!(record.text("network.transport"), "tcp");
    assert_eq!(record.text("network.type"), "ipv4");
    assert!(record.text("connection.direction").starts_with("egress"));
    for end in ["server", "network.peer"] {
        assert_eq!(record.text(&format!("{end}.address")), "127.0.0.1");
        assert_eq!(record.number(&format!("{end}.port")), i64::from(port));
    }
    for end in ["client", "network.local"] {
        assert_eq!(record.text(&format!("{end}.address")), "127.0.0.1");
        assert!(record.number(&format!("{end}.port")) > 1024);
    }
}

#[test]
fn curl_over_https() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("hello.json", BODY);
    nginx.serve("bytes.bin", &noise(100_000));
    let sent = lab.write("sent.bin", &noise(30_000));
    let (file, up) = (sent.display().to_string(), nginx.https("/put/sent.bin"));
    let script = format!(
        "set -e
curl -sk --http1.1 '{}' -o {out}
curl -sk --http2 '{}' -o {out}
curl -sk --http1.1 '{}' -o {out}
curl -sk --http1.1 -T {file} '{up}'
curl -sk --http2 -T {file} '{up}2'",
        nginx.https("/hello.json?a=1"),
        nginx.https("/hello.json?b=2"),
        nginx.https("/bytes.bin"),
        out = lab.path("got").display(),
    );
    let Captured { records, .. } = exec_script(&lab, &["--log-level", "debug"], &script);
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 5, "{}", records.told());
    assert_eq!(records.closed().len(), 5, "{}", records.told());
    assert_eq!(records.objects().len(), 10, "{}", records.told());
    for record in &records.all {
        assert_is_curls(record, nginx.https);
    }
    for (query, version, protocol) in [("a=1", "1.1", "http1"), ("b=2", "2", "http2")] {
        let exchange = records.exchanges().into_iter().find(|one| one.text("url.query") == query).unwrap();
        assert_eq!(exchange.text("url.full"), nginx.https(&format!("/hello.json?{query}")));
        assert_eq!((exchange.text("url.scheme"), exchange.text("url.path")), ("https", "/hello.json"));
        assert_eq!(exchange.text("http.request.method"), "GET");
        assert_eq!(exchange.number("http.response.status_code"), 200);
        assert_eq!(exchange.text("network.protocol.version"), version);
        assert_eq!(exchange.text("connection.protocol"), protocol);
        assert_eq!(exchange.number("http.response.body.size"), BODY.len() as i64);
        assert!(exchange.text("user_agent.original").starts_with("curl/"));
        let response = records.artifact_of(exchange, "response");
        assert_eq!(response["body"]["digest"], digest(BODY));
        assert_eq!(response["body"]["data"], String::from_utf8_lossy(BODY).as_ref());
        // On a slow machine the connection was also reported while it was open.
        let is_last = |one: &&Record| one.kind() != "connection" || one.flag("connection.finalized");
        let own = records.all.iter().filter(|one| one.connection() == exchange.connection());
        let own: Vec<_> = own.filter(is_last).collect();
        assert_eq!(own.len(), 4, "an exchange, two objects, a connection");
        let closed = own.iter().find(|one| one.kind() == "connection").unwrap();
        assert_eq!(closed.text("tls.protocol.version"), "1.3");
        assert_eq!(closed.text("connection.tls.library"), "libssl.so.3");
        assert!(closed.flag("connection.tls.inspected") && closed.flag("connection.finalized"));
        assert!(["nested", "set_fd"].contains(&closed.text("connection.binding")), "{closed:?}");
        assert_eq!(closed.number("connection.requests"), 1);
        assert_eq!(closed.text("connection.protocol"), protocol, "{closed:?}");
    }
    let bytes = records.artifact_of(records.exchange_of("/bytes.bin"), "response");
    assert_eq!(bytes["body"]["digest"], digest(&noise(100_000)));
    for path in ["/put/sent.bin", "/put/sent.bin2"] {
        let exchange = records.exchange_of(path);
        assert_eq!(exchange.number("http.response.status_code"), 201);
        assert_eq!(exchange.number("http.request.body.size"), 30_000);
        assert_eq!(records.artifact_of(exchange, "request")["body"]["digest"], digest(&noise(30_000)));
    }
}

/// What passes through a tunnel is reported as exchanges of the session inside it, not as a body of the CONNECT that opened it.
#[test]
fn curl_through_a_tunnel() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(100_000));
    let [port] = free_ports();
    let mut proxy = Command::new(python);
    let _proxy = Guarded(proxy.arg(script("tunnel.py")).arg(port.to_string()).spawn().unwrap());
    wait_for_port(port);
    let ask =
        |version: &str| format!("curl -sk --{version} -x http://127.0.0.1:{port} '{}'", nginx.https("/bytes.bin"));
    let script = format!("set -e\n{}\n{}", ask("http1.1 -o one"), ask("http2 -o two"));
    let records = exec_script(&lab, &[], &format!("cd '{}'\n{script}", lab.dir().display())).records;
    let (made, inside): (Vec<_>, Vec<_>) =
        records.exchanges().into_iter().partition(|one| one.text("http.request.method") == "CONNECT");
    assert_eq!((made.len(), inside.len()), (2, 2), "{}", records.told());
    for exchange in &inside {
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(100_000)));
    }
    for one in &made {
        assert_eq!(one.text("url.scheme"), "http", "it was sent in the clear: {one:?}");
    }
    for part in ["request", "response"] {
        let bodies = made.iter().map(|one| one.number(&format!("http.{part}.body.size")));
        assert_eq!(bodies.sum::<i64>(), 0, "{made:?}");
    }
    for closed in records.closed() {
        assert_eq!(closed.losses(), [].into(), "{closed:?}");
    }
}

/// A connection that starts with another protocol and continues with TLS: SOCKS, whose proxy takes a binary request.
#[test]
fn curl_through_socks() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(100_000));
    let [port] = free_ports();
    let mut proxy = Command::new(python);
    let _proxy = Guarded(proxy.arg(script("socks_proxy.py")).arg(port.to_string()).spawn().unwrap());
    wait_for_port(port);
    let ask =
        |version: &str| format!("curl -sk --{version} -x socks5://127.0.0.1:{port} '{}'", nginx.https("/bytes.bin"));
    let script = format!("set -e\n{}\n{}", ask("http1.1 -o one"), ask("http2 -o two"));
    let records = exec_script(&lab, &[], &format!("cd '{}'\n{script}", lab.dir().display())).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!(exchange.text("url.full"), nginx.https("/bytes.bin"));
        assert_eq!(exchange.number("server.port"), i64::from(port), "its peer is the proxy: {exchange:?}");
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(100_000)));
    }
    assert_eq!(records.closed().len(), 2, "{}", records.told());
    for closed in records.closed() {
        assert_eq!(closed.text("connection.binding"), "nested", "{closed:?}");
    }
}

/// The same without TLS: after the SOCKS negotiation both directions are HTTP. Captured at both ends, and behind the proxy.
#[test]
fn curl_through_socks_in_the_clear() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(100_000));
    let [port] = free_ports();
    let (url, proxy) = (nginx.http("/bytes.bin"), script("socks_proxy.py"));
    let script = format!(
        "cd '{}'; '{}' '{}' {port} & proxy=$!
until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done
curl -s -o one -o two -x socks5://127.0.0.1:{port} '{url}?1' '{url}?2'; result=$?; kill $proxy; exit $result",
        lab.dir().display(),
        python.display(),
        proxy.display(),
    );
    // `exec` would hold the records to the conservation law, which is exact for connections that are HTTP alone.
    let file = lab.path("records.jsonl");
    let captured = run_exec(&lab, [] as [&str; 0], &file, ["bash", "-c", &script]);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = parse(&text(&file));
    let told = records.exchanges();
    assert_eq!(told.len(), 6, "{}", records.told());
    for exchange in told {
        assert!(!exchange.has("qtap.incomplete") && exchange.text("url.full").starts_with(&url), "{exchange:?}");
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(100_000)));
    }
    let mut through = 0;
    for connection in records.closed() {
        if connection.number("server.port") == i64::from(port) && connection.carried() > 0 {
            through += 1;
            assert_eq!(connection.number("connection.lost_bytes"), 0, "{connection:?}");
            // The SOCKS negotiation: 4 bytes (or 3) and 10 from curl, 2 and 10 from the proxy.
            let of_socks = connection.carried() - connection.number("connection.captured_bytes");
            assert!((25..=26).contains(&of_socks), "{of_socks}: {connection:?}");
        }
    }
    assert_eq!(through, 2, "{}", records.told());
}

#[test]
fn each_of_the_usual_clients() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(mut upstream)) = (interpreter(), Script::start("upstream.py", &[])) else { return };
    let nginx = Nginx::start(&lab, upstream.line().parse().unwrap());
    nginx.serve("hello.json", BODY);
    let client = format!("{} {}", python.display(), script("client.py").display());
    let script = format!(
        "set -e; exec > {dir}/said
{client} with_requests {} 20
printf 'GET /hello.json?s_client HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' |
  openssl s_client -quiet -ign_eof -connect 127.0.0.1:{} 2>/dev/null
wget -q -O - '{}'
nghttp -n '{}' '{}'
curl -s --http1.1 '{}' '{}' '{}'
curl -gs 'http://[::1]:{http}/hello.json?v6'
curl -gsk 'https://[::1]:{}/hello.json?v6s'
curl -s --unix-socket {} http://x/hello.json?unix
{client} pipelined {http} /hello.json?pipelined 12
{client} threads {} 8 10
{client} passed_on {http} /hello.json?passed",
        nginx.https("/up/requests"),
        nginx.https,
        nginx.http("/hello.json?wget"),
        nginx.https("/hello.json?nghttp1"),
        nginx.https("/hello.json?nghttp2"),
        nginx.http("/hello.json?k1"),
        nginx.http("/hello.json?k2"),
        nginx.http("/hello.json?k3"),
        nginx.https,
        nginx.socket().display(),
        nginx.https("/hello.json?threads"),
        dir = lab.dir().display(),
        http = nginx.http,
    );
    let Captured { records, .. } = exec_script(&lab, &[], &script);
    records.assert_whole();
    let made = |query: &str| records.exchanges().iter().filter(|one| one.text("url.query") == query).count();
    for (query, times) in [
        ("s_client", 1),
        ("wget", 1),
        ("nghttp1", 1),
        ("nghttp2", 1),
        ("k1", 1),
        ("k2", 1),
        ("k3", 1),
        ("v6", 1),
        ("v6s", 1),
        ("unix", 1),
        ("pipelined", 12),
        ("threads", 80),
        ("passed", 2),
    ] {
        assert_eq!(made(query), times, "{query}: {}", records.told());
    }
    let posted: Vec<_> =
        records.exchanges().into_iter().filter(|record| record.text("url.path") == "/up/requests").collect();
    assert_eq!(posted.len(), 20);
    assert!(posted.iter().all(|record| record.text("user_agent.original").starts_with("python-requests")));
    assert_eq!(records.exchanges().len(), 20 + 104);
    let one = |query: &str| records.exchanges().into_iter().find(|one| one.text("url.query") == query).unwrap();
    assert_eq!(one("v6").text("network.type"), "ipv6");
    assert_eq!(one("v6").text("network.peer.address"), "::1");
    assert_eq!(one("v6s").text("network.peer.address"), "::1");
    assert_eq!(one("unix").text("network.transport"), "unix");
    assert!(one("unix").text("network.peer.address").ends_with("nginx.sock"), "{:?}", one("unix"));
    assert_eq!(one("k1").connection(), one("k3").connection(), "keep-alive");
    assert_eq!(one("s_client").text("process.executable.name"), "openssl");
}

#[test]
fn h2load_with_100_streams_and_h2c_by_prior_knowledge() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("hello.json", BODY);
    certificate(lab.dir());
    let [h2c] = free_ports();
    let mut nghttpd = Command::new("nghttpd");
    nghttpd.args(["--no-tls", "-a", "127.0.0.1", "-d"]).arg(lab.path("nginx/www")).arg(h2c.to_string());
    let nghttpd = nghttpd.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _nghttpd = Guarded(nghttpd.spawn().unwrap());
    wait_for_port(h2c);
    let script = format!(
        "set -e
h2load -n 2000 -c 2 -m 100 '{}' | grep -q ' 2000 succeeded'
curl -s --http2-prior-knowledge 'http://127.0.0.1:{h2c}/hello.json?h2c'
h2load -n 500 -c 2 -m 20 'http://127.0.0.1:{h2c}/hello.json?h2cload' | grep -q ' 500 succeeded'",
        nginx.https("/hello.json?h2load"),
    );
    let Captured { records, .. } = exec_script(&lab, &[], &script);
    records.assert_whole();
    let made = |query: &str| records.exchanges().iter().filter(|one| one.text("url.query") == query).count();
    assert_eq!((made("h2load"), made("h2c"), made("h2cload")), (2000, 1, 500), "{}", records.told());
    let wanted = digest(BODY);
    for exchange in records.exchanges() {
        assert_eq!(exchange.text("network.protocol.version"), "2");
    }
    let responses = records.objects().into_iter().filter(|object| object.text("artifact.type") == "http_response");
    let bodies: Vec<_> = responses.map(|response| response.artifact()["body"]["digest"].clone()).collect();
    assert_eq!(bodies, vec![serde_json::Value::from(wanted); 2501]);
}

/// A request in the first flight of a resumed session (RFC 8446 §2.3). Programs send and receive it with functions of their own,
/// `SSL_write_early_data` and `SSL_read_early_data`, which call functions that have probes.
#[test]
fn early_data_on_both_sides() {
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    lab.write("early.bin", b"GET /early HTTP/1.1\r\nHost: early.example\r\n\r\n");
    // The server gets its answer once it has printed the request.
    let script = format!(
        "set -e; cd '{}'
mkfifo answer
timeout {limit} openssl s_server -accept {port} -key key.pem -cert cert.pem -early_data -quiet -naccept 2 -4 < answer > asked &
exec 3> answer
for try in $(seq 200); do grep -q :$(printf %04X {port}) /proc/net/tcp && break; sleep 0.1; done
(for try in $(seq 200); do [ -s session ] && break; sleep 0.1; done) |
  openssl s_client -connect 127.0.0.1:{port} -tls1_3 -sess_out session > first 2>&1
(for try in $(seq 200); do grep -q early asked && break; sleep 0.1; done
printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nearly' >&3; sleep 1) |
  openssl s_client -connect 127.0.0.1:{port} -tls1_3 -sess_in session -early_data early.bin > second 2>&1
grep 'Early data was accepted' second
exec 3>&-; wait",
        lab.dir().display(),
        limit = slowed(Duration::from_secs(60)).as_secs(),
    );
    let Captured { records, .. } = exec_script(&lab, &[], &script);
    records.assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "{}", records.told());
    for exchange in exchanges {
        assert_eq!((exchange.text("url.path"), exchange.text("server.address")), ("/early", "127.0.0.1"));
        assert_eq!(exchange.number("http.response.status_code"), 200);
        assert_eq!(records.artifact_of(exchange, "response")["body"]["data"], "early");
    }
}

/// A handshake in the middle of a connection (RFC 5246 §7.4.1.1), performed inside the reads and writes around it.
#[test]
fn renegotiation_between_two_requests() {
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let script = format!(
        "set -e; cd '{}'
mkfifo answer
timeout {limit} openssl s_server -accept {port} -key key.pem -cert cert.pem -tls1_2 -client_renegotiation -quiet -naccept 1 -4 < answer > asked &
exec 3> answer
say() {{ for try in $(seq 200); do grep -q $1 asked && break; sleep 0.1; done; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\n'$1 >&3; sleep 0.5; }}
for try in $(seq 200); do grep -q :$(printf %04X {port}) /proc/net/tcp && break; sleep 0.1; done
(printf 'GET /one HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; say one; echo R
for try in $(seq 200); do grep -q RENEGOTIATING said && break; sleep 0.1; done; sleep 0.5; printf 'GET /two HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; say two) |
  openssl s_client -connect 127.0.0.1:{port} -tls1_2 > said 2>&1
grep RENEGOTIATING said
exec 3>&-; wait",
        lab.dir().display(),
        limit = slowed(Duration::from_secs(60)).as_secs(),
    );
    let Captured { records, .. } = exec_script(&lab, &[], &script);
    records.assert_whole();
    let mut asked: Vec<_> = records.exchanges().iter().map(|one| one.text("url.path").to_owned()).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["/one", "/one", "/two", "/two"], "{}", records.told());
    for exchange in records.exchanges() {
        let said = exchange.text("url.path").trim_start_matches('/');
        assert_eq!(records.artifact_of(exchange, "response")["body"]["data"], said, "{exchange:?}");
    }
    assert_eq!(records.closed().len(), 2, "{}", records.told());
}
