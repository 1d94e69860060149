//! Builds the probes (`../qtap-ebpf`) when the feature `kernel` is on. Sets for the crate the paths of the objects (`QTAP_BPF_OBJECT`, and
//! `QTAP_BPF_EMPTY` for the benchmark) and the git revision (`QTAP_GIT_REVISION`). When the probes can't be built, it prints a
//! single message with what is missing and the remedy. It installs nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

#[path = "../xtask/src/bpf_toolchain.rs"]
mod bpf_toolchain;

/// Environment variables set for the crate, and the objects they point to.
const OBJECTS: [(&str, &str); 2] = [("QTAP_BPF_OBJECT", "qtap"), ("QTAP_BPF_EMPTY", "empty")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=QTAP_GIT_REVISION={}", git_revision());
    if env::var_os("CARGO_FEATURE_KERNEL").is_none() {
        return;
    }
    for (variable, name) in OBJECTS {
        println!("cargo::rustc-env={variable}={}", object(name).display());
    }
    if let Err(reason) = build_probes() {
        refuse(&reason);
    }
}

/// The path at which the crate finds an object.
fn object(name: &str) -> PathBuf {
    out_dir().join(format!("{name}.bpf.o"))
}

/// Builds the objects and copies them, so that other builds that share the kernel crate's target directory can't replace them
/// under this one.
fn build_probes() -> Result<(), String> {
    let toolchain = bpf_toolchain::find().map_err(|missing| format!("{missing}.\nRemedy: cargo xtask setup"))?;
    watch(&toolchain);
    let target_dir = shared_target_dir();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut cargo = toolchain.build_command(&workspace().join("qtap-ebpf"), &target_dir, &arch);
    let output = cargo.arg("--quiet").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("the probes do not compile with {toolchain}\n{said}"));
    }
    said.lines().for_each(|line| println!("cargo::warning={line}"));
    OBJECTS.iter().try_for_each(|(_, name)| {
        let from = bpf_toolchain::object_path(&target_dir, name);
        place(&from, &object(name)).map_err(|error| format!("{}: {error}", from.display()))
    })
}

/// Registers everything that affects the objects for rebuilds.
fn watch(toolchain: &bpf_toolchain::Toolchain) {
    for path in ["qtap-ebpf/src", "qtap-ebpf/Cargo.toml", "qtap-common/src", "qtap-common/Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace().join(path).display());
    }
    println!("cargo::rerun-if-changed={}", toolchain.rustc.display());
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    println!("cargo::rerun-if-env-changed={}", bpf_toolchain::RUSTC_OVERRIDE);
}

/// Fails the build with `reason`, except under clippy, which needs no object: it gets empty files and a warning.
fn refuse(reason: &str) {
    let wrapper = env::var("RUSTC_WORKSPACE_WRAPPER").unwrap_or_default();
    if wrapper.contains("clippy-driver") && OBJECTS.iter().all(|(_, name)| fs::write(object(name), []).is_ok()) {
        // Only in this case: a later `cargo build` must run this script again.
        println!("cargo::rerun-if-env-changed=RUSTC_WORKSPACE_WRAPPER");
        reason.lines().for_each(|line| println!("cargo::warning={line}"));
        return;
    }
    println!("cargo::error=qtap's probes can't be built:");
    reason.lines().for_each(|line| println!("cargo::error={line}"));
    println!("cargo::error=Without them (to replay, validate, export): cargo build --no-default-features");
}

/// One directory for all profiles and feature sets, so that the kernel crate is built once: `<target>/bpf`.
/// `OUT_DIR` is `<target>/<profile>/build/<package>/out`.
fn shared_target_dir() -> PathBuf {
    let out = out_dir();
    let root = out.ancestors().nth(4).filter(|dir| dir.join("debug").is_dir() || dir.join("release").is_dir());
    root.unwrap_or(&out).join("bpf")
}

/// Copies through a temporary name, so that nobody reads a partial file; leaves an identical file untouched.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(partial, to)
}

/// The abbreviated commit of HEAD, unless `QTAP_GIT_REVISION` is set (an image build has no repository); else `unknown`.
fn git_revision() -> String {
    println!("cargo::rerun-if-env-changed=QTAP_GIT_REVISION");
    if let Ok(given) = env::var("QTAP_GIT_REVISION")
        && !given.is_empty()
    {
        return given;
    }
    // Both change at every commit and checkout. A missing path would make every build run this script again.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).map(|path| manifest_dir().join(path))
            && path.is_file()
        {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(manifest_dir()).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn workspace() -> PathBuf {
    manifest_dir().parent().map(Path::to_owned).unwrap_or_default()
}

fn manifest_dir() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default()
}

fn out_dir() -> PathBuf {
    env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default()
}
