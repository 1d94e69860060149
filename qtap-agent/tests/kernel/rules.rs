//! Rules on real traffic: each exchange gets the level of the first rule that matches, by fields known early, fields known late, and fields of
//! its process; and bodies that no rule wants are counted.

use super::lab::{Lab, output_of, wait_until};
use super::nginx::Nginx;
use super::qtap::{Agent, exec_script, get};

const FILE: &str = "version: 2
services:
  event_stores: [{type: stdout}]
  object_stores: [{type: stdout}]
rulekit:
  macros:
    - {name: missing, expr: http.res.status == 404}
stacks:
  default_stack:
    plugins:
      - type: redact
      - type: http_capture
        config:
          level: summary
          rules:
            - {name: nothing, expr: http.req.url contains \"nothing\", level: none}
            - {name: missing, expr: missing() and tls.enabled, level: full}
            - {name: red, expr: src.process.env.TEAM == \"red\" and src.process.binary == \"curl\", level: full}
            - {name: slow, expr: http.req.path == \"/never\" and http.duration_ms > 100000, level: full}
";

#[test]
fn the_first_rule_that_passes_says_the_level() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"the body\n");
    let config = lab.write("qtap.yaml", FILE.as_bytes()).display().to_string();
    let (plain, tls) = (nginx.http(""), nginx.https(""));
    let script = format!(
        "for at in {plain} {tls}; do \
           curl -sk \"$at/a.txt?summary\"; curl -sk \"$at/none?missing\"; curl -sk \"$at/a.txt?nothing\"; \
           TEAM=red curl -sk \"$at/a.txt?red\"; TEAM=blue curl -sk \"$at/a.txt?blue\"; done"
    );
    let records = exec_script(&lab, &["--config", &config], &script).records;
    records.assert_whole();
    let told = |exchange: &super::records::Record| {
        let scheme = exchange.text("url.scheme");
        format!("{scheme} {} {}", exchange.text("url.query"), exchange.has("artifact.response.digest"))
    };
    let mut all: Vec<String> = records.exchanges().into_iter().map(told).collect();
    all.sort();
    let wanted = [
        "http blue false",
        "http missing false",
        "http red true",
        "http summary false",
        "https blue false",
        "https missing true",
        "https red true",
        "https summary false",
    ];
    assert_eq!(all, wanted, "{}", records.told());
    for exchange in records.exchanges().into_iter().filter(|exchange| exchange.has("artifact.response.digest")) {
        let body = records.object(exchange.text("artifact.response.digest")).text("artifact.data");
        let text = if exchange.text("url.query") == "red" { "the body" } else { "404" };
        assert!(body.contains(text), "{body}");
    }
}

#[test]
fn what_no_rule_wants_is_counted() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'x'; 10_000]);
    let config = lab.write("qtap.yaml", FILE.as_bytes()).display().to_string();
    let pid = nginx.pid().to_string();
    let agent = Agent::start(&lab, ["--config", &config, "--pid", &pid]);
    for _ in 0..3 {
        output_of(std::process::Command::new("curl").args(["-sk", &nginx.https("/a.txt?summary")]));
        output_of(std::process::Command::new("curl").args(["-sk", &nginx.https("/none?missing")]));
    }
    agent.wait_for("qtap.artifact_record", 6);
    let rules = serde_json::json!({"nothing": 0, "missing": 3, "red": 0, "slow": 0});
    wait_until("what was not wanted is counted", || {
        let status = get(agent.port, "/status").unwrap();
        let status: serde_json::Value = serde_json::from_str(status.split_once("\r\n\r\n").unwrap().1).unwrap();
        status["body_bytes_unwanted"] == 30_000 && status["rules"] == rules
    });
    let page = get(agent.port, "/metrics").unwrap();
    for line in ["qtap_body_bytes_unwanted_total 30000\n", "qtap_rule_passed_total{rule=\"missing\"} 3\n"] {
        assert!(page.contains(line), "{page}");
    }
    agent.stop();
}
