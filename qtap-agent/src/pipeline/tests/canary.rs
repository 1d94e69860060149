//! A secret in any place that redaction must cover never leaks.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use super::*;

const CANARY: &str = "c4n4ry";

/// The canary in every place that redaction must cover.
fn poisoned() -> HttpExchange {
    let secret = [
        ("Authorization", "Bearer c4n4ry"),
        ("COOKIE", "session=c4n4ry"),
        ("cookie", "c4n4ry"),
        ("X-Api-Key ", "c4n4ry"),
        ("Host", "user:c4n4ry@h"),
        ("Referer", "https://u:c4n4ry@h/a?x=1&Token=c4n4ry#access_token=c4n4ry"),
        ("Location", "//u:c4n4ry@h/cb?next=https%3A%2F%2Fh%2F%3Fapi_key%3Dc4n4ry"),
        ("Link", "<https://h/?sig=c4n4ry>; rel=next, </p;password=c4n4ry>"),
        ("X-Original-Url", "/a?%74oken=c4n4ry"),
        ("Set-Cookie", "a=c4n4ry"),
        ("User-Agent", "bot (+http://h/?key=c4n4ry)"),
        ("Content-Type", "a/b; u=?secret=c4n4ry"),
    ];
    let mut poison = fields(&secret);
    poison.0.push(Field { name: FieldText::Unknown, value: known("c4n4ry") });
    let target = "http://u:c4n4ry@h/p;token=c4n4ry/x?a=1&TOKEN=c4n4ry;c4n4ry&password[]=c4n4ry&u=%3Fkey%3Dc4n4ry";
    let request = Request {
        target: Some(target.to_owned()),
        authority: Some("u:c4n4ry@h".to_owned()),
        fields: poison.clone(),
        trailers: poison.clone(),
        ..request()
    };
    HttpExchange {
        request: Some(request),
        response: Some(Response { fields: poison.clone(), trailers: poison, ..response() }),
        ..http()
    }
}

fn poisoned_process() -> Arc<Process> {
    let command = "curl -H Authorization: Bearer c4n4ry --token=c4n4ry https://u:c4n4ry@h/?key=c4n4ry".to_owned();
    Arc::new(Process { command, ..Process::clone(&process()) })
}

#[test]
fn a_secret_leaves_through_no_field_at_any_level_in_any_format() {
    let origin_form = |http: &mut HttpExchange| {
        let request = http.request.as_mut().unwrap();
        request.target = Some("/p?token=c4n4ry&b=%2Fx%3Ftoken%3Dc4n4ry".to_owned());
    };
    let authority_form = |http: &mut HttpExchange| {
        let request = http.request.as_mut().unwrap();
        (request.method, request.target) = (Some("CONNECT".to_owned()), Some("u:c4n4ry@h:443".to_owned()));
    };
    let changes: [&dyn Fn(&mut HttpExchange); 4] =
        [&|_| {}, &origin_form, &authority_form, &|http| http.protocol = Protocol::Grpc];
    for (change, level, format, artifacts, action) in changes.iter().flat_map(|change| {
        LEVELS.into_iter().flat_map(move |level| {
            FORMATS.into_iter().flat_map(move |format| {
                let both = [Artifacts::Split, Artifacts::Transaction];
                both.into_iter()
                    .flat_map(move |a| ACTIONS.into_iter().map(move |action| (change, level, format, a, action)))
            })
        })
    }) {
        let mut http = poisoned();
        change(&mut http);
        let mut settings = settings(level, format, artifacts);
        settings.http_stack.as_mut().unwrap().steps[1] = Step::Redact(Redact { action, ..Redact::default() });
        let mut exchange = seen(http);
        if let Observation::Exchange(seen) = &mut exchange {
            seen.process = Some(poisoned_process());
        }
        let mut closed = report(ConnState::Closed, 0);
        (closed.authority, closed.process) = (Some("u:c4n4ry@h".to_owned()), Some(poisoned_process()));
        let mut records = apply(settings.clone(), exchange);
        records.extend(apply(settings, Observation::Connection(Box::new(closed))));
        for record in &records {
            let debug = format!("{record:?}");
            assert!(!debug.contains(CANARY), "{level:?} {format:?} {action:?}: {debug}");
            if let RecordKind::Object(object) = &record.kind {
                let data = String::from_utf8_lossy(&object.data);
                assert!(!data.contains(CANARY), "{level:?} {format:?} {action:?}: {data}");
            }
        }
    }
}

/// Every plugin that produces output, at its highest level; `redact` first, or last.
#[test]
fn a_secret_leaves_through_no_plugin() {
    use crate::pipeline::settings::{
        AccessLogs, DetectErrors, IssueRule, LogFormat, Pattern, Recorded, ReportUsage, StatusPattern, UsageDigest,
    };
    let rule = IssueRule {
        name: "all".to_owned(),
        status: vec![StatusPattern::Codes(200..=299)],
        body: Pattern::text("paid").into_iter().collect(),
        request: Recorded::Body,
        response: Recorded::Body,
        ..IssueRule::default()
    };
    for (format, action, first) in [LogFormat::Console, LogFormat::Json].into_iter().flat_map(|format| {
        ACTIONS.into_iter().flat_map(move |action| [(format, action, true), (format, action, false)])
    }) {
        let mut steps = vec![
            Step::AccessLogs(AccessLogs { mode: Level::Full, format, rules: Vec::new() }),
            Step::ReportUsage(ReportUsage { digest: UsageDigest::All, ..ReportUsage::default() }),
            Step::DetectErrors(DetectErrors { rules: vec![rule.clone()] }),
        ];
        let redact = Step::Redact(Redact { action, ..Redact::default() });
        steps.insert(if first { 0 } else { steps.len() }, redact);
        let mut http = poisoned();
        let request = http.request.as_mut().unwrap();
        request.fields.0.retain(|field| !field.is_named("content-type"));
        request.fields.0.push(Field { name: known("Content-Type"), value: known("application/json") });
        request.body = body(br#"{"user":"me","password":"c4n4ry","nested":[{"client_secret":"c4n4ry"}]}"#);
        let mut exchange = seen(http);
        if let Observation::Exchange(seen) = &mut exchange {
            seen.process = Some(poisoned_process());
        }
        let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
        let mut records = Vec::new();
        pipeline.apply(exchange, &mut records);
        let lines = pipeline.take_lines();
        assert!(lines.contains("shop") || lines.contains("200"), "{lines}");
        assert!(!lines.contains(CANARY), "{format:?} {action:?}: {lines}");
        assert_eq!(records.len(), 4, "two objects, a use, an issue");
        for record in &records {
            let data = if let RecordKind::Object(object) = &record.kind { object.data.clone() } else { Bytes::new() };
            let told = format!("{record:?}{}", String::from_utf8_lossy(&data));
            assert!(!told.contains(CANARY), "{format:?} {action:?}: {told}");
        }
    }
}

#[test]
fn without_a_redact_step_nothing_is_changed() {
    let mut settings = settings(Level::Full, Format::Json, Artifacts::Split);
    settings.http_stack.as_mut().unwrap().steps.truncate(1);
    let records = apply(settings, seen(poisoned()));
    assert!(artifact(&records[0]).url_full.as_ref().unwrap().contains(CANARY));
    assert!(data(&records[1]).contains(r#"{"name":"Authorization","value":"Bearer c4n4ry"}"#));
}
