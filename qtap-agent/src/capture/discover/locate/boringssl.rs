//! BoringSSL, which has no versions. Its errors carry a reason and the source file (`OPENSSL_PUT_ERROR`), and the reason numbers of `openssl/ssl.h` are stable.
//!
//! In: a file's code, and the addresses of its `ssl_lib.cc` strings. Out: functions, each with its start.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::only;
use super::text::{self, Text};
use crate::capture::discover::call::Call;
use crate::capture::sites::{Body, Reg};

/// Error reasons: `openssl/err.h`, `openssl/ssl.h`, `openssl/bio.h`.
mod reason {
    pub(super) const SHOULD_NOT_HAVE_BEEN_CALLED: u64 = 66;
    pub(super) const BAD_LENGTH: u64 = 111;
    pub(super) const CONNECTION_TYPE_NOT_SET: u64 = 134;
    pub(super) const NULL_SSL_CTX: u64 = 185;
    pub(super) const SSL_HANDSHAKE_FAILURE: u64 = 215;
    pub(super) const UNINITIALIZED: u64 = 226;
    pub(super) const APPLICATION_DATA_ON_SHUTDOWN: u64 = 291;
    pub(super) const BIO_UNINITIALIZED: u64 = 114;
    pub(super) const BIO_UNSUPPORTED_METHOD: u64 = 115;
}

/// Offset of the write function in `struct bio_method_st` (`openssl/bio.h`).
const BWRITE: u64 = 0x10;
/// Most functions that destroy a session: `SSL_new`, `SSL_free`, and those that the linker inlined `SSL_free` into.
const APART_MAX: usize = 8;
/// Most calls of one such function.
const APART_CALLS_MAX: usize = 64;
/// Number of calls it takes to destroy a session and free its memory, however memory is freed.
const APART_CALLS: RangeInclusive<usize> = 2..=6;
/// Most functions that `SSL_new` may call: five times as many as it does.
const CALLED_MAX: usize = 128;
/// Index of the file argument of `ERR_put_error`, when all arguments are there.
const FILE: u8 = 3;
/// Called by code that finds its stack overwritten (`-fstack-protector`).
const GUARD: &str = "__stack_chk_fail";
/// Most handshake functions: `SSL_do_handshake`, and `SSL_connect` and `SSL_accept` where the compiler inlined it into them.
const HANDSHAKES_MAX: usize = 3;

/// A function that refers to the library's source file.
struct Told {
    start: u64,
    body: Body,
    /// The reasons of the errors that it raises.
    reasons: BTreeSet<u64>,
    /// All numbers that it puts where reasons go.
    numbers: BTreeSet<u64>,
}

pub(super) fn locate(text: &Text<'_>, sources: &BTreeSet<u64>) -> Option<Vec<(Call, u64)>> {
    let told = told(text, sources);
    let mut found = Vec::new();

    let writes =
        [reason::SHOULD_NOT_HAVE_BEEN_CALLED, reason::BAD_LENGTH, reason::SSL_HANDSHAKE_FAILURE, reason::UNINITIALIZED];
    found.push((Call::Write, only(told.iter().filter(|one| one.gives(&writes)))?.start));
    found.push((Call::Read, read(&told)?.start));

    let handshakes = told.iter().filter(|one| one.gives_only(&[reason::CONNECTION_TYPE_NOT_SET]));
    let handshakes: Vec<(Call, u64)> = handshakes.map(|one| (Call::DoHandshake, one.start)).collect();
    if handshakes.len() > HANDSHAKES_MAX {
        return None;
    }
    found.extend(handshakes);
    let shutdown = [reason::UNINITIALIZED, reason::APPLICATION_DATA_ON_SHUTDOWN];
    found.extend(only(told.iter().filter(|one| one.gives_only(&shutdown))).map(|one| (Call::Shutdown, one.start)));

    let new = only(told.iter().filter(|one| one.gives(&[reason::NULL_SSL_CTX])))?;
    found.push((Call::Free, free(text, new)?));
    found.extend(bio_write(text).into_iter().map(|start| (Call::BioWrite, start)));
    Some(found)
}

/// `SSL_read` raises an error on QUIC, calls another function to read a record, and takes the returned data out of the session. `SSL_peek` does all but the last.
fn read(told: &[Told]) -> Option<&Told> {
    let inner = [reason::SSL_HANDSHAKE_FAILURE, reason::UNINITIALIZED];
    let reads_records = |one: &&Told| one.gives(&inner) && !one.gives(&[reason::BAD_LENGTH]);
    let records = only(told.iter().filter(reads_records))?.start;
    only(told.iter().filter(|one| {
        one.gives_only(&[reason::SHOULD_NOT_HAVE_BEEN_CALLED]) && one.body.goes_to.contains(&records) && one.body.stores
    }))
}

