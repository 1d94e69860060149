//! `docs/config.md` describes exactly the keys of the tables, as the tables do; every example is a valid file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::env;
use crate::config::page::{SECTIONS, row, section};
use crate::config::shape::{self, Takes};
use crate::config::yaml::{self, Kind, Node};
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

/// The variables that an example's README asks its reader to set.
fn example_env(name: &str) -> Option<String> {
    let value = match name {
        "COLLECTOR" | "OTLP_ENDPOINT" => "127.0.0.1:4317",
        "S3_ENDPOINT" => "http://127.0.0.1:9000",
        "API_KEY" | "MINIO_SECRET" | "AWS_SESSION_TOKEN" => "x",
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

/// The names of all keys in a file, at any level.
fn names(node: &Node, found: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Scalar(..) => {}
        Kind::List(items) => items.iter().for_each(|item| names(item, found)),
        Kind::Map(pairs) => {
            for (key, value) in pairs {
                if let Kind::Scalar(name, _) = &key.kind {
                    found.insert(name.clone());
                }
                names(value, found);
            }
        }
    }
}

/// The reference example holds every key, and every word for a `type`.
#[test]
fn the_reference_has_every_key() {
    let text = std::fs::read_to_string(root().join("examples/reference/qtap.yaml")).expect("the reference");
    let mut found = BTreeSet::new();
    names(&yaml::read(&text).expect("YAML").expect("a document"), &mut found);
    let mut missing = Vec::new();
    for (shape, key) in shape::ALL.iter().flat_map(|shape| shape.all().map(move |key| (shape, key))) {
        match key.takes {
            Takes::Now(_) => {}
            _ if !found.contains(key.name) => missing.push(format!("{}: {}", shape.what, key.name)),
            // A choice's other words are mentioned beside the chosen one.
            Takes::Choice(words) => {
                let unsaid = words.iter().filter(|word| !text.contains(*word));
                missing.extend(unsaid.map(|word| format!("{}: {}: {word}", shape.what, key.name)));
            }
            _ => {}
        }
    }
    assert!(missing.is_empty(), "examples/reference/qtap.yaml lacks {missing:#?}");
}

/// The YAML on the pages is valid too: every fenced block that is a whole file is accepted.
#[test]
fn files_on_the_pages_are_taken() {
    let mut pages = vec![root().join("README.md")];
    pages.extend(std::fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path()));
    for path in pages {
        let name = path.display().to_string();
        let page = std::fs::read_to_string(&path).expect("a page");
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let whole: Vec<&str> = blocks.filter(|block| block.contains("version: 2")).collect();
        assert!(!whole.is_empty() || !name.ends_with("config.md"), "{name}");
        for text in whole {
            let source = Source::Text { name: name.clone(), text: text.to_owned() };
            load(source, &example_env).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
        }
    }
}

/// The page lists the programs of each group.
#[test]
fn groups_of_programs_are_those_on_the_page() {
    let page = std::fs::read_to_string(root().join("docs/filters.md")).expect("docs/filters.md");
    for (name, group) in crate::capture::settings::Group::NAMES {
        let programs: Vec<_> = group.programs().iter().map(|program| format!("`{program}`")).collect();
        let row = format!("| `{name}` | {} |", programs.join(" "));
        assert!(page.lines().any(|line| line == row), "{row}");
    }
}
