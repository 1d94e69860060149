//! HTTPS over rustls, on both sides: with ureq, reqwest, hyper and by hand, with TLS 1.2 and 1.3, with session tickets and without.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::lab::{Guarded, Lab, PATIENCE, digest, free_ports, output_of, slowed, wait_until};
use super::nginx::{Nginx, certificate};
use super::qtap::{Agent, command, exec_script, run_command, text};
use super::records::{Record, Records, parse};
use super::scope::config;

/// Sizes of the bodies, in turn: none, one byte, a few, as many as a TLS record holds and one more, many.
const SIZES: [usize; 6] = [0, 1, 1000, 16_384, 16_385, 100_000];
/// Number of bodies that a client GETs, and of those that it PUTs.
const COUNT: usize = 2 * SIZES.len();

/// TLS options of the test's programs: whether 1.2 is the only version, and whether the server sends session tickets.
#[derive(Debug, Clone, Copy)]
pub struct Tls {
    old: bool,
    tickets: bool,
}

impl Tls {
    pub const NEW: Tls = Tls { old: false, tickets: true };
    /// The first record after the server's handshake is then a response.
    const BARE: Tls = Tls { old: false, tickets: false };
    /// (Only TLS 1.3 has these tickets.)
    const OLD: Tls = Tls { old: true, tickets: true };

    fn version(self) -> &'static str {
        if self.old { "1.2" } else { "1.3" }
    }

    fn tell(self, command: &mut Command) -> &mut Command {
        let number = |is: bool| u8::from(is).to_string();
        command.env("RUSTLS_TALKS_TLS12", number(self.old)).env("RUSTLS_TALKS_TICKETS", number(self.tickets))
    }
}

/// The program of these tests, which cargo builds next to qtap. None: the test is skipped, and says so.
pub fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_qtap")).with_file_name("examples").join("rustls_talks");
    if program.exists() {
        return Some(program);
    }
    println!("skipped: no rustls_talks (cargo build --package qtap-agent --example rustls_talks)");
    None
}

/// A lab and the program. None where either is missing: the test is then skipped.
fn prepared() -> Option<(Lab, PathBuf)> {
    Lab::open().zip(program())
}

/// The same with a program stripped of its symbols.
fn prepared_stripped() -> Option<(Lab, PathBuf)> {
    let (lab, program) = prepared()?;
    let stripped = lab.path("stripped");
    output_of(Command::new("strip").arg("-o").arg(&stripped).arg(program));
    Some((lab, stripped))
}

/// The program as a server, until the test ends it.
pub struct Server {
    child: Guarded,
    port: u16,
}

impl Server {
    pub fn start(lab: &Lab, program: &Path, way: &str, tls: Tls) -> Server {
        let mut server = Command::new(program);
        server.args(["server", way, "0"]).args([lab.path("cert.pem"), lab.path("key.pem")]);
        let mut child = tls.tell(&mut server).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child: Guarded(child), port: line.trim().strip_prefix("listening ").unwrap().parse().unwrap() }
    }

    pub fn pid(&self) -> String {
        self.child.pid().to_string()
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn end(mut self) {
        drop(self.child.0.stdin.take());
        self.child.end_within(PATIENCE).expect("the server ends when its input does");
    }
}

/// A body of that size, generated like the program's.
fn pattern(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size {
        bytes.extend(format!("{} of {size}\n", bytes.len()).bytes());
    }
    bytes.truncate(size);
    bytes
}

/// One exchange as it took place, and as it must be reported.
#[derive(Debug)]
struct Said {
    method: &'static str,
    path: String,
    query: String,
    status: i64,
    sent: usize,
    answered: usize,
}

impl Said {
    /// The GETs and PUTs of a client below that path. The program's server echoes what is PUT; nginx stores it in a file.
    fn all(count: usize, below: &str, to_nginx: bool) -> Vec<Said> {
        (0..count).flat_map(|number| Said::both(below, number, to_nginx)).collect()
    }

    fn both(below: &str, number: usize, to_nginx: bool) -> [Said; 2] {
        let size = SIZES[number % SIZES.len()];
        let get = Said {
            method: "GET",
            path: format!("{below}/seen/{size}"),
            query: format!("get-{number}"),
            status: 200,
            sent: 0,
            answered: size,
        };
        let put = Said {
            method: "PUT",
            path: format!("{below}/put/{number}-{size}"),
            query: format!("put-{number}"),
            status: if to_nginx { 201 } else { 200 },
            sent: size,
            answered: if to_nginx { 0 } else { size },
        };
        [get, put]
    }

