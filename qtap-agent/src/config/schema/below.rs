//! What the schema needs and the tables leave to the readers of the file: which table a key's value has, which keys are required, and
//! which old words are still accepted. A key described as a map or list but without an entry here fails a test.

use crate::capture::settings::Group;
use crate::config::file::filters::ASPECTS;
use crate::config::shape::{self, Shape};

/// The structure of a key's value.
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
    /// A map from user-chosen names to maps; the listed words are not allowed as names.
    Named(&'static Shape, &'static [&'static str]),
    /// A list of maps; `type` selects the table. A type without a table accepts anything.
    Kinds(&'static [(&'static str, Option<&'static Shape>)]),
    /// A map whose table is selected by the neighbouring key `type`.
    ByType(&'static [(&'static str, &'static Shape)]),
}

/// By table and key, where the key's name alone is ambiguous.
const OF: &[(&Shape, &str, Below)] = &[
    (&shape::HTTP_CAPTURE, "rules", Below::List(&shape::CAPTURE_RULE)),
    (&shape::ACCESS_LOGS, "rules", Below::List(&shape::LOG_RULE)),
    (&shape::DETECT_ERRORS, "rules", Below::List(&shape::ISSUE_RULE)),
];

/// By the key's name.
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

/// Keys that are always required.
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

/// Old words of a choice, and their replacements.
const OLD_WORDS: &[(&Shape, &str, &str, &str)] =
    &[(&shape::HTTP_CAPTURE, "level", "headers", "details"), (&shape::CAPTURE_RULE, "level", "headers", "details")];

/// The words that a list accepts; empty when it accepts any.
pub(super) fn words(shape: &Shape, name: &str) -> Vec<&'static str> {
    match name {
        "groups" if shape.is(&shape::FILTERS) => Group::NAMES.iter().map(|(word, _)| *word).collect(),
        "only" if shape.is(&shape::FILTER) => ASPECTS.iter().map(|(word, _)| *word).collect(),
        _ => Vec::new(),
    }
}

/// The structure of a key's value.
pub(super) fn below(shape: &Shape, name: &str) -> Option<Below> {
    let own = OF.iter().find(|(known, key, _)| known.is(shape) && *key == name).map(|(_, _, below)| *below);
    own.or_else(|| BELOW.iter().find(|(known, _)| *known == name).map(|(_, below)| *below))
}

/// The keys required in a map of this table.
pub(super) fn required(shape: &Shape) -> &'static [&'static str] {
    REQUIRED.iter().find(|(known, _)| known.is(shape)).map_or(&[], |(_, names)| names)
}

/// Old words of a choice, each with its replacement.
pub(super) fn old_words(shape: &Shape, name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = OLD_WORDS.iter().filter(move |(known, key, _, _)| known.is(shape) && *key == name);
    of.map(|(_, _, old, new)| (*old, *new))
}
