//! The limit of file descriptors. Each probe takes one, and a TLS library has some forty probes: the 1024 that a shell allows are two dozen
//! libraries. So qtap raises its limit to the maximum, and the command of `qtap exec` gets the limit that qtap was started with: programs
//! that use `select(2)` cannot handle descriptors beyond 1023. (The process that holds qtap's probes after its end needs them all.)

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit to the maximum. If refused, it stays as it was: probes that cannot be attached for lack of descriptors are reported.
pub(super) fn raise() {
    let before = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum }).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// Gives a command that has not started yet the limit that qtap was started with.
pub(super) fn restore(child: Pid) {
    if let Some(before) = BEFORE.get()
        && let Err(error) = prlimit(Some(child), Resource::Nofile, *before)
    {
        tracing::warn!(%error, "the command has another limit of file descriptors than qtap was started with");
    }
}
