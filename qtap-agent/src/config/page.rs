//! Relates `docs/config.md` to the tables: which section describes which table, how a key's row begins, and what it says about the
//! key. In: the page as it was at build time. Out: text. The page is the one description of each key; `schema` repeats it.

use super::shape::{self, Key, Shape, Takes};
use super::value;

/// The page.
pub(crate) const TEXT: &str = include_str!("../../../docs/config.md");

/// Headings of the page, and the tables that each describes.
pub(crate) const SECTIONS: &[(&str, &[&Shape])] = &[
    ("The file", &[&shape::FILE]),
    ("services", &[&shape::SERVICES]),
    ("Stores of type otel", &[&shape::EVENT_OTEL, &shape::OBJECT_OTEL]),
    ("auth", &[&shape::AUTH]),
    ("tls", &[&shape::TLS]),
    ("batch", &[&shape::BATCH]),
    ("retry", &[&shape::RETRY]),
    ("limits", &[&shape::LIMITS]),
    ("queue", &[&shape::QUEUE]),
    ("Stores of type stdout", &[&shape::EVENT_STDOUT, &shape::OBJECT_STDOUT]),
    ("Stores of type s3", &[&shape::S3]),
    ("stacks", &[&shape::STACK]),
    ("plugins", &[&shape::PLUGIN]),
    ("http_capture", &[&shape::HTTP_CAPTURE]),
    ("rules", &[&shape::CAPTURE_RULE]),
    ("rulekit", &[&shape::RULEKIT]),
    ("macros", &[&shape::MACRO]),
    ("access_logs", &[&shape::ACCESS_LOGS]),
    ("Rules of access_logs", &[&shape::LOG_RULE]),
    ("report_usage", &[&shape::REPORT_USAGE]),
    ("detect_errors", &[&shape::DETECT_ERRORS]),
    ("Rules of detect_errors", &[&shape::ISSUE_RULE]),
    ("http_metrics", &[&shape::HTTP_METRICS]),
    ("redact", &[&shape::REDACT]),
    ("patterns", &[&shape::PATTERN]),
    ("gen_ai", &[&shape::GEN_AI]),
    ("sample", &[&shape::SAMPLE]),
    ("tap", &[&shape::TAP]),
    ("tap.http", &[&shape::TAP_HTTP]),
    ("tap.endpoints", &[&shape::ENDPOINT]),
    ("tap.filters", &[&shape::FILTERS]),
    ("tap.filters.custom", &[&shape::FILTER]),
    ("tags", &[&shape::TAG]),
    ("Secrets and headers", &[&shape::VALUE]),
];

/// The section of the page under a heading.
pub(crate) fn section(heading: &str) -> Option<&'static str> {
    TEXT.split("\n#").find(|part| {
        part.trim_start_matches('#').lines().next().and_then(|line| line.strip_prefix(' ')) == Some(heading)
    })
}

/// The first three cells of a key's row; `None` for a key without a row.
pub(crate) fn row(key: &Key) -> Option<String> {
    let words = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    let takes = match key.takes {
        Takes::Text => "text".to_owned(),
        Takes::Secret => "secret".to_owned(),
        Takes::Flag => "`true` `false`".to_owned(),
        Takes::Whole(min, max) if min == max => format!("{min}"),
        Takes::Whole(min, max) => format!("{min} to {max}"),
        Takes::Share => "0 to 1".to_owned(),
        Takes::Time(min, max) => format!("duration, {} to {}", value::show_duration(min), value::show_duration(max)),
        Takes::Size(min, max) => format!("size, {} to {}", value::show_size(min), value::show_size(max)),
        Takes::Choice(choices) => words(choices),
        Takes::Words => "list of words".to_owned(),
        Takes::Names => "map of names to text".to_owned(),
        Takes::Headers => "map of names to secrets".to_owned(),
        Takes::More(words) => words.to_owned(),
        Takes::Now(_) => return None,
    };
    let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
    Some(format!("| `{}` | {takes} | {default} |", key.name))
}

/// The page's description of a key, without markup; `None` when there is none.
pub(crate) fn about(shape: &Shape, key: &Key) -> Option<String> {
    let row = row(key)?;
    let (heading, _) = SECTIONS.iter().find(|(_, shapes)| shapes.iter().any(|known| known.is(shape)))?;
    let rest = section(heading)?.lines().find_map(|line| line.strip_prefix(&row))?;
    let text = unlinked(rest.trim().trim_end_matches('|').trim());
    (!text.is_empty()).then_some(text)
}

/// `[text](where)` → `text`.
fn unlinked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        match link.split_once("](").and_then(|(name, after)| Some((name, after.split_once(')')?.1))) {
            Some((name, after)) if !name.contains(']') => {
                out.push_str(name);
                rest = after;
            }
            _ => {
                out.push('[');
                rest = link;
            }
        }
    }
    out.push_str(rest);
    out
}
