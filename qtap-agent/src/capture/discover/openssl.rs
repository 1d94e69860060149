//! Libraries and programs of the OpenSSL family: which functions are hooked, what is wanted of each, and where.
//!
//! In: a file. Out: a [`Plan`]: every hooked function that the file defines with its chosen sites, and the names of those
//! it doesn't, which is a fact about the file and no error. Also the paths at which such libraries usually lie, so that they
//! can be attached before anything uses them. Nothing here attaches.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{Elf, ElfError, FileId, Symbol};
use crate::capture::sites::{self, Argument, Function, Sites, Wanted, Width};

/// Most of `.rodata` searched for a version, in bytes.
const MAX_RODATA: u64 = 16 << 20;
/// Most libraries that [`known_libraries`] names.
const MAX_LIBRARIES: usize = 256;
/// Largest loader cache read, in bytes.
const MAX_CACHE: u64 = 16 << 20;

/// A call that is hooked (`man 3 SSL_read` and its kin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// `int SSL_read(SSL *, void *buf, int num)`.
    Read,
    /// `int SSL_write(SSL *, const void *buf, int num)`.
    Write,
    /// `int SSL_read_ex(SSL *, void *buf, size_t num, size_t *readbytes)`.
    ReadEx,
    /// `int SSL_write_ex(SSL *, const void *buf, size_t num, size_t *written)`.
    WriteEx,
    /// `int SSL_write_ex2(SSL *, const void *buf, size_t num, uint64_t flags, size_t *written)`.
    WriteEx2,
    /// `int SSL_peek(SSL *, void *buf, int num)`: does not consume.
    Peek,
    /// `int SSL_peek_ex(SSL *, void *buf, size_t num, size_t *readbytes)`: does not consume.
    PeekEx,
    /// `int SSL_do_handshake(SSL *)`.
    DoHandshake,
    /// `int SSL_connect(SSL *)`.
    Connect,
    /// `int SSL_accept(SSL *)`.
    Accept,
    /// `int SSL_set_fd(SSL *, int fd)`.
    SetFd,
    /// `int SSL_set_rfd(SSL *, int fd)`.
    SetRfd,
    /// `int SSL_set_wfd(SSL *, int fd)`.
    SetWfd,
    /// `void SSL_set_bio(SSL *, BIO *rbio, BIO *wbio)`.
    SetBio,
    /// `void SSL_set0_rbio(SSL *, BIO *rbio)`.
    Set0Rbio,
    /// `void SSL_set0_wbio(SSL *, BIO *wbio)`.
    Set0Wbio,
    /// `int SSL_shutdown(SSL *)`.
    Shutdown,
    /// `int SSL_clear(SSL *)`.
    Clear,
    /// `void SSL_free(SSL *)`.
    Free,
}

const fn whole(index: u8) -> Argument {
    Argument { index, width: Width::Full }
}

