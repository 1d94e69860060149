//! `docs/config.md` says of every key what the tables say, and of no other; every example is a file that is taken.

use std::path::{Path, PathBuf};

use super::env;
use crate::config::shape::{self, Key, Shape, Takes};
use crate::config::{Source, load, value};

/// Headings of the page, and the tables they stand for.
const SECTIONS: &[(&str, &[&Shape])] = &[
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first three cells of a key's row.
fn row(key: &Key) -> Option<String> {
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

#[test]
fn the_page_says_what_the_tables_say() {
    let page = std::fs::read_to_string(root().join("docs/config.md")).expect("docs/config.md");
    let covered = SECTIONS.iter().flat_map(|(_, shapes)| shapes.iter());
    assert_eq!(covered.count(), shape::ALL.len(), "a table without a section");
    let mut missing = String::new();
    for (heading, shapes) in SECTIONS {
        let section =
            page.split("\n#").find(|part| part.trim_start_matches('#').lines().next() == Some(&format!(" {heading}")));
        let section = section.unwrap_or_else(|| panic!("no section {heading}"));
        for key in shapes.iter().flat_map(|shape| shape.all()) {
            match (row(key), key.takes) {
                (Some(row), _) if !section.lines().any(|line| line.starts_with(&row)) => {
                    missing.push_str(&format!("{heading}: {row}\n"));
                }
                (None, Takes::Now(_)) => {
                    assert!(section.contains(&format!("`{}`", key.name)), "{heading}: {}", key.name)
                }
                (_, _) => {}
            }
        }
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        for (name, _) in rows {
            assert!(shapes.iter().any(|shape| shape.key(name).is_some()), "{heading}: `{name}` is no key");
        }
    }
    assert!(missing.is_empty(), "rows that are missing or differ:\n{missing}");
}

/// The values that an example's README tells its reader to set.
fn example_env(name: &str) -> Option<String> {
    let value = match name {
        "COLLECTOR" | "OTLP_ENDPOINT" => "127.0.0.1:4317",
        "S3_ENDPOINT" => "http://127.0.0.1:9000",
        "API_KEY" | "MINIO_SECRET" => "x",
        name => return env(name),
    };
    Some(value.to_owned())
}

#[test]
fn every_example_is_taken_without_a_note() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("examples") {
        let folder = entry.expect("an entry").path();
        let file = folder.join("qtap.yaml");
        if !file.is_file() {
            continue;
        }
        let (_, notes) = load(Source::Path(file.clone()), &example_env).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(notes.is_empty(), "{}", notes[0]);
        assert!(folder.join("README.md").is_file(), "{}: no README.md", folder.display());
        count += 1;
    }
    assert!(count >= 4, "{count} examples");
}

/// The pages' own YAML is true too: every fenced block that is a whole file is taken.
#[test]
fn files_on_the_pages_are_taken() {
    for name in [
        "docs/config.md",
        "docs/filters.md",
        "docs/gen_ai.md",
        "docs/otlp.md",
        "docs/plugins.md",
        "docs/redaction.md",
        "docs/rules.md",
    ] {
        let page = std::fs::read_to_string(root().join(name)).expect(name);
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let whole: Vec<&str> = blocks.filter(|block| block.contains("version: 2")).collect();
        assert!(!whole.is_empty(), "{name}");
        for text in whole {
            let source = Source::Text { name: name.to_owned(), text: text.to_owned() };
            load(source, &example_env).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
        }
    }
}

/// The programs of each group stand on the page.
#[test]
fn groups_of_programs_are_those_on_the_page() {
    let page = std::fs::read_to_string(root().join("docs/filters.md")).expect("docs/filters.md");
    for (name, group) in crate::capture::settings::Group::NAMES {
        let programs: Vec<_> = group.programs().iter().map(|program| format!("`{program}`")).collect();
        let row = format!("| `{name}` | {} |", programs.join(" "));
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}
