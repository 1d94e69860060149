//! HTTP proxies that require credentials (`Proxy-Authorization`): Debian's tinyproxy and squid, on loopback, used by common clients and captured
//! at every end; and used by the stores of qtap itself.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::exporting::config;
use super::feedback::{case, guarded, own_address};
use super::lab::{Guarded, Lab, digest, free_ports, noise, output_of, wait_for_port};
use super::nginx::{Nginx, certificate};
use super::python::{Script, go_program, interpreter, node, script};
use super::qtap::{Captured, command, run_command, text};
use super::records::{Record, Records, parse};

/// The credentials. The second constant is their form in a `Basic` header.
const USER: &str = "ann:opensesame";
const CODED: &str = "YW5uOm9wZW5zZXNhbWU";

/// A name that only the proxy resolves, to an address of this host. (moto takes any name without this prefix for a bucket's.)
const NAME: &str = "localhost.test";

const FILE: &str = "/bytes.bin";
const SIZE: usize = 100_000;

/// How a proxy is started, and its ports: in the clear and, where it supports that, behind TLS.
struct Proxy {
    command: Vec<String>,
    name: &'static str,
    port: u16,
    tls: Option<u16>,
}

/// A running proxy. It is ended by SIGTERM, so that it removes its files.
struct Running(Guarded);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.signal(rustix::process::Signal::TERM);
        let _ = self.0.end_within(super::lab::PATIENCE);
    }
}

fn program(name: &'static str) -> Option<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| PathBuf::from(place).join(name)).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: no {name} (cargo xtask setup --for check)");
    }
    found
}

fn tinyproxy(lab: &Lab) -> Option<Proxy> {
    let program = program("tinyproxy")?.display().to_string();
    let [port] = free_ports();
    let (user, password) = USER.split_once(':').unwrap();
    let text = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nBasicAuth {user} {password}\n");
    let file = lab.write("tinyproxy.conf", text.as_bytes()).display().to_string();
    Some(Proxy { command: vec![program, "-d".into(), "-c".into(), file], name: "tinyproxy", port, tls: None })
}

fn squid(lab: &Lab) -> Option<Proxy> {
    squid_that_knows(lab, "127.0.0.1")
}

/// A squid that resolves [`NAME`] to that address. It runs as its own user, who has to be able to read its files.
fn squid_that_knows(lab: &Lab, address: &str) -> Option<Proxy> {
    let program = program("squid")?.display().to_string();
    let helper = ["/usr/lib/squid/basic_ncsa_auth", "/usr/lib64/squid/basic_ncsa_auth"];
    let Some(helper) = helper.into_iter().find(|file| std::path::Path::new(file).exists()) else {
        println!("skipped: squid has no basic_ncsa_auth");
        return None;
    };
    let [port, tls] = free_ports();
    certificate(lab.dir());
    let (user, password) = USER.split_once(':').unwrap();
    let coded = output_of(Command::new("openssl").args(["passwd", "-apr1", password]));
    let users = lab.write("users", format!("{user}:{coded}").as_bytes());
    let hosts = lab.write("hosts", format!("{address} {NAME}\n").as_bytes());
    let dir = lab.dir().display();
    let text = format!(
        "http_port 127.0.0.1:{port}
https_port 127.0.0.1:{tls} tls-cert={dir}/cert.pem tls-key={dir}/key.pem
auth_param basic program {helper} {}
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
hosts_file {}
cache deny all
access_log none
cache_log {dir}/squid/log
coredump_dir {dir}/squid
pid_filename none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
",
        users.display(),
        hosts.display()
    );
    let file = lab.write("squid.conf", text.as_bytes()).display().to_string();
    std::fs::create_dir_all(lab.path("squid")).unwrap();
    output_of(Command::new("chmod").args(["-R", "a+rX"]).arg(lab.dir()));
    output_of(Command::new("chmod").arg("777").arg(lab.path("squid")));
    // The names of what it shares between its processes contain the service name, and are host-wide.
    let service = format!("qtap{}", std::process::id());
    let command = vec![program, "-N".into(), "-n".into(), service, "-f".into(), file];
    Some(Proxy { command, name: "squid", port, tls: Some(tls) })
}

impl Proxy {
    fn url(&self) -> String {
        format!("http://{USER}@127.0.0.1:{}", self.port)
    }

    /// Starts it outside the capture.
    fn start(&self) -> Running {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(Guarded(command.spawn().unwrap()));
        wait_for_port(self.port);
        self.tls.into_iter().for_each(wait_for_port);
        running
    }

