//! How many file descriptors qtap may have. A probe takes one, a TLS library has some forty probes: the 1024 that a shell gives are two dozen libraries. So qtap takes as
//! many as it may have, and the command of `qtap exec` has as many as qtap was started with: programs that use `select(2)` can't do with descriptors beyond 1023. (What holds
//! qtap's probes after its end needs them all.)

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many as qtap may have. A refusal leaves it as it was: what can't be attached for want of them is told.
pub(super) fn raise() {
    let before = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum }).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// Gives a command that does nothing yet what qtap was started with.
pub(super) fn restore(child: Pid) {
    if let Some(before) = BEFORE.get()
        && let Err(error) = prlimit(Some(child), Resource::Nofile, *before)
    {
        tracing::warn!(%error, "the command has another limit of file descriptors than qtap was started with");
    }
}
