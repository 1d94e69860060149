//! The level of an exchange follows the rules, and so does what is wanted while it is running.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use super::*;
use crate::model::exchange::Part;
use crate::model::judge::{Scene, Wanted};
use crate::pipeline::rule::{Macros, compile};
use crate::pipeline::settings::{
    AccessLogs, CaptureRule, DetectErrors, IssueRule, LogFormat, Pattern, Recorded, Sample, SampleBy, StatusPattern,
};

fn rules(list: &[(&str, Level)]) -> Vec<CaptureRule> {
    let rule = |(nth, (text, level)): (usize, &(&str, Level))| CaptureRule {
        name: format!("r{nth}"),
        rule: compile(text, &Macros::default()).unwrap(),
        level: *level,
    };
    list.iter().enumerate().map(rule).collect()
}

/// Redaction comes before the rules, so that a rule that wrongly saw redacted values would not match.
fn ruled(level: Level, list: &[(&str, Level)]) -> Settings {
    let capture = Step::HttpCapture(HttpCapture { level, rules: rules(list), ..HttpCapture::default() });
    let stack = Stack { name: "s".to_owned(), steps: vec![Step::Redact(Redact::default()), capture] };
    Settings { http_stack: Some(stack), ..settings(level, Format::Json, Artifacts::Split) }
}

fn failed() -> HttpExchange {
    HttpExchange { response: Some(Response { status: Some(502), ..response() }), ..http() }
}

/// The number of records that an exchange yields, and whether a body is among them.
fn told(settings: &Settings, http: HttpExchange) -> (usize, bool) {
    let records = apply(settings.clone(), seen(http));
    let objects = records.iter().filter(|record| matches!(record.kind, RecordKind::Object(_)));
    (records.len(), objects.clone().any(|record| data(record).contains("paid")))
}

#[test]
fn the_first_rule_that_passes_says_the_level() {
    let list = [
        ("http.req.path == \"/pay\" and http.res.status >= 500", Level::Full),
        ("http.req.headers.none == \"x\"", Level::Full),
        ("not http.req.headers.none == \"x\"", Level::Full),
        ("http.res.status == 200", Level::Details),
        ("true", Level::None),
    ];
    for (settings, http, wanted) in [
        (ruled(Level::Summary, &list), failed(), (3, true)),
        (ruled(Level::Summary, &list), http(), (3, false)),
        (ruled(Level::Full, &list[4..]), http(), (0, false)),
        (ruled(Level::Full, &list[..3]), http(), (3, true)),
        (ruled(Level::Summary, &list[..3]), http(), (1, false)),
        (ruled(Level::None, &list[3..4]), failed(), (0, false)),
        (
            ruled(Level::None, &[("dst.port == 8443 and src.process.binary == \"curl\"", Level::Full)]),
            http(),
            (3, true),
        ),
        (
            ruled(Level::None, &[("tags contains \"team:a\" and tls.sni == \"shop.example\"", Level::Full)]),
            http(),
            (3, true),
        ),
    ] {
        let steps = format!("{settings:?}");
        assert_eq!(told(&settings, http), wanted, "{steps}");
    }
}

#[test]
fn rules_see_what_redaction_takes_out_and_records_do_not() {
    let secret = Request { fields: fields(&[("Authorization", "Bearer hunter2")]), ..request() };
    let http = HttpExchange { request: Some(secret), ..http() };
    let settings = ruled(Level::None, &[("http.req.headers.authorization contains \"hunter2\"", Level::Full)]);
    let records = apply(settings, seen(http));
    assert_eq!(records.len(), 3);
    assert!(!records.iter().any(|record| format!("{record:?}").contains("hunter2")));
}

