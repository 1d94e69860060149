//! HTTPS by Go's own TLS, on both sides: whatever the compiler left in the program, however many threads a goroutine sees, however its stack moves.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, digest, free_ports, noise, output_of, wait_for_port};
use super::nginx::{Nginx, certificate};
use super::python::{Script, go_program, go_program_with, installed};
use super::qtap::{Agent, Captured, exec, run_exec, text};
use super::records::{Record, Records, parse};
use super::scope::config;

const SOURCE: &str = "gotls.go";
/// Bytes of bodies: none, a piece of a TLS record, one, some, and as much as is kept of a body.
const SIZES: [usize; 7] = [0, 1, 1000, 16_384, 16_385, 100_000, 1 << 20];

/// Files of all these sizes, and the words by which they are asked for, each `times` times.
fn files(nginx: &Nginx, times: usize) -> Vec<String> {
    let mut words = Vec::new();
    for round in 0..times {
        for size in SIZES {
            let name = format!("{round}-{size}.bin");
            nginx.serve(&name, &noise(size));
            words.push(format!("{name},{size}"));
        }
    }
    words
}

/// Every connection of TLS was looked into, by the sockets that its calls used.
fn assert_inspected(records: &Records) {
    for closed in records.closed() {
        assert_eq!(closed.text("connection.binding"), "nested", "{closed:?}");
        if closed.number("connection.captured_bytes") == 0 {
            // Clients open more connections than they use.
            let why = closed.text("connection.tls.uninspected_reason");
            assert_eq!(why, "no plaintext of the TLS session of this connection was seen", "{closed:?}");
            continue;
        }
        assert_eq!(closed.text("connection.tls.library"), "crypto/tls", "{closed:?}");
        assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    }
    assert!(records.closed().iter().any(|closed| closed.flag("connection.tls.inspected")), "{}", records.told());
}

/// The file that was got, or put.
fn assert_body(records: &Records, exchange: &Record) {
    let name = exchange.text("url.path").rsplit('/').next().unwrap();
    let size: usize = name.trim_end_matches(".bin").split_once('-').unwrap().1.parse().unwrap();
    let side = if exchange.text("http.request.method") == "PUT" { "request" } else { "response" };
    assert_eq!(exchange.number(&format!("http.{side}.body.size")), size as i64, "{exchange:?}");
    if size > 0 {
        let body = &records.artifact_of(exchange, side)["body"];
        assert_eq!(body["digest"], digest(&noise(size)), "{side} of {exchange:?}");
    }
}

/// Both ways of each file, whole, by a client that talked to this port.
fn assert_asked(records: &Records, port: u16, version: &str, times: usize) {
    records.assert_whole();
    assert_inspected(records);
    assert_eq!(records.exchanges().len(), times * SIZES.len() * 2, "{}", records.told());
    for exchange in records.exchanges() {
        assert_body(records, exchange);
        assert_eq!(exchange.text("network.protocol.version"), version);
        assert!(exchange.text("connection.direction").starts_with("egress"), "{exchange:?}");
        assert_eq!(
            (exchange.text("server.address"), exchange.number("server.port")),
            ("127.0.0.1", i64::from(port)),
            "{exchange:?}"
        );
    }
}

/// The program by itself, so that it is looked into before it runs.
fn run(lab: &Lab, program: &Path, what: &str, words: Vec<String>) -> Captured {
    let line = [program.display().to_string(), what.to_owned()].into_iter().chain(words);
    let captured = exec(lab, ["--ring-size", "128mb"], line);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    captured
}

fn ask(lab: &Lab, program: &Path, nginx: &Nginx, protocol: &str, times: usize) -> Records {
    let mut words = vec![nginx.https(""), protocol.to_owned(), "20".to_owned()];
    words.extend(files(nginx, times));
    run(lab, program, "ask", words).records
}

#[test]
fn a_client_with_every_body_exact() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let nginx = Nginx::start(&lab, 9);
    for (protocol, version) in [("h1", "1.1"), ("h2", "2")] {
        let records = ask(&lab, &program, &nginx, protocol, 3);
        assert_asked(&records, nginx.https, version, 3);
    }
}

