//! `cargo xtask image`: a container image with qtap and what it needs to run, and nothing else: no shell, no package, no base. In: the
//! program as it is built here, its shared libraries and the authorities that this machine trusts. Out: an image in podman's or docker's
//! store, and its size. No registry is asked.

mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What `cargo xtask image` is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the image.
    #[arg(long, default_value = "qtap:latest")]
    tag: String,
    /// A program that is built already, instead of a release build.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Also try it: as root, privileged and with the capabilities that the chart names.
    #[arg(long = "try")]
    try_it: bool,
}

/// What builds images, the first that is there.
const BUILDERS: [(&str, &[&str]); 2] = [("podman", &["build", "--isolation", "chroot"]), ("docker", &["build"])];

/// Where distributions keep the authorities they trust, as one file.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Where the program looks for them first.
const AUTHORITIES_INSIDE: &str = "etc/ssl/certs/ca-certificates.crt";

const PROGRAM_INSIDE: &str = "usr/local/bin/qtap";

const CONTAINERFILE: &str = "FROM scratch
COPY root/ /
ENTRYPOINT [\"/usr/local/bin/qtap\"]
";

/// Builds it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let builder = BUILDERS.iter().find(|(name, _)| shell::which(name).is_some());
    let (builder, arguments) = builder.context("neither podman nor docker is there")?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let home = shell::target_dir()?.join("image");
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fill(&home.join("root"), &program)?;
    fs::write(home.join("Containerfile"), CONTAINERFILE)?;
    let mut command = Command::new(builder);
    command.args(*arguments).args(["--tag", &options.tag, "--file"]).arg(home.join("Containerfile")).arg(&home);
    shell::run(&mut command)?;
    let size = shell::capture(Command::new(builder).args(["image", "inspect", "--format", "{{.Size}}", &options.tag]))?;
    let bytes: f64 = size.trim().parse().with_context(|| format!("{builder} says that its size is {size}"))?;
    println!("image: {} by {builder}, {:.1} MB", options.tag, bytes / 1e6);
    if options.try_it { trial::run(builder, &options.tag, &home) } else { Ok(()) }
}

fn build() -> Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "qtap-agent"]))?;
    Ok(shell::target_dir()?.join("release/qtap"))
}

/// The file system of the image.
fn fill(root: &Path, program: &Path) -> Result<()> {
    let inside = root.join(PROGRAM_INSIDE);
    place(program, &inside)?;
    shell::run(Command::new("strip").arg(&inside))?;
    for library in libraries(program)? {
        let inside = root.join(library.strip_prefix("/").unwrap_or(&library));
        place(&library, &inside)?;
    }
    let authorities = AUTHORITIES.iter().find(|path| Path::new(path).exists());
    let authorities = authorities.context("this machine trusts nobody: install ca-certificates")?;
    place(Path::new(authorities), &root.join(AUTHORITIES_INSIDE))
}

/// A copy of the file that a name leads to.
fn place(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(from, to).map(|_| ()).with_context(|| format!("{} to {}", from.display(), to.display()))
}

/// Files that the dynamic linker maps for the program, and itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = shell::capture(Command::new("ldd").arg(program))?;
    if said.contains("not found") {
        bail!("{} misses libraries:\n{said}", program.display());
    }
    Ok(said.lines().filter_map(library_of).collect())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)`; the kernel's own has no file.
fn library_of(line: &str) -> Option<PathBuf> {
    let line = line.split(" (0x").next()?.trim();
    let path = line.split(" => ").last()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_paths() {
        let of = |line: &str| library_of(line).map(|path| path.display().to_string());
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f757fd3e000)";
        assert_eq!(of(libc).as_deref(), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        let linker = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f7582a8d000)";
        assert_eq!(of(linker).as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(of("\tlinux-vdso.so.1 (0x00007f7582a8b000)"), None);
        assert_eq!(of("\tstatically linked"), None);
    }
}
