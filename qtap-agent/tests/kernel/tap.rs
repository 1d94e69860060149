//! The `tap` section of the config, key by key, with real programs.

use super::lab::{Lab, noise, output_of, wait_until};
use super::namespace::Namespace;
use super::nginx::Nginx;
use super::qtap::{Agent, exec, exec_script, get};
use super::records::{Record, Records};
use super::scope::config;

const INTERNAL: [&str; 8] =
    ["10.9.0.1", "172.20.0.1", "192.168.9.1", "100.64.9.1", "169.254.9.1", "fd00::9", "fe80::9%lo", "::ffff:10.9.0.1"];
const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "::ffff:127.0.0.1"];
const EXTERNAL: [&str; 5] = ["203.0.113.9", "172.32.0.1", "100.128.0.1", "2001:db8::9", "::ffff:203.0.113.9"];

fn queries(records: &Records, of: impl Fn(&Record) -> bool) -> Vec<&str> {
    let mut all: Vec<&str> =
        records.exchanges().into_iter().filter(|record| of(record)).map(|record| record.text("url.query")).collect();
    all.sort_unstable();
    all
}

fn sorted<'a>(lists: &[&[&'a str]]) -> Vec<&'a str> {
    let mut all = lists.concat();
    all.sort_unstable();
    all
}

#[test]
fn directions_by_network() {
    let Some(lab) = Lab::open() else { return };
    let namespace = Namespace::with(&[
        "10.9.0.1/32",
        "172.20.0.1/32",
        "192.168.9.1/32",
        "100.64.9.1/32",
        "169.254.9.1/32",
        "fd00::9/128",
        "fe80::9/64",
        "203.0.113.9/32",
        "172.32.0.1/32",
        "100.128.0.1/32",
        "2001:db8::9/128",
    ]);
    let program = lab.write("networks.py", include_bytes!("networks.py")).display().to_string();
    let all = sorted(&[&INTERNAL, &LOOPBACK, &EXTERNAL]);
    let script = format!(
        "rm -f {serving}; python3 {program} serve 8080 > {serving} & server=$!; while ! grep -qs serving {serving}; do sleep 0.05; done; \
         python3 {program} ask 8080 {all}; kill $server",
        serving = lab.path("serving").display(),
        all = all.join(" "),
    );
    let script = lab.write("talk.sh", script.as_bytes()).display().to_string();
    let outside = sorted(&[&INTERNAL, &EXTERNAL]);
    let inside = sorted(&[&INTERNAL, &LOOPBACK]);
    let external = sorted(&[&EXTERNAL]);
    let none = Vec::new();
    // A line of the tap; the exchanges reported by the client's end, and by the server's.
    let cases = [
        ("", &all, &all),
        ("  ignore_loopback: true", &outside, &outside),
        ("  direction: ingress", &none, &all),
        ("  direction: egress", &all, &none),
        ("  direction: egress-internal", &inside, &none),
        ("  direction: egress-external", &external, &none),
    ];
    for (tap, made, accepted) in cases {
        let config = lab.write("qtap.yaml", config("level: summary", tap).as_bytes()).display().to_string();
        let line = ["ip", "netns", "exec", &namespace.name, "sh", &script];
        let captured = exec(&lab, ["--config", &config], line);
        let records = captured.records;
        assert_eq!(captured.code, Some(0), "{tap}: {}", captured.stderr);
        let is = |record: &Record, direction: &str| record.text("connection.direction").starts_with(direction);
        assert_eq!(&queries(&records, |record| is(record, "egress")), made, "made, {tap}: {}", records.told());
        assert_eq!(&queries(&records, |record| is(record, "ingress")), accepted, "accepted, {tap}: {}", records.told());
        for record in records.exchanges().into_iter().filter(|record| is(record, "egress")) {
            let internal = inside.contains(&record.text("url.query"));
            let named = if internal { "egress-internal" } else { "egress-external" };
            assert_eq!(record.text("connection.direction"), named, "{record:?}");
        }
    }
}

#[test]
fn endpoints_have_stacks_of_their_own() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let text = "version: 2
services:
  event_stores: [{type: stdout}]
  object_stores: [{type: stdout}]
stacks:
  all: {plugins: [{type: http_capture}, {type: redact}]}
  full: {plugins: [{type: http_capture, config: {level: full}}, {type: redact}]}