/// The answer is there, the connection used again or closed, before the call has returned that sent the request.
#[test]
fn answers_that_come_before_the_call_has_returned() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let nginx = Nginx::start(&lab, 9);
    for (protocol, version) in [("h1+late", "1.1"), ("h2+late", "2")] {
        assert_asked(&ask(&lab, &program, &nginx, protocol, 1), nginx.https, version, 1);
    }
}

#[test]
fn however_it_was_built() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    let ways: [(&str, &[&str]); 4] = [
        ("stripped", &["-ldflags=-s -w"]),
        ("pie", &["-buildmode=pie", "-ldflags=-s -w"]),
        ("cgo", &["cgo", "-ldflags=-s -w -linkmode=external"]),
        ("cgo-pie", &["cgo", "-buildmode=pie", "-ldflags=-s -w -linkmode=external"]),
    ];
    for (name, flags) in ways {
        let Some(program) = go_program_with(&lab, SOURCE, name, flags) else { return };
        assert_asked(&ask(&lab, &program, &nginx, "h2", 1), nginx.https, "2", 1);
    }
}

/// Sessions inside a connection in the clear, and inside another session. (Of the second, captured bytes are not held against the socket's: what passes through a session counts
/// twice, as its bytes and as what is inside, whoever's TLS it is. Nothing is missing for all that.)
#[test]
fn tunnels_through_a_proxy_and_through_one_behind_tls() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let nginx = Nginx::start(&lab, 9);
    certificate(lab.dir());
    let certified = [lab.path("cert.pem"), lab.path("key.pem")];
    for (scheme, files) in [("http", &certified[..0]), ("https", &certified[..])] {
        let [port] = free_ports();
        let mut proxy = Command::new(&program);
        proxy.args(["proxy", &port.to_string()]).args(files);
        let proxy = Guarded(proxy.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        wait_for_port(port);
        let mut line = vec![program.display().to_string(), "ask".to_owned(), nginx.https("")];
        line.extend([format!("h1+{scheme}://127.0.0.1:{port}"), "20".to_owned()]);
        line.extend(self::files(&nginx, 1));
        let told = lab.path("tunnels.jsonl");
        let captured = run_exec(&lab, ["--ring-size", "128mb"], &told, line);
        drop(proxy);
        assert_eq!(captured.code, Some(0), "{}", captured.stderr);
        let records = parse(&text(&told));
        let made = |record: &&Record| record.text("http.request.method") == "CONNECT";
        let (tunnels, inside): (Vec<_>, Vec<_>) = records.exchanges().into_iter().partition(made);
        // One for each connection. Four are asked for at once; where dialling takes long, Go dials more than that.
        assert!(!tunnels.is_empty(), "{scheme}: {}", records.told());
        assert_eq!(tunnels.len(), records.closed().len(), "{scheme}: {}", records.told());
        assert_eq!(inside.len(), SIZES.len() * 2, "{scheme}: {}", records.told());
        // What makes a tunnel is said as one speaks to the proxy.
        let to_proxy = nginx.https("").replacen("https", scheme, 1);
        let inner = inside.iter().map(|exchange| (exchange, nginx.https("")));
        for (exchange, target) in inner.chain(tunnels.iter().map(|exchange| (exchange, to_proxy.clone()))) {
            assert!(!exchange.has("qtap.incomplete"), "{scheme}: {exchange:?}");
            // Whom it is for stands in the URL; whom it goes to is the proxy.
            assert!(exchange.text("url.full").starts_with(&target), "{scheme}: {exchange:?}");
            assert_eq!(exchange.number("server.port"), i64::from(port), "{scheme}: {exchange:?}");
        }
        inside.iter().for_each(|exchange| assert_body(&records, exchange));
        if scheme == "http" {
            records.assert_whole();
        }
        for closed in records.closed() {
            assert_eq!(closed.losses(), [].into(), "{scheme}: {closed:?}");
        }
    }
}

