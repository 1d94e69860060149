//! The usual places of TLS libraries, and of the modules that feed their sessions from memory, so that probes can be attached before anything uses them.
//! In: directories of the host, the loader's cache. Out: paths of files with matching names; `plan` decides whether a file really is such a library.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::call::Family;

/// Most libraries that [`known_libraries`] returns.
const MAX_LIBRARIES: usize = 256;
/// Largest loader cache read, in bytes.
const MAX_CACHE: u64 = 16 << 20;

/// Files of the host that are named like a TLS library, each once however many names it has: those in the loader's
/// cache, in the usual directories, and in the `extra` directories (a program's `LD_LIBRARY_PATH`). [`super::plan`] decides
/// whether a file really is such a library.
#[must_use]
pub fn known_libraries(extra: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let cached = std::fs::metadata("/etc/ld.so.cache")
        .ok()
        .filter(|metadata| metadata.len() <= MAX_CACHE)
        .and_then(|_| std::fs::read("/etc/ld.so.cache").ok())
        .unwrap_or_default();
    let mut directories = directories();
    directories.extend_from_slice(extra);
    let candidates = paths_in_cache(&cached).into_iter().chain(directories.iter().flat_map(|dir| libraries_in(dir)));
    for path in candidates {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_file() && seen.insert((metadata.dev(), metadata.ino())) && found.len() < MAX_LIBRARIES {
            found.push(path.canonicalize().unwrap_or(path));
        }
    }
    found
}

/// Files that feed OpenSSL sessions from memory, as distributions install them, and Python's modules below the given prefixes too. Probes attached in advance
/// see them from the first connection of the first program; other such files are attached once they are mapped.
#[must_use]
pub fn known_feeders(prefixes: &[PathBuf]) -> Vec<PathBuf> {
    let python = [PathBuf::from("/usr/local")].into_iter().chain(prefixes.iter().cloned());
    let python = python.flat_map(|prefix| ["lib", "lib64"].map(|name| prefix.join(name)));
    let of_python = python.flat_map(|directory| below(&directory, &FEEDERS[..1]));
    let shared = [PathBuf::from("/usr/share")];
    let usual = directories().into_iter().chain(shared);
    let of_others = usual.flat_map(|directory| below(&directory, &FEEDERS));
    let all = of_python.chain(of_others).filter_map(|path| path.canonicalize().ok());
    let found: BTreeSet<PathBuf> = all.take(MAX_LIBRARIES).collect();
    found.into_iter().collect()
}

/// Where they are below a library directory, step by step: how a name begins. Python's module first.
const FEEDERS: [&[&str]; 7] = [
    &["python3", "lib-dynload", "_ssl."],
    &["libnode.so"],
    &["libgrpc.so"],
    &["libQt5Network.so"],
    &["qt6", "plugins", "tls", "libqopensslbackend.so"],
    &["perl5", "", "auto", "Net", "SSLeay", "SSLeay.so"],
    &["dotnet", "shared", "Microsoft.NETCore.App", "", "libSystem.Security.Cryptography.Native.OpenSsl.so"],
];

/// The files below a directory to which any of these ways lead. Each directory is read once: some have thousands of entries.
fn below(directory: &Path, ways: &[&[&str]]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        for (step, rest) in ways.iter().filter_map(|way| way.split_first()) {
            match (name.as_bytes().starts_with(step.as_bytes()), rest) {
                (true, []) => found.push(entry.path()),
                (true, rest) => found.extend(below(&entry.path(), &[rest])),
                (false, _) => {}
            }
        }
    }
    found
}

/// The usual directories, and their multi-arch subdirectories (`/usr/lib/x86_64-linux-gnu`).
fn directories() -> Vec<PathBuf> {
    let mut out = Vec::new();
    for base in ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"] {
        out.push(PathBuf::from(base));
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            if memchr::memmem::find(entry.file_name().as_bytes(), b"-linux-").is_some() {
                out.push(entry.path());
            }
        }
    }
    out
}

