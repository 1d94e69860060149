//! What plugins report of an exchange besides its artifacts: log lines, uses, issues.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::time::Duration;

use super::*;
use crate::model::record::{IssueRecord, RequestRecord};
use crate::pipeline::rule::{Macros, compile};
use crate::pipeline::settings::{
    AccessLogs, DetectErrors, IssueRule, LogFormat, Pattern, Recorded, ReportUsage, StatusPattern, UrlPattern,
};

fn line_of(mode: Level, format: LogFormat, redact: bool, http: HttpExchange) -> String {
    let mut steps = vec![Step::AccessLogs(AccessLogs { mode, format, rules: Vec::new() })];
    steps.extend(redact.then(|| Step::Redact(Redact::default())));
    let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
    let mut out = Vec::new();
    pipeline.apply(seen(http), &mut out);
    assert!(out.is_empty(), "a line is no record");
    let lines = pipeline.take_lines();
    assert_eq!(pipeline.take_lines(), "");
    lines
}

fn secret() -> HttpExchange {
    let mut http = http();
    let request = http.request.as_mut().unwrap();
    request.target = Some("/pay?id=7&token=c4n4ry".to_owned());
    request.fields.0.push(Field { name: known("Authorization"), value: known("Bearer c4n4ry") });
    http
}