/// A server of the test's, started before or after the agent, and asked by a curl that is outside the scope.
fn curl(port: u16, protocol: &str, file: &Path, path: &str) {
    let mut curl = Command::new("curl");
    curl.args(["-sk", protocol, "--data-binary"]).arg(format!("@{}", file.display()));
    output_of(curl.arg(format!("https://127.0.0.1:{port}{path}")).args(["-o", "/dev/null"]));
}

fn assert_served(records: &Records, port: u16, size: usize, paths: &[&str]) {
    records.assert_whole();
    assert_inspected(records);
    let seen: BTreeSet<&str> = records.exchanges().into_iter().map(|one| one.text("url.path")).collect();
    assert_eq!(seen, paths.iter().copied().collect(), "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!(exchange.text("process.executable.name"), "gotls");
        assert_eq!(exchange.text("connection.direction"), "ingress");
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert_eq!(records.artifact_of(exchange, "request")["body"]["digest"], digest(&noise(size)), "{exchange:?}");
    }
}

#[test]
fn a_server_that_runs_already() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let mut server = Command::new(&program);
    server.args(["serve", &port.to_string()]).args([lab.path("cert.pem"), lab.path("key.pem")]);
    let mut server = Guarded(server.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    wait_for_port(port);
    let full = lab.write("full.yaml", config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &full, "--pid", &server.pid().to_string()]);
    let sent = lab.write("sent.bin", &noise(300_000));
    curl(port, "--http1.1", &sent, "/h1");
    curl(port, "--http2", &sent, "/h2");
    output_of(Command::new(&program).args(["leave", &format!("https://127.0.0.1:{port}/held")]).arg(&sent));
    agent.wait_for("\"artifact_record\"", 3);
    drop(server.0.stdin.take());
    server.end_within(super::lab::PATIENCE).expect("the server ends when its input does");
    let records = agent.stop().records;
    assert_served(&records, port, 300_000, &["/h1", "/h2", "/held"]);
    for exchange in records.exchanges() {
        let response = &records.artifact_of(exchange, "response")["body"]["digest"];
        assert_eq!(*response, digest(&noise(300_000)), "{exchange:?}");
    }
}

#[test]
fn stacks_that_move_and_calls_that_panic() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("deep", b"deep enough\n");
    let records = run(&lab, &program, "deep", vec![nginx.https.to_string(), "80".to_owned()]).records;
    assert_each_on_its_own(&records, nginx.https, 80);
}

#[test]
fn connections_that_are_dropped_without_being_closed() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("deep", b"deep enough\n");
    let records = run(&lab, &program, "drop", vec![nginx.https.to_string(), "60".to_owned()]).records;
    assert_each_on_its_own(&records, nginx.https, 60);
}

/// As many exchanges as were made, each once, each on a connection of its own.
fn assert_each_on_its_own(records: &Records, port: u16, count: usize) {
    records.assert_whole();
    assert_inspected(records);
    let queries: BTreeSet<String> =
        records.exchanges().into_iter().map(|one| one.text("url.query").to_owned()).collect();
    assert_eq!(queries, (0..count).map(|number| number.to_string()).collect(), "{}", records.told());
    let exchanges = records.exchanges();
    let connections: BTreeSet<&str> = exchanges.iter().map(|one| one.connection()).collect();
    let clients: BTreeSet<i64> = exchanges.iter().map(|one| one.number("client.port")).collect();
    assert_eq!((exchanges.len(), connections.len(), clients.len()), (count, count, count), "{}", records.told());
    for exchange in exchanges {
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert_eq!(records.artifact_of(exchange, "response")["body"]["data"], "deep enough\n", "{exchange:?}");
    }
}

#[test]
fn a_hundred_thousand_calls_come_to_the_same() {
    calls_come_to_the_same(25_000);
}

#[test]
#[ignore = "minutes: cargo xtask check --long"]
fn a_million_calls_come_to_the_same() {
    calls_come_to_the_same(250_000);
}

