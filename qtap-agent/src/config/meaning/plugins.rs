//! The meaning of plugin configs: defaults, patterns, and keys that depend on one another. In: a config as typed. Out: the step's settings.

use super::stacks::names;
use super::{Around, rules};
use crate::config::fields::At;
use crate::config::file::plugins as typed;
use crate::config::place::Span;
use crate::config::wording::word;
use crate::pipeline::settings::{
    AccessLogs, DetectErrors, HttpMetrics, IssueRule, Pattern, Recorded, ReportUsage, Sample, StatusPattern, UrlPattern,
};

/// The words that stand for the built-in lists of `report_usage`.
const API_KEYS: &str = "api_keys";
const SESSIONS: &str = "sessions";

pub(super) fn access_logs(given: &typed::AccessLogs, around: &Around<'_>) -> AccessLogs {
    let default = AccessLogs::default();
    AccessLogs {
        mode: given.mode.as_ref().map_or(default.mode, |at| at.value),
        format: given.format.as_ref().map_or(default.format, |at| at.value),
        rules: rules::with_levels(&given.rules, around),
    }
}

pub(super) fn report_usage(given: &typed::ReportUsage) -> ReportUsage {
    let default = ReportUsage::default();
    ReportUsage {
        headers: names(given.headers.as_deref(), API_KEYS, default.headers),
        cookies: names(given.cookies.as_deref(), SESSIONS, default.cookies),
        query_keys: names(given.query_keys.as_deref(), API_KEYS, default.query_keys),
        digest: given.digest.as_ref().map_or(default.digest, |at| at.value),
        claims: values(&given.claims),
    }
}

pub(super) fn http_metrics(given: &typed::HttpMetrics) -> HttpMetrics {
    let hosts = given.max_hosts.as_ref().and_then(|at| u16::try_from(at.value).ok());
    HttpMetrics { max_hosts: hosts.unwrap_or(HttpMetrics::default().max_hosts) }
}

pub(super) fn sample(given: &typed::Sample, at: Span, around: &Around<'_>) -> Sample {
    let default = Sample::default();
    let rate = given.rate.as_ref().map(|at| at.value);
    let ratio = given.ratio.as_ref().map_or(default.ratio, |at| at.value);
    if let (Some(burst), None) = (&given.burst, rate) {
        around.out.fault(burst.span, "`burst` without `rate`", "write how many exchanges a second: `rate: 100`");
    }
    if rate.is_none() && ratio >= 1.0 {
        around.out.note(
            at,
            "this `sample` leaves nothing out",
            "`ratio: 0.1` tells one in ten; `rate: 100` a hundred a second",
        );
    }
    Sample {
        ratio,
        by: given.by.as_ref().map_or(default.by, |at| at.value),
        rate,
        burst: given.burst.as_ref().map(|at| at.value).or(rate).unwrap_or(default.burst),
        keep_errors: given.keep_errors.as_ref().map_or(default.keep_errors, |at| at.value),
    }
}

pub(super) fn detect_errors(given: &typed::DetectErrors, around: &Around<'_>) -> DetectErrors {
    let Some(rules) = &given.rules else { return DetectErrors::default() };
    if let Some(rule) = rules.get(DetectErrors::MOST_RULES) {
        let help =
            format!("at most {} rules: one may ask for several statuses, texts and URLs", DetectErrors::MOST_RULES);
        around.out.fault(rule.span, "one rule too many", help);
    }
    DetectErrors { rules: rules.iter().map(|rule| issue_rule(rule, around)).collect() }
}

fn issue_rule(given: &typed::IssueRule, around: &Around<'_>) -> IssueRule {
    let texts = each("body_contains", &given.body_contains, around, |text| match text {
        "" => Err("it is empty".to_owned()),
        text => Pattern::text(text).ok_or_else(|| "it is too long".to_owned()),
    });
    let regexes = each("body_matches", &given.body_matches, around, Pattern::regex);
    let recorded = each("record", &given.record, around, recorded);
    let most = |of: fn(&(Recorded, Recorded)) -> Recorded| recorded.iter().map(of).max().unwrap_or_default();
    let rule = IssueRule {
        name: given.name.as_ref().map(|at| at.value.clone()).unwrap_or_default(),
        category: given.category.as_ref().map(|at| at.value.clone()),
        expr: given.expr.as_ref().and_then(|expr| rules::rule(expr, around)),
        status: each("status", &given.status, around, status),
        empty_body: given.empty_body.as_ref().is_some_and(|at| at.value),
        min_duration: given.min_duration.as_ref().map(|at| at.value),
        body: texts.into_iter().chain(regexes).collect(),
        content_types: each("content_types", &given.content_types, around, |text| {
            Pattern::glob(text).ok_or_else(|| "it is too long".to_owned())
        }),
        urls: each("urls", &given.urls, around, UrlPattern::read),
        except_urls: each("except_urls", &given.except_urls, around, UrlPattern::read),
        request: most(|(request, _)| *request),
        response: most(|(_, response)| *response),
    };
    let asks = given.expr.is_some()
        || given.status.is_some()
        || rule.empty_body
        || rule.min_duration.is_some()
        || given.body_contains.is_some()
        || given.body_matches.is_some()
        || given.urls.is_some()
        || given.content_types.is_some();
    if !asks {
        around.out.fault(
            given.span,
            "a rule that asks for nothing",
            "write what makes an exchange an issue: `status: [5xx]`, `empty_body: true`, `min_duration: 2s`, `body_contains: [error]`",
        );
    }
    rule
}

/// Parses `404`, `5xx`, `500-599`, or `failed`.
fn status(text: &str) -> Result<StatusPattern, String> {
    let code = |text: &str| {
        let code: u16 = text.trim().parse().ok()?;
        (100..=999).contains(&code).then_some(code)
    };
    let codes = match text.to_ascii_lowercase().as_str() {
        "failed" => return Ok(StatusPattern::Failed),
        text => match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(hundreds), _) => code(&format!("{hundreds}00")).map(|first| first..=first + 99),
            (None, Some((first, last))) => code(first).zip(code(last)).filter(|(a, b)| a <= b).map(|(a, b)| a..=b),
            (None, None) => code(text).map(|code| code..=code),
        },
    };
    let right = "it is a status like 404, a hundred like 5xx, a range like 500-599, or `failed`";
    codes.map(StatusPattern::Codes).ok_or_else(|| right.to_owned())
}

/// What to record of the request, and of the response.
fn recorded(text: &str) -> Result<(Recorded, Recorded), String> {
    match text {
        "request_headers" => Ok((Recorded::Head, Recorded::Nothing)),
        "request_body" => Ok((Recorded::Body, Recorded::Nothing)),
        "response_headers" => Ok((Recorded::Nothing, Recorded::Head)),
        "response_body" => Ok((Recorded::Nothing, Recorded::Body)),
        _ => Err("it is one of `request_headers`, `request_body`, `response_headers`, `response_body`".to_owned()),
    }
}

/// Applies `make` to each word; reports a fault for each word that it refuses.
fn each<T>(key: &str, given: &typed::Words, around: &Around<'_>, make: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let one = |at: &At<String>| match make(&at.value) {
        Ok(made) => Some(made),
        Err(right) => {
            around.out.fault(at.span, format!("`{key}` cannot hold `{}`", word(&at.value)), right);
            None
        }
    };
    given.iter().flatten().filter_map(one).collect()
}

fn values(given: &typed::Words) -> Vec<String> {
    given.iter().flatten().map(|at| at.value.clone()).collect()
}
