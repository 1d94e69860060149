//! Plugins on recordings of real exchanges, run by the program itself: every line of output is complete, says what it is, and is the same on a
//! second run. In: the recordings of `replay/` and a config. Out: lines of the stdout protocol, and those of `access_logs`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A config with every plugin of a stack, followed by `more`.
fn config(format: &str, more: &str) -> String {
    format!(
        "version: 2
services: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}
stacks:
  all:
    plugins:
      - {{type: http_capture, config: {{level: summary}}}}
      - {{type: access_logs, config: {{mode: full, format: {format}}}}}
      - {{type: redact}}
      - {{type: report_usage, config: {{digest: all}}}}
      - type: detect_errors
        config:
          rules:
            - {{name: refused, category: client, status: [4xx], record: [request_headers, response_body]}}
            - {{name: any, status: [2xx], empty_body: true}}
      - {{type: http_metrics}}
{more}"
    )
}

/// The output of one replay.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Records by event name, each with its attributes by name.
    records: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    /// Lines that are not records, in order.
    lines: Vec<String>,
    whole: String,
}

impl Told {
    fn of(&self, event: &str) -> &[BTreeMap<String, Value>] {
        self.records.get(event).map(Vec::as_slice).unwrap_or_default()
    }
}

fn recording(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay").join(case).join("recording.qtap")
}

fn replay(case: &str, config: &str) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("qtap.yaml"), dir.path().join("out"));
    std::fs::write(&file, config).unwrap();
    let mut qtap = Command::new(env!("CARGO_BIN_EXE_qtap"));
    qtap.env_clear().arg("replay").arg("-o").arg(&out).arg("--config").arg(&file).arg(recording(case));
    let ended = qtap.output().unwrap();
    assert!(ended.status.success(), "{case}: {}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stdout.is_empty(), "with -o, lines go to the file too");
    let whole = std::fs::read_to_string(out).unwrap();
    let mut told = Told { whole: whole.clone(), ..Told::default() };
    for line in whole.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value.get("resourceLogs").is_some() => {
                let record = &value["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
                let pair = |pair: &Value| (pair["key"].as_str().unwrap().to_owned(), flat(&pair["value"]));
                let attributes = record["attributes"].as_array().unwrap().iter().map(pair).collect();
                told.records.entry(record["eventName"].as_str().unwrap().to_owned()).or_default().push(attributes);
            }
            _ => told.lines.push(line.to_owned()),
        }
    }
    told
}

/// The plain value, without the name of its type.
fn flat(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => inner.as_str().unwrap().parse::<i64>().unwrap().into(),
        "arrayValue" => inner["values"].as_array().unwrap().iter().map(flat).collect(),
        _ => inner.clone(),
    }
}

#[test]
fn each_exchange_has_its_line_and_its_use_and_each_issue_its_objects() {
    let told = replay("h1-keep-alive", &config("json", ""));
    let exchanges = told.of("qtap.artifact_record");
    assert_eq!(exchanges.len(), 3);
    assert_eq!((told.lines.len(), told.of("qtap.request").len(), told.of("qtap.issue").len()), (3, 3, 1));
    for (exchange, line) in exchanges.iter().zip(&told.lines) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["type"], &line["request_id"]), (&"access_log".into(), &exchange["connection.request_id"]));
        assert_eq!((&line["url"], &line["status"]), (&exchange["url.full"], &exchange["http.response.status_code"]));
        assert_eq!(&line["response"]["body"]["size"], &exchange["http.response.body.size"]);
    }
    let issue = &told.of("qtap.issue")[0];
    let refused = exchanges.iter().find(|exchange| exchange["http.response.status_code"] == 404).unwrap();
    assert_eq!((&issue["issue.name"], &issue["issue.category"]), (&"refused".into(), &"client".into()));
    assert_eq!(
        (&issue["issue.url"], &issue["connection.request_id"]),
        (&refused["url.full"], &refused["connection.request_id"])
    );
    let digests: BTreeSet<String> =
        told.of("qtap.object").iter().map(|object| object["artifact.digest"].to_string()).collect();
    let named = ["issue.request.digest", "issue.response.digest"].map(|name| issue[name].to_string()).into();
    assert_eq!(digests, named, "what the issue records, and nothing else at `summary`");
    let data = |kind: &str| {
        told.of("qtap.object").iter().find(|object| object["artifact.type"] == kind).unwrap()["artifact.data"].clone()
    };
    let read = |text: Value| -> Value { serde_json::from_str(text.as_str().unwrap()).unwrap() };
    assert_eq!(read(data("http_request"))["body"].get("data"), None);
    assert_eq!(read(data("http_response"))["status"], 404);
    assert!(read(data("http_response"))["body"]["data"].as_str().is_some_and(|body| !body.is_empty()));
}

