//! The functions of OpenSSL and its kin in a file that has the library in itself and no names of functions: found by what their code says.
//!
//! In: a file. Out: the functions under the names they have by rights, each told from all others by facts that its interface fixes, or nothing. Error paths name the
//! source file, and the function or the reason, with which the library's own error codes come (`ssl.h`, `sslerr.h`): those say who is who. What must be there
//! beyond them (who calls whom, who writes to the session) tells functions apart that complain of the same. One that is not alone in fitting is not taken, and a file in
//! which a function that is needed is not found has none at all. What is found is probed where its code proves that arguments and results are (`sites`), as any other.

mod boringssl;
mod openssl;
pub(super) mod rustls;
mod starts;
mod text;

use std::collections::BTreeSet;

use super::call::Call;
use super::elf::{Elf, Symbol};
use crate::capture::sites::Machine;
use text::Text;

/// Without these, sessions have no bytes, no sockets, or no end.
const NEEDED: [Call; 2] = [Call::DoHandshake, Call::Free];
/// Name of the source file that the functions of sessions stand in, up to its language (`.c`, `.cc`).
const SOURCE: &[u8] = b"/ssl_lib.c";

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// Functions; one name may be that of several, where the compiler made several of one.
    pub(super) functions: Vec<(Call, Symbol)>,
    /// The version, where the file names it.
    pub(super) version: Option<String>,
}

/// Looks for the functions; none: there is no such library in the file, or it is not certain which functions are its.
pub(super) fn locate(elf: &Elf) -> Option<Located> {
    if elf.machine() != Machine::X86_64 {
        return None;
    }
    let sources = text::ending(elf, SOURCE);
    let text = if sources.is_empty() { None } else { Text::of(elf) }?;
    let of_cpp: BTreeSet<u64> =
        sources.iter().filter(|(_, name)| name.ends_with(b".cc")).map(|(address, _)| *address).collect();
    let (found, version) = if of_cpp.is_empty() {
        let of_c = sources.iter().filter(|(_, name)| name.ends_with(b".c")).map(|(address, _)| *address).collect();
        (openssl::locate(&text, &of_c)?, openssl::version(elf))
    } else {
        (boringssl::locate(&text, &of_cpp)?, Some("BoringSSL".to_owned()))
    };
    let has = |wanted: &Call| found.iter().any(|(call, _)| call == wanted);
    let moves =
        [Call::Read, Call::ReadEx].iter().any(has) && [Call::Write, Call::WriteEx, Call::WriteEx2].iter().any(has);
    if !moves || !NEEDED.iter().all(has) {
        return None;
    }
    let functions: Option<Vec<_>> =
        found.into_iter().map(|(call, start)| Some((call, text.symbol(call, start)?))).collect();
    Some(Located { functions: functions?, version })
}

/// The only one of its kind.
fn only<T>(mut of: impl Iterator<Item = T>) -> Option<T> {
    let one = of.next()?;
    of.next().is_none().then_some(one)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