    /// Shell lines that start it and wait for it. `$proxy` is its pid afterwards.
    fn script(&self) -> String {
        let words: Vec<_> = self.command.iter().map(|word| format!("'{word}'")).collect();
        let port = self.port;
        format!(
            "{} > /dev/null 2>&1 & proxy=$!\nuntil (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done\n",
            words.join(" ")
        )
    }
}

/// The records of a shell script, after checking that they do not contain the credentials.
fn told(lab: &Lab, line: &str) -> Records {
    told_of(lab, &["bash", "-c", line], &[])
}

/// The same for a program, which has its probes before it begins, with environment variables.
fn told_of(lab: &Lab, words: &[&str], variables: &[(&str, &str)]) -> Records {
    let file = lab.path("records.jsonl");
    let _ = std::fs::remove_file(&file);
    let mut qtap = command();
    qtap.args(["exec", "--ring-size", "64mb", "-o"]).arg(&file).arg("--").args(words);
    let captured = run_command(lab, qtap.envs(variables.iter().copied()));
    assert_eq!(captured.code, Some(0), "{}\n{}", captured.stderr, captured.stdout);
    let lines = text(&file);
    for secret in [USER.split_once(':').unwrap().1, CODED] {
        assert!(!lines.contains(secret), "{secret} is told");
    }
    let records = parse(&lines);
    // What a proxy says to its helper processes over UNIX sockets is not HTTP.
    for closed in records.over_tcp().closed() {
        assert_eq!(closed.losses(), [].into(), "{closed:?}");
    }
    records
}

fn is_connect(record: &&Record) -> bool {
    record.text("http.request.method") == "CONNECT"
}

/// Whether a request had credentials; asserts that they were redacted.
fn says_who(records: &Records, exchange: &Record) -> bool {
    let request = records.artifact_of(exchange, "request");
    let headers = request["headers"].as_array().unwrap_or_else(|| panic!("{request}"));
    let named =
        |header: &&serde_json::Value| header["name"].as_str().unwrap().eq_ignore_ascii_case("proxy-authorization");
    let found: Vec<_> = headers.iter().filter(named).collect();
    for header in &found {
        assert_eq!(header["value"], "[redacted]", "{header}");
    }
    !found.is_empty()
}

/// Asserts `times` whole exchanges of this URL at the proxy, with the file as body.
fn assert_asked(records: &Records, url: &str, port: u16, times: usize) {
    let found: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("url.full") == url).collect();
    let answered: Vec<_> = found.iter().filter(|one| one.int("http.response.status_code") == Some(200)).collect();
    assert_eq!(answered.len(), times, "{url}: {}", records.told());
    for exchange in answered {
        assert!(!exchange.has("qtap.incomplete"), "{exchange:?}");
        let at = (exchange.text("server.address"), exchange.int("server.port"));
        assert_eq!(at, ("127.0.0.1", Some(i64::from(port))), "its peer is the proxy: {exchange:?}");
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(SIZE)), "{url}");
        let in_the_clear = url.starts_with("http:");
        assert_eq!(says_who(records, exchange), in_the_clear, "a proxy is told, an origin is not: {exchange:?}");
    }
}

