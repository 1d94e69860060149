//! Tidiness tests: the import rule, which files may name attributes and read the environment, the `//!` head of each file, its
//! length, and no path of one machine anywhere. In: the sources of the workspace. Out: every fault as
//! `file:line: what`.

mod imports;
mod lex;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of 400 lines should be reviewed; one longer than this needs a reason. The tests at the end of a file are not counted.
const MAX_LINES: usize = 450;

/// The same for files that hold only tests: literals take space.
const MAX_TEST_LINES: usize = 600;

/// Longer files, and why one file is better than two.
const LONG_FILES: [(&str, &str); 0] = [];

/// Directories with Rust sources.
const SOURCE_DIRS: [&str; 8] = [
    "qtap-agent/src",
    "qtap-agent/tests",
    "qtap-agent/examples",
    "qtap-agent/fuzz/rooms",
    "qtap-agent/fuzz/targets",
    "qtap-common/src",
    "qtap-ebpf/src",
    "xtask/src",
];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut files: Vec<PathBuf> = SOURCE_DIRS.iter().flat_map(|dir| rust_files(&root.join(dir))).collect();
    files.push(root.join("qtap-agent/build.rs"));
    assert!(files.len() > 20, "the sources were not found at {}", root.display());
    let mut faults = Vec::new();
    for file in &files {
        let name = file.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let source = fs::read_to_string(file).expect("a source that can be read");
        faults.extend(faults_of(&name, &source).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    for (name, _) in LONG_FILES {
        let lines = fs::read_to_string(root.join(name)).map_or(0, |source| counted_lines(name, &source));
        if lines <= allowed_lines(name) {
            faults.push(format!("{name} has {lines} lines and needs no exception"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// All faults of one file; `name` is its path from the workspace's root.
fn faults_of(name: &str, source: &str) -> Vec<(usize, String)> {
    let tokens = lex::tokens(source);
    let mut faults = shape(name, source);
    faults.extend(words::machine_paths(source));
    if let Some(path) = name.strip_prefix("qtap-agent/src/") {
        faults.extend(imports::faults(path, &tokens));
        let code = if is_test(name) { Vec::new() } else { words::without_tests(&tokens) };
        faults.extend(words::attribute_names(path, &code));
        faults.extend(words::environment(path, &code));
    }
    faults
}

/// Checks the head of a file, and its length.
fn shape(name: &str, source: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    if !source.starts_with("//!") {
        faults.push((1, "does not open with `//!`: what it is, what comes in, what goes out".to_owned()));
    }
    let (lines, allowed) = (counted_lines(name, source), allowed_lines(name));
    if lines > allowed && !LONG_FILES.iter().any(|(long, _)| *long == name) {
        faults.push((allowed, format!("has {lines} lines, {allowed} are allowed without a reason")));
    }
    faults
}

/// True for files of tests only.
fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn allowed_lines(name: &str) -> usize {
    if is_test(name) { MAX_TEST_LINES } else { MAX_LINES }
}

/// Lines before the tests at the end of the file.
fn counted_lines(name: &str, source: &str) -> usize {
    let is_foot = |line: &&str| !is_test(name) && *line == "#[cfg(test)]";
    let lines = source.lines().collect::<Vec<_>>();
    // `#[cfg(test)] mod tests;` at the head is not the end: code follows it.
    let foot = lines.iter().rposition(is_foot).filter(|at| !lines[*at..].contains(&"mod tests;"));
    foot.unwrap_or(lines.len())
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_file_that_says_nothing_of_itself_is_a_fault() {
    assert_eq!(shape("x.rs", "use std::fs;\n").len(), 1);
    assert_eq!(shape("x.rs", "//! What it is.\nuse std::fs;\n"), []);
}

#[test]
fn a_long_file_is_a_fault() {
    let source = |lines: usize| format!("//! x\n{}", "\n".repeat(lines - 1));
    assert_eq!(shape("x.rs", &source(MAX_LINES)), []);
    assert_eq!(shape("x.rs", &source(MAX_LINES + 1)).len(), 1);
    let with_tests = format!("{}#[cfg(test)]\nmod tests {{}}\n", source(MAX_LINES));
    assert_eq!(shape("x.rs", &with_tests), []);
    let with_tests_elsewhere = format!("#[cfg(test)]\nmod tests;\n{}", source(MAX_LINES));
    assert_eq!(counted_lines("x.rs", &with_tests_elsewhere), MAX_LINES + 2);
    assert_eq!(shape("x/tests.rs", &source(MAX_TEST_LINES)), []);
    assert_eq!(shape("x/tests.rs", &source(MAX_TEST_LINES + 1)).len(), 1);
}