    /// The single exchange of the client that uses a rustls stream by hand.
    fn by_stream() -> Said {
        let query = "stream".to_owned();
        Said { method: "GET", path: "/seen/1000".to_owned(), query, status: 200, sent: 0, answered: 1000 }
    }

    /// curl arguments for it, where `lab` holds a file of each size.
    fn by_curl(&self, lab: &Lab, url: &str, version: &str) -> Vec<String> {
        let ca = lab.path("cert.pem").display().to_string();
        let mut words = ["-sSf", version, "--cacert", &ca, "-o", "/dev/null"].map(ToOwned::to_owned).to_vec();
        if self.method == "PUT" {
            words.extend(["-T".to_owned(), lab.path(&self.sent.to_string()).display().to_string()]);
        }
        words.push(format!("{url}{}?{}", self.path, self.query));
        words
    }

    /// Asserts that this exchange was reported whole: heads, both bodies, and the addresses of both ends, which the server echoes in its response.
    fn assert_told(&self, records: &Records, exchange: &Record, port: u16, http: &str) {
        assert_eq!(exchange.text("http.request.method"), self.method, "{exchange:?}");
        assert_eq!(exchange.text("url.path"), self.path, "{exchange:?}");
        assert_eq!(exchange.text("url.query"), self.query, "{exchange:?}");
        assert_eq!(exchange.number("http.response.status_code"), self.status, "{exchange:?}");
        assert_eq!(exchange.text("network.protocol.version"), http, "{exchange:?}");
        for (side, size) in [("request", self.sent), ("response", self.answered)] {
            let told = exchange.int(&format!("http.{side}.body.size"));
            assert_eq!(told.unwrap_or(0), size as i64, "{side} of {exchange:?}");
            let artifact = records.artifact_of(exchange, side);
            let body = &artifact["body"];
            assert!(body["truncated"].is_null() && body["missing"].is_null(), "{side} of {exchange:?}");
            if size > 0 {
                assert_eq!(body["digest"], digest(&pattern(size)), "{side} of {exchange:?}");
            }
        }
        assert_eq!(exchange.text("server.address"), "127.0.0.1", "{exchange:?}");
        assert_eq!(exchange.number("server.port"), i64::from(port), "{exchange:?}");
        let client = client_port(&records.artifact_of(exchange, "response"));
        assert_eq!(client, Some(exchange.number("client.port")), "{exchange:?}");
    }
}

/// The client's port according to a response.
fn client_port(response: &Value) -> Option<i64> {
    let mut headers = response["headers"].as_array()?.iter();
    let named = headers.find(|field| field["name"].as_str().unwrap().eq_ignore_ascii_case("x-client-port"));
    named?["value"].as_str()?.parse().ok()
}

/// Asserts that the exchanges are exactly these, over rustls connections that were matched by ciphertext.
fn assert_each(records: &Records, exchanges: &[&Record], all: &[Said], port: u16, http: &str, tls: &str) {
    assert_eq!(exchanges.len(), all.len(), "{}", records.told());
    for said in all {
        let is = |one: &&&Record| one.text("url.query") == said.query && one.text("url.path") == said.path;
        let told: Vec<_> = exchanges.iter().filter(is).collect();
        let [exchange] = told[..] else { panic!("{said:?}: {} times\n{}", told.len(), records.told()) };
        said.assert_told(records, exchange, port, http);
        let closed = records.closed().into_iter().find(|one| one.connection() == exchange.connection());
        let closed = closed.unwrap_or_else(|| panic!("no end of its connection: {exchange:?}\n{}", records.told()));
        assert_eq!(closed.text("connection.tls.library"), "rustls", "{closed:?}");
        assert_eq!(closed.text("connection.binding"), "ciphertext", "{closed:?}");
        assert_eq!(closed.text("tls.protocol.version"), tls, "{closed:?}");
        assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
        assert_eq!(closed.number("client.port"), exchange.number("client.port"), "{closed:?}");
    }
}

/// Nothing was lost, and all TLS was inspected, except on connections that a client opened and did not use.
fn assert_inspected(records: &Records) {
    let records = records.over_tcp();
    records.assert_whole();
    for closed in records.closed() {
        if closed.number("connection.captured_bytes") == 0 {
            let why = closed.text("connection.tls.uninspected_reason");
            // The second reason: the client left before the handshake was over.
            let known = [
                "no plaintext of the TLS session of this connection was seen",
                "no call of a TLS library that qtap probes was seen for this connection",
            ];
            assert!(known.contains(&why), "{closed:?}");
            continue;
        }
        assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    }
}