/// `SSL_free` destroys a session and frees its memory. Apart from it only `SSL_new` destroys one, when it fails (itself, or through a function that reads
/// the owning pointer), and any function that `SSL_free` was inlined into. If there are such, the function they all call is taken: it ends a session for each.
fn free(text: &Text<'_>, new: &Told) -> Option<u64> {
    let called: BTreeSet<u64> = new.body.goes_to.iter().copied().collect();
    if called.len() > CALLED_MAX {
        return None;
    }
    let mut found = BTreeSet::new();
    for (apart, callers) in text.going_to(&called, APART_CALLS_MAX) {
        if callers.len() > APART_MAX || !callers.contains(&new.start) {
            continue;
        }
        let others: Vec<u64> = callers.into_iter().filter(|caller| *caller != new.start).collect();
        let is_free = |caller: &&u64| text.body(**caller).is_some_and(|body| takes_apart(&body, apart, &called));
        let (frees, rest): (Vec<u64>, Vec<u64>) = others.iter().partition(is_free);
        let put_into_others = rest.iter().any(|caller| !called.contains(caller));
        found.extend(frees.into_iter().map(|free| if put_into_others { apart } else { free }));
    }
    // More than one match counts as none.
    let one = found.pop_first()?;
    found.is_empty().then_some(one)
}

/// True when it only destroys its argument and frees its memory: with functions that `SSL_new` also calls, and which may read what stands before the memory.
fn takes_apart(body: &Body, apart: u64, called: &BTreeSet<u64>) -> bool {
    body.goes_to.split_first().is_some_and(|(first, back)| *first == apart && !back.contains(&apart))
        && APART_CALLS.contains(&body.goes_to.len())
        && body.goes_to.iter().all(|to| called.contains(to))
        && !body.stores
        && body.members.iter().all(|member| member.cast_signed() < 0)
}

fn bio_write(text: &Text<'_>) -> Vec<u64> {
    let sources: BTreeSet<u64> = text::ending(text.elf(), b"/bio/bio.c").into_keys().collect();
    let guards = text.elf().stubs(&[GUARD]).unwrap_or_default().into_iter().map(|stub| stub.vaddr).collect();
    told(text, &sources).into_iter().filter(|one| writes_to_bio(one, &guards)).map(|one| one.start).collect()
}

/// `BIO_write` and `BIO_write_ex` raise two errors and call the method's write function, and nothing else; they take a size, and pass on the memory.
fn writes_to_bio(one: &Told, guards: &BTreeSet<u64>) -> bool {
    let body = &one.body;
    let called: BTreeSet<_> = body.goes_to.iter().filter(|to| !guards.contains(to)).collect();
    one.gives_only(&[reason::BIO_UNINITIALIZED, reason::BIO_UNSUPPORTED_METHOD])
        && one.numbers == one.reasons
        // The method's member: a `BIO` has one of its own at that offset, which `BIO_read` and `BIO_gets` read too.
        && body.beyond.contains(&BWRITE)
        && [Reg::Rdi, Reg::Rdx].iter().all(|argument| body.takes.contains(argument))
        && called.len() == 1
}

fn told(text: &Text<'_>, sources: &BTreeSet<u64>) -> Vec<Told> {
    text.referring(sources).into_iter().map(|(start, body)| Told::of(start, body, sources)).collect()
}

impl Told {
    /// The reason is the argument of `ERR_put_error` before the file: the third, or the second where the linker removed an unused one. If each one is set
    /// together with the file, the reasons are certain; else the compiler merged the code of several errors, and any number put there may be a reason.
    fn of(start: u64, body: Body, sources: &BTreeSet<u64>) -> Told {
        let beside: Vec<(u8, Option<u64>)> = body.before(sources).collect();
        let place = Reg::of_argument(beside.first().map_or(FILE, |(index, _)| *index) - 1);
        let numbers: BTreeSet<u64> = place.into_iter().flat_map(|place| body.numbers_in(place)).collect();
        let certain: Option<BTreeSet<u64>> = beside.into_iter().map(|(_, reason)| reason).collect();
        let reasons = certain.filter(|reasons| !reasons.is_empty()).unwrap_or_else(|| numbers.clone());
        Told { start, body, reasons, numbers }
    }

    fn gives(&self, wanted: &[u64]) -> bool {
        wanted.iter().all(|reason| self.reasons.contains(reason))
    }

