//! Finds a toolchain that can compile `qtap-ebpf`: a rustc that has `core` for the BPF target, the linker, and the LLVM library that the
//! linker loads. In: the file system and what the compilers report about themselves. Out: a [`Toolchain`] and the command that builds with
//! it, or what is missing, in words. It installs nothing. Shared by `xtask` and, by path, by `qtap-agent/build.rs`; std only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs};

/// The target triple of the probes. Little-endian only, as x86-64 and aarch64 are.
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";

/// The bpf-linker version that `cargo xtask setup` installs: the last that uses the LLVM of an installed rustc, so that it builds
/// without LLVM's own headers.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

/// The LLVM version of bpf-linker 0.10. It can't read the bitcode of a newer one.
pub(crate) const LINKER_LLVM_MAJOR: u32 = 22;

/// Environment variable with the path of the rustc to use, instead of the search.
pub(crate) const RUSTC_OVERRIDE: &str = "QTAP_BPF_RUSTC";

/// v3 is the least with fetching atomics (Linux 5.12), which the probes use (`qtap-ebpf/src/atomic.rs`). It also has 32-bit jumps and
/// arithmetic (Linux 5.1), which verify faster than masked 64-bit ones. Nothing needs v4.
const BPF_CPU: &str = "v3";

/// Where `core` for the BPF target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// The compiler ships it prebuilt.
    Prebuilt,
    /// Its source is installed (`rust-src`): cargo builds it first.
    FromSource,
}

/// Everything needed to build the probes.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// Its version line, e.g. `rustc 1.96.0 (…)`.
    pub(crate) version: String,
    /// Where `core` comes from.
    pub(crate) core: Core,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// Directory of the LLVM library that the linker loads; `None` when LLVM is linked into it.
    pub(crate) llvm: Option<PathBuf>,
}

/// Why the probes can't be built here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Prebuilt => "core prebuilt",
            Core::FromSource => "core from rust-src",
        };
        write!(f, "{} ({}, {core}), {}", self.rustc.display(), self.version, self.linker.display())?;
        match &self.llvm {
            Some(dir) => write!(f, ", LLVM {LINKER_LLVM_MAJOR} in {}", dir.display()),
            None => f.write_str(", with LLVM of its own"),
        }
    }
}

/// Searches for compiler and linker; the error lists everything that is missing.
pub(crate) fn find() -> Result<Toolchain, Missing> {
    let linker = find_linker();
    let mut missing = Vec::new();
    let compiler = find_compiler().map_err(|reason| missing.push(reason)).ok();
    if linker.is_none() {
        missing.push(format!("bpf-linker is not installed (version {LINKER_VERSION} is known to work)"));
    }
    match (compiler, linker) {
        (Some((rustc, version, core)), Some(linker)) => {
            let llvm = find_llvm(&rustc);
            Ok(Toolchain { rustc, version, core, linker, llvm })
        }
        _ => Err(Missing(missing)),
    }
}

impl Toolchain {
    /// The cargo command that builds the probes of `crate_dir` into `target_dir` for a host of architecture `arch`
    /// (as `CARGO_CFG_TARGET_ARCH` names it). The objects are at [`object_path`].
    pub(crate) fn build_command(&self, crate_dir: &Path, target_dir: &Path, arch: &str) -> Command {
        let mut cargo = Command::new(self.cargo());
        cargo.current_dir(crate_dir).args(["build", "--release", "--package", "qtap-ebpf", "--bins"]);
        cargo.args(["--target", BPF_TARGET, "--target-dir"]).arg(target_dir);
        if self.core == Core::FromSource {
            cargo.args(["-Z", "build-std=core"]);
        }
        // A build script, clippy or `cargo run` set variables that are meant for the host's compiler only.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_meant_for_the_outer_build) {
                cargo.env_remove(name);
            }
        }
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2".to_owned(),
            format!("-Ctarget-cpu={BPF_CPU}"),
            format!("-Clinker={}", self.linker.display()),
            "-Clink-arg=--btf".to_owned(),
        ];
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        // The BPF target is not a stable one; this lets a stable compiler build it.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &self.rustc);
        if let Some(dir) = &self.llvm {
            let inherited = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
            let dirs = std::iter::once(dir.clone()).chain(env::split_paths(&inherited));
            if let Ok(joined) = env::join_paths(dirs) {
                cargo.env("LD_LIBRARY_PATH", joined);
            }
        }
        cargo
    }

    /// The cargo that came with the compiler, when `core` is built from source; else any cargo will do.
    fn cargo(&self) -> PathBuf {
        let own = self.rustc.with_file_name("cargo");
        match self.core {
            Core::FromSource if own.is_file() => own,
            Core::FromSource | Core::Prebuilt => env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from),
        }
    }
}

/// Where a build into `target_dir` leaves the object `name`: `qtap`, or `empty` for the benchmark.
pub(crate) fn object_path(target_dir: &Path, name: &str) -> PathBuf {
    target_dir.join(BPF_TARGET).join("release").join(name)
}

/// True for variables that affect a compiler or cargo's build, false for those that say where crates come from.
fn is_meant_for_the_outer_build(name: &str) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRY_",
        "CARGO_REGISTRIES_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    let steers =
        ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO", "__CARGO", "CLIPPY_", "LLVM_PROFILE_FILE"];
    steers.iter().any(|prefix| name.starts_with(prefix)) && !KEPT.iter().any(|prefix| name.starts_with(prefix))
}

