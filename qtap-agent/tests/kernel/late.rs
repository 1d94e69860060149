//! Connections that were open before qtap started.

use super::lab::Lab;
use super::nginx::{Nginx, certificate};
use super::python::{Script, node};
use super::qtap::Agent;
use super::records::{Record, Records};
use super::rustls_tls::{self, Server, Tls};

#[test]
fn captured_from_the_next_request_on() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'a'; 5000]);
    let plain = format!("http://127.0.0.1:{}", nginx.http);
    let tls = format!("https://127.0.0.1:{}", nginx.https);
    let (Some(mut plain), Some(mut tls)) =
        (Script::start("client.py", &["kept", &plain]), Script::start("client.py", &["kept", &tls]))
    else {
        return;
    };
    let ports: Vec<i64> =
        [&mut plain, &mut tls].map(|kept| kept.line().rsplit(' ').next().unwrap().parse().unwrap()).into();
    for kept in [&mut plain, &mut tls] {
        assert_eq!(kept.ask("/a.txt?before"), "200 5000");
    }
    let pids = [plain.child.pid(), tls.child.pid()].map(|pid| pid.to_string());
    let agent = Agent::start(&lab, ["--pid", &pids[0], "--pid", &pids[1]]);
    for query in ["first", "second", "third"] {
        for kept in [&mut plain, &mut tls] {
            assert_eq!(kept.ask(&format!("/a.txt?{query}")), "200 5000");
        }
    }
    agent.wait_for("\"artifact_record\"", 6);
    drop((plain, tls));
    agent.wait_for("\"closed\"", 2);
    let records = agent.stop().records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 6, "{}", records.told());
    for exchange in records.exchanges() {
        assert_ne!(exchange.text("url.query"), "before");
        assert!(exchange.text("connection.direction").starts_with("egress"), "the request tells who is the client");
        let port = if exchange.text("url.scheme") == "https" { nginx.https } else { nginx.http };
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert!(ports.contains(&exchange.number("client.port")));
        assert_eq!(exchange.number("http.response.body.size"), 5000);
        assert!(exchange.text("process.executable.name").starts_with("python"));
    }
    let inspected: Vec<_> =
        records.closed().into_iter().filter(|record| record.flag("connection.tls.inspected")).collect();
    assert_eq!(inspected.len(), 1, "{}", records.told());
    assert_eq!(inspected[0].text("connection.binding"), "nested", "{:?}", inspected[0]);
    assert!(inspected[0].flag("connection.tls.joined_late"), "what was before is missing: {:?}", inspected[0]);
}

/// The probe reads what a rustls server receives before it is decrypted, so the first request after the start is captured too.
#[test]
fn a_connection_of_rustls_from_the_next_request_on() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = rustls_tls::program() else { return };
    certificate(lab.dir());
    let server = Server::start(&lab, &program, "hyper", Tls::NEW);
    let Some(mut kept) = Script::start("client.py", &["kept", &server.url()]) else { return };
    let port: i64 = kept.line().rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(kept.ask("/before/5000"), "200 5000");
    let agent = Agent::start(&lab, ["--pid", &server.pid()]);
    for path in ["/first/5000", "/second/5000"] {
        assert_eq!(kept.ask(path), "200 5000");
    }
    agent.wait_for("\"artifact_record\"", 2);
    drop(kept);
    agent.wait_for("\"closed\"", 1);
    let records = agent.stop().records;
    records.over_tcp().assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "{}", records.told());
    for exchange in exchanges {
        assert!(["/first/5000", "/second/5000"].contains(&exchange.text("url.path")), "{exchange:?}");
        assert_eq!(exchange.number("http.response.body.size"), 5000);
        assert_eq!((exchange.number("client.port"), exchange.text("connection.direction")), (port, "ingress"));
    }
}