    fn gives_only(&self, wanted: &[u64]) -> bool {
        self.reasons == wanted.iter().copied().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `call` of an address, in code that begins at 0; the instruction is at `at`.
    fn call(at: usize, to: u32) -> Vec<u8> {
        [&[0xe8][..], &(to - at as u32 - 5).to_le_bytes()].concat()
    }

    #[test]
    fn reasons_stand_before_the_file_in_whichever_argument_that_is() {
        let sources = BTreeSet::from([0x31_c8e7]);
        let told = |code: &[u8]| Told::of(0, Body::of(code, 0).unwrap(), &sources);
        // mov edx,0x31c8e7; mov edi,0x10; mov esi,0x42; mov ecx,0x3b9; call; mov esi,0x32: another function's number.
        let linked = [0xba, 0xe7, 0xc8, 0x31, 0, 0xbf, 0x10, 0, 0, 0, 0xbe, 0x42, 0, 0, 0, 0xb9, 0xb9, 0x03, 0, 0];
        let linked = [&linked[..], &call(20, 0x1000), &[0xbe, 0x32, 0, 0, 0]].concat();
        assert!(told(&linked).gives_only(&[0x42]));
        assert_eq!(told(&linked).numbers, BTreeSet::from([0x32, 0x42]));
        // mov ecx,0x31c8e7; xor esi,esi; mov edx,0xe2; call
        let plain = [0xb9, 0xe7, 0xc8, 0x31, 0, 0x31, 0xf6, 0xba, 0xe2, 0, 0, 0];
        assert!(told(&[&plain[..], &call(12, 0x1000)].concat()).gives_only(&[0xe2]));
        // mov edx,0x42; jmp to mov ecx,0x31c8e7; mov edx,0xe2; mov ecx,0x31c8e7; call: both, since it is not known which applies.
        let shared = [0xba, 0x42, 0, 0, 0, 0xeb, 0x05, 0xba, 0xe2, 0, 0, 0, 0xb9, 0xe7, 0xc8, 0x31, 0];
        assert!(told(&[&shared[..], &call(17, 0x1000)].concat()).gives_only(&[0x42, 0xe2]));
    }

    #[test]
    fn what_writes_to_a_bio_and_what_reads_from_one() {
        const FILE: [u8; 5] = [0xba, 0xfb, 0xc1, 0x31, 0];
        let sources = BTreeSet::from([0x31_c1fb]);
        let fits =
            |code: &[u8]| writes_to_bio(&Told::of(0, Body::of(code, 0).unwrap(), &sources), &BTreeSet::from([0x9000]));
        let with_method = |member: u8, more: &[u8]| {
            // mov rbx,rdi; mov rax,[rdi]; mov rax,[rax+member]; cmp dword [rdi+0x10],0; test edx,edx; call rax; add [rbx+0x40],rax
            let works = [0x48, 0x89, 0xfb, 0x48, 0x8b, 0x07, 0x48, 0x8b, 0x40, member, 0x83, 0x7f, 0x10, 0];
            let works = [&works[..], &[0x85, 0xd2, 0xff, 0xd0, 0x48, 0x01, 0x43, 0x40]].concat();
            let (of_method, of_state) = ([0xbe, 0x73, 0, 0, 0], [0xbe, 0x72, 0, 0, 0]);
            let complains = [&FILE[..], &of_method, &call(32, 0x1000), &FILE, &of_state, &call(47, 0x1000)].concat();
            [&works[..], &complains, more].concat()
        };
        assert!(fits(&with_method(0x10, &[])));
        assert!(!fits(&with_method(0x18, &[])), "BIO_read");
        assert!(!fits(&with_method(0x10, &call(52, 0x2000))), "it does more");
        assert!(fits(&with_method(0x10, &call(52, 0x9000))), "it guards its stack");
        // mov esi,1
        assert!(
            !fits(&with_method(0x10, &[0xbe, 1, 0, 0, 0])),
            "it complains of more, or hands on what it was not given"
        );
    }

    #[test]
    fn what_takes_a_session_apart_and_gives_it_back() {
        let called = BTreeSet::from([0x1000, 0x2000, 0x3000]);
        let fits = |code: &[u8]| takes_apart(&Body::of(code, 0).unwrap(), 0x1000, &called);
        let plain = [call(0, 0x1000), call(5, 0x2000)].concat();
        assert!(fits(&plain));
        // mov rdx,[rbx-8]: the size, which is stored before the memory to be freed.
        let inside = [&plain[..], &[0x48, 0x8b, 0x53, 0xf8], &call(14, 0x3000), &call(19, 0x2000)].concat();
        assert!(fits(&inside));
        assert!(!fits(&plain[..5]), "it gives nothing back");
        assert!(!fits(&[call(0, 0x2000), call(5, 0x1000)].concat()), "apart comes first");
        assert!(!fits(&[&plain[..], &call(10, 0x1000)].concat()), "once");
        assert!(!fits(&[&plain[..], &call(10, 0x4000)].concat()), "SSL_new does not go there");
        assert!(!fits(&[&plain[..], &[0x48, 0x8b, 0x53, 0x08]].concat()), "it looks into the session");
        assert!(!fits(&[&plain[..], &[0x48, 0x89, 0x13]].concat()), "it writes");
    }
}
