//! `docs/config.md` says of every key what the tables say, and of no other; every example is a file that is taken.

use std::path::{Path, PathBuf};

use super::env;
use crate::config::page::{SECTIONS, TEXT, row, section};
use crate::config::shape::{self, Takes};
use crate::config::{Source, load};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_page_says_what_the_tables_say() {
    let covered = SECTIONS.iter().flat_map(|(_, shapes)| shapes.iter());
    assert_eq!(covered.count(), shape::ALL.len(), "a table without a section");
    let mut missing = String::new();
    for (heading, shapes) in SECTIONS {
        let section = section(heading).unwrap_or_else(|| panic!("no section {heading}"));
        for key in shapes.iter().flat_map(|shape| shape.all()) {
            match (row(key), key.takes) {
                (Some(row), _) if !section.lines().any(|line| line.starts_with(&row)) => {
                    missing.push_str(&format!("{heading}: {row}\n"));
                }
                (None, Takes::Now(_)) => {
                    assert!(section.contains(&format!("`{}`", key.name)), "{heading}: {}", key.name)
                }
                (None, _) => {
                    let later = TEXT.split("\n## Not yet\n").nth(1).expect("a section on what is not yet there");
                    assert!(later.contains(&format!("`{}`", key.name)), "{}", key.name);
                }
                (Some(_), _) => {}
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
    for name in ["docs/config.md", "docs/otlp.md"] {
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