tap:
  http: {stack: all}
  endpoints:
    - {domain: full.example, http: {stack: full}}
    - {domain: \"*.full.example\", http: {stack: full}}
    - {domain: quiet.full.example, http: none}
    - {domain: sealed.example, http: none}
";
    let config = lab.write("qtap.yaml", text.as_bytes()).display().to_string();
    let (plain, tls) = (nginx.http("/a.txt"), nginx.https("/a.txt"));
    let port = nginx.https;
    // The last two can be told apart only by their server names: their Host is the same.
    let script = format!(
        "for host in full.example a.b.full.example quiet.full.example other.example; do \
           curl -s -H \"Host: $host\" '{plain}?plain-'$host; curl -sk -H \"Host: $host\" '{tls}?tls-'$host; done; \
         for name in full.example sealed.example; do \
           curl -sk -H 'Host: 127.0.0.1' --resolve $name:{port}:127.0.0.1 \"https://$name:{port}/a.txt?sni-$name\"; done"
    );
    let records = exec_script(&lab, &["--config", &config], &script).records;
    let named: Vec<_> = records.closed().into_iter().flat_map(|record| record.losses().into_keys()).collect();
    assert_eq!(named, ["not_wanted"], "of the one that its server name leads nowhere: {}", records.told());
    let wanted = [
        "plain-a.b.full.example",
        "plain-full.example",
        "plain-other.example",
        "sni-full.example",
        "tls-a.b.full.example",
        "tls-full.example",
        "tls-other.example",
    ];
    assert_eq!(queries(&records, |_| true), wanted, "{}", records.told());
    for exchange in records.exchanges() {
        let full = exchange.text("url.query").contains("full.example");
        assert_eq!(exchange.has("artifact.response.digest"), full, "{exchange:?}");
        if full {
            let body = records.object(exchange.text("artifact.response.digest")).text("artifact.data");
            assert!(body.contains("the body"), "{body}");
        }
    }
    assert_eq!(records.closed().len(), 10, "connections are told, whatever their stack: {}", records.told());
}

#[test]
fn what_nobody_wants_is_not_copied() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.bin", &noise(256 << 10));
    let text = "version: 2
services:
  event_stores: [{type: stdout}]
tap:
  endpoints: [{domain: quiet.example, http: none}]
";
    let config = lab.write("qtap.yaml", text.as_bytes()).display().to_string();
    // As a client, plain and inside TLS: twenty requests on one connection each, no faster than a busy host reads.
    let urls = |scheme: &str, port: u16| format!("'{scheme}://quiet.example:{port}/a.bin?[1-20]'");
    let resolve = [nginx.http, nginx.https].map(|port| format!("--resolve quiet.example:{port}:127.0.0.1")).join(" ");
    let script = format!(
        "curl -s --limit-rate 8M --http1.1 {resolve} {} > {null}; sleep 0.3; curl -sk --limit-rate 8M {resolve} {} > {null}",
        urls("http", nginx.http),
        urls("https", nginx.https),
        null = "/dev/null",
    );
    let records = exec_script(&lab, &["--config", &config], &script).records;
    assert_eq!(records.exchanges().len(), 0, "{}", records.told());
    assert_eq!(records.closed().len(), 2, "{}", records.told());
    for record in records.closed() {
        let names: Vec<_> = record.losses().into_keys().collect();
        assert_eq!(names, ["not_wanted"], "{record:?}");
        assert!(record.losses()["not_wanted"] > 2 << 20, "{record:?}");
    }
    // As a server, with the counter on the metrics page.
    let agent = Agent::start(&lab, ["--config", &config, "--pid", &nginx.pid().to_string()]);
    output_of(std::process::Command::new("sh").args(["-c", &script]));
    agent.wait_for("connection.finalized\",\"value\":{\"boolValue\":true}", 2);
    // The counter has all of the TLS connection. On the plain one the probe copies everything, since a request for another host may follow. The
    // metrics are updated periodically, so they may include the first connection before the second.
    let mut avoided = 0.0;
    wait_until("the figure", || {
        let page = get(agent.port, "/metrics").unwrap_or_default();
        let line = page.lines().find_map(|line| line.strip_prefix("qtap_kernel_unwanted_bytes_total "));
        avoided = line.map_or(0.0, |figure| figure.trim().parse().unwrap());
        avoided > f64::from(4 << 20)
    });
    assert!(avoided < f64::from(6 << 20), "{avoided}");
    let records = agent.stop().records;
    let unwanted = |record: &&Record| record.losses().contains_key("not_wanted");
    assert_eq!((records.exchanges().len(), records.closed().into_iter().filter(unwanted).count()), (0, 1));
}
