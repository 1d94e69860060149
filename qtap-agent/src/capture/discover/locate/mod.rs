//! Finds the functions of OpenSSL and its kin by their code, in a file that contains the library without function names.
//!
//! In: a file. Out: the functions under their proper names, each distinguished from all others by facts that its interface fixes, or nothing. Error paths name the
//! source file, and the function or the reason by the library's own error codes (`ssl.h`, `sslerr.h`): these identify the functions. Further necessary facts
//! (who calls whom, who writes to the session) distinguish functions that raise the same errors. A function with more than one match is not taken, and a file in
//! which a required function is not found yields nothing. Like any function, those found are probed where code proves the place of arguments and results (`sites`).

mod boringssl;
pub(super) mod by_name;
mod openssl;
pub(super) mod rustls;
mod starts;
mod text;

use std::collections::BTreeSet;

use super::call::Call;
use super::elf::{Elf, Symbol};
use crate::capture::sites::Machine;
use text::Text;

/// Required besides a read and a write function: without these, sessions have no sockets, or no end.
const NEEDED: [Call; 2] = [Call::DoHandshake, Call::Free];
/// Name of the source file of the session functions, up to its extension (`.c`, `.cc`).
const SOURCE: &[u8] = b"/ssl_lib.c";

/// The functions found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    /// Functions; several may have one name, where the compiler made several of one.
    pub(super) functions: Vec<(Call, Symbol)>,
    /// The version, if the file names it.
    pub(super) version: Option<String>,
}

/// Finds the functions; none when the file does not contain such a library, or it is not certain which functions are meant.
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

/// The only item; none when there is more than one.
fn only<T>(mut of: impl Iterator<Item = T>) -> Option<T> {
    let one = of.next()?;
    of.next().is_none().then_some(one)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests;