#[test]
fn each_rule_counts_the_exchanges_it_decided_once() {
    let list = [("http.res.status >= 500", Level::Full), ("true", Level::Summary)];
    let mut pipeline = Pipeline::new(ruled(Level::None, &list), &RedactionKey([9; 32]));
    let passed = pipeline.passed();
    let mut out = Vec::new();
    let part = |number, last| HttpExchange { part: Some(Part { number, last, large: false }), ..failed() };
    for http in [http(), failed(), http(), part(0, false), part(1, false), part(2, true)] {
        pipeline.apply(seen(http), &mut out);
    }
    let counts: Vec<_> =
        passed.iter().flat_map(|list| list.iter()).map(|rule| (rule.rule.as_str(), rule.count())).collect();
    assert_eq!(counts, [("r0", 2), ("r1", 2)]);
}

#[test]
fn a_body_is_wanted_as_long_as_a_level_above_it_can_come() {
    let request_only = || HttpExchange { response: None, ..http() };
    let running = || {
        let response = Response { ended: None, ..response() };
        HttpExchange { response: Some(response), ..http() }
    };
    let scene = Scene { host: host(), conn: Arc::new(conn()), process: Some(process()) };
    use Wanted::{No, Open, Yes};
    for (level, list, at_request, at_response) in [
        (Level::Summary, vec![("http.res.status >= 500", Level::Full)], Open, No),
        (Level::Summary, vec![("http.res.status < 500", Level::Full)], Open, Yes),
        (Level::Summary, vec![("http.req.path == \"/pay\"", Level::Full)], Yes, Yes),
        (Level::Summary, vec![("http.req.path == \"/\"", Level::Full)], No, No),
        (Level::Full, vec![("http.req.path == \"/pay\"", Level::Summary)], No, No),
        (Level::Full, vec![("http.req.headers.none == 1", Level::Summary)], Yes, Yes),
        (Level::Full, vec![("http.res.status == 200", Level::None)], Open, No),
        (Level::Summary, vec![("http.duration_ms > 10", Level::Full)], Open, Open),
        (Level::Summary, vec![("http.req.method == \"GET\" and http.duration_ms > 10", Level::Full)], No, No),
        (
            Level::Summary,
            vec![("http.res.status == 200", Level::Details), ("http.duration_ms > 10", Level::Full)],
            Open,
            No,
        ),
        (Level::Full, vec![("http.res.status == 1", Level::Full), ("http.duration_ms > 10", Level::Full)], Yes, Yes),
        (Level::Summary, vec![("dst.port == 8443 and http.res.status == 200", Level::Full)], Open, Yes),
        (Level::Summary, vec![("dst.port == 1 and http.res.status == 200", Level::Full)], No, No),
        (Level::Summary, vec![("tags contains \"team:b\"", Level::Full)], No, No),
    ] {
        let judge = ruled(level, &list).judge().unwrap();
        assert_eq!(judge.of(&request_only(), Some(&scene)), at_request, "{list:?}");
        assert_eq!(judge.of(&running(), Some(&scene)), at_response, "{list:?}");
    }
    let by_port = ruled(Level::Summary, &[("dst.port == 8443", Level::Full)]).judge().unwrap();
    assert_eq!(by_port.of(&request_only(), None), Open, "a connection that is not known yet");
}

