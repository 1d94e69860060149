//! HTTP/2 without TLS, with the stacks of Node and Go, a hundred streams at once: every exchange is reported, each response with its
//! own request.

use std::collections::{BTreeMap, BTreeSet};

use super::lab::Lab;
use super::nginx::Nginx;
use super::python::{Script, go_program, node, script};
use super::qtap::{Agent, exec_script};
use super::records::Records;

const COUNT: usize = 1000;

/// Every id occurs once, and its request and response carry the same id.
fn assert_each_with_its_own(records: &Records, prefix: &str) {
    records.assert_whole();
    assert_eq!(records.exchanges().len(), COUNT, "{}", records.told());
    let mut ids = BTreeSet::new();
    // There are thousands of objects, so each is parsed only once.
    let objects: BTreeMap<_, _> =
        records.objects().into_iter().map(|object| (object.text("artifact.digest"), object)).collect();
    for exchange in records.exchanges() {
        let id = exchange.text("url.path").strip_prefix("/echo/").unwrap();
        assert!(id.starts_with(prefix) && ids.insert(id), "{id} twice");
        assert_eq!(exchange.number("http.response.status_code"), 200);
        assert_eq!(exchange.text("network.protocol.version"), "2");
        let artifact = |side: &str| objects[exchange.text(&format!("artifact.{side}.digest"))].artifact();
        let (request, response) = (artifact("request"), artifact("response"));
        assert_eq!(request["body"]["data"], format!("said {id}"));
        assert_eq!(response["body"]["data"], format!("echo {id} said {id}"));
        let named = |artifact: &serde_json::Value| {
            let headers = artifact["headers"].as_array().unwrap();
            headers.iter().any(|field| field["name"] == "x-id" && field["value"] == id)
        };
        assert!(named(&request) && named(&response), "{request} {response}");
    }
}

#[test]
fn a_hundred_streams_at_once_from_node_and_from_go() {
    let Some(lab) = Lab::open() else { return };
    let (Some(node), Some(go)) = (node(), go_program(&lab, "h2c.go")) else { return };
    let mut server = Script::run_by(node.clone(), "http2.mjs", &["serve"]);
    let port = server.line();
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes()).display().to_string();
    let clients = [
        ("n", format!("{} {} many {port} {COUNT}", node.display(), script("http2.mjs").display())),
        ("g", format!("{} {port} {COUNT}", go.display())),
    ];
    for (prefix, client) in clients {
        // Both ends: the client from its first byte, the server as a process that already runs.
        let agent = Agent::start(&lab, ["--config", &config, "--pid", &server.child.pid().to_string()]);
        let captured = exec_script(&lab, &[], &client);
        assert_eq!(captured.stdout.trim(), format!("{COUNT} answered"));
        assert_each_with_its_own(&captured.records, prefix);
        agent.wait_for("\"artifact_record\"", COUNT);
        assert_each_with_its_own(&agent.stop().records, prefix);
    }
}

/// Responses already under way when their requests were cancelled are not exchanges, however many there are.
#[test]
fn hundreds_of_streams_are_cancelled_at_once() {
    const COUNT: usize = 800;
    let Some(lab) = Lab::open() else { return };
    let Some(node) = node() else { return };
    let mut server = Script::run_by(node.clone(), "http2.mjs", &["late"]);
    let port = server.line();
    let client = format!("{} {} cancelled {port} {COUNT}", node.display(), script("http2.mjs").display());
    let captured = exec_script(&lab, &[], &client);
    assert_eq!(captured.stdout.trim(), "late");
    let exchanges = captured.records.exchanges();
    let paths: BTreeSet<_> = exchanges.iter().map(|exchange| exchange.text("url.path")).collect();
    assert_eq!((exchanges.len(), paths.len()), (COUNT + 1, COUNT + 1), "{}", captured.records.told());
    captured.records.assert_conserved();
}

/// gRPC, or another HTTP/2 client with prior knowledge, on an HTTP/1 port: the response must not be parsed as a frame of four megabytes.
#[test]
fn a_server_of_http1_by_prior_knowledge() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    let url = nginx.http("/a.txt");
    let captured = exec_script(&lab, &[], &format!("! curl -s --http2-prior-knowledge '{url}'"));
    let exchange = captured.records.exchange_of("/a.txt");
    assert_eq!(exchange.text("qtap.incomplete"), "unparsed", "{}", captured.records.told());
    let [connection] = captured.records.closed()[..] else { panic!("{}", captured.records.told()) };
    assert_eq!(connection.losses()["unparsed"], connection.number("connection.bytes_received"));
    captured.records.assert_conserved();
}
