//! Checks the sites chosen in this host's libraries against the walker.

use super::*;
use crate::capture::discover::known::known_libraries;
use crate::capture::sites::{ExitSites, Machine, walker};

#[test]
fn a_file_without_the_functions_is_no_such_library() {
    assert!(matches!(plan(Path::new("/bin/true")), Err(PlanError::NoLibrary)));
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
        // A hooked call in the middle of a function is proven elsewhere: `bio`.
        let whole = |hook: &&Hook| !matches!(hook.sites.exit, Some(ExitSites::Behind(_)));
        for hook in plan.hooks.iter().filter(whole) {
            let code = elf.code(&hook.symbol).unwrap();
            let returned = walker::check(&code, &hook.sites, hook.call.wanted(), 300, hook.call.symbol());
            let emulated = matches!(hook.sites.exit, Some(ExitSites::Emulated(_)));
            assert!(!emulated || returned > 0, "{}: no path came to its end", hook.call.symbol());
            proven += 1;
        }
    }
    if proven == 0 {
        println!("skipped: no TLS library for x86-64 here");
    }
}

/// Prints the table of probe sites that is in `docs/sites.md`.
#[test]
#[ignore = "prints a table: cargo xtask kernel sites"]
fn sites_as_a_table() {
    println!("| library | version | function | way in | way out | traps a call |");
    println!("| --- | --- | --- | --- | --- | ---: |");
    for path in files() {
        let Ok(plan) = plan(&path) else { continue };
        // The functions that assign a BIO are hooked where a file feeds another library's sessions, not in the library itself.
        let is_probed = |hook: &&Hook| !matches!(hook.call, Call::SetBio | Call::Set0Rbio | Call::Set0Wbio);
        for hook in plan.hooks.iter().filter(is_probed) {
            let sites = hook.sites.to_string();
            let mut parts =
                sites.splitn(3, ", ").map(|part| part.trim_start_matches("entry ").trim_start_matches("exit "));
            let (way_in, way_out) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            // A function whose return is not needed has no exit site.
            let way_out = if hook.sites.exit.is_some() { way_out } else { "" };
            let (library, version) = (&plan.library, plan.version.as_deref().unwrap_or_default());
            let of_bio = if matches!(hook.sites.exit, Some(ExitSites::Behind(_))) { ", by `BIO_f_ssl`" } else { "" };
            println!(
                "| {library} | {version} | `{}`{of_bio} | {way_in} | {way_out} | {} |",
                hook.call.symbol(),
                hook.sites.traps()
            );
        }
    }
}

#[test]
fn a_program_is_called_what_it_is_though_it_was_found_by_a_link() {
    let own = std::env::current_exe().unwrap();
    let link = Path::new("/proc/self/exe");
    let name = own.file_name().unwrap().to_string_lossy();
    assert_eq!(file_name(&Elf::open(link).unwrap(), link), name);
    assert_eq!(file_name(&Elf::open(&own).unwrap(), &own), name);
}

/// Of a shared OpenSSL the programs are not known: one that switches stacks in it must not meet a return probe. Of a file with another name, which
/// contains its users too, the end of a handshake is seen.
#[test]
fn only_a_file_that_is_no_shared_library_of_tls_has_return_probes() {
    const CODE: &str = "int (*state)(void *);
int SSL_read(void *ssl, void *to, int size) { return size > 1 ? size : 0; }
int SSL_write(void *ssl, const void *from, int size) { return size > 2 ? size : 0; }
int SSL_do_handshake(void *ssl) { return state(ssl); }";
    if !cfg!(target_arch = "x86_64") {
        return println!("skipped: return sites are proven on x86-64 only");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("tls.c");
    std::fs::write(&source, CODE).unwrap();
    let exits = |soname: &str| {
        let file = folder.path().join(soname);
        let mut build = std::process::Command::new("cc");
        build.args(["-O2", "-w", "-shared", "-fPIC", "-fcf-protection=none"]).arg(format!("-Wl,-soname,{soname}"));
        let built = build.arg("-o").arg(&file).arg(&source).status();
        if !built.is_ok_and(|status| status.success()) {
            return None;
        }
        let hooks = plan(&file).unwrap().hooks;
        assert_eq!(hooks.len(), 3);
        Some(hooks.into_iter().map(|hook| (hook.call, hook.sites.exit.unwrap())).collect::<Vec<_>>())
    };
    let Some(shared) = exits("libssl.so.9") else { return println!("skipped: no C compiler") };
    let has_return_probe = |exit: &ExitSites| matches!(exit, ExitSites::Return { .. });
    assert!(!shared.iter().any(|(_, exit)| has_return_probe(exit)), "{shared:?}");
    let of_handshake = |exits: &[(Call, ExitSites)]| exits.iter().find(|(call, _)| *call == Call::DoHandshake).cloned();
    assert!(matches!(of_handshake(&shared), Some((_, ExitSites::Unseen(_)))), "{shared:?}");
    let other = exits("libnetty.so").unwrap();
    assert!(of_handshake(&other).is_some_and(|(_, exit)| has_return_probe(&exit)), "{other:?}");
}
