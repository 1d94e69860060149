//! Exports from a live capture: replays that give the same records, OTLP receivers in another language, an object store.

use super::lab::{Lab, digest, noise, output_of, wait_until};
use super::nginx::Nginx;
use super::python::{Script, interpreter, script};
use super::qtap::{Agent, exec_script, get, run, text};

#[test]
fn a_replay_tells_the_same_records() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.bin", &noise(200_000));
    let recording = lab.path("live.qtap").display().to_string();
    let line = format!(
        "set -e; exec > /dev/null
curl -sk --http1.1 '{}'; curl -sk --http2 '{}'; curl -s '{}'; curl -s --unix-socket {} http://x/a.bin
{} {} pipelined {} /a.bin?pipelined 5; h2load -n 50 -c 1 -m 10 '{}'",
        nginx.https("/a.bin?h1"),
        nginx.https("/a.bin?h2"),
        nginx.http("/a.bin?plain"),
        nginx.socket().display(),
        python.display(),
        script("client.py").display(),
        nginx.http,
        nginx.https("/a.bin?h2load"),
    );
    let live = exec_script(&lab, &["--recording", &recording], &line);
    live.records.assert_whole();
    assert_eq!(live.records.exchanges().len(), 4 + 5 + 50);
    let again = lab.path("again.jsonl");
    let replayed = run(&lab, ["replay", "-o", &again.display().to_string(), &recording]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let (live, again) = (text(&lab.path("records.jsonl")), text(&again));
    let (mut left, mut right): (Vec<_>, Vec<_>) = (live.lines().collect(), again.lines().collect());
    left.sort_unstable();
    right.sort_unstable();
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
}

/// A config with these stores in place of standard output.
pub fn config(stores: &str) -> String {
    let text = super::scope::config("level: full", "");
    let (head, tail) =
        text.split_once("  event_stores: [{type: stdout}]\n  object_stores: [{type: stdout}]\n").unwrap();
    format!("{head}{stores}{tail}")
}

#[test]
fn otlp_to_a_receiver_in_python() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    for (protocol, encoding) in [("grpc", ""), ("http", "encoding: protobuf, "), ("http", "encoding: json, ")] {
        let Some(mut receiver) = Script::start("../export/otlp_receiver.py", &["{}"]) else { return };
        let ports: serde_json::Value = serde_json::from_str(&receiver.line()).unwrap();
        let store = format!(
            "{{type: otel, id: otel, endpoint: 'http://127.0.0.1:{}', protocol: {protocol}, {encoding}batch: {{interval: 100ms}}}}",
            ports[protocol]
        );
        let file = lab
            .write("qtap.yaml", config(&format!("  event_stores: [{store}]\n  object_stores: [{store}]\n")).as_bytes());
        let line = format!("curl -sk '{}' > /dev/null", nginx.https("/a.txt"));
        exec_script(&lab, &["--config", &file.display().to_string()], &line);
        let mut names = Vec::new();
        let mut connections = std::collections::BTreeSet::new();
        while names.len() < 4 {
            let request: serde_json::Value = serde_json::from_str(&receiver.line()).expect("all that was told arrives");
            assert_eq!(request["answer"], "OK");
            for resource in request["request"]["resourceLogs"].as_array().unwrap() {
                for log in
                    resource["scopeLogs"].as_array().unwrap().iter().flat_map(|s| s["logRecords"].as_array().unwrap())
                {
                    let attributes = log["attributes"].as_array().unwrap();
                    let named = |name: &str| attributes.iter().find(|one| one["key"] == name);
                    let id = named("connection.id").unwrap();
                    // On a slow machine the connection was also reported while it was open.
                    if named("connection.finalized").is_none_or(|one| one["value"]["boolValue"] == true) {
                        names.push(log["eventName"].as_str().unwrap().to_owned());
                    }
                    connections.insert(id["value"]["stringValue"].as_str().unwrap().to_owned());
                }
            }
        }
        names.sort();
        assert_eq!(
            names,
            ["qtap.artifact_record", "qtap.connection", "qtap.object", "qtap.object"],
            "{protocol} {encoding}"
        );
        assert_eq!(connections.len(), 1);
    }
}

#[test]
fn objects_fetched_back_from_s3() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut moto) = Script::start("s3.py", &[]) else { return };
    let port = moto.line();
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.bin", &noise(100_000));
    let stores = format!(
        "  event_stores: [{{type: stdout}}]
  object_stores:
    - {{type: s3, endpoint: '127.0.0.1:{port}', insecure: true, bucket: artifacts, region: us-east-1, access_key: id, secret_key: key}}
"
    );
    let file = lab.write("qtap.yaml", config(&stores).as_bytes());
    let line = format!("curl -sk '{}' > /dev/null", nginx.https("/a.bin"));
    let records = exec_script(&lab, &["--config", &file.display().to_string()], &line).records;
    records.assert_whole();
    let exchange = records.exchange_of("/a.bin");
    for side in ["request", "response"] {
        let url = exchange.text(&format!("artifact.{side}.url"));
        let fetched = std::process::Command::new("curl")
            .args(["-sf", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "id:key", url])
            .output()
            .unwrap();
        assert!(fetched.status.success(), "{url}");
        assert_eq!(digest(&fetched.stdout), exchange.text(&format!("artifact.{side}.digest")));
        let artifact: serde_json::Value = serde_json::from_slice(&fetched.stdout).unwrap();
        if side == "response" {
            assert_eq!(artifact["body"]["digest"], digest(&noise(100_000)));
        }
    }
}

/// A store that can't be reached: records wait on disk, a second agent on the same data directory is refused, and the next agent sends them.
#[test]
fn what_waits_on_disk_is_there_at_the_next_start() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let store = "{type: otel, id: far, endpoint: 'http://127.0.0.1:9', retry: {initial: 100ms, max: 1s}}";
    let stores = format!("  event_stores: [{store}]\n  object_stores: [{store}]\n");
    let file = lab.write("qtap.yaml", config(&stores).as_bytes()).display().to_string();
    // Both workers, because either may answer.
    let workers = nginx.workers().iter().map(u32::to_string).collect::<Vec<_>>();
    let arguments = ["--config", &file, "--pid", &workers[0], "--pid", &workers[1]];
    let queued = |agent: &Agent| {
        let answer = get(agent.port, "/status").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&status["stores"][0]["queue"], &status["data_dir"]["used"]), (&"disk".into(), &true.into()));
        status["stores"][0]["queued_records"].as_u64().unwrap()
    };
    let agent = Agent::start(&lab, arguments);
    output_of(std::process::Command::new("curl").arg("-s").arg(nginx.http("/a.txt")));
    // The exchange, its request and response objects, and a connection report.
    wait_until("records wait", || queued(&agent) >= 4);
    let data = lab.path("data").display().to_string();
    let refused = run(&lab, ["run", "--config", &file, "--data-dir", &data, "--pid", &workers[0]]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("in use by another qtap"), "{}", refused.stderr);
    let ended = agent.stop();
    assert!(ended.code == Some(0) && ended.stderr.contains("wait on disk for the next start"), "{}", ended.stderr);
    let agent = Agent::start(&lab, arguments);
    assert!(queued(&agent) >= 4);
    agent.stop();
}
