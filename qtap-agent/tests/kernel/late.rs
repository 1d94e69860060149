//! Connections that were open before qtap was.

use super::lab::Lab;
use super::nginx::Nginx;
use super::python::{Script, node};
use super::qtap::Agent;

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
    assert!(["nested", "cached"].contains(&inspected[0].text("connection.binding")), "{:?}", inspected[0]);
}

/// A connection of HTTP/2 keeps tables of header fields from its first request on: what was put into them before qtap came is unknown,
/// and said to be so, until it is sent again.
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
    let ids: Vec<String> = (0..8).map(|number| format!("after{number}")).collect();
    for id in &ids {
        assert_eq!(client.ask(id), format!("echo {id} kept {id}"));
    }
    agent.wait_for("\"artifact_record\"", ids.len());
    drop(client);
    agent.wait_for("\"closed\"", 1);
    let records = agent.stop().records;
    assert_eq!(records.exchanges().len(), ids.len(), "{}", records.told());
    let (mut known, mut unknown) = (0, 0);
    for (id, exchange) in ids.iter().zip(records.exchanges()) {
        assert!(["", "fields_unknown"].contains(&exchange.text("qtap.incomplete")), "{exchange:?}");
        let (request, response) = (records.artifact_of(exchange, "request"), records.artifact_of(exchange, "response"));
        // What differs from request to request is new to the tables.
        assert_eq!(exchange.text("url.path"), format!("/kept/{id}"));
        assert_eq!(request["body"]["data"], format!("kept {id}"));
        assert_eq!(response["body"]["data"], format!("echo {id} kept {id}"));
        let said = [
            (&request, vec![("x-id", id.as_str()), ("x-client", "node"), ("content-type", "text/plain")]),
            (
                &response,
                vec![("x-id", id.as_str()), ("x-served-by", "node"), ("content-type", "text/plain"), ("date", "")],
            ),
        ];
        for (artifact, said) in said {
            for field in artifact["headers"].as_array().unwrap() {
                let (Some(name), Some(value)) = (field["name"].as_str(), field["value"].as_str()) else {
                    unknown += 1;
                    continue;
                };
                known += 1;
                let right =
                    said.iter().find(|(known, _)| *known == name).is_some_and(|(_, is)| is.is_empty() || *is == value);
                assert!(right, "never guessed: {field}");
            }
            assert_eq!(artifact["headers"].as_array().unwrap().len(), said.len(), "{artifact}");
        }
        let facts = ["http.request.method", "http.response.status_code", "url.path"];
        known += facts.iter().filter(|name| exchange.has(name)).count();
        unknown += facts.iter().filter(|name| !exchange.has(name)).count();
    }
    let share = 100 * known / (known + unknown);
    println!("joined in the middle of HTTP/2: {known} of {} fields recovered, {share} %", known + unknown);
    assert!(unknown > 0, "the tables hold something from before");
    assert!(share >= 60, "{share} %");
}
