//! DNS: answers of name servers reported as connections, and used to name the addresses that connections go to.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, wait_until};
use super::namespace::Namespace;
use super::qtap::{exec, text};
use super::records::{Record, Records};
use super::scope::config;

/// A network namespace with a name server and a web server, which are not captured.
struct Network {
    namespace: Namespace,
    _server: Guarded,
    program: String,
}

impl Network {
    fn of(lab: &Lab) -> Network {
        let namespace = Namespace::with(&["10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32", "10.9.0.4/32"]);
        let program = lab.write("names.py", include_bytes!("names.py")).display().to_string();
        let (out, name) = (lab.path("serving"), namespace.name.clone());
        let mut server = Command::new("ip");
        server.args(["netns", "exec", &name, "python3", &program, "serve"]);
        server.stdin(Stdio::null()).stdout(std::fs::File::create(&out).unwrap());
        let server = Guarded(server.spawn().unwrap());
        wait_until("the name server serves", || text(&out).contains("serving"));
        Network { namespace, _server: server, program }
    }

    /// The records of the asking program, with these lines in the `tap` section.
    fn ask(&self, lab: &Lab, tap: &str) -> Records {
        self.ask_with(lab, "level: summary", tap)
    }

    /// The same, with this `http_capture` config.
    fn ask_with(&self, lab: &Lab, capture: &str, tap: &str) -> Records {
        let config = lab.write("qtap.yaml", config(capture, tap).as_bytes()).display().to_string();
        let line = ["ip", "netns", "exec", &self.namespace.name, "python3", &self.program, "ask"];
        let captured = exec(lab, ["--config", &config], line);
        assert_eq!(captured.code, Some(0), "{}", captured.stderr);
        captured.records
    }
}

fn queries(records: &Records) -> Vec<&str> {
    let mut all: Vec<&str> = records.exchanges().into_iter().map(|record| record.text("url.query")).collect();
    all.sort_unstable();
    all
}

/// The `connection.endpoint_id` of each closed connection to port 80, by address.
fn endpoints(records: &Records) -> BTreeMap<&str, &str> {
    let web = records.closed().into_iter().filter(|record| record.int("server.port") == Some(80));
    web.map(|record| (record.text("server.address"), record.text("connection.endpoint_id"))).collect()
}

fn answers(records: &Records) -> Vec<&Record> {
    let mut all: Vec<_> = records.closed().into_iter().filter(|record| record.has("dns.question.name")).collect();
    all.sort_by_key(|record| record.text("dns.question.name").to_owned());
    all
}

const NAMES: [&str; 4] = ["recvfrom.internal", "recvmsg.internal", "tcp.internal", "udp.quiet.internal"];

#[test]
fn answers_of_name_servers_are_told_and_name_addresses() {
    let Some(lab) = Lab::open() else { return };
    let network = Network::of(&lab);
    let records = network.ask(&lab, "  audit_include_dns: true");
    records.assert_whole();
    let told = answers(&records);
    let asked: Vec<_> = told.iter().map(|record| record.text("dns.question.name")).collect();
    assert_eq!(asked, ["nobody.internal", NAMES[0], NAMES[1], NAMES[2], NAMES[3]], "{}", records.told());
    for record in told {
        let name = record.text("dns.question.name");
        let transport = if name == "tcp.internal" { "tcp" } else { "udp" };
        assert_eq!(record.text("network.transport"), transport, "{record:?}");
        assert_eq!((record.text("connection.protocol"), record.text("network.protocol.name")), ("dns", "dns"));
        assert_eq!((record.text("server.address"), record.int("server.port")), ("127.0.0.1", Some(53)), "{record:?}");
        assert_eq!(record.text("connection.endpoint_id"), name);
        assert_eq!(record.text("dns.question.type"), "A");
        let code = if name == "nobody.internal" { "NXDOMAIN" } else { "NOERROR" };
        assert_eq!((record.text("dns.response_code"), record.has("dns.answers")), (code, code == "NOERROR"));
        assert!(record.text("process.executable.name").starts_with("python"), "{record:?}");
        assert!(record.number("connection.captured_bytes") > 30, "{record:?}");
    }
    assert_eq!(queries(&records), NAMES);
    let wanted = [NAMES[3], NAMES[0], NAMES[1], NAMES[2]];
    assert_eq!(endpoints(&records).into_values().collect::<Vec<_>>(), wanted, "by the name in DNS");
}

#[test]
fn endpoints_are_known_by_their_names_in_dns() {
    let Some(lab) = Lab::open() else { return };
    let network = Network::of(&lab);
    let records = network
        .ask(&lab, "  endpoints: [{domain: '*.quiet.internal', http: none}, {domain: tcp.internal, http: none}]");
    assert_eq!(queries(&records), NAMES[..2], "{}", records.told());
    assert!(answers(&records).is_empty(), "not told unless asked for: {}", records.told());
}

#[test]
fn rules_know_the_names_in_dns() {
    let Some(lab) = Lab::open() else { return };
    let network = Network::of(&lab);
    // No request names its host, so only DNS can.
    let expr = "dst.domain == \"tcp.internal\" or ends_with(dst.domain, \".quiet.internal\")";
    let capture = format!("{{level: none, rules: [{{name: named, expr: '{expr}', level: summary}}]}}");
    let read = network.ask_with(&lab, &capture, "  audit_include_dns: true");
    assert_eq!(queries(&read), [NAMES[2], NAMES[3]], "{}", read.told());
    let unread = network.ask_with(&lab, &capture, "");
    assert!(queries(&unread).is_empty(), "what no name server's answer told is not known: {}", unread.told());
}

#[test]
fn answers_are_not_read_where_nobody_asks_for_them() {
    let Some(lab) = Lab::open() else { return };
    let network = Network::of(&lab);
    let filter = "  audit_include_dns: true\n  filters: {custom: [{exe: python, strategy: contains, only: [dns]}]}";
    for tap in ["", filter] {
        let records = network.ask(&lab, tap);
        assert!(answers(&records).is_empty(), "{tap}: {}", records.told());
        assert_eq!(queries(&records), NAMES, "{tap}");
        assert!(endpoints(&records).into_iter().all(|(address, endpoint)| address == endpoint), "{tap}");
    }
}