#[test]
fn curl_says_who_it_is() {
    let Some(lab) = Lab::open() else { return };
    let (Some(tinyproxy), Some(squid)) = (tinyproxy(&lab), squid(&lab)) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(SIZE));
    let (plain, tls) = (nginx.http(FILE), nginx.https(FILE));
    for proxy in [tinyproxy, squid] {
        let running = proxy.start();
        let url = proxy.url();
        // Credentials sent at once, and only when asked for (407), on the same connection where the proxy keeps it open.
        let mut line = format!(
            "set -e; cd '{}'; exec > said
curl -s -x {url} '{plain}?one'; curl -sk --http1.1 -x {url} '{tls}?two'; curl -sk --http2 -x {url} '{tls}?three'
curl -sp -H 'Authorization: Basic {CODED}' -x {url} '{plain}?inside' '{plain}?inside'
curl -s --proxy-anyauth -x {url} '{plain}?asked'; curl -sk --http1.1 --proxy-anyauth -x {url} '{tls}?asked'\n",
            lab.dir().display()
        );
        if let Some(port) = proxy.tls {
            let url = format!("https://{USER}@127.0.0.1:{port}");
            line += &format!(
                "curl -s --proxy-insecure -x {url} '{plain}?over'
curl -sk --proxy-insecure --http1.1 -x {url} '{tls}?over1'; curl -sk --proxy-insecure --http2 -x {url} '{tls}?over2'\n"
            );
        }
        let records = told(&lab, &line);
        drop(running);
        for asked in ["one", "asked"] {
            assert_asked(&records, &format!("{plain}?{asked}"), proxy.port, 1);
        }
        for asked in ["two", "three", "asked"] {
            assert_asked(&records, &format!("{tls}?{asked}"), proxy.port, 1);
        }
        // In the clear inside a tunnel: exchanges of their own behind the CONNECT, on its connection.
        let inside: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("url.query") == "inside").collect();
        assert_eq!(inside.len(), 2, "{}", records.told());
        for exchange in inside {
            assert_eq!((exchange.text("url.full"), says_who(&records, exchange)), (&*format!("{plain}?inside"), false));
            assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(SIZE)));
            let of_tunnel = records.exchanges().into_iter().filter(|one| one.connection() == exchange.connection());
            assert_eq!(of_tunnel.filter(is_connect).count(), 1, "{}", records.told());
        }
        let refused: Vec<_> = records
            .exchanges()
            .into_iter()
            .filter(|one| one.int("http.response.status_code") == Some(407))
            .map(|one| (one.text("http.request.method"), one.connection(), says_who(&records, one)))
            .collect();
        let (mut methods, kept): (Vec<_>, Vec<_>) = refused.iter().map(|one| (one.0, one.1)).unzip();
        methods.sort_unstable();
        assert_eq!(methods, ["CONNECT", "GET"], "{}", records.told());
        assert!(refused.iter().all(|one| !one.2), "nobody said who asks");
        if proxy.name == "squid" {
            for connection in kept {
                let again = records.exchanges().into_iter().filter(|one| one.connection() == connection);
                assert!(again.filter(|one| one.int("http.response.status_code") == Some(200)).count() >= 1);
            }
        }
        if let Some(port) = proxy.tls {
            assert_asked(&records, &format!("{plain}?over"), port, 1);
            assert_asked(&records, &format!("{tls}?over1"), port, 1);
            assert_asked(&records, &format!("{tls}?over2"), port, 1);
        }
        for tunnel in records.exchanges().into_iter().filter(is_connect) {
            let is_made = tunnel.int("http.response.status_code") == Some(200);
            assert_eq!(says_who(&records, tunnel), is_made, "{tunnel:?}");
        }
    }
}

/// The same by clients that get the proxy from the environment or a setting. Some give their TLS library memory, and feed the tunnel themselves.
#[test]
fn each_of_the_usual_clients() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(node), Some(squid)) = (interpreter(), node(), squid(&lab)) else { return };
    let Some(go) = go_program(&lab, "gotls.go") else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(SIZE));
    let (plain, tls, url) = (nginx.http(FILE), nginx.https(FILE), squid.url());
    let _running = squid.start();
    let clients = |records: &Records, plain: &str, tls: &str, clients: &[&str]| {
        for client in clients {
            assert_asked(records, &format!("{plain}?{client}"), squid.port, 1);
            assert_asked(records, &format!("{tls}?{client}"), squid.port, 1);
        }
        let tunnels: Vec<_> = records.exchanges().into_iter().filter(is_connect).collect();
        assert_eq!(tunnels.len(), clients.len(), "one a client: {}", records.told());
        // A tunnel and the exchanges inside it are one connection.
        for tunnel in tunnels {
            assert!(says_who(records, tunnel) && !tunnel.has("qtap.incomplete"), "{tunnel:?}");
            let inside = records.exchanges().into_iter().filter(|one| one.connection() == tunnel.connection());
            // A plain request may have been sent on the same connection before.
            assert!((2..=4).contains(&inside.count()), "{tunnel:?}\n{}", records.told());
        }
    };
    let wget = format!(
        "export http_proxy={url} https_proxy={url}
wget -q -O /dev/null '{plain}?wget' && wget -q --no-check-certificate -O /dev/null '{tls}?wget'"
    );
    clients(&told(&lab, &wget), &plain, &tls, &["wget"]);
    // Go bypasses the proxy for loopback whatever the environment says, but not under a name that it can't resolve.
    let [elsewhere, elsewhere_tls] =
        [("http", nginx.http), ("https", nginx.https)].map(|(scheme, port)| format!("{scheme}://{NAME}:{port}{FILE}"));
    let [asked, asked_tls] = [&elsewhere, &elsewhere_tls].map(|url| format!("{url}?go"));
    let by_go = [&go.display().to_string(), "through", &asked, &asked_tls];
    let records = told_of(&lab, &by_go, &[("HTTP_PROXY", &url), ("HTTPS_PROXY", &url)]);
    clients(&records, &elsewhere, &elsewhere_tls, &["go"]);
    let by_python = [&python.display().to_string(), &script("proxied.py").display().to_string(), &url, &plain, &tls];
    let records = told_of(&lab, &by_python.map(String::as_str), &[]);
    clients(&records, &plain, &tls, &["requests", "urllib", "aiohttp", "httpx"]);
    assert_asked(&records, &format!("{tls}?again"), squid.port, 1);
    let by_node = [&node.display().to_string(), &script("proxied.mjs").display().to_string(), &url, &plain, &tls];
    let records = told_of(&lab, &by_node.map(String::as_str), &[]);
    clients(&records, &plain, &tls, &["node"]);
    assert_asked(&records, &format!("{tls}?again"), squid.port, 1);
}