#[test]
fn a_line_for_people_tells_what_its_mode_says() {
    let line = |mode| line_of(mode, LogFormat::Console, true, secret());
    let summary =
        "2026-01-02T03:04:05.100Z curl[42] POST https://shop.example:8443/pay?id=7&token=[redacted] 200 30.0ms 15B 5B";
    assert_eq!(line(Level::None), "");
    assert_eq!(line(Level::Summary), format!("{summary}\n"));
    let details = line(Level::Details);
    let place = " egress-external http1 10.0.0.2:50000 > 93.184.216.34:8443 trace=4bf92f3577b34da6a3ce929d0e0e4736";
    assert!(details.starts_with(&format!("{summary}{place} | POST https://shop.example")), "{details}");
    assert!(details.contains("| Authorization: [redacted] |") && details.contains("| HTTP/1.1 200 OK |"), "{details}");
    assert!(!details.contains("1 000") && !details.contains("paid"), "{details}");
    let full = line(Level::Full);
    assert!(full.contains(r#"| {"sum":"1 000"} |"#) && full.ends_with("| paid\n"), "{full}");
    for text in [summary, &details, &full] {
        assert!(!text.contains("c4n4ry") && text.matches('\n').count() <= 1, "{text}");
    }
    let half = HttpExchange { response: None, incomplete: Some(Incomplete::NoResponse), ..http() };
    let line = line_of(Level::Summary, LogFormat::Console, true, half);
    assert!(line.ends_with("/pay?id=7 - - 15B - (no_response)\n"), "{line}");
}

#[test]
fn a_line_as_json_tells_what_its_mode_says() {
    let line = |mode| line_of(mode, LogFormat::Json, true, secret());
    let read = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let summary = r#"{"time":"2026-01-02T03:04:05.100000000Z","type":"access_log","connection_id":"11111111-1111-1111-1111-111111111111","request_id":"11111111-1111-1111-1111-111111111111-0000000003","process":"curl","pid":42,"direction":"egress-external","protocol":"http1","method":"POST","url":"https://shop.example:8443/pay?id=7&token=[redacted]","status":200,"duration_ms":30.0,"request_bytes":15,"response_bytes":5"#;
    assert_eq!(line(Level::Summary), format!("{summary}}}\n"));
    let details = line(Level::Details);
    assert!(details.starts_with(summary) && details.ends_with("}\n") && details.matches('\n').count() == 1);
    let value = read(&details);
    assert_eq!((&value["client"], &value["server"]), (&"10.0.0.2:50000".into(), &"93.184.216.34:8443".into()));
    assert_eq!(value["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(value["request"]["headers"][4]["value"], "[redacted]");
    assert_eq!(
        (&value["response"]["status"], &value["response"]["body"]["data"]),
        (&200.into(), &serde_json::Value::Null)
    );
    let full = read(&line(Level::Full));
    assert_eq!(
        (&full["request"]["body"]["data"], &full["response"]["body"]["data"]),
        (&r#"{"sum":"1 000"}"#.into(), &"paid\n".into())
    );
    assert!(!details.contains("c4n4ry") && !full.to_string().contains("c4n4ry"));
    let failed = HttpExchange { response: None, incomplete: Some(Incomplete::Reset), ..http() };
    let value = read(&line_of(Level::Summary, LogFormat::Json, true, failed));
    assert_eq!((&value["error"], &value["incomplete"], value.get("status")), (&"reset".into(), &"reset".into(), None));
}

/// A line stays on one line, and moves no cursor, whatever a peer sends.
#[test]
fn hostile_text_stays_on_its_line() {
    let mut http = http();
    let hostile = "/a\n2026 forged\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}";
    let request = http.request.as_mut().unwrap();
    (request.target, request.method) = (Some(hostile.to_owned()), Some("GE\nT".to_owned()));
    request.fields.0.push(Field { name: known("x\u{7}"), value: known(hostile) });
    request.body = body("b\u{1b}]0;title\u{7}\r\nnext".as_bytes());
    let long = "x".repeat(100_000);
    http.response.as_mut().unwrap().fields.0.push(Field { name: known("long"), value: known(&long) });
    for format in [LogFormat::Console, LogFormat::Json] {
        let line = line_of(Level::Full, format, true, http.clone());
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.ends_with('\n') && !line.contains(['\r', '\u{1b}', '\u{7}']), "{line:?}");
        match format {
            LogFormat::Console => {
                assert!(!line.contains(['\u{9b}', '\u{202e}', '\u{2028}']) && line.len() < 20_000, "{line:?}");
                assert!(line.contains("GE\\nT") && line.contains("\\u{1b}[2J"), "{line}");
            }
            LogFormat::Json => drop(serde_json::from_str::<serde_json::Value>(&line).unwrap()),
        }
    }
}

pub(super) fn requests(records: &[Record]) -> Vec<&RequestRecord> {
    records
        .iter()
        .filter_map(|record| if let RecordKind::Request(request) = &record.kind { Some(&**request) } else { None })
        .collect()
}

pub(super) fn issues(records: &[Record]) -> Vec<&IssueRecord> {
    records
        .iter()
        .filter_map(|record| if let RecordKind::Issue(issue) = &record.kind { Some(&**issue) } else { None })
        .collect()
}

#[test]
fn a_use_is_told_without_the_token_wherever_redaction_stands() {
    let steps = [Step::ReportUsage(ReportUsage::default()), Step::Redact(Redact::default())];
    for steps in [steps.to_vec(), steps.into_iter().rev().collect()] {
        let records = apply(stack(steps), seen(secret()));
        assert_eq!(records.len(), 1);
        let request = requests(&records)[0];
        assert_eq!((request.auth_type, request.auth_source.as_deref()), (Some("bearer_opaque"), Some("authorization")));
        let digest = format!("sha256:{}", crate::pipeline::digest::sha256_hex(b"c4n4ry"));
        assert_eq!(request.auth_digest.as_deref(), Some(digest.as_str()));
        assert_eq!((request.method.as_deref(), request.host.as_deref()), (Some("POST"), Some("shop.example")));
        assert_eq!((request.path.as_deref(), request.path_template.as_deref()), (Some("/pay"), Some("/pay")));
        assert_eq!((request.status, request.body_bytes, request.response_body_bytes), (Some(200), Some(15), Some(5)));
        assert_eq!(request.duration_ms, Some(30.0));
        assert_eq!(
            records[0].line,
            "request with bearer_opaque: POST https://shop.example:8443/pay?id=7&token=[redacted] → 200 in 30.0 ms"
        );
        assert_eq!((records[0].severity, records[0].time_unix_ns), (Severity::Info, BOOT + 100_000_000));
        assert!(!format!("{records:?}").contains("c4n4ry"));
    }
    let records = apply(stack(vec![Step::ReportUsage(ReportUsage::default())]), seen(http()));
    assert_eq!((requests(&records)[0].auth_type, requests(&records)[0].auth_digest.as_deref()), (None, None));
}

pub(super) fn rule(change: impl FnOnce(&mut IssueRule)) -> IssueRule {
    let mut rule = IssueRule { name: "r".to_owned(), ..IssueRule::default() };
    change(&mut rule);
    rule
}

pub(super) fn detect(rules: Vec<IssueRule>) -> Step {
    Step::DetectErrors(DetectErrors { rules })
}

/// Why `http` is an issue by this rule alone; `None` if it is not.
fn reasons(rule: &IssueRule, http: HttpExchange) -> Option<Vec<&'static str>> {
    let records = apply(stack(vec![detect(vec![rule.clone()])]), seen(http));
    issues(&records).first().map(|issue| issue.reasons.clone())
}

pub(super) fn answered(change: impl FnOnce(&mut Response)) -> HttpExchange {
    let mut response = response();
    change(&mut response);
    HttpExchange { response: Some(response), ..http() }
}

fn with_status(status: u16) -> HttpExchange {
    answered(|response| response.status = Some(status))
}

#[test]
fn each_condition_of_a_rule_is_obeyed() {
    let failed = || HttpExchange { response: None, incomplete: Some(Incomplete::Reset), ..http() };
    let by_status = rule(|rule| rule.status = vec![StatusPattern::Codes(404..=404), StatusPattern::Codes(500..=599)]);
    for (status, is_one) in
        [(200, false), (403, false), (404, true), (405, false), (500, true), (599, true), (600, false)]
    {
        assert_eq!(reasons(&by_status, with_status(status)).is_some(), is_one, "{status}");
    }
    assert_eq!(reasons(&by_status, failed()), None);
    let by_failure = rule(|rule| rule.status = vec![StatusPattern::Failed]);
    assert_eq!(reasons(&by_failure, failed()), Some(vec!["status"]));
    assert_eq!(reasons(&by_failure, with_status(500)), None);

    let empty = rule(|rule| rule.empty_body = true);
    let without = |status| answered(|response| (response.body, response.status) = (Body::default(), Some(status)));
    for (http, is_one) in
        [(without(200), true), (without(204), false), (without(304), false), (with_status(200), false)]
    {
        assert_eq!(reasons(&empty, http).is_some(), is_one);
    }
    let mut head = without(200);
    head.request.as_mut().unwrap().method = Some("HEAD".to_owned());
    assert_eq!(reasons(&empty, head), None);
    assert_eq!(reasons(&empty, HttpExchange { incomplete: Some(Incomplete::ClosedEarly), ..without(200) }), None);

    assert_eq!(reasons(&empty, HttpExchange { protocol: Protocol::Grpc, ..without(200) }), None);

    let slow = |ms| rule(|rule| rule.min_duration = Some(Duration::from_millis(ms)));
    assert_eq!((reasons(&slow(30), http()), reasons(&slow(31), http())), (Some(vec!["duration"]), None));
    assert_eq!(reasons(&slow(1), failed()), None, "how long it took is not known");

    let contains = |text: &str| rule(|rule| rule.body = vec![Pattern::text(text).unwrap()]);
    assert_eq!((reasons(&contains("aid"), http()), reasons(&contains("Aid"), http())), (Some(vec!["body"]), None));
    let matches = rule(|rule| rule.body = vec![Pattern::text("no").unwrap(), Pattern::regex(r"(?i)^P\w+\n$").unwrap()]);
    assert_eq!(reasons(&matches, http()), Some(vec!["body"]));

    // Evaluated on the original exchange, whatever steps come before.
    let expr = |text: &str| rule(|rule| rule.expr = compile(text, &Macros::default()).ok());
    for (text, is_one) in [
        ("http.req.method == \"POST\" and http.res.status == 200", true),
        ("http.req.headers.authorization contains \"c4n4ry\"", true),
        ("http.req.headers.none == \"x\"", false),
        ("not http.req.headers.none == \"x\"", false),
        ("http.res.status == 404", false),
    ] {
        let steps = vec![Step::Redact(Redact::default()), detect(vec![expr(text)])];
        let found = apply(stack(steps), seen(secret()));
        assert_eq!(issues(&found).first().map(|issue| issue.reasons.clone()), is_one.then(|| vec!["rule"]), "{text}");
    }

    let types = rule(|rule| rule.content_types = vec![Pattern::glob("text/*").unwrap()]);
    assert_eq!(reasons(&types, http()), Some(vec!["content_type"]));
    let json = answered(|response| response.fields = fields(&[("content-type", "application/json; x=text/")]));
    assert_eq!(reasons(&types, json), None);

    let urls = |only: &[&str], except: &[&str]| {
        let read = |list: &[&str]| list.iter().map(|text| UrlPattern::read(text).unwrap()).collect();
        rule(|rule| (rule.urls, rule.except_urls) = (read(only), read(except)))
    };
    for (only, except, is_one) in [
        (&["/pay"][..], &[][..], true),
        (&["/other", "shop.example/*"], &[], true),
        (&["https://shop.example:8443/pay?id=7"], &[], true),
        (&[r"~id=\d$"], &[], true),
        (&["/other"], &[], false),
        (&["/"], &["/pay"], false),
        (&["/"], &["/other"], true),
    ] {
        assert_eq!(reasons(&urls(only, except), http()), is_one.then(|| vec!["url"]), "{only:?} {except:?}");
    }
    let all = rule(|rule| {
        rule.status = vec![StatusPattern::Codes(200..=299)];
        rule.min_duration = Some(Duration::from_millis(10));
        rule.body = vec![Pattern::text("paid").unwrap()];
    });
    assert_eq!(reasons(&all, http()), Some(vec!["status", "duration", "body"]));
    assert_eq!(reasons(&all, with_status(300)), None, "all that it asks for has to be met");
    assert_eq!(reasons(&rule(|_| {}), http()), None, "who asks for nothing finds nothing");
}

#[test]
fn a_body_is_looked_into_with_its_coding_undone() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[b"x".repeat(5000), b"needle".to_vec()].concat()).unwrap();
    let coded = encoder.finish().unwrap();
    let rule = rule(|rule| rule.body = vec![Pattern::text("needle").unwrap()]);
    let gzip = |body: Body| {
        answered(|response| (response.fields, response.body) = (fields(&[("content-encoding", "gzip")]), body))
    };
    assert_eq!(reasons(&rule, gzip(body(&coded))), Some(vec!["body"]));
    let (one, other) = coded.split_at(7);
    let chunks = vec![Bytes::copy_from_slice(one), Bytes::copy_from_slice(other)];
    assert_eq!(reasons(&rule, gzip(Body { chunks, size: coded.len() as u64, ..Body::default() })), Some(vec!["body"]));
    assert_eq!(reasons(&rule, gzip(body(b"needle"))), None, "what can't be undone says nothing");
    let far = body(&[b"x".repeat(crate::pipeline::issues::LOOKED_AT - 3), b"needle".to_vec()].concat());
    assert_eq!(reasons(&rule, answered(|response| response.body = far)), None, "beyond the bound");
}

#[test]
fn each_rule_makes_an_issue_that_says_what_it_is() {
    let named = |name: &str, category: Option<&str>, codes| IssueRule {
        name: name.to_owned(),
        category: category.map(str::to_owned),
        status: vec![StatusPattern::Codes(codes)],
        ..IssueRule::default()
    };
    let rules = vec![named("a", Some("shop"), 500..=599), named("b", None, 503..=503), named("c", None, 404..=404)];
    let records = apply(stack(vec![detect(rules)]), seen(with_status(503)));
    let names: Vec<_> = issues(&records).iter().map(|issue| (issue.name.as_str(), issue.category.as_deref())).collect();
    assert_eq!(names, [("a", Some("shop")), ("b", None)]);
    assert_ne!(records[0].uid, records[1].uid);
    let issue = issues(&records)[0];
    assert_eq!(
        (issue.method.as_deref(), issue.url.as_deref()),
        (Some("POST"), Some("https://shop.example:8443/pay?id=7"))
    );
    assert_eq!((issue.status, issue.duration_ms, issue.error_type.as_deref()), (Some(503), Some(30.0), Some("503")));
    assert_eq!(
        (records[0].severity, records[0].request_id.as_deref()),
        (Severity::Error, Some("11111111-1111-1111-1111-111111111111-0000000003"))
    );
    assert_eq!(records[0].line, "issue a (status): POST https://shop.example:8443/pay?id=7 → 503 in 30.0 ms");
    let slow = rule(|rule| rule.min_duration = Some(Duration::from_millis(1)));
    let records = apply(stack(vec![detect(vec![slow])]), seen(http()));
    assert_eq!(records[0].severity, Severity::Warn, "an issue is not less than a warning");
    let built_in = apply(stack(vec![Step::DetectErrors(DetectErrors::default())]), seen(with_status(404)));
    assert_eq!(issues(&built_in)[0].name, "client_error");
}

#[test]
fn what_a_rule_records_becomes_objects_that_the_issue_names() {
    let objects_at = |level, artifacts, request, response| {
        let rule = rule(|rule| {
            rule.status = vec![StatusPattern::Codes(500..=599)];
            (rule.request, rule.response) = (request, response);
        });
        let capture =
            Step::HttpCapture(HttpCapture { level, format: Format::Json, artifacts, ..HttpCapture::default() });
        let steps = vec![capture, detect(vec![rule]), Step::Redact(Redact::default())];
        let mut failed = secret();
        failed.response.as_mut().unwrap().status = Some(503);
        let records = apply(stack(steps.clone()), seen(failed));
        let kinds: Vec<String> = records
            .iter()
            .map(|record| match &record.kind {
                RecordKind::Object(object) => {
                    let data = std::str::from_utf8(&object.data).unwrap();
                    assert!(!data.contains("c4n4ry"));
                    let body = if data.contains("1 000") || data.contains("paid") { "+body" } else { "" };
                    format!("{}{body}", object.artifact_type)
                }
                RecordKind::Artifact(_) => "artifact".to_owned(),
                RecordKind::Issue(_) => "issue".to_owned(),
                kind => format!("{kind:?}"),
            })
            .collect();
        for (link, name) in [
            (&issues(&records)[0].request_artifact, "http_request"),
            (&issues(&records)[0].response_artifact, "http_response"),
        ] {
            let named = records.iter().find_map(|record| match &record.kind {
                RecordKind::Object(object) if object.artifact_type == name => Some(object.digest.clone()),
                _ => None,
            });
            assert!(
                artifacts == Artifacts::Transaction || link.as_ref().map(|link| link.digest.clone()) == named,
                "{name}"
            );
        }
        let fine = apply(stack(steps), seen(http()));
        assert_eq!(
            fine.len(),
            match level {
                Level::None => 0,
                Level::Summary => 1,
                Level::Details | Level::Full =>
                    if artifacts == Artifacts::Split {
                        3
                    } else {
                        2
                    },
            }
        );
        kinds.join(" ")
    };
    use Recorded::{Body as Whole, Head, Nothing};
    let split = Artifacts::Split;
    assert_eq!(objects_at(Level::None, split, Nothing, Nothing), "issue");
    assert_eq!(objects_at(Level::None, split, Nothing, Whole), "http_response+body issue");
    assert_eq!(objects_at(Level::Summary, split, Head, Nothing), "artifact http_request issue");
    assert_eq!(objects_at(Level::Summary, split, Whole, Head), "artifact http_request+body http_response issue");
    assert_eq!(objects_at(Level::Details, split, Nothing, Whole), "artifact http_request http_response+body issue");
    assert_eq!(objects_at(Level::Full, split, Nothing, Nothing), "artifact http_request+body http_response+body issue");
    assert_eq!(
        objects_at(Level::Details, Artifacts::Transaction, Nothing, Whole),
        "artifact http_request http_response+body issue"
    );
    assert_eq!(objects_at(Level::Details, Artifacts::Transaction, Nothing, Nothing), "artifact http_transaction issue");
}

#[test]
fn bodies_are_kept_for_who_needs_them() {
    let keeps = |step: Step| stack(vec![step]).keeps_bodies();
    let looks = rule(|rule| rule.body = vec![Pattern::text("x").unwrap()]);
    let records = rule(|rule| (rule.empty_body, rule.request) = (true, Recorded::Body));
    let heads = rule(|rule| (rule.empty_body, rule.request) = (true, Recorded::Head));
    assert!(keeps(detect(vec![looks])) && keeps(detect(vec![records])) && !keeps(detect(vec![heads])));
    let logs = |mode| Step::AccessLogs(AccessLogs { mode, format: LogFormat::Json, rules: Vec::new() });
    assert!(keeps(logs(Level::Full)) && !keeps(logs(Level::Details)));
    assert!(!keeps(Step::ReportUsage(ReportUsage::default())));
}