/// Four calls an exchange, each on a stack that grows in it.
fn calls_come_to_the_same(exchanges: usize) {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let bare = output_of(Command::new(&program).args(["calls", &exchanges.to_string()]));
    let captured = run(&lab, &program, "calls", vec![exchanges.to_string()]);
    assert_eq!(captured.stdout, bare, "what the calls came to");
    // The client's side and the server's.
    let records = captured.records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!(exchange.number("http.request.body.size"), (exchanges * 9) as i64);
        assert_eq!(exchange.number("http.response.body.size"), (exchanges * 11) as i64);
    }
}

#[test]
fn chosen_sites_see_what_plain_ones_see() {
    const EXCHANGES: usize = 2_000;
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    let line = [program.display().to_string(), "calls".to_owned(), EXCHANGES.to_string()];
    let said = |sites: &[&str]| {
        let captured = exec(&lab, sites, &line);
        captured.records.assert_whole();
        let of = |one: &Record| [one.number("http.request.body.size"), one.number("http.response.body.size")];
        let bodies: Vec<[i64; 2]> = captured.records.exchanges().into_iter().map(of).collect();
        let mut bytes: Vec<i64> =
            captured.records.closed().iter().map(|one| one.number("connection.captured_bytes")).collect();
        bytes.sort_unstable();
        (captured.stdout, bodies, bytes)
    };
    let chosen = said(&["--ring-size", "128mb"]);
    assert_eq!(chosen.1, vec![[(EXCHANGES * 9) as i64, (EXCHANGES * 11) as i64]; 2]);
    assert_eq!(said(&["--plain-sites", "--ring-size", "128mb"]), chosen);
}

#[test]
fn caddy_as_it_comes_from_its_package() {
    let Some(lab) = Lab::open() else { return };
    let Some(caddy) = installed("caddy") else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let conf = format!(
        "{{\n admin off\n auto_https off\n}}\nhttps://127.0.0.1:{port} {{\n tls {dir}/cert.pem {dir}/key.pem\n respond \"caddy said so\"\n}}\n",
        dir = lab.dir().display()
    );
    let conf = lab.write("Caddyfile", conf.as_bytes());
    let mut server = Command::new(caddy);
    server.args(["run", "--adapter", "caddyfile", "--config"]).arg(conf).env("HOME", lab.dir());
    let server = Guarded(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for_port(port);
    let full = lab.write("full.yaml", config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &full, "--pid", &server.pid().to_string()]);
    for protocol in ["--http1.1", "--http2"] {
        output_of(Command::new("curl").args(["-sk", protocol, &format!("https://127.0.0.1:{port}/{protocol}")]));
    }
    agent.wait_for("\"artifact_record\"", 2);
    agent.wait_for("connection.finalized\",\"value\":{\"boolValue\":true}", 2);
    let records = agent.stop().records;
    records.assert_whole();
    assert_inspected(&records);
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!(exchange.text("process.executable.name"), "caddy");
        assert_eq!(exchange.text("connection.direction"), "ingress");
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert_eq!(records.artifact_of(exchange, "response")["body"]["data"], "caddy said so");
    }
}

/// A program that ends while a goroutine writes, as one does that exits on the answer before the call has returned: what it was writing is told as lost, not kept quiet.
#[test]
fn a_program_that_ends_in_the_middle_of_a_call() {
    const SIZE: usize = 64 << 20;
    let Some(lab) = Lab::open() else { return };
    let Some(program) = go_program(&lab, SOURCE) else { return };
    certificate(lab.dir());
    let Some(mut peer) = Script::start("client.py", &["deaf", &lab.dir().display().to_string()]) else { return };
    let captured = run(&lab, &program, "stuck", vec![peer.line(), SIZE.to_string()]);
    let records = captured.records;
    let exchange = records.exchange_of("/stuck");
    let writer = records.closed().into_iter().find(|one| one.connection() == exchange.connection()).unwrap();
    assert_eq!(writer.losses().into_iter().collect::<Vec<_>>(), [("call_unfinished", SIZE as i64)], "{writer:?}");
    assert!(exchange.has("qtap.incomplete"), "{exchange:?}");
}
