//! Programs of other Debian releases for `cargo xtask kernel coverage`: other versions of TLS libraries than this host's. Unpacked below the
//! target directory, each release in a root of its own; nothing is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::report;
use crate::{apt, shell};

/// Number, name, and packages of each release.
const RELEASES: [(&str, &str, &[&str]); 2] = [
    ("11", "bullseye", &["ca-certificates", "curl", "nginx-core", "nodejs", "wget"]),
    ("13", "trixie", &["ca-certificates", "curl", "nginx", "nodejs", "wget"]),
];

/// Folders that are links in Debian (`/bin` is `/usr/bin`), created by its installer.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Folders that nginx needs; its package would create them when it is installed.
const FOLDERS: [&str; 6] = ["proc", "dev", "tmp", "run", "var/lib/nginx", "var/log/nginx"];
/// The user and group files that nginx reads.
const USERS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Unpacks what is missing. On a host whose apt has no Debian source, it stays missing.
pub(super) fn ensure() -> Result<()> {
    let tools = shell::target_dir()?.join("qtap-tools");
    for (number, name, packages) in RELEASES {
        let (home, wanted) = (tools.join(format!("debian-{number}")), packages.join("\n"));
        if fs::read_to_string(home.join("packages")).is_ok_and(|text| text == wanted) {
            continue;
        }
        match unpack(&home, name, packages) {
            Ok(()) => {
                fs::write(home.join("packages"), wanted)?;
                report("programs", format!("of Debian {number}, unpacked in {}", home.display()));
            }
            Err(reason) => report("programs", format!("none of Debian {number}, which has no rows: {reason:#}")),
        }
    }
    Ok(())
}

fn unpack(home: &Path, name: &str, packages: &[&str]) -> Result<()> {
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| home.display().to_string())?;
    }
    let root = home.join("root");
    fs::create_dir_all(&root)?;
    let config = lists_of(home, name)?;
    for folder in MERGED {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    for file in apt::download(&config, packages)? {
        // dpkg-deb alone would replace a link with a folder.
        let into = ["-x", "--keep-directory-symlink", "-C"];
        let line = format!("dpkg-deb --fsys-tarfile \"$1\" | tar {} \"$2\"", into.join(" "));
        shell::capture(Command::new("sh").args(["-c", &line, "sh"]).arg(&file).arg(&root))?;
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    for (file, text) in USERS {
        fs::write(root.join(file), text)?;
    }
    // Lists and packages take a third of the space, and are no longer needed.
    fs::remove_dir_all(home.join("apt")).with_context(|| home.display().to_string())
}

/// Configures apt for a release, below `home`; returns the configuration.
pub(super) fn lists_of(home: &Path, name: &str) -> Result<PathBuf> {
    let sources = home.join("sources.list");
    fs::write(
        &sources,
        format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {name} main\n", place()?),
    )?;
    let more = [("Dir::Etc::sourcelist", sources.display().to_string()), ("Dir::Etc::sourceparts", "-".to_owned())];
    let config = apt::configure(&home.join("apt"), "amd64", &more)?;
    apt::update(&config)?;
    Ok(config)
}

/// The source of the host's Debian packages.
fn place() -> Result<String> {
    let form = "$(ORIGIN) $(COMPONENT) $(REPO_URI)";
    let known =
        shell::capture(Command::new("apt-get").args(["indextargets", "--format", form, "Created-By: Packages"]))?;
    let place = known.lines().find_map(|line| line.strip_prefix("Debian main "));
    place.map(ToOwned::to_owned).context("apt has no packages of Debian's")
}