/// HTTP/2 keeps tables of header fields from a connection's first request on. Entries made before qtap started are unknown, and are
/// reported as unknown until they are sent again.
#[test]
fn joined_in_the_middle_of_http2() {
    let Some(lab) = Lab::open() else { return };
    let Some(node) = node() else { return };
    let mut server = Script::run_by(node.clone(), "http2.mjs", &["serve"]);
    let port = server.line();
    let mut client = Script::run_by(node, "http2.mjs", &["kept", &port]);
    assert_eq!(client.line(), "connected");
    for id in ["before1", "before2"] {
        assert_eq!(client.ask(id), format!("echo {id} kept {id}"));
    }
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &config, "--pid", &client.child.pid().to_string()]);
    // Eight short ids, then sixteen that evict every old entry from tables of 4 KiB, then eight short ones.
    let pad = |number: usize| if (8..24).contains(&number) { "x".repeat(500) } else { String::new() };
    let ids: Vec<String> = (0..32).map(|number| format!("after{number}{}", pad(number))).collect();
    for id in &ids {
        assert_eq!(client.ask(id), format!("echo {id} kept {id}"));
    }
    agent.wait_for("\"artifact_record\"", ids.len());
    drop(client);
    agent.wait_for("\"closed\"", 1);
    let records = agent.stop().records;
    assert_eq!(records.exchanges().len(), ids.len(), "{}", records.told());
    let of = |id: &String| assert_never_guessed(&records, records.exchange_of(&format!("/kept/{id}")), id);
    let fields: Vec<Recovered> = ids.iter().map(of).collect();
    let sum = |some: &[Recovered]| some.iter().fold(Recovered::default(), |sum, one| sum.plus(*one));
    let (first, all, last) = (sum(&fields[..8]), sum(&fields), sum(&fields[24..]));
    println!(
        "joined in the middle of HTTP/2, fields recovered: of the first eight exchanges {first}, of all {all}, of the last eight {last}"
    );
    assert!(first.unknown > 0, "the tables hold something from before");
    assert!(first.known > 0);
    // All was sent again, except one name: each entry of `x-id` refers for it to the entry before, back to one that was never seen.
    assert_eq!((last.value_only, last.unknown), (16, 0), "learnt again");
}

/// The number of fields whose name and value are known, whose value alone is known, and of which neither is.
#[derive(Debug, Clone, Copy, Default)]
struct Recovered {
    known: usize,
    value_only: usize,
    unknown: usize,
}

impl Recovered {
    fn plus(self, more: Recovered) -> Recovered {
        Recovered {
            known: self.known + more.known,
            value_only: self.value_only + more.value_only,
            unknown: self.unknown + more.unknown,
        }
    }
}

impl std::fmt::Display for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recovered { known, value_only, unknown } = *self;
        let all = known + value_only + unknown;
        write!(f, "{known} of {all} ({} %), {value_only} more by value", 100 * known / all)
    }
}

/// Every field of an exchange is reported as it was sent, or as unknown.
fn assert_never_guessed(records: &Records, exchange: &Record, id: &str) -> Recovered {
    let mut recovered = Recovered::default();
    let (request, response) = (records.artifact_of(exchange, "request"), records.artifact_of(exchange, "response"));
    assert_eq!(request["body"]["data"], format!("kept {id}"));
    assert_eq!(response["body"]["data"], format!("echo {id} kept {id}"));
    let said = [
        (&request, vec![("x-id", id), ("x-client", "node"), ("content-type", "text/plain")]),
        (&response, vec![("x-id", id), ("x-served-by", "node"), ("content-type", "text/plain"), ("date", "")]),
    ];
    for (artifact, said) in said {
        let told = artifact["headers"].as_array().unwrap();
        // A field whose name is unknown may be `:authority`.
        assert!((said.len()..=said.len() + 1).contains(&told.len()), "{artifact}");
        for field in told {
            let (name, value) = (field["name"].as_str(), field["value"].as_str());
            let is_right = |(known, is): &(&str, &str)| {
                name.is_none_or(|name| name == *known) && value.is_none_or(|value| is.is_empty() || value == *is)
            };
            assert!(name.is_none() && value.is_none() || said.iter().any(is_right), "never guessed: {field}");
            match (name, value) {
                (Some(_), Some(_)) => recovered.known += 1,
                (None, Some(_)) => recovered.value_only += 1,
                (_, None) => recovered.unknown += 1,
            }
        }
    }
    let whole = recovered.value_only + recovered.unknown == 0;
    assert_eq!(exchange.text("qtap.incomplete"), if whole { "" } else { "fields_unknown" }, "{exchange:?}");
    for fact in ["http.request.method", "http.response.status_code", "url.path"] {
        if exchange.has(fact) { recovered.known += 1 } else { recovered.unknown += 1 }
    }
    recovered
}
