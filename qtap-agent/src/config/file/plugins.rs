//! The plugin configs as typed, except `http_capture` and `redact`. In: the node of a plugin's `config`. Out: the values of its keys.

use std::time::Duration;

use super::rules::{self, CaptureRule};
use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::place::Span;
use crate::config::shape;
use crate::config::yaml::Node;
use crate::pipeline::settings::{Level, LogFormat, SampleBy, UsageDigest};

/// A list of words; `None` when the file has none.
pub(crate) type Words = Option<Vec<At<String>>>;

#[derive(Debug)]
pub(crate) struct AccessLogs {
    pub(crate) mode: Option<At<Level>>,
    pub(crate) format: Option<At<LogFormat>>,
    pub(crate) rules: Vec<CaptureRule>,
}

/// The key `mode` of `access_logs`, and of its rules.
pub(super) fn mode(fields: &Fields<'_>) -> Option<At<Level>> {
    let modes =
        [("none", Level::None), ("summary", Level::Summary), ("details", Level::Details), ("full", Level::Full)];
    fields.choice("mode", &modes)
}

#[derive(Debug)]
pub(crate) struct ReportUsage {
    pub(crate) headers: Words,
    pub(crate) cookies: Words,
    pub(crate) query_keys: Words,
    pub(crate) digest: Option<At<UsageDigest>>,
    pub(crate) claims: Words,
}

#[derive(Debug)]
pub(crate) struct DetectErrors {
    /// None when the file has no `rules`.
    pub(crate) rules: Option<Vec<IssueRule>>,
}

#[derive(Debug)]
pub(crate) struct IssueRule {
    /// Where it begins.
    pub(crate) span: Span,
    pub(crate) name: Option<At<String>>,
    pub(crate) category: Option<At<String>>,
    pub(crate) expr: Option<At<String>>,
    pub(crate) status: Words,
    pub(crate) empty_body: Option<At<bool>>,
    pub(crate) min_duration: Option<At<Duration>>,
    pub(crate) body_contains: Words,
    pub(crate) body_matches: Words,
    pub(crate) content_types: Words,
    pub(crate) urls: Words,
    pub(crate) except_urls: Words,
    pub(crate) record: Words,
}

#[derive(Debug)]
pub(crate) struct HttpMetrics {
    pub(crate) max_hosts: Option<At<u64>>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) ratio: Option<At<f64>>,
    pub(crate) by: Option<At<SampleBy>>,
    pub(crate) rate: Option<At<u64>>,
    pub(crate) burst: Option<At<u64>>,
    pub(crate) keep_errors: Option<At<bool>>,
}

impl AccessLogs {
    pub(crate) fn read(node: &Node, out: &Findings) -> Option<AccessLogs> {
        let fields = Fields::open(node, &shape::ACCESS_LOGS, out)?;
        Some(AccessLogs {
            mode: mode(&fields),
            format: fields.choice("format", &[("console", LogFormat::Console), ("json", LogFormat::Json)]),
            rules: fields.list("rules").iter().filter_map(|item| rules::log_rule(item, out)).collect(),
        })
    }
}

impl ReportUsage {
    pub(crate) fn read(node: &Node, out: &Findings) -> Option<ReportUsage> {
        let fields = Fields::open(node, &shape::REPORT_USAGE, out)?;
        let digests = [("tokens", UsageDigest::Tokens), ("all", UsageDigest::All), ("none", UsageDigest::None)];
        Some(ReportUsage {
            headers: fields.words("headers"),
            cookies: fields.words("cookies"),
            query_keys: fields.words("query_keys"),
            digest: fields.choice("digest", &digests),
            claims: fields.words("claims"),
        })
    }
}

impl DetectErrors {
    pub(crate) fn read(node: &Node, out: &Findings) -> Option<DetectErrors> {
        let fields = Fields::open(node, &shape::DETECT_ERRORS, out)?;
        let read = || fields.list("rules").iter().filter_map(|rule| IssueRule::read(rule, out)).collect();
        Some(DetectErrors { rules: fields.node("rules").map(|_| read()) })
    }
}

impl IssueRule {
    fn read(node: &Node, out: &Findings) -> Option<IssueRule> {
        let fields = Fields::open(node, &shape::ISSUE_RULE, out)?;
        fields.require("name", "the name that its issues have");
        Some(IssueRule {
            span: fields.span,
            name: fields.text("name"),
            category: fields.text("category"),
            expr: fields.text("expr"),
            status: fields.words("status"),
            empty_body: fields.flag("empty_body"),
            min_duration: fields.time("min_duration"),
            body_contains: fields.words("body_contains"),
            body_matches: fields.words("body_matches"),
            content_types: fields.words("content_types"),
            urls: fields.words("urls"),
            except_urls: fields.words("except_urls"),
            record: fields.words("record"),
        })
    }
}

impl HttpMetrics {
    pub(crate) fn read(node: &Node, out: &Findings) -> Option<HttpMetrics> {
        let fields = Fields::open(node, &shape::HTTP_METRICS, out)?;
        Some(HttpMetrics { max_hosts: fields.whole("max_hosts") })
    }
}

impl Sample {
    pub(crate) fn read(node: &Node, out: &Findings) -> Option<Sample> {
        let fields = Fields::open(node, &shape::SAMPLE, out)?;
        Some(Sample {
            ratio: fields.share("ratio"),
            by: fields.choice("by", &[("connection", SampleBy::Connection), ("trace", SampleBy::Trace)]),
            rate: fields.whole("rate"),
            burst: fields.whole("burst"),
            keep_errors: fields.flag("keep_errors"),
        })
    }
}
