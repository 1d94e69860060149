//! The functions of rustls in a Rust program, by their mangled names. They are trait methods; those that encrypt and decrypt are called through vtables, so
//! that each exists as a function whatever was inlined. One call has as many functions as there are types that implement the trait: each is hooked.
//!
//! In: an open file. Out: the functions by their role. x86-64 only: on other machines the address of a large result is not returned in a register.

use std::collections::HashSet;

use super::call::{Call, Family};
use super::elf::{Elf, Symbol};
use super::{engine, locate};
use crate::capture::sites::Machine;

/// Parts of the mangled names, under either mangling: names without any of them need not be demangled.
const MARKS: [&str; 3] = ["MessageEncrypter", "MessageDecrypter", "PlaintextSink"];

/// The functions; none unless those that encrypt and those that decrypt are both there. (Those that take plaintext to write may be inlined.)
pub(super) fn functions(elf: &Elf) -> Vec<(Call, Symbol)> {
    if elf.machine() != Machine::X86_64 {
        return Vec::new();
    }
    let named = elf.functions_with(&MARKS);
    let mut places = HashSet::new();
    let found = named.unwrap_or_default().into_iter().filter_map(|symbol| Some((call(&symbol.name)?, symbol)));
    let found: Vec<_> = found.filter(|(_, symbol)| symbol.size > 0 && places.insert(symbol.file_offset)).collect();
    let has = |wanted: Call| found.iter().any(|(call, _)| *call == wanted);
    let is_whole = Family::Rustls.needs().into_iter().all(has);
    if is_whole { found } else { Vec::new() }
}

/// The same for a program that was stripped of its symbols.
pub(super) fn nameless(elf: &Elf) -> Vec<(Call, Symbol)> {
    // A Rust panic message names its source file, and with it the crate.
    let constants = elf.section(".rodata", engine::SEARCHED).ok().flatten();
    let is_there = constants.is_some_and(|constants| memchr::memmem::find(&constants, b"rustls").is_some());
    if is_there { locate::rustls::functions(elf) } else { Vec::new() }
}

/// The call that a mangled name stands for: `<T as rustls::…::Trait>::method`.
fn call(mangled: &str) -> Option<Call> {
    let name = format!("{:#}", rustc_demangle::try_demangle(mangled).ok()?);
    let (whose, method) = name.rsplit_once(" as rustls::")?;
    if whose.ends_with("::InvalidMessageEncrypter") || whose.ends_with("::InvalidMessageDecrypter") {
        // The placeholder of a connection that has no keys yet: it refuses.
        return None;
    }
    let (path, method) = method.split_once(">::")?;
    match (path.rsplit("::").next()?, method) {
        ("MessageEncrypter", "encrypt") => Some(Call::RustlsEncrypt),
        ("MessageDecrypter", "decrypt") => Some(Call::RustlsDecrypt),
        ("PlaintextSink", "write") => Some(Call::RustlsWrite),
        ("PlaintextSink", "write_vectored") => Some(Call::RustlsWriteVectored),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_traits_are_known_by_either_mangling() {
        // As rustc 1.95 mangles them; those of `later` with `-C symbol-mangling-version=v0`.
        let encrypt = "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$7encrypt17had69d5082b5f1098E";
        let decrypt = "_ZN109_$LT$rustls..crypto..ring..tls12..GcmMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h420c9c09ab91066eE.llvm.9012385225876642649";
        let vectored = "_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$14write_vectored17h1d0ca3c95e489186E";
        let later = [
            "_RNvXNtCs1PVfNTLNy3A_6rustls4connINtB2_16ConnectionCommonhENtNtB2_10connection13PlaintextSink5writeB4_",
            "_RNvXNtNtNtCs1PVfNTLNy3A_6rustls6crypto4ring5tls13NtB2_21Tls13MessageDecrypterNtNtB6_6cipher16MessageDecrypter7decrypt",
            "_RNvXs_NtNtNtCs1PVfNTLNy3A_6rustls6crypto4ring5tls13NtB4_1ENtNtB8_6cipher16MessageEncrypter7encrypt",
        ];
        assert_eq!(call(encrypt), Some(Call::RustlsEncrypt));
        assert_eq!(call(decrypt), Some(Call::RustlsDecrypt));
        assert_eq!(call(vectored), Some(Call::RustlsWriteVectored));
        let calls = [Call::RustlsWrite, Call::RustlsDecrypt, Call::RustlsEncrypt];
        assert_eq!(later.map(call), calls.map(Some));
    }

    #[test]
    fn what_only_names_them_is_none() {
        for name in [
            "MessageEncrypter",
            "_ZN99_$LT$rustls..conn..ConnectionCommon$LT$T$GT$$u20$as$u20$rustls..conn..connection..PlaintextSink$GT$5flush17h01e46ab4e1be0280E",
            "_ZN111_$LT$rustls..crypto..ring..tls13..Tls13MessageEncrypter$u20$as$u20$rustls..crypto..cipher..MessageEncrypter$GT$21encrypted_payload_len17h4c28b9571eff867aE",
            "_ZN108_$LT$rustls..crypto..cipher..InvalidMessageDecrypter$u20$as$u20$rustls..crypto..cipher..MessageDecrypter$GT$7decrypt17h9ca91a85c08e52aaE",
            "_ZN4core3ptr94drop_in_place$LT$alloc..boxed..Box$LT$dyn$u20$rustls..crypto..cipher..MessageDecrypter$GT$$GT$17h39695ec31cc44f93E",
        ] {
            assert_eq!(call(name), None, "{name}");
        }
    }

    #[test]
    fn a_program_without_it_has_none() {
        let elf = Elf::open(std::path::Path::new("/bin/sh"));
        assert!(elf.is_ok_and(|elf| functions(&elf).is_empty()));
    }
}