/// The first compiler that has `core` for the target and whose bitcode the linker can read.
fn find_compiler() -> Result<(PathBuf, String, Core), String> {
    let mut passed_over = Vec::new();
    for (rustc, core) in candidates() {
        let Some((version, llvm)) = ask(&rustc) else { continue };
        if llvm > LINKER_LLVM_MAJOR {
            passed_over.push(format!("{} has LLVM {llvm}, the linker reads {LINKER_LLVM_MAJOR}", rustc.display()));
            continue;
        }
        return Ok((rustc, version, core));
    }
    let mut reason = match env::var(RUSTC_OVERRIDE) {
        Ok(named) if !named.is_empty() => format!("{named}, named by {RUSTC_OVERRIDE}, has no `core` for {BPF_TARGET}"),
        _ => format!("no Rust compiler here has `core` for {BPF_TARGET}"),
    };
    for other in passed_over {
        reason.push_str(&format!(" ({other})"));
    }
    Err(reason)
}

/// Every candidate: the compiler named by the variable, rustup's (nightly first), the distribution's.
fn candidates() -> Vec<(PathBuf, Core)> {
    let named = env::var_os(RUSTC_OVERRIDE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let alone = named.is_some();
    let mut all: Vec<PathBuf> = named.into_iter().collect();
    if !alone {
        all.extend(rustup_toolchains().into_iter().map(|dir| dir.join("bin/rustc")));
        all.extend(["/usr/bin/rustc", "/usr/local/bin/rustc"].map(PathBuf::from));
    }
    all.into_iter().filter_map(|rustc| core_of(&rustc).map(|core| (rustc, core))).collect()
}

/// The toolchains rustup has installed, nightly ones first.
pub(crate) fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".rustup")));
    let entries = home.and_then(|dir| fs::read_dir(dir.join("toolchains")).ok());
    let mut found: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort_by_key(|dir| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (!name.starts_with("nightly"), name)
    });
    found
}

/// Where the compiler at `PREFIX/bin/rustc` would get `core` from.
fn core_of(rustc: &Path) -> Option<Core> {
    let rustlib = rustc.is_file().then(|| rustc.parent()?.parent()).flatten()?.join("lib/rustlib");
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    if file_names(&rustlib.join(BPF_TARGET).join("lib")).iter().any(|name| is_core(name)) {
        return Some(Core::Prebuilt);
    }
    rustlib.join("src/rust/library/core/Cargo.toml").is_file().then_some(Core::FromSource)
}

/// What a compiler reports about itself: its version line and the major version of its LLVM.
pub(crate) fn ask(rustc: &Path) -> Option<(String, u32)> {
    let output = Command::new(rustc).arg("-vV").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((text.lines().next()?.to_owned(), llvm_major(&text)?))
}

/// Reads `LLVM version: 22.1.8`.
fn llvm_major(text: &str) -> Option<u32> {
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.trim().parse().ok()
}

/// bpf-linker, on the PATH or in cargo's bin directory.
pub(crate) fn find_linker() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(cargo_home.map(|dir| dir.join("bin")));
    dirs.map(|dir| dir.join("bpf-linker")).find(|file| file.is_file())
}

/// A directory whose only LLVM library has the linker's version, because the linker loads the first such file that it finds. Compilers'
/// directories come first, their version known from file names; then the distribution's, which has the version in its path.
fn find_llvm(rustc: &Path) -> Option<PathBuf> {
    let mut prefixes: Vec<PathBuf> = rustc.parent().and_then(Path::parent).map(Path::to_owned).into_iter().collect();
    prefixes.extend(rustup_toolchains());
    let libraries =
        |dir: &Path| file_names(dir).into_iter().filter(|name| name.starts_with("libLLVM") && name.contains(".so"));
    let of_a_compiler = prefixes.into_iter().map(|dir| dir.join("lib")).find(|dir| {
        let mut names = libraries(dir).peekable();
        names.peek().is_some() && names.all(|name| is_linkers_llvm(&name))
    });
    let of_the_distribution = PathBuf::from(format!("/usr/lib/llvm-{LINKER_LLVM_MAJOR}/lib"));
    of_a_compiler.or_else(|| libraries(&of_the_distribution).next().is_some().then_some(of_the_distribution))
}

/// `libLLVM.so.22.1-rust-1.95.0-stable`, `libLLVM-22.so` and the like.
fn is_linkers_llvm(name: &str) -> bool {
    let digits = name.trim_start_matches("libLLVM").trim_start_matches(".so").trim_start_matches(['.', '-']);
    let major: String = digits.chars().take_while(char::is_ascii_digit).collect();
    major.parse() == Ok(LINKER_LLVM_MAJOR)
}

fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn home() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::{is_linkers_llvm, is_meant_for_the_outer_build, llvm_major};

    #[test]
    fn llvm_version_is_read_from_what_rustc_says() {
        assert_eq!(llvm_major("rustc 1.96.0\nbinary: rustc\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }

    #[test]
    fn only_the_linkers_llvm_counts() {
        assert!(is_linkers_llvm("libLLVM.so.22.1-rust-1.95.0-stable"));
        assert!(is_linkers_llvm("libLLVM-22-rust-1.95.0-stable.so"));
        assert!(!is_linkers_llvm("libLLVM-14.so.1"));
        assert!(!is_linkers_llvm("libLLVM.so.1"));
    }

    #[test]
    fn what_steers_the_outer_compiler_is_left_out() {
        for name in
            ["RUSTC", "RUSTC_WORKSPACE_WRAPPER", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_FEATURE_KERNEL"]
        {
            assert!(is_meant_for_the_outer_build(name), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "CARGO_MAKEFLAGS"] {
            assert!(!is_meant_for_the_outer_build(name), "{name}");
        }
    }
}