/// The exchanges that one client made.
fn below_path<'a>(records: &'a Records, below: &str) -> Vec<&'a Record> {
    let is = |one: &&Record| one.text("url.path").strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
    records.exchanges().into_iter().filter(is).collect()
}

fn connections<'a>(exchanges: &[&'a Record]) -> BTreeSet<&'a str> {
    exchanges.iter().map(|one| one.connection()).collect()
}

/// The most connections that a client may use. One that sends more requests at once than a connection takes may open any number.
fn most(client: &str) -> usize {
    if client.contains("reqwest1") { usize::MAX } else { 1 }
}

/// Captures the program as the command itself, so that it is examined before it runs.
fn run<'a>(lab: &Lab, program: &Path, tls: Tls, words: impl IntoIterator<Item = &'a str>) -> Records {
    let told = lab.path("records.jsonl");
    let _ = std::fs::remove_file(&told);
    let mut qtap = command();
    qtap.arg("exec").arg("-o").arg(&told).args(["--ring-size", "128mb", "--"]).arg(program).arg("client").args(words);
    let captured = run_command(lab, tls.tell(&mut qtap));
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    parse(&text(&told))
}

/// A client of nginx (OpenSSL) and of rustls servers, which are outside the scope.
fn assert_asks(prepared: Option<(Lab, PathBuf)>, way: &str, http: &str, of_nginx: Tls, of_rustls: &[(&str, Tls)]) {
    let Some((lab, program)) = prepared else { return };
    certificate(lab.dir());
    let ask = |url: &str, ca: &Path, port: u16, to_nginx: bool, tls: Tls| {
        let (ca, count) = (ca.display().to_string(), COUNT.to_string());
        let records = run(&lab, &program, tls, [way, url, &ca, &count]);
        assert_inspected(&records);
        let exchanges = records.exchanges();
        assert_each(&records, &exchanges, &Said::all(COUNT, "", to_nginx), port, http, tls.version());
        assert!(exchanges.iter().all(|one| one.text("connection.direction").starts_with("egress")));
        let used = connections(&exchanges).len();
        assert!(used <= most(way), "{used} connections: {}", records.told());
    };
    let nginx = Nginx::start(&lab, 9);
    SIZES.iter().for_each(|size| nginx.serve(&size.to_string(), &pattern(*size)));
    ask(&nginx.https(""), &lab.path("nginx/cert.pem"), nginx.https, true, of_nginx);
    for (server, tls) in of_rustls {
        let server = Server::start(&lab, &program, server, *tls);
        ask(&server.url(), &lab.path("cert.pem"), server.port, false, *tls);
        server.end();
    }
}

#[test]
fn ureq_asks() {
    assert_asks(prepared(), "ureq", "1.1", Tls::NEW, &[("stream", Tls::OLD)]);
}

#[test]
fn reqwest_asks_over_http1() {
    assert_asks(prepared(), "reqwest1", "1.1", Tls::OLD, &[("hyper", Tls::BARE)]);
}

#[test]
fn reqwest_asks_over_http2() {
    assert_asks(prepared(), "reqwest2", "2", Tls::NEW, &[("hyper", Tls::OLD)]);
}

#[test]
fn a_stream_asks() {
    let Some((lab, program)) = prepared() else { return };
    certificate(lab.dir());
    let ca = lab.path("cert.pem").display().to_string();
    // With `early`, the request is written before the handshake.
    for (way, tls, how) in [
        ("hyper", Tls::NEW, "stream"),
        ("stream", Tls::OLD, "stream"),
        ("hyper", Tls::NEW, "early"),
        ("stream", Tls::OLD, "early"),
    ] {
        let server = Server::start(&lab, &program, way, tls);
        let address = format!("127.0.0.1:{}", server.port);
        let records = run(&lab, &program, tls, [how, &address, "localhost", &ca]);
        assert_inspected(&records);
        assert_each(&records, &records.exchanges(), &[Said::by_stream()], server.port, "1.1", tls.version());
        let closed = records.closed();
        assert_eq!(closed.len(), 1, "{}", records.told());
        assert_eq!(closed[0].text("connection.tls.sni"), "localhost");
        server.end();
    }
}

