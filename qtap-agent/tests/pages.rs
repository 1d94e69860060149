//! The documentation is correct: links lead somewhere, every page is in the index, and the program has each message that troubleshooting.md
//! explains. In: the repository's Markdown and sources. Out: every fault as `page: what`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files below a folder whose names end in `end`.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    ["docs", "examples", "charts"].iter().for_each(|folder| files(&root().join(folder), ".md", &mut pages));
    pages.sort();
    pages
}

/// The text of a page, without code.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The link anchors of a page's headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(page)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in pages() {
        for found in link.captures_iter(&prose(&page)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let there = path.exists() && (anchor.is_empty() || anchors(&path).contains(anchor));
            if !there {
                faults.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(faults.is_empty() && count > 100, "{count} links\n{}", faults.join("\n"));
}

#[test]
fn every_page_and_example_is_in_an_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || index.contains(&format!("[{name}]({name})")), "docs/README.md lacks {name}");
    }
    let index = fs::read_to_string(root().join("examples/README.md")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!entry.is_dir() || index.contains(&format!("[{name}]({name})")), "examples/README.md lacks {name}");
        assert!(!entry.is_dir() || entry.join("README.md").is_file(), "{name} has no README.md");
    }
}

/// The messages in the first cells of the page's tables; `…` in them stands for what varies.
fn explained() -> Vec<String> {
    let page = prose(&root().join("docs/troubleshooting.md"));
    let cell = Regex::new(r"^\| (?:`` (.+?) ``|`(.+?)`) \|").unwrap();
    let message = |line: &str| {
        let found = cell.captures(line)?;
        Some(found.get(1).or(found.get(2))?.as_str().to_owned())
    };
    page.lines().filter_map(message).collect()
}

#[test]
fn each_message_that_is_explained_is_one_of_the_programs() {
    let mut sources = Vec::new();
    files(&root().join("qtap-agent/src"), ".rs", &mut sources);
    let broken = Regex::new(r"\\\n\s*").unwrap();
    let text: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let text = broken.replace_all(&text, "").replace("\\\"", "\"");
    let messages = explained();
    assert!(messages.len() > 60, "{}", messages.len());
    let mut faults = Vec::new();
    for message in messages {
        let parts: Vec<&str> = message.split('…').filter(|part| part.trim().len() > 2).collect();
        assert!(!parts.is_empty(), "{message}");
        faults.extend(parts.iter().filter(|part| !text.contains(**part)).map(|part| format!("`{message}`: `{part}`")));
    }
    assert!(faults.is_empty(), "not said by qtap:\n{}", faults.join("\n"));
}
