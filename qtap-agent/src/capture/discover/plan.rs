//! The plan for a file: which functions to hook, and where.
//!
//! In: a file. Out: a [`Plan`]: every hooked function that the file defines, with its chosen sites, and the names of those
//! it does not define, which is a fact about the file and not an error. Nothing here attaches.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::call::{Call, Family};
use super::elf::{Elf, ElfError, FileId, Symbol};
use super::{bio, engine, go, locate, nss, rustls, version};
use crate::capture::sites::go::NotGo;
use crate::capture::sites::{self, ExitSites, Function, Sites};

/// Most of `.rodata` searched for a version, in bytes.
const MAX_RODATA: u64 = 16 << 20;

/// A function to hook, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Which.
    pub call: Call,
    /// The function.
    pub symbol: Symbol,
    /// The chosen sites.
    pub sites: Sites,
}

/// What to hook in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the file was found.
    pub path: PathBuf,
    /// The file's identity, by which attachments are keyed.
    pub id: FileId,
    /// Its build id in hexadecimal: plans of the same build are equal.
    pub build_id: Option<String>,
    /// The library family, which decides the interface.
    pub family: Family,
    /// The library's name in records: its soname, else its file name.
    pub library: String,
    /// The version it names in itself, e.g. `OpenSSL 3.0.19`, else the series in its soname, e.g. `OpenSSL 3`.
    pub version: Option<String>,
    /// Functions to be hooked.
    pub hooks: Vec<Hook>,
    /// Functions it doesn't define.
    pub missing: Vec<Call>,
    /// True when they were found by their code alone, and connections have yet to confirm them. (Not for rustls, whose probes check the ciphertext.)
    pub by_code: bool,
}

/// Why there is nothing to hook in a file.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file can't be read.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// It has the functions of Go's `crypto/tls`, which can't be probed.
    #[error("Go crypto/tls: {0}")]
    Go(NotGo),
    /// No family's functions that move bytes were found in it.
    #[error("no TLS library that is known by its functions")]
    NoLibrary,
}

/// The plan for the file at `path`.
///
/// # Errors
/// [`PlanError`] when the file can't be read or has no such functions.
pub fn plan(path: &Path) -> Result<Plan, PlanError> {
    plan_of(&Elf::open(path)?, path)
}

/// The plan for an open file; `path` is its name.
///
/// # Errors
/// [`PlanError`] when the file is damaged or has no such functions.
pub fn plan_of(elf: &Elf, path: &Path) -> Result<Plan, PlanError> {
    let symbols = elf.functions(&Call::ALL.map(Call::symbol))?;
    let defined = |call: Call| symbols.iter().find(|symbol| symbol.name == call.symbol());
    let is_of = |family: &Family| family.needs().into_iter().all(|call| defined(call).is_some());
    let Some(family) = Family::NAMED.into_iter().find(is_of) else {
        if let Some(plan) = plan_of_nss(elf, path, &symbols) {
            return Ok(plan);
        }
        return match plan_of_go(elf, path, &symbols) {
            Err(PlanError::NoLibrary) => plan_of_rustls(elf, path, rustls::functions(elf))
                .or_else(|_| plan_without_names(elf, path))
                .or_else(|_| plan_of_rustls(elf, path, rustls::nameless(elf))),
            result => result,
        };
    };
    let mut hooks = Vec::new();
    let mut missing = Vec::new();
    for call in Call::ALL.into_iter().filter(|call| call.family() == family) {
        match defined(call) {
            // It jumps to the other one, and is seen there.
            Some(_) if call == Call::GnutlsSend && defined(Call::GnutlsSend2).is_some() => {}
            Some(symbol) => hooks.push(hook(elf, call, symbol)),
            None => missing.push(call),
        }
    }
    if family == Family::OpenSsl {
        hooks.extend(bio::hooks(elf, &symbols));
    }
    let library = elf.soname().unwrap_or_else(|| file_name(elf, path));
    let rodata = elf.section(".rodata", MAX_RODATA).ok().flatten();
    let version = rodata.and_then(|rodata| version::in_text(family, &rodata)).or_else(|| version::of_soname(&library));
    Ok(Plan {
        path: path.to_owned(),
        id: elf.id(),
        build_id: elf.build_id(),
        family,
        library,
        version,
        hooks,
        missing,
        by_code: false,
    })
}

/// The last component of the file's path; for a process's program (`/proc/PID/exe`, a link that vanishes with the process) that of the link's target.
fn file_name(elf: &Elf, path: &Path) -> String {
    let is_link = path.starts_with("/proc") && path.ends_with("exe");
    let target = is_link.then(|| std::fs::read_link(elf.lasting_path()).ok()).flatten();
    let name = target.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(" (deleted)").to_owned()
}

/// The plan for NSS, whose functions have no names, except the one that creates sessions.
fn plan_of_nss(elf: &Elf, path: &Path, symbols: &[Symbol]) -> Option<Plan> {
    let functions = nss::functions(elf, symbols);
    if functions.is_empty() {
        return None;
    }
    let rodata = elf.section(".rodata", MAX_RODATA).ok().flatten();
    Some(Plan {
        path: path.to_owned(),
        id: elf.id(),
        build_id: elf.build_id(),
        family: Family::Nss,
        library: elf.soname().unwrap_or_else(|| file_name(elf, path)),
        version: rodata.and_then(|rodata| version::in_text(Family::Nss, &rodata)),
        missing: Vec::new(),
        by_code: false,
        hooks: functions.iter().map(|(call, symbol)| hook(elf, *call, symbol)).collect(),
    })
}