/// A client that nobody had met is over before its 44 000 symbols were read: the next one finds its probes. qtap once opened such a program a second time, when it was gone.
#[test]
fn a_program_of_a_moment_is_known_to_those_that_follow() {
    let Some((lab, program)) = prepared() else { return };
    certificate(lab.dir());
    let copy = lab.path("new");
    std::fs::copy(&program, &copy).unwrap();
    let server = Server::start(&lab, &program, "hyper", Tls::NEW);
    let words = format!("client ureq {} '{}'", server.url(), lab.path("cert.pem").display());
    // `exec` runs a shell, and does not see what that will run.
    let asks = format!("'{0}' {words} 1; sleep 3; '{0}' {words} {COUNT}", copy.display());
    let records = exec_script(&lab, &[], &asks).records;
    let connections: Vec<_> = records.closed().into_iter().map(|one| one.connection().to_owned()).collect();
    let [_, second] = &connections[..] else { panic!("{}", records.told()) };
    let exchanges: Vec<_> = records.exchanges().into_iter().filter(|one| one.connection() == second).collect();
    assert_each(&records, &exchanges, &Said::all(COUNT, "", false), server.port, "1.1", Tls::NEW.version());
    server.end();
}

/// New keys for both directions in the middle of a connection (RFC 8446 §4.6.3), between a request and its response.
#[test]
fn keys_are_changed_on_the_way() {
    let Some((lab, program)) = prepared() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let limit = slowed(Duration::from_secs(60)).as_secs().to_string();
    let mut server = Command::new("timeout");
    server.current_dir(lab.dir()).args([&limit, "openssl", "s_server", "-msg", "-naccept", "1", "-4"]);
    server.args(["-key", "key.pem", "-cert", "cert.pem", "-accept", &port.to_string()]);
    server.stdin(Stdio::piped()).stdout(File::create(lab.path("asked")).unwrap());
    let mut server = Guarded(server.spawn().unwrap());
    wait_until("openssl listens", || text(Path::new("/proc/net/tcp")).contains(&format!(":{port:04X} 00000000:0000")));
    // The client does not mind that the server closes without a `close_notify`.
    let lines = format!(
        "while ! [ -e go ]; do sleep 0.05; done; '{}' client stream 127.0.0.1:{port} localhost cert.pem; touch done",
        program.display()
    );
    let mut shell = Command::new("timeout");
    let shell = Guarded(shell.current_dir(lab.dir()).args([&limit, "sh", "-c", &lines]).spawn().unwrap());
    // This server gets no request: it runs so that the program has its probes before it runs as the client.
    let idle = Server::start(&lab, &program, "stream", Tls::NEW);
    let agent = agent(&lab, &[server.pid().to_string(), shell.pid().to_string(), idle.pid()]);
    lab.write("go", b"");
    let said = |what: &'static str| {
        wait_until(what, || String::from_utf8_lossy(&std::fs::read(lab.path("asked")).unwrap()).contains(what));
    };
    let mut say = server.0.stdin.take().unwrap();
    said("?stream");
    say.write_all(b"K\n").unwrap();
    said("KeyUpdate");
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n";
    say.write_all(&[head, &pattern(1000)[..]].concat()).unwrap();
    // Closes the connection.
    drop(say);
    wait_until("the client is done", || lab.path("done").exists());
    server.end_within(PATIENCE).expect("openssl ends after its one connection");
    idle.end();
    agent.wait_for("\"artifact_record\"", 2);
    let records = agent.stop().records;
    records.assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "of either end: {}", records.told());
    for exchange in exchanges {
        assert_eq!(exchange.number("http.response.status_code"), 200, "{exchange:?}");
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&pattern(1000)), "{exchange:?}");
    }
}

/// A qtap that captures these processes, with bodies.
fn agent(lab: &Lab, pids: &[String]) -> Agent {
    let full = lab.write("full.yaml", config("level: full", "").as_bytes()).display().to_string();
    let pids = pids.iter().flat_map(|pid| ["--pid", pid]);
    Agent::start(lab, ["--config", &full, "--ring-size", "128mb"].into_iter().chain(pids))
}

