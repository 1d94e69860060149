//! BoringSSL, which has no versions: its errors carry a reason and the source file (`OPENSSL_PUT_ERROR`), and the reasons of `openssl/ssl.h` keep their numbers.
//!
//! In: a file's code, and where it names `ssl_lib.cc`. Out: functions, each with where it begins.

use std::collections::BTreeSet;

use super::text::{self, Text};
use super::{Told, only};
use crate::capture::discover::call::Call;
use crate::capture::sites::{Body, Reg};

/// Reasons: `openssl/err.h`, `openssl/ssl.h`, `openssl/bio.h`.
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

/// Where `struct bio_method_st` (`openssl/bio.h`) has the function that writes.
const BWRITE: u64 = 0x10;
/// Functions that take a session apart.
const APART_MAX: usize = 3;
/// Most functions that `SSL_new` goes to: five times what it does.
const CALLED_MAX: usize = 128;
/// Functions that shake hands: `SSL_do_handshake`, and `SSL_connect` and `SSL_accept` where the compiler put it into them.
const HANDSHAKES_MAX: usize = 3;

pub(super) fn locate(text: &Text<'_>, sources: &BTreeSet<u64>) -> Option<Vec<(Call, u64)>> {
    let told: Vec<Told> = text.referring(sources).into_iter().map(|(start, body)| Told { start, body }).collect();
    let mut found = Vec::new();

    let writes =
        [reason::SHOULD_NOT_HAVE_BEEN_CALLED, reason::BAD_LENGTH, reason::SSL_HANDSHAKE_FAILURE, reason::UNINITIALIZED];
    found.push((Call::Write, only(told.iter().filter(|one| gives(&one.body, &writes)))?.start));
    found.push((Call::Read, read(&told)?.start));

    let handshakes = told.iter().filter(|one| gives_only(&one.body, &[reason::CONNECTION_TYPE_NOT_SET]));
    let handshakes: Vec<(Call, u64)> = handshakes.map(|one| (Call::DoHandshake, one.start)).collect();
    if handshakes.len() > HANDSHAKES_MAX {
        return None;
    }
    found.extend(handshakes);
    let shutdown = [reason::UNINITIALIZED, reason::APPLICATION_DATA_ON_SHUTDOWN];
    found.extend(
        only(told.iter().filter(|one| gives_only(&one.body, &shutdown))).map(|one| (Call::Shutdown, one.start)),
    );

    let new = only(told.iter().filter(|one| gives(&one.body, &[reason::NULL_SSL_CTX])))?;
    found.push((Call::Free, free(text, new)?));
    found.extend(bio_write(text).into_iter().map(|start| (Call::BioWrite, start)));
    Some(found)
}

/// `SSL_read` complains when it is called on QUIC, lets another function read a record, and takes from the session what it gives. `SSL_peek` does the same but for the last.
fn read(told: &[Told]) -> Option<&Told> {
    let inner = [reason::SSL_HANDSHAKE_FAILURE, reason::UNINITIALIZED];
    let reads_records = |one: &&Told| gives(&one.body, &inner) && !gives(&one.body, &[reason::BAD_LENGTH]);
    let records = only(told.iter().filter(reads_records))?.start;
    only(told.iter().filter(|one| {
        gives_only(&one.body, &[reason::SHOULD_NOT_HAVE_BEEN_CALLED])
            && one.body.goes_to.contains(&records)
            && one.body.stores
    }))
}

/// `SSL_free` takes a session apart and gives its memory back: two calls, with what it was given. Nobody takes one apart but it and `SSL_new`, which does when it fails, by itself or by
/// a function that looks into what holds the session.
fn free(text: &Text<'_>, new: &Told) -> Option<u64> {
    let called: BTreeSet<u64> = new.body.goes_to.iter().copied().collect();
    if called.len() > CALLED_MAX {
        return None;
    }
    let mut found = BTreeSet::new();
    for callers in text
        .going_to(&called)
        .into_values()
        .filter(|callers| callers.len() <= APART_MAX && callers.contains(&new.start))
    {
        let others = callers.into_iter().filter(|caller| *caller != new.start);
        found.extend(others.filter(|caller| text.body(*caller).is_some_and(|body| takes_apart(&body, &called))));
    }
    // More than one is none.
    let one = found.pop_first()?;
    found.is_empty().then_some(one)
}

fn takes_apart(body: &Body, called: &BTreeSet<u64>) -> bool {
    matches!(body.goes_to[..], [apart, back] if apart != back && called.contains(&apart) && called.contains(&back))
        && !body.stores
        && body.members.is_empty()
}

/// `BIO_write`, and `BIO_write_ex`, complain of two things and call the method's function for it, and nothing besides; they take a size, and hand on the memory.
fn bio_write(text: &Text<'_>) -> Vec<u64> {
    let sources: BTreeSet<u64> = text::ending(text.elf(), b"/bio/bio.c").into_keys().collect();
    let complaints = [reason::BIO_UNINITIALIZED, reason::BIO_UNSUPPORTED_METHOD];
    let fits = |body: &Body| {
        let called: BTreeSet<u64> = body.goes_to.iter().copied().collect();
        gives_only(body, &complaints)
            && body.members.contains(&BWRITE)
            && [Reg::Rdi, Reg::Rdx].iter().all(|argument| body.takes.contains(argument))
            && called.len() == 1
    };
    text.referring(&sources).into_iter().filter(|(_, body)| fits(body)).map(|(start, _)| start).collect()
}

/// The reason is the third argument of `ERR_put_error`.
fn reasons(body: &Body) -> BTreeSet<u64> {
    body.numbers_in(Reg::Rdx).collect()
}

fn gives(body: &Body, wanted: &[u64]) -> bool {
    let reasons = reasons(body);
    wanted.iter().all(|reason| reasons.contains(reason))
}

fn gives_only(body: &Body, wanted: &[u64]) -> bool {
    reasons(body) == wanted.iter().copied().collect()
}
