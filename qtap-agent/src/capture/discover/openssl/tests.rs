//! Names and versions; and the chooser on the libraries that this host has, held to its word by the walker.

use super::*;
use crate::capture::sites::{ExitSites, Machine, walker};

#[test]
fn names_of_libraries() {
    for name in ["libssl.so.3", "libssl.so", "libssl.so.1.1", "libssl-8bd944e8.so.3", "/a/b/libssl.so.3"] {
        assert!(is_library_name(Path::new(name)), "{name}");
    }
    for name in ["libssl3.so", "libssl.a", "libcrypto.so.3", "libssl.sox", "ssl", "libssl", "libssl_conf.txt"] {
        assert!(!is_library_name(Path::new(name)), "{name}");
    }
}

#[test]
fn versions_are_found_in_text() {
    assert_eq!(version_in(b"x\0OpenSSL library\0OpenSSL 3.0.19 27 Jan 2026\0").as_deref(), Some("OpenSSL 3.0.19"));
    assert_eq!(version_in(b"OpenSSL 1.1.1w  11 Sep 2023").as_deref(), Some("OpenSSL 1.1.1w"));
    assert_eq!(version_in(b"\0LibreSSL 3.8.2\0").as_deref(), Some("LibreSSL 3.8.2"));
    assert_eq!(version_in(b"../BoringSSL/ssl").as_deref(), Some("BoringSSL"));
    assert_eq!(version_in(b"OpenSSL "), None);
    assert_eq!(version_in(b"needs OpenSSL 3.0 or OpenSSL 3.0.13").as_deref(), Some("OpenSSL 3.0.13"));
    assert_eq!(version_of_soname("libssl-8bd944e8.so.3").as_deref(), Some("OpenSSL 3"));
    assert_eq!(version_of_soname("libssl.so.1.1").as_deref(), Some("OpenSSL 1.1"));
    assert_eq!(version_of_soname("libssl-dbe77c63.so.1.1.1g").as_deref(), Some("OpenSSL 1.1.1g"));
    assert_eq!(version_of_soname("libssl.so.53"), None);
    assert_eq!(version_of_soname("envoy"), None);
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
fn a_file_without_the_functions_is_no_such_library() {
    assert!(matches!(plan(Path::new("/bin/true")), Err(PlanError::NotOpenSsl)));
    assert!(matches!(plan(Path::new("/etc/passwd")), Err(PlanError::Elf(ElfError::NotElf))));
}

/// Libraries of this host, Node (which carries its own), and what `QTAP_TEST_TLS_FILES` names (separated by colons).
fn files() -> Vec<PathBuf> {
    let mut files = known_libraries(&[]);
    files.extend(["/usr/bin/node", "/usr/local/bin/node"].map(PathBuf::from));
    files.extend(std::env::var("QTAP_TEST_TLS_FILES").iter().flat_map(|list| list.split(':')).map(PathBuf::from));
    files
}

#[test]
fn sites_in_the_libraries_of_this_host_hold_what_was_promised() {
    let mut proven = 0;
    for path in files() {
        let Ok(elf) = Elf::open(&path) else { continue };
        let Ok(plan) = plan_of(&elf, &path) else { continue };
        println!("{}: {}", path.display(), plan.summary());
        if elf.machine() != Machine::X86_64 {
            continue;
        }
        for hook in &plan.hooks {
            let code = elf.code(&hook.symbol).unwrap();
            let returned = walker::check(&code, &hook.sites, hook.call.wanted(), 300, hook.call.symbol());
            let emulated = matches!(hook.sites.exit, Some(ExitSites::Emulated(_)));
            assert!(!emulated || returned > 0, "{}: no path came to its end", hook.call.symbol());
            proven += 1;
        }
    }
    if proven == 0 {
        println!("skipped: no TLS library of the OpenSSL family for x86-64 here");
    }
}
