//! The tables of all plugins other than `http_capture`.

use std::time::Duration;

use super::{DAY, Key, LEVELS, Shape, Takes, key};

pub(crate) const ACCESS_LOGS: Shape = Shape {
    what: "the config of `access_logs`",
    keys: &[&[
        key("mode", Takes::Choice(LEVELS), "summary"),
        key("format", Takes::Choice(&["console", "json"]), "console"),
        key("rules", Takes::More("list of rules"), "[]"),
    ]],
};

pub(crate) const LOG_RULE: Shape = Shape {
    what: "a rule of `access_logs`",
    keys: &[&[key("name", Takes::Text, ""), key("expr", Takes::Text, ""), key("mode", Takes::Choice(LEVELS), "")]],
};

pub(crate) const REPORT_USAGE: Shape = Shape {
    what: "the config of `report_usage`",
    keys: &[&[
        key("headers", Takes::Words, "[api_keys]"),
        key("cookies", Takes::Words, "[sessions]"),
        key("query_keys", Takes::Words, "[api_keys]"),
        key("digest", Takes::Choice(&["tokens", "all", "none"]), "tokens"),
        key("claims", Takes::Words, "[]"),
    ]],
};

pub(crate) const DETECT_ERRORS: Shape =
    Shape { what: "the config of `detect_errors`", keys: &[&[key("rules", Takes::More("list of rules"), "")]] };

pub(crate) const ISSUE_RULE: Shape = Shape { what: "a rule of `detect_errors`", keys: &[CONDITIONS, OUTCOME] };

const CONDITIONS: &[Key] = &[
    key("expr", Takes::Text, ""),
    key("status", Takes::Words, "[]"),
    key("empty_body", Takes::Flag, "false"),
    key("min_duration", Takes::Time(Duration::from_millis(1), DAY), ""),
    key("body_contains", Takes::Words, "[]"),
    key("body_matches", Takes::Words, "[]"),
    key("content_types", Takes::Words, "[]"),
    key("urls", Takes::Words, "[]"),
    key("except_urls", Takes::Words, "[]"),
];
const OUTCOME: &[Key] =
    &[key("name", Takes::Text, ""), key("category", Takes::Text, ""), key("record", Takes::Words, "[]")];

pub(crate) const HTTP_METRICS: Shape =
    Shape { what: "the config of `http_metrics`", keys: &[&[key("max_hosts", Takes::Whole(0, 1000), "100")]] };

pub(crate) const SAMPLE: Shape = Shape {
    what: "the config of `sample`",
    keys: &[&[
        key("ratio", Takes::Share, "1"),
        key("by", Takes::Choice(&["connection", "trace"]), "connection"),
        key("rate", Takes::Whole(1, 1_000_000), ""),
        key("burst", Takes::Whole(1, 1_000_000), ""),
        key("keep_errors", Takes::Flag, "false"),
    ]],
};