/// The proxies themselves are captured together with their clients: the requests they get, and those they send.
#[test]
fn the_proxies_themselves() {
    let Some(lab) = Lab::open() else { return };
    let (Some(tinyproxy), Some(squid)) = (tinyproxy(&lab), squid(&lab)) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(SIZE));
    let (plain, tls) = (nginx.http(FILE), nginx.https(FILE));
    for proxy in [tinyproxy, squid] {
        let line = format!(
            "cd '{}'; {}curl -s -o one -x {url} '{plain}?one' && curl -sk -o two -x {url} '{tls}?two'; result=$?
kill $proxy; wait $proxy; exit $result",
            lab.dir().display(),
            proxy.script(),
            url = proxy.url(),
        );
        let records = told(&lab, &line);
        let of = |executable: &str, direction: &str| -> Vec<&Record> {
            let found = records.exchanges().into_iter().filter(|one| {
                one.text("process.executable.name") == executable
                    && one.text("connection.direction").starts_with(direction)
            });
            found.filter(|one| !is_connect(one)).collect()
        };
        let (asked, asks) = (of(proxy.name, "ingress"), of(proxy.name, "egress"));
        assert_eq!((asked.len(), asks.len()), (1, 1), "{}", records.told());
        let client = of("curl", "egress").into_iter().find(|one| one.text("url.query") == "one").unwrap();
        assert_eq!(asked[0].int("client.port"), client.int("client.port"), "one connection, seen from both ends");
        assert_eq!(asked[0].int("server.port"), Some(i64::from(proxy.port)));
        assert_eq!(asks[0].int("server.port"), Some(i64::from(nginx.http)));
        assert!(says_who(&records, asked[0]) && !says_who(&records, asks[0]), "it keeps to itself who asked");
        for exchange in [asked[0], asks[0]] {
            assert_eq!(exchange.text("url.full"), format!("{plain}?one"));
            assert!(!exchange.has("qtap.incomplete"), "{exchange:?}");
            assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(SIZE)));
        }
        // At the proxy, a tunnel's body is what passes through it; at the client, the exchanges are inside the tunnel.
        let tunnels: Vec<_> = records.exchanges().into_iter().filter(is_connect).collect();
        assert_eq!(tunnels.len(), 2, "{}", records.told());
        for tunnel in tunnels {
            let is_proxy = tunnel.text("process.executable.name") == proxy.name;
            let body = tunnel.number("http.response.body.size");
            assert!(says_who(&records, tunnel) && !tunnel.has("qtap.incomplete"), "{tunnel:?}");
            assert!(if is_proxy { body > SIZE as i64 } else { body == 0 }, "{tunnel:?}");
        }
    }
}

/// A run of qtap that has the proxy in its environment, and this store. The captured command does not use the proxy.
fn exporting(lab: &Lab, stores: &str, proxy: &str, asks: &str) -> Captured {
    let file = lab.write("qtap.yaml", config(stores).as_bytes()).display().to_string();
    let mut qtap = command();
    qtap.env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy).env_remove("NO_PROXY").env_remove("no_proxy");
    if asks.is_empty() {
        qtap.args(["test-connection", "--config", &file]);
    } else {
        qtap.args(["exec", "--config", &file, "--", "curl", "-sk", "--noproxy", "*", "-o", "/dev/null", asks]);
    }
    let captured = run_command(lab, &mut qtap);
    for secret in [USER.split_once(':').unwrap().1, "hunter2"] {
        assert!(!captured.stderr.contains(secret) && !captured.stdout.contains(secret), "{}", captured.stderr);
    }
    captured
}

