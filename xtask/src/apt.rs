//! Runs apt with its own lists, cache and status, to download packages for another processor or release without installing them. In: a
//! folder, an architecture. Out: the configuration that `APT_CONFIG` names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Options for apt under such a configuration: not run as apt's own user, which may be unable to write to the temporary directory.
const OPTIONS: [&str; 4] = ["-qq", "-y", "-o", "APT::Sandbox::User=root"];

/// Writes the configuration below `home`, where the lists and downloads are kept too; no package counts as installed.
pub(crate) fn configure(home: &Path, architecture: &str, more: &[(&str, String)]) -> Result<PathBuf> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(home.join(folder))?;
    }
    fs::write(home.join("status"), "")?;
    let config = home.join("apt.conf");
    let at = |name: &str| home.join(name).display().to_string();
    let words = [
        ("APT::Architecture", architecture.to_owned()),
        ("APT::Architectures", architecture.to_owned()),
        ("APT::Install-Recommends", "false".to_owned()),
        ("Dir::State", home.display().to_string()),
        ("Dir::State::lists", at("lists")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("Debug::NoLocking", "true".to_owned()),
    ];
    let lines = words.iter().chain(more).map(|(name, value)| format!("{name} \"{value}\";\n"));
    fs::write(&config, lines.collect::<String>())?;
    Ok(config)
}

/// Fetches the package lists.
pub(crate) fn update(config: &Path) -> Result<()> {
    shell::run(Command::new("apt-get").env("APT_CONFIG", config).args(OPTIONS).arg("update"))
}

/// Downloads packages with all their dependencies; returns the files.
pub(crate) fn download(config: &Path, packages: &[&str]) -> Result<Vec<PathBuf>> {
    let mut get = Command::new("apt-get");
    get.env("APT_CONFIG", config).args(OPTIONS).args(["--download-only", "install"]).args(packages);
    shell::run(&mut get)?;
    let archives = config.with_file_name("cache").join("archives");
    let files = fs::read_dir(&archives).with_context(|| archives.display().to_string())?;
    let files = files.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// Downloads only these packages into a folder; returns the files.
pub(crate) fn fetch(config: &Path, packages: &[&str], into: &Path) -> Result<Vec<PathBuf>> {
    let mut get = Command::new("apt-get");
    get.env("APT_CONFIG", config).current_dir(into).args(OPTIONS).arg("download").args(packages);
    shell::run(&mut get)?;
    let files = fs::read_dir(into).with_context(|| into.display().to_string())?.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}
