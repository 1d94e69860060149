//! Finds the functions of rustls in a stripped program: through the vtables by which its connections call the functions that encrypt and decrypt.
//!
//! In: a file. Out: the functions of both traits, or none. As rustc lays it out, a vtable holds the drop function, the object's size, its alignment,
//! and the trait's methods in order. An encrypter has a second method, which returns the length of a record, and what that adds is a constant of the protocol. A
//! decrypter's vtable is close by, and its method compares the plaintext with the largest that the protocol allows in a record. A match proves nothing yet: a
//! probe trusts the arguments it sees only as far as the same ciphertext passed the socket.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic, Register};

use super::text::Text;
use crate::capture::discover::call::{Call, Family};
use crate::capture::discover::elf::{Elf, Placed, Symbol};
use crate::capture::sites::{Machine, Reg};

/// The section where compilers put constants that need relocation.
const TABLES: &str = ".data.rel.ro";
/// Largest section of tables read, in bytes: Deno's has 3 MiB.
const MAX_TABLES: u64 = 64 << 20;
/// Length of a word in bytes, and of what comes before the methods.
const WORD: u64 = 8;
const METHODS: u64 = 3 * WORD;
/// Bytes that encryption adds: a tag for ChaCha20-Poly1305 (RFC 7905 §2); the content type and a tag (RFC 8446 §5.2); a nonce and a tag for AES-GCM (RFC 5288 §3).
const ADDED: [u64; 3] = [16, 17, 24];
/// Largest plaintext of a record in bytes (RFC 5246 §6.2.1), and with its content type (RFC 8446 §5.2).
const MOST: [u64; 2] = [1 << 14, (1 << 14) + 1];
/// Largest object in bytes: it holds a key schedule.
const OBJECT_MAX: u64 = 16 << 10;
/// Largest function that only adds two numbers, in bytes.
const ADDING_MAX: u64 = 64;
/// Largest distance from a decrypter's vtable to an encrypter's, in bytes: six or eight such tables are together, with the data of their panic messages.
const NEAR: u64 = 512;
/// Most functions of a kind, each with one or two probes. There are three or four.
const FUNCTIONS_MAX: usize = 16;

/// The functions that encrypt and decrypt; none unless both kinds are found.
pub(in super::super) fn functions(elf: &Elf) -> Vec<(Call, Symbol)> {
    if elf.machine() != Machine::X86_64 {
        return Vec::new();
    }
    let found = Tables::of(elf).map(|tables| tables.functions()).unwrap_or_default();
    let has = |wanted: Call| found.iter().any(|(call, _)| *call == wanted);
    if Family::Rustls.needs().into_iter().all(has) { found } else { Vec::new() }
}

/// A file's vtables.
struct Tables<'a> {
    text: Text<'a>,
    /// The section that holds them.
    section: Placed,
    /// Its words, as they are once the file is loaded.
    words: Vec<u64>,
}

impl<'a> Tables<'a> {
    fn of(elf: &'a Elf) -> Option<Tables<'a>> {
        let section = elf.placed().into_iter().find(|section| section.name == TABLES)?;
        let text = Text::of(elf)?;
        let words = elf.words(&section, &elf.relocations(), MAX_TABLES);
        Some(Tables { text, section, words })
    }

    fn functions(&self) -> Vec<(Call, Symbol)> {
        let encrypters: BTreeSet<u64> = self.all().filter(|table| self.encrypts(*table)).take(FUNCTIONS_MAX).collect();
        let is_near = |table: &u64| encrypters.range(table.saturating_sub(NEAR)..=table + NEAR).next().is_some();
        let others = self.all().filter(|table| is_near(table) && !encrypters.contains(table));
        let decrypters: Vec<u64> = others.filter(|table| self.decrypts(*table)).take(FUNCTIONS_MAX).collect();
        let named = |tables: Vec<u64>, call: Call| {
            let methods: BTreeSet<u64> = tables.into_iter().filter_map(|table| self.method(table, 0)).collect();
            methods.into_iter().filter_map(move |start| Some((call, self.text.symbol(call, start)?)))
        };
        let encrypt = named(encrypters.iter().copied().collect(), Call::RustlsEncrypt);
        encrypt.chain(named(decrypters, Call::RustlsDecrypt)).collect()
    }

    /// Places of possible vtables whose object could be a key.
    fn all(&self) -> impl Iterator<Item = u64> + '_ {
        let places = (0..self.words.len() as u64).map(|index| self.section.vaddr + index * WORD);
        places.filter(|table| {
            let (size, alignment) = (self.word(table + WORD), self.word(table + 2 * WORD));
            let is_object = |size: u64, alignment: u64| {
                matches!(alignment, 8 | 16 | 32 | 64)
                    && (1..=OBJECT_MAX).contains(&size)
                    && size.is_multiple_of(alignment)
            };
            size.zip(alignment).is_some_and(|(size, alignment)| is_object(size, alignment))
        })
    }

    fn word(&self, place: u64) -> Option<u64> {
        let within = place.checked_sub(self.section.vaddr)?;
        self.words.get(usize::try_from(within / WORD).ok()?).copied()
    }

    /// Start of one of a vtable's methods.
    fn method(&self, table: u64, index: u64) -> Option<u64> {
        self.word(table + METHODS + index * WORD).filter(|start| *start != 0)
    }

    fn encrypts(&self, table: u64) -> bool {
        let added = self.method(table, 1).and_then(|start| self.added(start));
        added.is_some_and(|added| ADDED.contains(&added))
            && self.method(table, 0).is_some_and(|start| self.is_of_record(start))
    }

