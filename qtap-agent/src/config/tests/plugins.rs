//! The configs of plugins: each key is obeyed, and what is wrong is reported.

use std::time::Duration;

use super::{bad, good, plugins, steps};
use crate::pipeline::settings::{
    AccessLogs, DetectErrors, HttpMetrics, IssueRule, Level, LogFormat, Macros, Pattern, Recorded, ReportUsage, Sample,
    SampleBy, StatusPattern, Step, UrlPattern, UsageDigest, compile,
};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn every_key_of_access_logs() {
    for (word, mode) in
        [("none", Level::None), ("summary", Level::Summary), ("details", Level::Details), ("full", Level::Full)]
    {
        for (name, format) in [("console", LogFormat::Console), ("json", LogFormat::Json)] {
            let step = steps(&format!("- {{type: access_logs, config: {{mode: {word}, format: {name}}}}}\n")).remove(0);
            assert_eq!(step, Step::AccessLogs(AccessLogs { mode, format, rules: Vec::new() }));
        }
    }
    assert_eq!(steps("- type: access_logs"), [Step::AccessLogs(AccessLogs::default())]);
}

#[test]
fn rules_of_access_logs() {
    let text = "- type: access_logs
  config:
    mode: details
    rules: [{name: health, expr: http.req.path == '/healthz', mode: none}, {name: errors, expr: http.res.status >= 500, mode: full}]
- type: redact";
    let Step::AccessLogs(logs) = steps(text).remove(0) else { panic!("not access_logs") };
    let told: Vec<_> = logs.rules.iter().map(|rule| (rule.name.as_str(), rule.rule.text(), rule.level)).collect();
    let wanted =
        [("health", "http.req.path == \"/healthz\"", Level::None), ("errors", "http.res.status >= 500", Level::Full)];
    assert_eq!((logs.mode, told.as_slice(), logs.highest()), (Level::Details, &wanted[..], Level::Full));
    let lines = "- {type: access_logs, config: {mode: none, rules: [{name: a, expr: src.process.env.TEAM == 'x', mode: full}]}}\n- type: redact";
    let settings = good(&plugins(lines)).0;
    assert!(settings.tap.http_wanted && settings.pipeline.keeps_bodies());
    assert_eq!(settings.pipeline.variables(), ["TEAM"]);
    let wrong = bad(&plugins(
        "- {type: access_logs, config: {rules: [{name: a, expr: http.res.statu > 1, mode: all}, {expr: 'true'}]}}",
    ));
    for part in [
        "http.res.status",
        "`mode` cannot be `all`",
        "`name` is missing in a rule of `access_logs`",
        "`mode` is missing",
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
}

#[test]
fn every_key_of_report_usage() {
    let text = "- {type: report_usage, config: {headers: [api_keys, X-Mine], cookies: [Mine], query_keys: [], digest: all, claims: [iss, azp]}}";
    let built_in = ReportUsage::default();
    let wanted = ReportUsage {
        headers: [built_in.headers.clone(), words(&["x-mine"])].concat(),
        cookies: words(&["mine"]),
        query_keys: Vec::new(),
        digest: UsageDigest::All,
        claims: words(&["iss", "azp"]),
    };
    assert_eq!(steps(text), [Step::ReportUsage(wanted)]);
    let text = "- {type: report_usage, config: {cookies: [sessions, mine], query_keys: [api_keys], digest: none}}";
    let wanted = ReportUsage {
        cookies: [built_in.cookies.clone(), words(&["mine"])].concat(),
        digest: UsageDigest::None,
        ..built_in
    };
    assert_eq!(steps(text), [Step::ReportUsage(wanted)]);
}

#[test]
fn every_key_of_detect_errors() {
    let text = "- type: detect_errors
  config:
    rules:
      - name: all
        category: shop
        expr: http.req.method == 'POST' and src.process.env.TEAM == 'a'
        status: [404, 5xx, 600-699, failed]
        empty_body: true
        min_duration: 1m30s
        body_contains: [a.b]
        body_matches: ['x+']
        content_types: [application/*]
        urls: [/api/]
        except_urls: ['*/health']
        record: [request_headers, response_headers, response_body]
      - {name: one, status: [500], record: [request_body]}";
    let url = |text: &str| UrlPattern::read(text).unwrap_or_else(|why| panic!("{why}"));
    let all = IssueRule {
        name: "all".to_owned(),
        category: Some("shop".to_owned()),
        expr: compile("http.req.method == 'POST' and src.process.env.TEAM == 'a'", &Macros::default()).ok(),
        status: vec![
            StatusPattern::Codes(404..=404),
            StatusPattern::Codes(500..=599),
            StatusPattern::Codes(600..=699),
            StatusPattern::Failed,
        ],
        empty_body: true,
        min_duration: Some(Duration::from_secs(90)),
        body: Pattern::text("a.b").into_iter().chain(Pattern::regex("x+").ok()).collect(),
        content_types: Pattern::glob("application/*").into_iter().collect(),
        urls: vec![url("/api/")],
        except_urls: vec![url("*/health")],
        request: Recorded::Head,
        response: Recorded::Body,
    };
    let one = IssueRule {
        name: "one".to_owned(),
        status: vec![StatusPattern::Codes(500..=500)],
        request: Recorded::Body,
        ..IssueRule::default()
    };
    let Step::DetectErrors(read) = steps(&format!("{text}\n- type: redact")).remove(0) else {
        panic!("not detect_errors")
    };
    assert_eq!(read, DetectErrors { rules: vec![all, one] });
    assert!(read.rules[0].body.len() == 2 && read.rules[0].expr.is_some());
    let settings = good(&plugins(&format!("{text}\n- type: redact"))).0;
    assert_eq!(settings.pipeline.variables(), ["TEAM"]);
    let wrong = bad(&plugins("- {type: detect_errors, config: {rules: [{name: a, expr: http.res.statu > 1}]}}"));
    assert!(wrong.contains("http.res.status") && !wrong.contains("asks for nothing"), "{wrong}");
    assert_eq!(steps("- type: detect_errors"), [Step::DetectErrors(DetectErrors::default())]);
    assert_eq!(
        steps("- {type: detect_errors, config: {rules: []}}"),
        [Step::DetectErrors(DetectErrors { rules: Vec::new() })]
    );
}

#[test]
fn every_key_of_http_metrics_and_sample() {
    assert_eq!(
        steps("- {type: http_metrics, config: {max_hosts: 7}}"),
        [Step::HttpMetrics(HttpMetrics { max_hosts: 7 })]
    );
    let sample = |text: &str| steps(&format!("- {{type: sample, config: {{{text}}}}}")).remove(0);
    let default = Sample::default();
    assert_eq!(
        sample("ratio: 0.25, by: trace, rate: 9, burst: 20, keep_errors: true"),
        Step::Sample(Sample { ratio: 0.25, by: SampleBy::Trace, rate: Some(9), burst: 20, keep_errors: true })
    );
    assert_eq!(sample("ratio: 0"), Step::Sample(Sample { ratio: 0.0, ..default.clone() }));
    assert_eq!(
        sample("rate: 9"),
        Step::Sample(Sample { rate: Some(9), burst: 9, ..default }),
        "a second's worth at once"
    );
}

#[test]
fn http_is_wanted_where_a_plugin_makes_something_of_it() {
    let wanted = |lines: &str| good(&plugins(lines)).0.tap.http_wanted;
    for (lines, is_wanted) in [
        ("- {type: http_capture, config: {level: none}}", false),
        ("- {type: access_logs, config: {mode: none}}", false),
        ("- {type: detect_errors, config: {rules: []}}", false),
        ("- {type: sample, config: {ratio: 0.5}}\n- type: redact", false),
        ("- type: access_logs", true),
        ("- type: detect_errors", true),
        ("- type: report_usage", true),
        ("- type: http_metrics", true),
    ] {
        assert_eq!(wanted(lines), is_wanted, "{lines}");
    }
}

#[test]
fn what_would_show_credentials_is_noted() {
    let notes = |lines: &str| good(&plugins(lines)).1.join("\n");
    for (lines, is_noted) in [
        ("- {type: access_logs, config: {mode: details}}", true),
        ("- {type: access_logs, config: {mode: details}}\n- type: redact", false),
        ("- {type: access_logs, config: {mode: summary}}", false),
        ("- {type: detect_errors, config: {rules: [{name: a, status: [500], record: [response_headers]}]}}", true),
        ("- {type: detect_errors, config: {rules: [{name: a, status: [500]}]}}", false),
    ] {
        assert_eq!(notes(lines).contains("exports headers as they are"), is_noted, "{lines}");
    }
    assert!(notes("- type: sample").contains("this `sample` leaves nothing out"));
    assert_eq!(notes("- {type: sample, config: {rate: 1}}"), "");
}

#[test]
fn a_rule_too_many_is_told() {
    let rules = |count: usize| {
        let rules: Vec<String> = (0..count).map(|number| format!("{{name: r{number}, status: [500]}}")).collect();
        plugins(&format!("- {{type: detect_errors, config: {{rules: [{}]}}}}", rules.join(", ")))
    };
    good(&rules(DetectErrors::MOST_RULES));
    assert!(bad(&rules(DetectErrors::MOST_RULES + 1)).contains("one rule too many"));
}