/// While a container runtime lookup is pending, labels may still arrive: a missing label is then unknown, not absent.
#[test]
fn what_is_awaited_of_a_container_is_waited_for() {
    use crate::model::process::{Container, Pod};
    let of = |awaited: bool, team: &str| {
        let container = Some(Arc::new(Container { id: "c".into(), awaited, ..Container::default() }));
        let labels =
            if awaited { std::collections::BTreeMap::new() } else { [("team".to_owned(), team.to_owned())].into() };
        let pod = Some(Arc::new(Pod { uid: Some("u".into()), labels, ..Pod::default() }));
        let process = Some(Arc::new(Process { container, pod, ..Process::default() }));
        Scene { host: host(), conn: Arc::new(conn()), process }
    };
    let judge = ruled(Level::Summary, &[("src.pod.labels.team == \"blue\"", Level::Full)]).judge().unwrap();
    assert_eq!(judge.of(&http(), Some(&of(true, ""))), Wanted::Open);
    assert_eq!(judge.of(&http(), Some(&of(false, "blue"))), Wanted::Yes);
    assert_eq!(judge.of(&http(), Some(&of(false, "red"))), Wanted::No);
    for field in ["src.pod.name", "src.pod.namespace", "src.container.name", "src.container.labels.team"] {
        let judge = ruled(Level::Summary, &[(&format!("{field} == \"x\""), Level::Full)]).judge().unwrap();
        assert_eq!(judge.of(&http(), Some(&of(true, ""))), Wanted::Open, "{field}");
    }
    // The choice of the stack depends on the label.
    let mut two = ruled(Level::Summary, &[("http.req.path == \"/\"", Level::Full)]);
    let full = Step::HttpCapture(HttpCapture { level: Level::Full, ..HttpCapture::default() });
    two.routing.stacks.push(Stack { name: "full".to_owned(), steps: vec![full] });
    let judge = two.judge().unwrap();
    assert_eq!(judge.of(&http(), Some(&of(true, ""))), Wanted::Open);
    assert_eq!(judge.of(&http(), Some(&of(false, ""))), Wanted::No);
}

#[test]
fn the_first_rule_that_passes_says_what_a_line_tells() {
    let list = [
        ("http.req.path == \"/healthz\"", Level::None),
        ("http.res.status >= 500", Level::Full),
        ("true", Level::Details),
    ];
    let logs = |rules| Step::AccessLogs(AccessLogs { mode: Level::Summary, format: LogFormat::Console, rules });
    let line = |list: &[(&str, Level)], http: HttpExchange| {
        let steps = vec![Step::Redact(Redact::default()), logs(rules(list))];
        let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
        pipeline.apply(seen(http), &mut Vec::new());
        let passed: Vec<_> = pipeline
            .passed()
            .iter()
            .flat_map(|list| list.iter())
            .map(|rule| (rule.rule.clone(), rule.count()))
            .collect();
        let lines = pipeline.take_lines();
        let told = match (lines.as_str(), lines.contains("> 93."), lines.contains("paid")) {
            ("", _, _) => Level::None,
            (_, _, true) => Level::Full,
            (_, true, false) => Level::Details,
            (_, false, false) => Level::Summary,
        };
        (told, passed.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect::<Vec<_>>())
    };
    let mut healthy = http();
    healthy.request.as_mut().unwrap().target = Some("/healthz".to_owned());
    assert_eq!(line(&list, healthy.clone()), (Level::None, vec!["access_logs.r0".to_owned()]));
    assert_eq!(line(&list, failed()), (Level::Full, vec!["access_logs.r1".to_owned()]));
    assert_eq!(line(&list, http()), (Level::Details, vec!["access_logs.r2".to_owned()]));
    assert_eq!(line(&list[..2], http()), (Level::Summary, Vec::new()), "when none passes, the mode holds");
}