#[test]
fn each_level_format_and_number_of_artifacts_is_obeyed() {
    let objects = |config: &str| {
        let text = format!(
            "version: 2\nservices: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}\nstacks: {{s: {{plugins: [{{type: http_capture, config: {{{config}}}}}, {{type: redact}}]}}}}\n"
        );
        let told = replay("h1-post", &text);
        let text = |object: &BTreeMap<String, Value>, name: &str| object[name].as_str().unwrap().to_owned();
        let show = |object| {
            (text(object, "artifact.type"), text(object, "artifact.content_type"), text(object, "artifact.data"))
        };
        (told.of("qtap.artifact_record").len(), told.of("qtap.object").iter().map(show).collect::<Vec<_>>())
    };
    assert_eq!(objects("level: none"), (0, Vec::new()));
    assert_eq!(objects("level: summary"), (1, Vec::new()));
    let media_types = [("json", "application/json"), ("http", "message/http"), ("text", "text/plain; charset=utf-8")];
    for ((format, media_type), level) in media_types.into_iter().flat_map(|one| [(one, "details"), (one, "full")]) {
        let (count, split) = objects(&format!("level: {level}, format: {format}"));
        assert_eq!((count, split.len()), (1, 2));
        for ((kind, content_type, data), (wanted, body)) in
            split.iter().zip([("http_request", "Ada"), ("http_response", "1415}")])
        {
            assert_eq!((kind.as_str(), content_type.as_str()), (wanted, media_type));
            assert_eq!(data.contains(body), level == "full", "{format} {level}: {data}");
        }
        let (_, transaction) = objects(&format!("level: {level}, format: {format}, artifacts: transaction"));
        let [(kind, content_type, data)] = transaction.as_slice() else { panic!("{transaction:?}") };
        assert_eq!((kind.as_str(), content_type.as_str()), ("http_transaction", media_type));
        assert_eq!(data.contains("Ada") && data.contains("1415}"), level == "full");
    }
}

#[test]
fn a_credential_is_told_by_its_digest_and_nothing_of_it_leaves() {
    for format in ["json", "console"] {
        let told = replay("h1-python-requests", &config(format, ""));
        let used: Vec<_> =
            told.of("qtap.request").iter().filter(|request| request.contains_key("request.auth.type")).collect();
        assert_eq!(used.len(), 1);
        let digest: String = Sha256::digest(b"not-a-secret").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(used[0]["request.auth.type"], "bearer_opaque");
        assert_eq!(used[0]["request.auth.digest"], format!("sha256:{digest}"));
        assert!(!told.whole.contains("not-a-secret") && told.whole.contains("[redacted]"));
        assert_eq!(told.lines.len(), told.of("qtap.request").len());
    }
}

#[test]
fn lines_for_people_are_one_an_exchange() {
    let told = replay("h1-gzip", &config("console", ""));
    let [line] = told.lines.as_slice() else { panic!("{:?}", told.lines) };
    let exchange = &told.of("qtap.artifact_record")[0];
    let start = format!(
        " {} {} 200 ",
        exchange["http.request.method"].as_str().unwrap(),
        exchange["url.full"].as_str().unwrap()
    );
    assert!(line.starts_with("20") && line.contains(&start) && line.contains("| HTTP/1.1 200 OK |"), "{line}");
}

#[test]
fn rules_say_which_lines_and_which_issues() {
    let text = "version: 2
services: {event_stores: [{type: stdout}]}
rulekit: {macros: [{name: refused, expr: http.res.status == 404}]}
stacks:
  s:
    plugins:
      - {type: access_logs, config: {mode: none, format: json, rules: [{name: a, expr: refused(), mode: details}]}}
      - {type: detect_errors, config: {rules: [{name: b, expr: not refused() and src.process.binary == 'curl'}]}}
      - {type: redact}
";
    let told = replay("h1-keep-alive", text);
    let [line] = told.lines.as_slice() else { panic!("{:?}", told.lines) };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["status"], line["response"]["headers"].is_array()), (&404.into(), true));
    let issues = told.of("qtap.issue");
    let statuses: Vec<&Value> = issues.iter().map(|issue| &issue["issue.status_code"]).collect();
    assert_eq!(statuses, [200, 200]);
    assert!(issues.iter().all(|issue| issue["issue.reasons"] == serde_json::json!(["rule"])));
}

#[test]
fn the_same_recording_tells_the_same_again() {
    let sampled = "      - {type: sample, config: {ratio: 0.5, rate: 3, keep_errors: true}}\n";
    for case in ["h2-tls-streams", "h1-pipelined", "h1-proxy"] {
        for more in ["", sampled] {
            let [one, other] = [(); 2].map(|()| replay(case, &config("json", more)));
            assert_eq!((one.records, one.lines), (other.records, other.lines), "{case}");
        }
    }
}

#[test]
fn what_is_left_out_is_told_by_its_connection() {
    let all = replay("h1-pipelined", &config("json", ""));
    let count = all.of("qtap.artifact_record").len() as i64;
    assert_eq!(count, 5);
    let none = replay("h1-pipelined", &config("json", "      - {type: sample, config: {ratio: 0}}\n"));
    assert_eq!((none.lines.len(), none.records.len()), (0, 1), "only the connection is told");
    assert!(none.of("qtap.connection").iter().all(|record| record["connection.sampled_out"] == count));
    assert!(all.of("qtap.connection").iter().all(|record| !record.contains_key("connection.sampled_out")));
    let two = replay("h1-pipelined", &config("json", "      - {type: sample, config: {rate: 1, burst: 2}}\n"));
    assert_eq!((two.lines.len(), two.of("qtap.artifact_record").len(), two.of("qtap.request").len()), (2, 2, 2));
    let last = two.of("qtap.connection").last().unwrap();
    assert_eq!((&last["connection.sampled_out"], &last["connection.requests"]), (&(count - 2).into(), &count.into()));
    let kept =
        replay("h1-keep-alive", &config("json", "      - {type: sample, config: {ratio: 0, keep_errors: true}}\n"));
    assert_eq!((kept.lines.len(), kept.of("qtap.issue").len(), kept.of("qtap.artifact_record").len()), (1, 1, 1));
}
