//! Which TLS implementation a file contains, whether or not qtap can probe it: the answer to "why is its TLS not seen?".
//!
//! In: a file that a process executes or has mapped. Out: an [`Engine`], recognised by the functions the file defines, by its name, or by strings among its
//! constants. Each file is examined once. Nothing here attaches, and no probe site depends on it.

use std::collections::HashMap;
use std::path::Path;

use super::call::Family;
use super::elf::{Elf, ElfError, FileId};
use super::plan::PlanError;
use super::{go, plan, version};
use crate::capture::sites::go::NotGo;

/// Most files that are remembered; any beyond this are examined again each time.
const REMEMBERED: usize = 65_536;
/// Most of a section that is searched, in bytes: a browser's constants are a tenth of it.
pub(super) const SEARCHED: u64 = 128 << 20;

/// A TLS implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// One whose functions were found: it can be probed.
    Probed(Family),
    /// OpenSSL or its kin, linked into a file whose functions can't be located.
    Stripped,
    /// `crypto/tls` of Go, whose functions can't be probed.
    Go(NotGo),
    /// rustls.
    Rustls,
    /// GnuTLS, without its functions.
    GnuTls,
    /// Mozilla's NSS, whose functions were not found.
    Nss,
    /// A Java virtual machine, whose own TLS (JSSE) is compiled at run time.
    Java,
    /// Mbed TLS.
    MbedTls,
    /// wolfSSL.
    WolfSsl,
    /// s2n-tls.
    S2n,
    /// A 32-bit file, whatever it contains.
    Bits32,
}

impl Engine {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Probed(Family::OpenSsl) | Engine::Stripped => "OpenSSL",
            Engine::Probed(Family::GnuTls) | Engine::GnuTls => "GnuTLS",
            Engine::Probed(Family::GoTls) | Engine::Go(_) => "Go crypto/tls",
            Engine::Probed(Family::Rustls) | Engine::Rustls => "rustls",
            Engine::Probed(Family::Nss) | Engine::Nss => "NSS",
            Engine::Java => "Java JSSE",
            Engine::MbedTls => "Mbed TLS",
            Engine::WolfSsl => "wolfSSL",
            Engine::S2n => "s2n-tls",
            Engine::Bits32 => "unknown",
        }
    }

    /// Why its plaintext can't be captured; none when it can.
    #[must_use]
    pub fn unseen(self) -> Option<&'static str> {
        Some(match self {
            Engine::Probed(_) => return None,
            Engine::Stripped => "linked into the file without symbols: it is not certain which functions are its",
            Engine::Java => {
                "it is compiled as it runs, and has no functions in a file: only an agent inside it can tell what it says (--java-agent)"
            }
            Engine::Bits32 => "a 32-bit file, which is not probed",
            Engine::Go(why) => why.why(),
            Engine::Rustls => "linked into the file without symbols: which functions are its is not known",
            Engine::Nss => "which functions move bytes is not certain",
            Engine::GnuTls | Engine::MbedTls | Engine::WolfSsl | Engine::S2n => "not supported yet",
        })
    }
}

/// A TLS implementation found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub engine: Engine,
    /// The version, if the file names it: `OpenSSL 3.0.19`, `BoringSSL`, `go1.27`, `0.23.31`.
    pub version: Option<String>,
    /// Build id of the file in hexadecimal, if it has one.
    pub build_id: Option<String>,
}

/// What was found so far, by file.
#[derive(Debug, Default)]
pub struct Engines {
    known: HashMap<FileId, Option<Found>>,
}

impl Engines {
    /// The implementation in the file at `path`, which the process knows as `name`; none when it has no known one, or can't be read.
    pub fn of_file(&mut self, path: &Path, name: &Path) -> Option<Found> {
        let elf = match Elf::open(path) {
            Ok(elf) => elf,
            // Reported for the program; its 32-bit libraries need not be reported one by one.
            Err(ElfError::Class32) => return Some(Found { engine: Engine::Bits32, version: None, build_id: None }),
            Err(_) => return None,
        };
        if let Some(found) = self.known.get(&elf.id()) {
            return found.clone();
        }
        let found = find(&elf, path, name);
        if self.known.len() < REMEMBERED {
            self.known.insert(elf.id(), found.clone());
        }
        found
    }
}

fn find(elf: &Elf, path: &Path, name: &Path) -> Option<Found> {
    let found = |engine, version| Some(Found { engine, version, build_id: elf.build_id() });
    match plan::plan_of(elf, path) {
        Ok(plan) => return found(Engine::Probed(plan.family), plan.version),
        Err(PlanError::Go(why)) => return found(Engine::Go(why), go::version(elf)),
        Err(_) => {}
    }
    if let Some(engine) = by_name(name) {
        return found(engine, None);
    }
    let section = |name: &str, most: u64| elf.section(name, most).ok().flatten();
    let constants = section(".rodata", SEARCHED)?;
    // Names of source files, which are part of error messages.
    if has(&constants, b"ssl_lib.c") {
        return found(Engine::Stripped, family(&constants));
    }
    if let Some(version) = rustls_version(&constants) {
        return found(Engine::Rustls, Some(version));
    }
    by_text(&constants).and_then(|engine| found(engine, None))
}

/// Recognises an embedded library by its constants: names of source files, or cipher suite names in a spelling that no other library uses.
fn by_text(constants: &[u8]) -> Option<Engine> {
    const TEXTS: [(&[u8], Engine); 3] = [
        (b"s2n_connection.c", Engine::S2n),
        (b"TLS-ECDHE-ECDSA-WITH-", Engine::MbedTls),
        (b"TLS13-AES128-GCM-SHA256", Engine::WolfSsl),
    ];
    TEXTS.iter().find(|(text, _)| has(constants, text)).map(|(_, engine)| *engine)
}

