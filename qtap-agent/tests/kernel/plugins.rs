//! Plugins on live traffic: what each reports about real programs.

use serde_json::Value;

use super::lab::{Lab, digest, output_of, wait_until};
use super::nginx::Nginx;
use super::qtap::{Agent, get, run_exec, text};
use super::records::{Records, parse};

const STORES: &str = "version: 2\nservices: {event_stores: [{type: stdout}], object_stores: [{type: stdout}]}\n";

/// A config with a stack of these plugins.
fn config(lab: &Lab, plugins: &str) -> String {
    let text = format!("{STORES}stacks:\n  s:\n    plugins:\n{plugins}");
    lab.write("qtap.yaml", text.as_bytes()).display().to_string()
}

#[test]
fn one_stack_with_all_of_them() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"all is well\n");
    nginx.serve("empty.txt", b"");
    nginx.serve("trouble.txt", b"something went wrong here\n");
    let file = config(
        &lab,
        "      - {type: http_capture, config: {level: summary}}
      - {type: access_logs, config: {mode: details, format: json}}
      - {type: report_usage}
      - type: detect_errors
        config:
          rules:
            - {name: refused, category: client, status: [404], record: [request_headers, response_body]}
            - {name: empty, empty_body: true}
            - {name: trouble, body_contains: [went wrong], content_types: [text/plain]}
            - {name: slow, min_duration: 1h}
            - {name: elsewhere, status: [200], urls: [/elsewhere/]}
      - {type: http_metrics}
      - {type: redact}
      - {type: sample, config: {ratio: 1, rate: 1000}}
",
    );
    let curl = "curl -sk -o /dev/null -H 'Authorization: Bearer hunter2-token'";
    let script = format!(
        "{curl} --http1.1 '{}'; {curl} --http2 '{}'; {curl} '{}'; {curl} '{}'; curl -s -o /dev/null -u me:hunter2 '{}'",
        nginx.https("/a.txt?token=hunter2"),
        nginx.https("/missing"),
        nginx.https("/empty.txt"),
        nginx.https("/trouble.txt"),
        nginx.http("/a.txt"),
    );
    let (records, lines) = told(&lab, &["--config", &file], &script);
    records.assert_whole();
    assert_eq!((records.exchanges().len(), lines.len()), (5, 5), "{}", records.told());
    let of = |kind: &str| records.all.iter().filter(|record| record.kind() == kind).collect::<Vec<_>>();
    let requests = of("request");
    let kinds: Vec<&str> = requests.iter().map(|request| request.text("request.auth.type")).collect();
    assert_eq!(kinds, ["bearer_opaque", "bearer_opaque", "bearer_opaque", "bearer_opaque", "basic"]);
    for request in &requests[..4] {
        assert_eq!(request.text("request.auth.digest"), digest(b"hunter2-token"));
    }
    assert!(!requests[4].has("request.auth.digest"), "a password can be guessed");
    let issues = of("issue");
    let found: Vec<_> = issues.iter().map(|issue| (issue.text("issue.name"), issue.text("issue.url"))).collect();
    let (missing, empty, trouble) = (nginx.https("/missing"), nginx.https("/empty.txt"), nginx.https("/trouble.txt"));
    assert_eq!(found, [("refused", missing.as_str()), ("empty", empty.as_str()), ("trouble", trouble.as_str())]);
    let recorded = records.object(issues[0].text("issue.response.digest")).artifact();
    assert!(
        recorded["status"] == 404
            && recorded["body"]["data"].as_str().is_some_and(|body| body.contains("404 Not Found"))
    );
    assert_eq!(records.objects().len(), 2, "what the first issue records");
    for (line, exchange) in lines.iter().zip(records.exchanges()) {
        assert_eq!(line["request_id"], exchange.text("connection.request_id"));
        assert_eq!(line["url"], exchange.text("url.full"));
        assert_eq!((&line["process"], line["response"]["body"].get("data")), (&Value::from("curl"), None));
    }
}

/// `qtap exec` of a script: its records, and the lines of its access logs. No secret may be in either.
fn told(lab: &Lab, arguments: &[&str], script: &str) -> (Records, Vec<Value>) {
    let out = lab.path("records.jsonl");
    let mut line: Vec<&str> = arguments.to_vec();
    line.extend(["--log-level", "info"]);
    let ended = run_exec(lab, line, &out, ["sh", "-c", script]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let all = text(&out);
    // The command lines of the shell and of curl are reported; known secrets in them are redacted.
    assert!(!all.contains("hunter2-token"), "{all}");
    let (records, lines): (Vec<&str>, Vec<&str>) = all.lines().partition(|line| line.contains("resourceLogs"));
    let records = parse(&records.join("\n"));
    records.assert_conserved();
    (records, lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn lines_for_people_on_standard_output() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let file = config(&lab, "      - {type: access_logs}\n      - {type: redact}\n");
    let worker = nginx.workers().iter().map(u32::to_string).collect::<Vec<_>>();
    let agent = Agent::start(&lab, ["--config", &file, "--pid", &worker[0], "--pid", &worker[1]]);
    for path in ["/a.txt?one", "/missing"] {
        output_of(std::process::Command::new("curl").args(["-sk", "-o", "/dev/null"]).arg(nginx.https(path)));
    }
    wait_until("both lines are there", || {
        agent.printed().lines().filter(|line| line.contains(" GET https://")).count() == 2
    });
    let printed = agent.printed();
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains(" GET https://")).collect();
    for (line, (url, status)) in lines.iter().zip([(nginx.https("/a.txt?one"), 200), (nginx.https("/missing"), 404)]) {
        assert!(
            line.starts_with("20") && line.contains(" nginx[") && line.contains(&format!(" GET {url} {status} ")),
            "{line}"
        );
    }
    assert!(
        printed.lines().all(|line| line.contains(" GET https://") || line.contains("qtap.connection")),
        "{printed}"
    );
    let metrics = get(agent.port, "/metrics").unwrap_or_default();
    assert!(!metrics.contains("qtap_http_requests_total{"), "nobody asked for them");
    agent.end();
}

#[test]
fn metrics_and_samples_of_a_running_agent() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let file = config(
        &lab,
        "      - {type: http_capture}\n      - {type: http_metrics}\n      - {type: redact}\n      - {type: sample, config: {rate: 1, burst: 2}}\n",
    );
    let worker = nginx.workers().iter().map(u32::to_string).collect::<Vec<_>>();
    let agent = Agent::start(&lab, ["--config", &file, "--pid", &worker[0], "--pid", &worker[1]]);
    let url = nginx.http("/a.txt");
    output_of(
        std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null"])
            .args([url.as_str(); 5]),
    );
    let value = |name: &str| {
        let page = get(agent.port, "/metrics").unwrap_or_default();
        page.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    wait_until("all are counted", || value("qtap_http_requests_total{") >= 5.0);
    wait_until("the loss is published", || value("qtap_loss_total{reason=\"sampled_out\"}") >= 3.0);
    assert_eq!((value("qtap_http_requests_total{"), value("qtap_loss_total{reason=\"sampled_out\"}")), (5.0, 3.0));
    let ended = agent.stop();
    assert_eq!(ended.records.exchanges().len(), 2);
    let left_out: i64 =
        ended.records.closed().iter().map(|record| record.int("connection.sampled_out").unwrap_or(0)).sum();
    assert_eq!(left_out, 3, "{}", ended.records.told());
}
