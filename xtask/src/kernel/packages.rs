//! Debian's kernels for virtual machines: found by name among apt's packages, downloaded, unpacked, kept below the target directory. In: a
//! version such as `6.1`, and a processor. Out: an [`Image`]. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::processor::Processor;
use crate::{apt, shell};

/// An unpacked kernel.
pub(super) struct Image {
    /// The image that a boot loader loads.
    pub(super) kernel: PathBuf,
    /// Folder of its modules.
    pub(super) modules: PathBuf,
}

/// apt, set up for one processor. For the host's processor it is the host's own; for another it has its own lists, from the same sources, in which
/// no package counts as installed.
pub(super) struct Apt {
    debian: &'static str,
    /// Its configuration; `None`: the host's own.
    config: Option<PathBuf>,
}

impl Apt {
    pub(super) fn of(processor: &Processor) -> Result<Apt> {
        let debian = processor.debian;
        if processor.is_the_hosts() {
            return Ok(Apt { debian, config: None });
        }
        let home = shell::target_dir()?.join("kernels").join(debian).join("apt");
        let config = apt::configure(&home, debian, &[])?;
        Ok(Apt { debian, config: Some(config) })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(config) = &self.config {
            command.env("APT_CONFIG", config);
        }
        command
    }

    fn known(&self) -> Option<String> {
        shell::capture(self.command("apt-cache").args(["pkgnames", "linux-image-"])).ok()
    }

    fn update(&self) -> Result<()> {
        // Not as apt's own user, which may be unable to write to the temporary directory.
        shell::run(self.command("apt-get").args(["-qq", "-o", "APT::Sandbox::User=root", "update"]))
    }

    /// The newest package in its lists; they are fetched once when there is none.
    fn newest(&self, version: &str) -> Option<String> {
        among(version, self.debian, &self.known()?).or_else(|| {
            self.update().ok()?;
            among(version, self.debian, &self.known()?)
        })
    }

    /// Downloads packages with all their dependencies; returns the files.
    pub(super) fn with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let config = self.config.as_ref().context("the host's own packages are installed, not unpacked")?;
        apt::download(config, packages)
    }
}

/// The newest kernel of `version`, unpacked; when `version` is a path, the kernel unpacked there. When apt is not available, an earlier one is used.
pub(super) fn image(version: &str, apt: &Apt) -> Result<Image> {
    if version.contains('/') {
        return open(Path::new(version));
    }
    let home = shell::target_dir()?.join("kernels");
    fs::create_dir_all(&home)?;
    let folder = match apt.newest(version) {
        Some(package) => {
            let folder = home.join(&package);
            if !folder.join("boot").exists() {
                unpack(&package, apt, &home, &folder)?;
            }
            folder
        }
        None => {
            kept(version, apt, &home).with_context(|| format!("apt knows no Linux {version} for virtual machines"))?
        }
    };
    open(&folder)
}

/// The newest package for `version` in a list of names.
fn among(version: &str, debian: &str, names: &str) -> Option<String> {
    names.lines().filter(|name| is_of(name, version, debian)).max_by_key(|name| numbers(name)).map(ToOwned::to_owned)
}

/// `linux-image-6.1.0-56-cloud-amd64` is of 6.1; `linux-image-6.12-cloud-amd64` is of none: it is a metapackage for the newest kernel.
fn is_of(name: &str, version: &str, debian: &str) -> bool {
    let rest = name.strip_prefix("linux-image-").and_then(|rest| rest.strip_prefix(version));
    let flavour = rest.and_then(|rest| rest.strip_suffix(debian));
    flavour.is_some_and(|rest| rest.starts_with('.') && rest.ends_with("-cloud-"))
}

/// All numbers in a name, in order.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn unpack(package: &str, apt: &Apt, home: &Path, folder: &Path) -> Result<()> {
    shell::run(apt.command("apt-get").args(["-qq", "download", package]).current_dir(home))?;
    let file = fs::read_dir(home)?.flatten().map(|entry| entry.path()).find(|path| is_file_of(path, package));
    let file = file.with_context(|| format!("apt-get download left no file of {package}"))?;
    let partial = home.join(format!("{package}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    shell::run(Command::new("dpkg").arg("-x").arg(&file).arg(&partial))?;
    fs::rename(&partial, folder)?;
    fs::remove_file(&file).with_context(|| file.display().to_string())
}

fn is_file_of(path: &Path, package: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(package).is_some_and(|rest| rest.starts_with('_') && rest.ends_with(".deb"))
}

/// The newest kernel that an earlier run unpacked.
fn kept(version: &str, apt: &Apt, home: &Path) -> Option<PathBuf> {
    let names: Vec<String> =
        fs::read_dir(home).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    among(version, apt.debian, &names.join("\n")).map(|name| home.join(name))
}

fn open(folder: &Path) -> Result<Image> {
    let only = |folder: PathBuf, prefix: &str| -> Result<PathBuf> {
        let mut all = fs::read_dir(&folder).with_context(|| folder.display().to_string())?.flatten();
        let found = all.find(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        found.map(|entry| entry.path()).with_context(|| format!("{} has no {prefix}", folder.display()))
    };
    let modules = ["lib/modules", "usr/lib/modules"].map(|path| folder.join(path));
    let Some(modules) = modules.into_iter().find(|path| path.exists()) else {
        bail!("{} has no modules", folder.display());
    };
    Ok(Image { kernel: only(folder.join("boot"), "vmlinuz-")?, modules: only(modules, "")? })
}

#[cfg(test)]
mod tests {
    use super::among;

    #[test]
    fn the_newest_of_a_version_is_found() {
        let names = "linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\nlinux-image-6.1.0-57-amd64\n\
                     linux-image-6.12-cloud-amd64\nlinux-image-6.12.9+deb12-cloud-amd64\nlinux-image-6.12.117+deb12-cloud-amd64\n\
                     linux-image-6.1.0-58-cloud-amd64-dbg\nlinux-image-6.1.0-59-cloud-amd64-unsigned\n\
                     linux-image-6.1.0-60-cloud-arm64\nlinux-image-6.1.0-60-arm64-16k\n";
        let among = |version, names| among(version, "amd64", names);
        assert_eq!(among("6.1", names).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(among("6.12", names).as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(among("5.10", names), None);
        assert_eq!(super::among("6.1", "arm64", names).as_deref(), Some("linux-image-6.1.0-60-cloud-arm64"));
    }
}
