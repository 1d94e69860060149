//! Checks licences, sources, banned crates and yanked versions of everything that is linked, from `cargo metadata` and cargo's
//! own copy of the registry's index. Security advisories are not checked: their database would be fetched over the network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Licences that require no more than attribution.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Banned crates, and why.
const BANNED: [(&str, &str); 6] = [
    ("aws-lc-sys", "needs cmake; ring is the one provider of cryptography"),
    ("evalexpr", "AGPL"),
    ("native-tls", "a second TLS"),
    ("openssl-sys", "a second TLS, and the library under watch"),
    ("serde_yaml", "archived; yaml_serde continues it"),
    ("serde_yml", "unsound"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package in the lock file.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// `None` for the workspace's own packages.
    source: Option<String>,
}

/// Fails on any package that breaks a rule, and names them all.
pub(super) fn check() -> Result<()> {
    let packages = packages()?;
    let indexes = index_caches();
    let mut faults = Vec::new();
    let (mut known, mut foreign) = (0, 0);
    for package in &packages {
        let name = format!("{} {}", package.name, package.version);
        faults.extend(fault(package).map(|fault| format!("{name}: {fault}")));
        if package.source.is_some() {
            foreign += 1;
            let yanked = is_yanked(&indexes, &package.name, &package.version);
            known += usize::from(yanked.is_some());
            faults.extend(yanked.unwrap_or(false).then(|| format!("{name}: yanked")));
        }
    }
    println!("{foreign} crates: licences, sources and bans checked; {known} known to the local index, and not yanked.");
    println!("several versions: {}", several_versions(&packages));
    println!("not checked: security advisories (cargo-deny or cargo-audit do, with network).");
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn packages() -> Result<Vec<Package>> {
    let text = shell::capture(shell::cargo().args(["metadata", "--locked", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is no JSON")?;
    let list = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let text = |package: &Value, key: &str| package[key].as_str().map(ToOwned::to_owned);
    let read = |package: &Value| {
        Some(Package {
            name: text(package, "name")?,
            version: text(package, "version")?,
            licence: text(package, "license"),
            source: text(package, "source"),
        })
    };
    Ok(list.iter().filter_map(read).collect())
}

fn fault(package: &Package) -> Option<String> {
    if let Some((_, reason)) = BANNED.iter().find(|(name, _)| *name == package.name) {
        return Some(format!("banned: {reason}"));
    }
    if let Some(source) = package.source.as_deref().filter(|source| *source != CRATES_IO) {
        return Some(format!("comes from {source}, not from crates.io"));
    }
    match package.licence.as_deref() {
        None => Some("names no licence".to_owned()),
        Some(expression) if !is_allowed(expression) => Some(format!("licence {expression} is not on the list")),
        Some(_) => None,
    }
}

/// Evaluates an SPDX expression (SPDX 2.3 annex D: AND binds tighter than OR) over the list of licences; `/` is the
/// old way to write OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

/// Each of these parsers consumes what it understands from the front; `None` means a malformed expression.
fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = any_of(words)?;
            let [")", rest @ ..] = *words else { return None };
            *words = rest;
            Some(allowed)
        }
        // An exception only adds permissions: an allowed licence stays allowed.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            *words = rest;
            Some(LICENCES.contains(licence))
        }
        [] => None,
    }
}

fn several_versions(packages: &[Package]) -> String {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let several = versions.iter().filter(|(_, list)| list.len() > 1);
    several.map(|(name, list)| format!("{name} ({})", list.join(", "))).collect::<Vec<_>>().join(", ")
}

/// Cargo's caches of the registry index.
fn index_caches() -> Vec<PathBuf> {
    let home = shell::capture(Command::new("sh").args(["-c", "printf %s \"${CARGO_HOME:-$HOME/.cargo}\""]))
        .unwrap_or_default();
    let entries = fs::read_dir(Path::new(&home).join("registry/index")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join(".cache")).filter(|dir| dir.is_dir()).collect()
}

/// Whether the index marks this version as yanked; `None` when it is not in cargo's copy.
fn is_yanked(indexes: &[PathBuf], name: &str, version: &str) -> Option<bool> {
    indexes.iter().find_map(|dir| yanked_in(&fs::read(dir.join(index_path(name))).ok()?, version))
}

/// The cache file holds versions and their JSON alternately, each followed by a NUL.
fn yanked_in(cache: &[u8], version: &str) -> Option<bool> {
    let entries = cache.split(|byte| *byte == 0).filter_map(|part| serde_json::from_slice::<Value>(part).ok());
    entries.into_iter().find(|entry| entry["vers"] == version).map(|entry| entry["yanked"] == true)
}

/// `se/rd/serde`, `3/l/log`, `2/md`: the registry's own layout, in lower case.
fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        0..=2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", name.get(..1).unwrap_or_default()),
        _ => format!("{}/{}/{name}", name.get(..2).unwrap_or_default(), name.get(2..4).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{index_path, is_allowed, yanked_in};

    #[test]
    fn licence_expressions() {
        for good in [
            "MIT",
            "Apache-2.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "MIT AND (GPL-3.0-only OR ISC)",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "",
            "MIT OR",
            "MIT MIT",
            "(MIT",
            "Apache-2.0 AND (GPL-2.0-only OR MPL-2.0)",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only"));
        assert!(is_allowed("GPL-2.0-only OR MIT AND ISC"));
        assert!(!is_allowed("MIT AND GPL-2.0-only OR AGPL-3.0-only"));
    }

    #[test]
    fn yanked_versions_are_seen_in_the_index_cache() {
        let parts = ["\u{3}\u{2}", "", "etag: x", "1.0.0", r#"{"vers":"1.0.0","yanked":true}"#, "1.0.1"];
        let cache = [&parts[..], &[r#"{"vers":"1.0.1","yanked":false}"#, ""]].concat().join("\0");
        let cache = cache.as_bytes();
        assert_eq!(yanked_in(cache, "1.0.0"), Some(true));
        assert_eq!(yanked_in(cache, "1.0.1"), Some(false));
        assert_eq!(yanked_in(cache, "2.0.0"), None);
    }

    #[test]
    fn index_layout() {
        assert_eq!(index_path("serde"), "se/rd/serde");
        assert_eq!(index_path("log"), "3/l/log");
        assert_eq!(index_path("md"), "2/md");
    }
}