const fn int(index: u8) -> Argument {
    Argument { index, width: Width::Low32 }
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 19] = [
        Call::Read,
        Call::Write,
        Call::ReadEx,
        Call::WriteEx,
        Call::WriteEx2,
        Call::Peek,
        Call::PeekEx,
        Call::DoHandshake,
        Call::Connect,
        Call::Accept,
        Call::SetFd,
        Call::SetRfd,
        Call::SetWfd,
        Call::SetBio,
        Call::Set0Rbio,
        Call::Set0Wbio,
        Call::Shutdown,
        Call::Clear,
        Call::Free,
    ];

    /// The function's name.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Call::Read => "SSL_read",
            Call::Write => "SSL_write",
            Call::ReadEx => "SSL_read_ex",
            Call::WriteEx => "SSL_write_ex",
            Call::WriteEx2 => "SSL_write_ex2",
            Call::Peek => "SSL_peek",
            Call::PeekEx => "SSL_peek_ex",
            Call::DoHandshake => "SSL_do_handshake",
            Call::Connect => "SSL_connect",
            Call::Accept => "SSL_accept",
            Call::SetFd => "SSL_set_fd",
            Call::SetRfd => "SSL_set_rfd",
            Call::SetWfd => "SSL_set_wfd",
            Call::SetBio => "SSL_set_bio",
            Call::Set0Rbio => "SSL_set0_rbio",
            Call::Set0Wbio => "SSL_set0_wbio",
            Call::Shutdown => "SSL_shutdown",
            Call::Clear => "SSL_clear",
            Call::Free => "SSL_free",
        }
    }

    /// What the probes want of it. The end of a call is wanted where bytes pass, and where socket calls nest in it.
    #[must_use]
    pub fn wanted(self) -> Wanted<'static> {
        const READ: &[Argument] = &[whole(0), whole(1), int(2)];
        const READ_EX: &[Argument] = &[whole(0), whole(1), whole(2), whole(3)];
        const WRITE_EX2: &[Argument] = &[whole(0), whole(1), whole(2), whole(4)];
        const SESSION: &[Argument] = &[whole(0)];
        const SESSION_FD: &[Argument] = &[whole(0), int(1)];
        const SESSION_BIO: &[Argument] = &[whole(0), whole(1)];
        const SESSION_BIOS: &[Argument] = &[whole(0), whole(1), whole(2)];
        let (args, result) = match self {
            Call::Read | Call::Write | Call::Peek => (READ, true),
            Call::ReadEx | Call::WriteEx | Call::PeekEx => (READ_EX, true),
            Call::WriteEx2 => (WRITE_EX2, true),
            Call::DoHandshake | Call::Connect | Call::Accept | Call::Shutdown => (SESSION, true),
            Call::SetFd | Call::SetRfd | Call::SetWfd => (SESSION_FD, false),
            Call::SetBio => (SESSION_BIOS, false),
            Call::Set0Rbio | Call::Set0Wbio => (SESSION_BIO, false),
            Call::Clear | Call::Free => (SESSION, false),
        };
        Wanted { args, result }
    }
}

/// A function to be hooked, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Which.
    pub call: Call,
    /// The function.
    pub symbol: Symbol,
    /// The chosen sites.
    pub sites: Sites,
}

/// What is to be hooked in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the file was found.
    pub path: PathBuf,
    /// Which file it is: what attaching is keyed by.
    pub id: FileId,
    /// Its build id, hexadecimal: plans of the same build are the same.
    pub build_id: Option<String>,
    /// What it is called in records: its soname, else its file name.
    pub library: String,
    /// The version it names in itself, e.g. `OpenSSL 3.0.19`, else the series its soname tells, e.g. `OpenSSL 3`.
    pub version: Option<String>,
    /// Functions to be hooked.
    pub hooks: Vec<Hook>,
    /// Functions it doesn't define.
    pub missing: Vec<Call>,
}

/// Why there is nothing to be hooked in a file.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It can't be looked into.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// It defines no `SSL_read` or no `SSL_write`.
    #[error("no TLS library of the OpenSSL family")]
    NotOpenSsl,
}

/// What is to be hooked in the file at `path`.
///
/// # Errors
/// [`PlanError`] when the file can't be read or has no such functions.
pub fn plan(path: &Path) -> Result<Plan, PlanError> {
    plan_of(&Elf::open(path)?, path)
}

/// What is to be hooked in a file that is open; `path` is what it is called.
///
/// # Errors
/// [`PlanError`] when the file is damaged or has no such functions.
pub fn plan_of(elf: &Elf, path: &Path) -> Result<Plan, PlanError> {
    let symbols = elf.functions(&Call::ALL.map(Call::symbol))?;
    let defined = |call: Call| symbols.iter().find(|symbol| symbol.name == call.symbol());
    if defined(Call::Read).is_none() || defined(Call::Write).is_none() {
        return Err(PlanError::NotOpenSsl);
    }
    let mut hooks = Vec::new();
    let mut missing = Vec::new();
    for call in Call::ALL {
        match defined(call) {
            Some(symbol) => hooks.push(hook(elf, call, symbol)),
            None => missing.push(call),
        }
    }
    let file_name = || path.file_name().map(|name| name.to_string_lossy().into_owned());
    let library = elf.soname().or_else(file_name).unwrap_or_default();
    let rodata = elf.section(".rodata", MAX_RODATA).ok().flatten();
    let version = rodata.and_then(|rodata| version_in(&rodata)).or_else(|| version_of_soname(&library));
    Ok(Plan { path: path.to_owned(), id: elf.id(), build_id: elf.build_id(), library, version, hooks, missing })
}