/// Recognises a library by its file name, up to the version or a packager's suffix (`libmbedtls-783f9d33.so.14`).
fn by_name(path: &Path) -> Option<Engine> {
    const NAMES: [(&str, Engine); 7] = [
        ("libgnutls", Engine::GnuTls),
        ("libssl3", Engine::Nss),
        ("libjvm", Engine::Java),
        ("libmbedtls", Engine::MbedTls),
        ("libwolfssl", Engine::WolfSsl),
        ("libs2n", Engine::S2n),
        ("librustls", Engine::Rustls),
    ];
    let name = path.file_name()?.to_str()?;
    let is_of = |stem: &str| {
        let rest = name.strip_prefix(stem)?;
        let packed = rest.strip_prefix('-').map(|rest| rest.trim_start_matches(|one: char| one.is_ascii_hexdigit()));
        packed.unwrap_or(rest).starts_with(".so").then_some(())
    };
    NAMES.iter().find(|(stem, _)| is_of(stem).is_some()).map(|(_, engine)| *engine)
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

/// Which member of the OpenSSL family it is, if it says so.
fn family(constants: &[u8]) -> Option<String> {
    if has(constants, b"boringssl") {
        return Some("BoringSSL".to_owned());
    }
    version::in_text(Family::OpenSsl, constants)
}

/// A Rust panic message names its source file, and the crate's folder carries its version: `…/rustls-0.23.31/src/…`.
pub(super) fn rustls_version(constants: &[u8]) -> Option<String> {
    const CRATE: &[u8] = b"/rustls-";
    memchr::memmem::find_iter(constants, CRATE).find_map(|at| {
        let rest = constants.get(at + CRATE.len()..)?;
        let version: Vec<u8> =
            rest.iter().copied().take(32).take_while(|byte| byte.is_ascii_digit() || *byte == b'.').collect();
        let ends = matches!(rest.get(version.len()), Some(b'/'));
        (ends && version.contains(&b'.')).then(|| String::from_utf8_lossy(&version).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_names() {
        let engine = |name: &str| by_name(Path::new(name));
        assert_eq!(engine("/usr/lib/x86_64-linux-gnu/libgnutls.so.30"), Some(Engine::GnuTls));
        assert_eq!(engine("/usr/lib/libssl3.so"), Some(Engine::Nss));
        assert_eq!(engine("/usr/lib/jvm/java-17/lib/server/libjvm.so"), Some(Engine::Java));
        assert_eq!(engine("/site-packages/python_mbedtls.libs/libmbedtls-783f9d33.so.14"), Some(Engine::MbedTls));
        assert_eq!(engine("/usr/lib/libwolfssl.so.35.3.0"), Some(Engine::WolfSsl));
        assert_eq!(engine("/usr/lib/libssl.so.3"), None, "which is told by its functions");
        assert_eq!(engine("/usr/lib/libgnutls-openssl.so.27"), None, "which is another one");
        assert_eq!(engine("/"), None);
    }

    #[test]
    fn a_rust_program_names_the_crate_it_panics_in() {
        let said = |text: &str| rustls_version(text.as_bytes());
        assert_eq!(said("index.crates.io-6f17/rustls-0.23.31/src/conn.rs").as_deref(), Some("0.23.31"));
        assert_eq!(said("x/rustls-native-certs-0.8.1/src/lib.rs y/rustls-0.21.7/src/a.rs").as_deref(), Some("0.21.7"));
        assert_eq!(said("x/rustls-pki-types-1.0.0/src/lib.rs"), None);
        assert_eq!(said("/rustls-0.23.31"), None, "cut off");
    }

    #[test]
    fn the_family_is_told_by_its_texts() {
        assert_eq!(family(b"external/boringssl/src/ssl/ssl_lib.cc").as_deref(), Some("BoringSSL"));
        assert_eq!(family(b"ssl/ssl_lib.c\0OpenSSL 3.0.19 1 Jan 2026\0").as_deref(), Some("OpenSSL 3.0.19"));
        assert_eq!(family(b"ssl/ssl_lib.c"), None);
    }

    #[test]
    fn a_library_inside_a_file_is_known_by_what_it_says() {
        let s2n = b"\0Error encountered in /build/crt/s2n/tls/s2n_connection.c:719\0";
        assert_eq!(by_text(s2n), Some(Engine::S2n));
        assert_eq!(by_text(b"\0TLS-ECDHE-ECDSA-WITH-AES-256-CCM\0"), Some(Engine::MbedTls));
        assert_eq!(by_text(b"\0TLS13-AES128-GCM-SHA256\0"), Some(Engine::WolfSsl));
        assert_eq!(
            by_text(b"\0TLS_AES_128_GCM_SHA256\0ECDHE-ECDSA-AES128-GCM-SHA256\0"),
            None,
            "as everyone writes them"
        );
    }

    #[test]
    fn files_that_carry_none_are_remembered_too() {
        let mut engines = Engines::default();
        let own = std::env::current_exe().unwrap_or_default();
        let first = engines.of_file(&own, Path::new("/bin/test"));
        assert_eq!(engines.known.len(), 1);
        assert_eq!(engines.of_file(&own, Path::new("/bin/test")), first);
        assert_eq!(engines.of_file(Path::new("/etc/passwd"), Path::new("/etc/passwd")), None);
        assert_eq!(engines.known.len(), 1);
    }
}