#[test]
fn other_plugins_want_bodies_too_and_a_sample_wants_none() {
    let request_only = || HttpExchange { response: None, ..http() };
    let running = |status| {
        let response = Response { ended: None, status: Some(status), ..response() };
        HttpExchange { response: Some(response), ..http() }
    };
    let scene = Scene { host: host(), conn: Arc::new(conn()), process: Some(process()) };
    let asked = |steps: Vec<Step>, http: &HttpExchange| stack(steps).judge().unwrap().of(http, Some(&scene));
    use Wanted::{No, Open, Yes};
    let issue = |status: &[StatusPattern], body, recorded| {
        let rule = IssueRule {
            name: "i".to_owned(),
            status: status.to_vec(),
            body,
            response: recorded,
            ..IssueRule::default()
        };
        Step::DetectErrors(DetectErrors { rules: vec![rule] })
    };
    let server = [StatusPattern::Codes(500..=599)];
    let looks = || Pattern::text("x").into_iter().collect::<Vec<_>>();
    for (step, wanted) in [
        (issue(&server, Vec::new(), Recorded::Body), [Open, No, Yes]),
        (issue(&server, looks(), Recorded::Nothing), [Open, No, Yes]),
        (issue(&[], looks(), Recorded::Nothing), [Open, Yes, Yes]),
        (issue(&[server[0].clone(), StatusPattern::Failed], Vec::new(), Recorded::Body), [Open, Yes, Yes]),
    ] {
        let of = |http: &HttpExchange| asked(vec![step.clone()], http);
        assert_eq!([of(&request_only()), of(&running(200)), of(&running(503))], wanted, "{step:?}");
    }
    let by_path = |text: &str| {
        let expr = compile(text, &Macros::default()).ok();
        let rule = IssueRule { name: "i".to_owned(), expr, response: Recorded::Body, ..IssueRule::default() };
        vec![Step::DetectErrors(DetectErrors { rules: vec![rule] })]
    };
    assert_eq!(asked(by_path("http.req.path == \"/\""), &request_only()), No, "it can't hold any more");
    assert_eq!(asked(by_path("http.req.path == \"/pay\""), &running(200)), Yes);
    let heads = issue(&server, Vec::new(), Recorded::Head);
    assert_eq!(stack(vec![heads]).judge(), None, "nothing wants a body");
    let logs = |mode, list: &[(&str, Level)]| {
        Step::AccessLogs(AccessLogs { mode, format: LogFormat::Json, rules: rules(list) })
    };
    assert_eq!(asked(vec![logs(Level::Summary, &[("http.res.status == 503", Level::Full)])], &running(200)), No);
    assert_eq!(asked(vec![logs(Level::Summary, &[("http.res.status == 503", Level::Full)])], &running(503)), Yes);
    assert_eq!(stack(vec![logs(Level::Full, &[])]).judge(), None, "all are wanted");
    // The steps' wishes add up.
    let both = vec![logs(Level::Full, &[]), issue(&server, Vec::new(), Recorded::Body)];
    assert_eq!(asked(both, &running(200)), Yes);

    let full = || Step::HttpCapture(HttpCapture { level: Level::Full, ..HttpCapture::default() });
    let sampled =
        |ratio, keep_errors, by| vec![full(), Step::Sample(Sample { ratio, keep_errors, by, ..Sample::default() })];
    assert_eq!(
        asked(sampled(0.0, false, SampleBy::Connection), &request_only()),
        No,
        "nothing of this connection is told"
    );
    let judge = stack(sampled(0.0, false, SampleBy::Connection)).judge().unwrap();
    assert_eq!(judge.of(&request_only(), None), Open, "a connection that is not known yet");
    assert_eq!(asked(sampled(0.9999, false, SampleBy::Connection), &request_only()), Yes);
    assert_eq!(stack(sampled(0.0, true, SampleBy::Connection)).judge(), None, "errors may come");
    assert_eq!(stack(sampled(0.5, false, SampleBy::Trace)).judge(), None);
}

#[test]
fn where_the_exchange_decides_nothing_nobody_is_asked() {
    for settings in [
        ruled(Level::Full, &[]),
        ruled(Level::Summary, &[("http.res.status == 200", Level::Details)]),
        Settings { http_stack: None, ..ruled(Level::Full, &[("true", Level::None)]) },
    ] {
        assert_eq!(settings.judge(), None);
    }
    assert!(ruled(Level::Summary, &[("true", Level::Full)]).keeps_bodies());
    assert!(!ruled(Level::Details, &[("true", Level::Details)]).keeps_bodies());
}

#[test]
fn a_body_that_was_let_go_and_is_asked_for_after_all_is_told_as_cut() {
    let unwanted = Body { size: 5, unwanted: true, ..Body::default() };
    let http = HttpExchange { response: Some(Response { body: unwanted, ..response() }), ..http() };
    let records = apply(ruled(Level::Full, &[]), seen(http));
    assert!(object(&records[2]).truncated && !object(&records[1]).truncated);
}