/// A function whose code can't be read is hooked at the usual places.
fn hook(elf: &Elf, call: Call, symbol: &Symbol) -> Hook {
    let code = elf.code(symbol).unwrap_or_default();
    let function = Function { machine: elf.machine(), code: &code, file_offset: symbol.file_offset };
    Hook { call, symbol: symbol.clone(), sites: sites::choose(&function, call.wanted()) }
}

impl Plan {
    /// The same functions at the usual places, whatever their code looks like: what chosen sites are compared with.
    #[must_use]
    pub fn plain(mut self, elf: &Elf) -> Plan {
        for hook in &mut self.hooks {
            let code = elf.code(&hook.symbol).unwrap_or_default();
            let function = Function { machine: elf.machine(), code: &code, file_offset: hook.symbol.file_offset };
            hook.sites = sites::plain(&function, hook.call.wanted());
        }
        self
    }

    /// Several lines for a person: the library, then each function with its sites.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut out = format!("{} ({})", self.library, self.version.as_deref().unwrap_or("version not told"));
        for hook in &self.hooks {
            // Writing to a string can't fail.
            let _ = write!(out, "\n  {}: {}", hook.call.symbol(), hook.sites);
        }
        out
    }
}

/// The first `OpenSSL 1.2.3`, `LibreSSL 1.2.3` or `BoringSSL` in the bytes. (Shorter numbers stand in error texts.)
pub(super) fn version_in(rodata: &[u8]) -> Option<String> {
    for family in ["OpenSSL ", "LibreSSL "] {
        for at in memchr::memmem::find_iter(rodata, family) {
            let rest = rodata.get(at + family.len()..)?;
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
            let number: Vec<u8> = rest.iter().copied().take(32).take_while(is_part).collect();
            let dots = number.iter().filter(|&&byte| byte == b'.').count();
            if number.first().is_some_and(u8::is_ascii_digit) && dots == 2 {
                return Some(format!("{family}{}", String::from_utf8_lossy(&number)));
            }
        }
    }
    memchr::memmem::find(rodata, b"BoringSSL").map(|_| "BoringSSL".to_owned())
}

/// OpenSSL's own sonames carry the series: `libssl.so.3`, `libssl.so.1.1`, `libssl-8bd944e8.so.3`. LibreSSL counts from 26.
fn version_of_soname(soname: &str) -> Option<String> {
    let (_, series) = soname.split_once(".so.")?;
    let major = series.split('.').next()?;
    matches!(major, "1" | "3" | "4").then(|| format!("OpenSSL {series}"))
}

/// Files of the host that are called like a TLS library, each once however many names it has: those of the loader's
/// cache, of the usual directories, and of `extra` directories (a program's `LD_LIBRARY_PATH`). Whether one truly is such a
/// library, [`plan`] tells.
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

/// The usual directories, and those below them that multi-arch systems have (`/usr/lib/x86_64-linux-gnu`).
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

/// The loader's cache is a table into a pool of NUL-ended strings, absolute paths among them; the pool is all that matters.
fn paths_in_cache(cache: &[u8]) -> Vec<PathBuf> {
    let strings = cache.split(|&byte| byte == 0).filter(|string| string.first() == Some(&b'/'));
    strings
        .map(|string| PathBuf::from(std::ffi::OsStr::from_bytes(string)))
        .filter(|path| is_library_name(path))
        .collect()
}

/// True for a file name like `libssl.so.3`, `libssl-8bd944e8.so.3`, `libssl.so.1.1`.
#[must_use]
pub fn is_library_name(path: &Path) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    let Some(rest) = name.strip_prefix(b"libssl") else { return false };
    let so = memchr::memmem::find(rest, b".so").and_then(|at| rest.get(at + 3..));
    matches!(rest.first(), Some(b'.' | b'-' | b'_')) && so.is_some_and(|tail| matches!(tail.first(), None | Some(b'.')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