/// The plan for a Go program, whose functions are found in other ways and have sites of another kind.
fn plan_of_go(elf: &Elf, path: &Path, symbols: &[Symbol]) -> Result<Plan, PlanError> {
    let hooks = go::hooks(elf, symbols).map_err(PlanError::Go)?;
    if hooks.is_empty() {
        return Err(PlanError::NoLibrary);
    }
    let is_missing = |call: &Call| call.family() == Family::GoTls && !hooks.iter().any(|hook| hook.call == *call);
    Ok(Plan {
        path: path.to_owned(),
        id: elf.id(),
        build_id: elf.build_id(),
        family: Family::GoTls,
        library: "crypto/tls".to_owned(),
        version: go::version(elf),
        missing: Call::ALL.into_iter().filter(is_missing).collect(),
        by_code: false,
        hooks,
    })
}

/// The plan for a Rust program that contains rustls.
fn plan_of_rustls(elf: &Elf, path: &Path, functions: Vec<(Call, Symbol)>) -> Result<Plan, PlanError> {
    if functions.is_empty() {
        return Err(PlanError::NoLibrary);
    }
    let is_missing = |call: &Call| call.family() == Family::Rustls && !functions.iter().any(|(found, _)| found == call);
    let rodata = elf.section(".rodata", engine::SEARCHED).ok().flatten();
    Ok(Plan {
        path: path.to_owned(),
        id: elf.id(),
        build_id: elf.build_id(),
        family: Family::Rustls,
        library: "rustls".to_owned(),
        version: rodata.and_then(|rodata| engine::rustls_version(&rodata)),
        missing: Call::ALL.into_iter().filter(is_missing).collect(),
        by_code: false,
        hooks: functions.iter().map(|(call, symbol)| hook(elf, *call, symbol)).collect(),
    })
}

/// The plan for a file that contains OpenSSL or its kin, but no function names.
fn plan_without_names(elf: &Elf, path: &Path) -> Result<Plan, PlanError> {
    let located = locate::locate(elf).ok_or(PlanError::NoLibrary)?;
    Ok(Plan {
        path: path.to_owned(),
        id: elf.id(),
        build_id: elf.build_id(),
        family: Family::OpenSsl,
        library: file_name(elf, path),
        version: located.version,
        hooks: located.functions.iter().map(|(call, symbol)| hook(elf, *call, symbol)).collect(),
        missing: Vec::new(),
        by_code: true,
    })
}

/// The hook of a function. If its code can't be read, it is hooked at the usual places.
pub(super) fn hook(elf: &Elf, call: Call, symbol: &Symbol) -> Hook {
    let code = elf.code(symbol).unwrap_or_default();
    let function = Function { machine: elf.machine(), code: &code, file_offset: symbol.file_offset };
    let sites = match call {
        Call::RustlsWrite | Call::RustlsWriteVectored => sites::at_every_ret(&function, call.wanted(), true),
        Call::RustlsEncrypt | Call::RustlsDecrypt => sites::at_every_ret(&function, call.wanted(), false),
        _ => of_c(elf, call, &function),
    };
    Hook { call, symbol: symbol.clone(), sites }
}

/// The sites of a function of C. A return probe is used only where there is no other way, or where it spares a trap in each call that moves bytes, in
/// a program that contains the library: of a library that is shared, it is not known which programs will switch stacks inside its calls. Of the
/// calls of a shared OpenSSL that move no bytes, it is enough to see the beginning. (Where the file contains the library's users too, as netty's does,
/// a hello that is written to memory is known by the handshake that it is written in.)
fn of_c(elf: &Elf, call: Call, function: &Function<'_>) -> Sites {
    let sites = sites::choose(function, call.wanted());
    if !matches!(sites.exit, Some(ExitSites::Return { .. })) {
        return sites;
    }
    let is_named = |stem: &str| elf.soname().is_some_and(|name| name.starts_with(stem));
    let is_shared = call.family().stem().is_some_and(is_named);
    if call.moves_bytes() && !is_shared {
        return sites;
    }
    let mut sites = sites::at_every_ret(function, call.wanted(), false);
    if let Some(ExitSites::Return { fallback, .. }) = sites.exit
        && is_shared
        && call.family() == Family::OpenSsl
        && !call.moves_bytes()
    {
        sites.exit = Some(ExitSites::Unseen(fallback));
    }
    sites
}

impl Plan {
    /// The same functions at the usual places, whatever their code looks like: the reference for the chosen sites.
    #[must_use]
    pub fn plain(mut self, elf: &Elf) -> Plan {
        // A hooked call in the middle of a function has its arguments nowhere else.
        for hook in self.hooks.iter_mut().filter(|hook| !matches!(hook.sites.exit, Some(ExitSites::Behind(_)))) {
            let code = elf.code(&hook.symbol).unwrap_or_default();
            let function = Function { machine: elf.machine(), code: &code, file_offset: hook.symbol.file_offset };
            hook.sites = match self.family {
                // Proven sites stay: a return probe would crash the program.
                Family::GoTls => match sites::go::plain(&function, hook.call.wanted().result) {
                    Ok(sites) => sites,
                    Err(_) => continue,
                },
                Family::OpenSsl | Family::GnuTls | Family::Nss | Family::Rustls => {
                    sites::plain(&function, hook.call.wanted())
                }
            };
        }
        self
    }

    /// Several human-readable lines: the library, then each function with its sites.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
