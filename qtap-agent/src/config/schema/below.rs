//! What the tables leave to the readers of the file, for the schema: which table stands below a key, which keys must be there, and
//! which old words are still taken. A key that is told as a map or list without an entry here fails a test.

use crate::capture::settings::Group;
use crate::config::file::filters::ASPECTS;
use crate::config::shape::{self, Shape};

/// What stands below a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Below {
    /// A map.
    Map(&'static Shape),
    /// A map, or one of these words.
    MapOr(&'static Shape, &'static [&'static str]),
    /// A list of maps.
    List(&'static Shape),
    /// A list of maps and words.
    ListOr(&'static Shape),
    /// A map of names of the user's own to maps; these can't be names.
    Named(&'static Shape, &'static [&'static str]),
    /// A list of maps; `type` says by which table. A word without a table takes anything.
    Kinds(&'static [(&'static str, Option<&'static Shape>)]),
    /// A map by the table that the `type` beside it says.
    ByType(&'static [(&'static str, &'static Shape)]),
}

/// By table and key, where the name alone does not say it.
const OF: &[(&Shape, &str, Below)] = &[
    (&shape::HTTP_CAPTURE, "rules", Below::List(&shape::CAPTURE_RULE)),
    (&shape::ACCESS_LOGS, "rules", Below::List(&shape::LOG_RULE)),
    (&shape::DETECT_ERRORS, "rules", Below::List(&shape::ISSUE_RULE)),
];

/// By the name of the key.
const BELOW: &[(&str, Below)] = &[
    ("services", Below::Map(&shape::SERVICES)),
    ("stacks", Below::Named(&shape::STACK, &["none", ""])),
    ("tap", Below::Map(&shape::TAP)),
    ("tags", Below::List(&shape::TAG)),
    (
        "event_stores",
        Below::Kinds(&[("otel", Some(&shape::EVENT_OTEL)), ("stdout", Some(&shape::EVENT_STDOUT)), ("disabled", None)]),
    ),
    (
        "object_stores",
        Below::Kinds(&[
            ("s3", Some(&shape::S3)),
            ("otel", Some(&shape::OBJECT_OTEL)),
            ("stdout", Some(&shape::OBJECT_STDOUT)),
            ("disabled", None),
        ]),
    ),
    ("auth", Below::Map(&shape::AUTH)),
    ("tls", Below::Map(&shape::TLS)),
    ("batch", Below::Map(&shape::BATCH)),
    ("limits", Below::Map(&shape::LIMITS)),
    ("retry", Below::Map(&shape::RETRY)),
    ("queue", Below::Map(&shape::QUEUE)),
    ("plugins", Below::List(&shape::PLUGIN)),
    (
        "config",
        Below::ByType(&[
            ("http_capture", &shape::HTTP_CAPTURE),
            ("access_logs", &shape::ACCESS_LOGS),
            ("report_usage", &shape::REPORT_USAGE),
            ("detect_errors", &shape::DETECT_ERRORS),
            ("http_metrics", &shape::HTTP_METRICS),
            ("redact", &shape::REDACT),
            ("gen_ai", &shape::GEN_AI),
            ("sample", &shape::SAMPLE),
        ]),
    ),
    ("rulekit", Below::Map(&shape::RULEKIT)),
    ("macros", Below::List(&shape::MACRO)),
    ("patterns", Below::ListOr(&shape::PATTERN)),
    ("endpoints", Below::List(&shape::ENDPOINT)),
    ("filters", Below::Map(&shape::FILTERS)),
    ("custom", Below::List(&shape::FILTER)),
    ("http", Below::MapOr(&shape::TAP_HTTP, &["none", ""])),
];

/// Keys that must be there, whatever else is.
const REQUIRED: &[(&Shape, &[&str])] = &[
    (&shape::FILE, &["version"]),
    (&shape::EVENT_OTEL, &["type"]),
    (&shape::EVENT_STDOUT, &["type"]),
    (&shape::OBJECT_OTEL, &["type"]),
    (&shape::OBJECT_STDOUT, &["type"]),
    (&shape::S3, &["type"]),
    (&shape::AUTH, &["type"]),
    (&shape::PLUGIN, &["type"]),
    (&shape::ENDPOINT, &["domain", "http"]),
    (&shape::FILTER, &["exe"]),
    (&shape::CAPTURE_RULE, &["name", "expr", "level"]),
    (&shape::LOG_RULE, &["name", "expr", "mode"]),
    (&shape::ISSUE_RULE, &["name"]),
    (&shape::PATTERN, &["name", "regex"]),
    (&shape::MACRO, &["name", "expr"]),
    (&shape::TAG, &["key", "source", "location"]),
    (&shape::VALUE, &["value"]),
];

/// Words that a choice once had, and what they are now.
const OLD_WORDS: &[(&Shape, &str, &str, &str)] =
    &[(&shape::HTTP_CAPTURE, "level", "headers", "details"), (&shape::CAPTURE_RULE, "level", "headers", "details")];

/// Words that a list takes, where it does not take any.
pub(super) fn words(shape: &Shape, name: &str) -> Vec<&'static str> {
    match name {
        "groups" if shape.is(&shape::FILTERS) => Group::NAMES.iter().map(|(word, _)| *word).collect(),
        "only" if shape.is(&shape::FILTER) => ASPECTS.iter().map(|(word, _)| *word).collect(),
        _ => Vec::new(),
    }
}

/// What stands below a key.
pub(super) fn below(shape: &Shape, name: &str) -> Option<Below> {
    let own = OF.iter().find(|(known, key, _)| known.is(shape) && *key == name).map(|(_, _, below)| *below);
    own.or_else(|| BELOW.iter().find(|(known, _)| *known == name).map(|(_, below)| *below))
}

/// The keys that must be there in a map of this table.
pub(super) fn required(shape: &Shape) -> &'static [&'static str] {
    REQUIRED.iter().find(|(known, _)| known.is(shape)).map_or(&[], |(_, names)| names)
}

/// Old words of a choice, each with the new one.
pub(super) fn old_words(shape: &Shape, name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = OLD_WORDS.iter().filter(move |(known, key, _, _)| known.is(shape) && *key == name);
    of.map(|(_, _, old, new)| (*old, *new))
}
