//! OpenSSL 1.1.1, and 3.0 on: errors name the function they come from, by number (`openssl/sslerr.h` of 1.1.1) or by name (`ERR_raise`).
//!
//! In: a file's code, and the addresses of its `ssl_lib.c` strings. Out: functions, each with its start. On the read and write paths only the internal
//! functions raise errors, which `SSL_read` and `SSL_read_ex` both call: these are taken, and those that the compiler inlined them into.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{self, Text};
use crate::capture::discover::call::{Call, Family};
use crate::capture::discover::elf::Elf;
use crate::capture::discover::version;
use crate::capture::sites::{Body, Reg};

/// Most bytes of the constants that are searched for the version.
const MAX_CONSTANTS: u64 = 128 << 20;

/// A function as its errors name it: by number up to 1.1.1, by name from 3.0 on.
struct Named(u64, &'static str);

const HANDSHAKE: Named = Named(180, "SSL_do_handshake");
const SHUTDOWN: Named = Named(224, "SSL_shutdown");
const SET_FD: Named = Named(192, "SSL_set_fd");
const READ: Named = Named(223, "SSL_read");
const WRITE: Named = Named(208, "SSL_write");
/// The internal functions behind those two, and behind `SSL_read_ex` and `SSL_write_ex`.
const READING: Named = Named(523, "ssl_read_internal");
const WRITING: Named = Named(524, "ssl_write_internal");
/// Creates a session, and ends it if that fails; since 3.2 the second one does this.
const NEW: Named = Named(186, "SSL_new");
const NEW_CONNECTION: Named = Named(0, "ossl_ssl_connection_new_int");
/// The internal function behind `BIO_write`.
const BIO_WRITING: Named = Named(128, "bio_write_intern");

const OF_SESSIONS: [&Named; 9] =
    [&HANDSHAKE, &SHUTDOWN, &SET_FD, &READ, &WRITE, &READING, &WRITING, &NEW, &NEW_CONNECTION];

/// The functions that raise errors, by the name in which they do.
type Complaints = BTreeMap<&'static str, BTreeMap<u64, Body>>;

/// The version, if the file names it.
pub(super) fn version(elf: &Elf) -> Option<String> {
    let constants = elf.section(".rodata", MAX_CONSTANTS).ok().flatten()?;
    version::in_text(Family::OpenSsl, &constants).filter(|version| version.starts_with("OpenSSL "))
}

/// The functions.
pub(super) fn locate(text: &Text<'_>, sources: &BTreeSet<u64>) -> Option<Vec<(Call, u64)>> {
    let of_file = text.referring(sources);
    let mut complaints = by_name(text);
    if complaints.values().all(BTreeMap::is_empty) {
        complaints = by_number(text, &of_file);
    }
    let none = BTreeMap::new();
    let of = |named: &Named| complaints.get(named.1).unwrap_or(&none);
    let mut found = Vec::new();
    for (call, named) in [(Call::DoHandshake, &HANDSHAKE), (Call::Shutdown, &SHUTDOWN), (Call::SetFd, &SET_FD)] {
        if let [start] = of(named).keys().collect::<Vec<_>>()[..] {
            found.push((call, *start));
        }
    }
    // The plain function, when it raises errors in that name too; else the internal one, or another that it was inlined into: these take the same arguments.
    found.extend(
        of(&READING)
            .keys()
            .map(|start| (if of(&READ).contains_key(start) { Call::Read } else { Call::ReadEx }, *start)),
    );
    found.extend(of(&WRITING).iter().map(|(start, body)| {
        let plain = of(&WRITE).contains_key(start);
        // Since 3.3 a flags argument comes before the place for the result.
        let with_flags = if body.takes.contains(&Reg::R8) { Call::WriteEx2 } else { Call::WriteEx };
        (if plain { Call::Write } else { with_flags }, *start)
    }));
    let new = of(&NEW_CONNECTION).values().chain(of(&NEW).values()).next()?;
    found.push((Call::Free, free(&of_file, new)?));
    found.extend(of(&BIO_WRITING).keys().map(|start| (Call::BioWrite, *start)));
    Some(found)
}

/// The functions that refer to a name.
fn by_name(text: &Text<'_>) -> Complaints {
    let names: Vec<&'static str> = OF_SESSIONS.iter().chain([&&BIO_WRITING]).map(|named| named.1).collect();
    let standing = text::standing(text.elf(), &names);
    let told = text.referring(&standing.iter().flatten().copied().collect());
    let refers = |places: &BTreeSet<u64>| {
        let of = told.iter().filter(|(_, body)| places.iter().any(|place| body.refers_to(*place)));
        of.map(|(start, body)| (*start, body.clone())).collect()
    };
    names.into_iter().zip(standing.iter().map(refers)).collect()
}

/// The functions that have the number as the second argument of `ERR_put_error`, in the source file to which the numbers belong.
fn by_number(text: &Text<'_>, of_file: &BTreeMap<u64, Body>) -> Complaints {
    let of_bio = text.referring(&text::ending(text.elf(), b"/bio_lib.c").into_keys().collect());
    let giving = |among: &BTreeMap<u64, Body>, named: &Named| {
        let of = among.iter().filter(|(_, body)| body.numbers_in(Reg::Rsi).any(|number| number == named.0));
        (named.1, of.map(|(start, body)| (*start, body.clone())).collect())
    };
    let mut complaints: Complaints = OF_SESSIONS.iter().map(|named| giving(of_file, named)).collect();
    complaints.extend([giving(&of_bio, &BIO_WRITING)]);
    complaints
}

/// `SSL_free` decrements the reference count, and names its source file when it frees memory (`OPENSSL_free`). Of what `SSL_new` calls, only it does.
fn free(of_file: &BTreeMap<u64, Body>, new: &Body) -> Option<u64> {
    let called: BTreeSet<u64> = new.goes_to.iter().copied().collect();
    let mut fits: BTreeSet<u64> =
        called.into_iter().filter(|start| of_file.get(start).is_some_and(|body| body.locks)).collect();
    // More than one match counts as none.
    fits.pop_first().filter(|_| fits.is_empty())
}