/// A running server with clients outside the scope: curl, with one connection for each version of HTTP, and the program.
fn assert_answers(prepared: Option<(Lab, PathBuf)>, way: &str, last: &str, tls: Tls) {
    let Some((lab, program)) = prepared else { return };
    certificate(lab.dir());
    SIZES.iter().for_each(|size| drop(lab.write(&size.to_string(), &pattern(*size))));
    let server = Server::start(&lab, &program, way, tls);
    let agent = agent(&lab, &[server.pid()]);
    for (version, below) in [("--http1.1", "/curl1"), ("--http2", "/curl2")] {
        let all = Said::all(COUNT, below, false);
        let words: Vec<_> = all.iter().map(|said| said.by_curl(&lab, &server.url(), version)).collect();
        output_of(Command::new("curl").args(words.join(&"--next".to_owned())));
    }
    let words = [last, &format!("{}/{last}", server.url()), &lab.path("cert.pem").display().to_string()];
    output_of(tls.tell(&mut Command::new(&program)).arg("client").args(words).arg(COUNT.to_string()));
    agent.wait_for("\"artifact_record\"", 3 * 2 * COUNT);
    let port = server.port;
    server.end();
    let records = agent.stop().records;
    assert_inspected(&records);
    assert_eq!(records.exchanges().len(), 3 * 2 * COUNT, "{}", records.told());
    let second = if way == "hyper" { "2" } else { "1.1" };
    for (below, http) in [("/curl1", "1.1"), ("/curl2", second), (&format!("/{last}"), second)] {
        let exchanges = below_path(&records, below);
        assert_each(&records, &exchanges, &Said::all(COUNT, below, false), port, http, tls.version());
        assert!(exchanges.iter().all(|one| one.text("connection.direction") == "ingress"), "{}", records.told());
        let used = connections(&exchanges).len();
        assert!(used <= most(below), "{below}: {used} connections: {}", records.told());
    }
}

#[test]
fn hyper_answers() {
    [Tls::NEW, Tls::BARE, Tls::OLD].into_iter().for_each(|tls| assert_answers(prepared(), "hyper", "reqwest2", tls));
}

#[test]
fn threads_answer() {
    [Tls::BARE, Tls::OLD].into_iter().for_each(|tls| assert_answers(prepared(), "stream", "reqwest1", tls));
}

#[test]
fn a_stripped_program_asks_and_answers() {
    assert_asks(prepared_stripped(), "ureq", "1.1", Tls::OLD, &[("stream", Tls::NEW)]);
    assert_asks(prepared_stripped(), "reqwest2", "2", Tls::NEW, &[("hyper", Tls::OLD)]);
    assert_answers(prepared_stripped(), "hyper", "reqwest2", Tls::NEW);
    assert_answers(prepared_stripped(), "stream", "reqwest1", Tls::OLD);
}

/// Both ends of twenty clients that talk to one server at the same time.
fn assert_crowd(tls: Tls) {
    const CLIENTS: usize = 20;
    const EACH: usize = SIZES.len();
    let Some((lab, program)) = prepared() else { return };
    certificate(lab.dir());
    let server = Server::start(&lab, &program, "hyper", tls);
    let ways = ["ureq", "reqwest1", "reqwest2"];
    let client = |number: usize| {
        let (program, way, url) = (program.display(), ways[number % ways.len()], server.url());
        format!("{program} client {way} {url}/{way}-{number} cert.pem {EACH} & clients=\"$clients $!\"\n")
    };
    let clients: String = (0..CLIENTS).map(client).collect();
    let lines = format!(
        "cd '{}'\nwhile ! [ -e go ]; do sleep 0.05; done\n{clients}for client in $clients; do wait $client || touch failed; done\ntouch done\n",
        lab.dir().display()
    );
    let mut shell = Command::new("timeout");
    shell.args([&slowed(Duration::from_secs(60)).as_secs().to_string(), "sh", "-c", &lines]).stdin(Stdio::null());
    let shell = Guarded(tls.tell(&mut shell).spawn().unwrap());
    let agent = agent(&lab, &[server.pid(), shell.pid().to_string()]);
    lab.write("go", b"");
    wait_until("the clients are done", || lab.path("done").exists());
    assert!(!lab.path("failed").exists(), "a client failed");
    agent.wait_for("\"artifact_record\"", CLIENTS * EACH * 2 * 2);
    let port = server.port;
    server.end();
    let records = agent.stop().records;
    assert_inspected(&records);
    assert_eq!(records.exchanges().len(), CLIENTS * EACH * 2 * 2, "{}", records.told());
    let mut used = 0;
    for number in 0..CLIENTS {
        let way = ways[number % ways.len()];
        let below = format!("/{way}-{number}");
        let http = if way == "reqwest2" { "2" } else { "1.1" };
        let served = |one: &&Record| one.text("connection.direction") == "ingress";
        let (served, asked): (Vec<_>, Vec<_>) = below_path(&records, &below).into_iter().partition(served);
        for end in [served, asked] {
            assert_each(&records, &end, &Said::all(EACH, &below, false), port, http, tls.version());
            let own = connections(&end).len();
            assert!(own <= most(&below), "{below}: {own} connections: {}", records.told());
            used += own;
        }
    }
    assert_eq!(connections(&records.exchanges()).len(), used, "a connection of two clients: {}", records.told());
}

#[test]
fn twenty_clients_at_once() {
    [Tls::NEW, Tls::OLD].into_iter().for_each(assert_crowd);
}