fn libraries_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_library_name(path)).collect();
    paths.sort();
    paths
}

/// The loader's cache is a table into a pool of NUL-terminated strings, absolute paths among them; only the pool is read.
fn paths_in_cache(cache: &[u8]) -> Vec<PathBuf> {
    let strings = cache.split(|&byte| byte == 0).filter(|string| string.first() == Some(&b'/'));
    strings
        .map(|string| PathBuf::from(std::ffi::OsStr::from_bytes(string)))
        .filter(|path| is_library_name(path))
        .collect()
}

/// True for a file name like `libssl.so.3`, `libssl-8bd944e8.so.3`, `libssl.so.1.1`, `libgnutls.so.30`.
#[must_use]
pub fn is_library_name(path: &Path) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    let stem = |family: Family| name.strip_prefix(family.stem()?.as_bytes());
    // One stem may be a prefix of another.
    Family::ALL.into_iter().filter_map(stem).any(|rest| {
        let so = memchr::memmem::find(rest, b".so").and_then(|at| rest.get(at + 3..));
        matches!(rest.first(), Some(b'.' | b'-' | b'_'))
            && so.is_some_and(|tail| matches!(tail.first(), None | Some(b'.')))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_libraries() {
        for name in [
            "libssl.so.3",
            "libssl.so",
            "libssl.so.1.1",
            "libssl-8bd944e8.so.3",
            "/a/b/libssl.so.3",
            "libgnutls.so.30",
            "libssl3.so",
        ] {
            assert!(is_library_name(Path::new(name)), "{name}");
        }
        for name in [
            "libssl3",
            "libssl.a",
            "libcrypto.so.3",
            "libssl.sox",
            "ssl",
            "libssl",
            "libssl_conf.txt",
            "libgnutlsxx.so.30",
        ] {
            assert!(!is_library_name(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn files_are_found_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("perl5/5.36/auto/Net/SSLeay");
        std::fs::create_dir_all(&deep).unwrap();
        for name in [deep.join("SSLeay.so"), deep.join("other.so"), dir.path().join("libnode.so.108")] {
            std::fs::write(name, b"x").unwrap();
        }
        let mut found = below(dir.path(), &FEEDERS);
        found.sort();
        assert_eq!(found, [dir.path().join("libnode.so.108"), deep.join("SSLeay.so")]);
    }

    #[test]
    fn the_loaders_cache_is_read_by_its_strings() {
        let cache = b"glibc-ld.so.cache1.1\x01\0\0\0libssl.so.3\0/lib/x86_64-linux-gnu/libssl.so.3\0/lib/libz.so.1\0";
        assert_eq!(paths_in_cache(cache), [PathBuf::from("/lib/x86_64-linux-gnu/libssl.so.3")]);
    }

    #[test]
    fn a_library_is_known_by_one_path_however_many_names_it_has() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("libssl.so.9"), b"x").unwrap();
        std::os::unix::fs::symlink("libssl.so.9", dir.path().join("libssl.so")).unwrap();
        let known = known_libraries(&[dir.path().to_owned()]);
        let here: Vec<_> = known.iter().filter(|path| path.ends_with("libssl.so.9")).collect();
        assert_eq!(here.len(), 1, "{known:?}");
    }

    #[test]
    fn modules_of_an_installation_are_found_below_its_prefix() {
        let prefix = tempfile::tempdir().unwrap();
        let folder = prefix.path().join("lib/python3.99/lib-dynload");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["_ssl.cpython-399-x86_64-linux-gnu.so", "_socket.cpython-399-x86_64-linux-gnu.so"] {
            std::fs::write(folder.join(name), b"").unwrap();
        }
        let before = known_feeders(&[]);
        let found = known_feeders(&[prefix.path().to_owned()]);
        let new: Vec<_> = found.iter().filter(|path| !before.contains(path)).collect();
        assert_eq!(new, [&folder.canonicalize().unwrap().join("_ssl.cpython-399-x86_64-linux-gnu.so")]);
    }
}