#[test]
fn stores_of_otlp_behind_squid() {
    let Some(lab) = Lab::open() else { return };
    let Some(squid) = squid(&lab) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(SIZE));
    let _running = squid.start();
    for (protocol, encoding) in [("grpc", ""), ("http", "encoding: protobuf, "), ("http", "encoding: json, ")] {
        let Some(mut receiver) = Script::start("../export/otlp_receiver.py", &["{}"]) else { return };
        let ports: serde_json::Value = serde_json::from_str(&receiver.line()).unwrap();
        let store = format!(
            "{{type: otel, endpoint: 'http://{NAME}:{}', protocol: {protocol}, {encoding}batch: {{interval: 100ms}}}}",
            ports[protocol]
        );
        let stores = format!("  event_stores: [{store}]\n  object_stores: [{store}]\n");
        let wrong = exporting(&lab, &stores, &squid.url().replace("opensesame", "hunter2"), "");
        assert_eq!(wrong.code, Some(1), "{protocol}: {}", wrong.stdout);
        assert!((wrong.stdout + &wrong.stderr).contains("proxy wants"), "{protocol}");
        let captured = exporting(&lab, &stores, &squid.url(), &nginx.https(FILE));
        assert_eq!(captured.code, Some(0), "{protocol}: {}", captured.stderr);
        let request: serde_json::Value = serde_json::from_str(&receiver.line()).expect("all that was told arrives");
        assert_eq!(request["answer"], "OK", "{protocol}");
        assert!(request["headers"].get("proxy-authorization").is_none(), "the store is not told who asked the proxy");
    }
}

#[test]
fn a_store_of_objects_behind_squid() {
    let Some(lab) = Lab::open() else { return };
    let Some(squid) = squid(&lab) else { return };
    let Some(mut moto) = Script::start("s3.py", &[]) else { return };
    let port = moto.line();
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("bytes.bin", &noise(SIZE));
    let _running = squid.start();
    let stores = format!(
        "  event_stores: [{{type: stdout}}]
  object_stores:
    - {{type: s3, endpoint: '{NAME}:{port}', insecure: true, bucket: artifacts, region: us-east-1, access_key: id, secret_key: key}}
"
    );
    let wrong = exporting(&lab, &stores, &squid.url().replace("opensesame", "hunter2"), "");
    assert_eq!(wrong.code, Some(1), "{}", wrong.stdout);
    assert!((wrong.stdout + &wrong.stderr).contains("a proxy wants credentials"));
    let captured = exporting(&lab, &stores, &squid.url(), &nginx.https(FILE));
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = parse(&captured.stdout);
    let exchange = records.exchange_of(FILE);
    for side in ["request", "response"] {
        let url = exchange.text(&format!("artifact.{side}.url")).replace(NAME, "127.0.0.1");
        let fetched = Command::new("curl")
            .args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "id:key", &url])
            .output()
            .unwrap();
        assert_eq!(digest(&fetched.stdout), exchange.text(&format!("artifact.{side}.digest")), "{url}");
    }
}

/// qtap exports through a proxy that is watched too, as is the collector behind it: neither makes the exports come back.
fn exported_by_way_of_a_proxy(how: &str, port: &str) {
    let Some(lab) = Lab::open() else { return };
    let address = own_address();
    let Some(squid) = squid_that_knows(&lab, &address) else { return };
    let Some(mut one) = case(&lab, how, &address, port, false) else { return };
    let running = squid.start();
    one.store = one.store.replace(&address, NAME);
    one.variables = ["HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, squid.url())).to_vec();
    one.watched = vec![running.0.pid()];
    guarded(&lab, one);
}

#[test]
fn exports_that_a_watched_proxy_forwards() {
    exported_by_way_of_a_proxy("plain", "4318");
}

#[test]
fn exports_in_a_tunnel_of_a_watched_proxy() {
    exported_by_way_of_a_proxy("grpc", "4317");
}

#[test]
fn exports_over_tls_in_a_tunnel_of_a_watched_proxy() {
    exported_by_way_of_a_proxy("tls", "4318");
}