    fn decrypts(&self, table: u64) -> bool {
        let bounds =
            |start: u64| self.text.body(start).is_some_and(|body| MOST.iter().any(|most| body.compared.contains(most)));
        let Some(start) = self.method(table, 0).filter(|start| self.is_of_record(*start)) else { return false };
        bounds(start) || self.text.body(start).is_some_and(|body| body.goes_to.iter().any(|next| bounds(*next)))
    }

    /// True when it takes a message: the argument after the place of the result and the object.
    fn is_of_record(&self, start: u64) -> bool {
        let message = Reg::of_argument(2);
        message.is_some_and(|message| self.text.body(start).is_some_and(|body| body.takes.contains(&message)))
    }

    /// The constant that the function adds to the argument after its object, if it does nothing else.
    fn added(&self, start: u64) -> Option<u64> {
        let symbol =
            self.text.symbol(Call::RustlsEncrypt, start).filter(|symbol| (1..=ADDING_MAX).contains(&symbol.size))?;
        sum(&self.text.elf().code(&symbol).ok()?)
    }
}

/// The constant that a function's code adds to its second argument, if that is all it does. Code that handles an overflow follows after its end.
fn sum(code: &[u8]) -> Option<u64> {
    let mut sums = BTreeMap::from([(Register::RSI, 0_u64)]);
    for decoded in &mut Decoder::new(64, code, DecoderOptions::NONE) {
        let to = decoded.op0_register();
        let sum = match decoded.mnemonic() {
            Mnemonic::Endbr64 | Mnemonic::Nop | Mnemonic::Push | Mnemonic::Pop | Mnemonic::Cmp => continue,
            _ if decoded.flow_control() == FlowControl::ConditionalBranch => continue,
            Mnemonic::Ret => return sums.get(&Register::RAX).copied(),
            Mnemonic::Mov => sums.get(&decoded.op1_register()).copied(),
            Mnemonic::Inc => sums.get(&to).map(|sum| sum.wrapping_add(1)),
            Mnemonic::Add => sums.get(&to).zip(decoded.try_immediate(1).ok()).map(|(sum, more)| sum.wrapping_add(more)),
            Mnemonic::Lea if decoded.memory_index() == Register::None => {
                sums.get(&decoded.memory_base()).map(|sum| sum.wrapping_add(decoded.memory_displacement64()))
            }
            _ => return None,
        };
        sums.remove(&to);
        sums.extend(sum.map(|sum| (to, sum)));
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use std::iter;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::capture::discover::rustls as named;

    /// Checks this program, and the files in `QTAP_TEST_TLS_FILES` (separated by colons).
    #[test]
    fn what_is_found_is_what_the_names_say() {
        let more = std::env::var("QTAP_TEST_TLS_FILES").unwrap_or_default();
        let more = more.split(':').filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut wrong = Vec::new();
        for path in iter::once(std::env::current_exe().unwrap()).chain(more) {
            let elf = Elf::open(&path).unwrap();
            let places = |functions: Vec<(Call, Symbol)>| -> BTreeSet<_> {
                let of_records = functions.into_iter().filter(|(call, _)| Family::Rustls.needs().contains(call));
                of_records.map(|(call, symbol)| (call.symbol(), symbol.vaddr)).collect()
            };
            let (named, found) = (places(named::functions(&elf)), places(functions(&elf)));
            println!("{}: {found:x?}", path.display());
            if found.is_empty() || !(named.is_empty() || found == named) {
                wrong.push((path, named));
            }
        }
        assert!(wrong.is_empty(), "{wrong:x?}");
    }

    #[test]
    fn a_program_without_it_has_none() {
        for path in ["/bin/sh", "/usr/bin/openssl"] {
            assert!(Elf::open(Path::new(path)).is_ok_and(|elf| functions(&elf).is_empty()), "{path}");
        }
    }

    #[test]
    fn a_sum_is_known() {
        // lea rax, [rsi + 17]; ret. The same with a frame, and with another addition; below, code that does more, or does not return.
        assert_eq!(sum(&[0x48, 0x8d, 0x46, 0x11, 0xc3]), Some(17));
        assert_eq!(sum(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x46, 0x18, 0x5d, 0xc3]), Some(24));
        assert_eq!(sum(&[0x48, 0x89, 0xf0, 0x48, 0x83, 0xc0, 0x10, 0xc3]), Some(16));
        // push rax; cmp rsi, -1; je; cmp rsi, -17; jae; add rsi, 17; mov rax, rsi; pop rcx; ret: with an overflow check.
        let checked = [
            0x50, 0x48, 0x83, 0xfe, 0xff, 0x74, 0x0f, 0x48, 0x83, 0xfe, 0xef, 0x73, 0x09, 0x48, 0x83, 0xc6, 0x11, 0x48,
            0x89, 0xf0, 0x59, 0xc3,
        ];
        assert_eq!(sum(&checked), Some(17));
        assert_eq!(sum(&[0x48, 0x8d, 0x04, 0x3e, 0xc3]), None, "of two registers");
        assert_eq!(sum(&[0x48, 0x8d, 0x47, 0x11, 0xc3]), None, "to the first argument");
        assert_eq!(sum(&[0x48, 0x8d, 0x46, 0x11, 0xe9, 0, 0, 0, 0]), None);
        assert_eq!(sum(&[0x48, 0x8d, 0x46, 0x11]), None);
    }
}
