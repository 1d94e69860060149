//! Tries the probes: loads and attaches them for a moment with no process in scope, so that what this host allows is known and not guessed.
//!
//! In: nothing, the error of a failed start, or a running capture. Out: a [`Trial`]. Nothing is captured: the list of processes in scope is empty.

use std::error::Error;

use aya::maps::{Array, MapData, MapError};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfError};
use qtap_common::globals::{SCOPE_LISTED, Wanted};
use qtap_common::state::MAP_RING;

use super::{KernelError, Live, object, seccomp};
use crate::capture::host::{Returns, Trial, Tried};

/// Tries everything, with a ring of this size, up to the first refusal.
#[must_use]
pub fn attempt(ring_bytes: u32) -> Trial {
    if let Err(error) = Array::<MapData, u32>::create(1, 0) {
        return Trial { bpf: refused(&error), ..untried(ring_bytes) };
    }
    let wanted = Wanted { scope: SCOPE_LISTED, wake_above: ring_bytes, ..Wanted::default() };
    let loaded = object::load(wanted, ring_bytes, false);
    match loaded.and_then(|mut probes| attach(&mut probes.ebpf).map(|()| probes)) {
        Ok(mut probes) => {
            let (uprobes, returns) = seccomp::try_return_probe(&mut probes);
            Trial { uprobes, returns, ..attached(ring_bytes) }
        }
        Err(error) => Trial { bpf: Tried::Works, ..of_failure(&error, ring_bytes) },
    }
}

/// What a failed start has shown.
#[must_use]
pub fn of_failure(error: &KernelError, ring_bytes: u32) -> Trial {
    let untried = untried(ring_bytes);
    let layout = Trial { bpf: Tried::Works, layout: Tried::Works, ..untried.clone() };
    match error {
        KernelError::Btf(reason) => Trial { layout: refused(reason), ..untried },
        KernelError::Refused(EbpfError::MapError(MapError::CreateError { name, .. })) if name == MAP_RING => {
            Trial { ring: refused(error), ..layout }
        }
        KernelError::Refused(EbpfError::MapError(_)) => Trial { bpf: refused(error), ..untried },
        KernelError::Refused(_) | KernelError::Load { .. } => {
            Trial { ring: Tried::Works, probes: refused(error), ..layout }
        }
        KernelError::Attach { .. } | KernelError::Link { .. } => {
            Trial { ring: Tried::Works, probes: Tried::Works, tracepoints: refused(error), ..layout }
        }
        // These say nothing about the host.
        KernelError::Cpus(_)
        | KernelError::Object(_)
        | KernelError::Map(_)
        | KernelError::NoWayOut
        | KernelError::TooManyCgroups
        | KernelError::Thread(_)
        | KernelError::Runtimes(_)
        | KernelError::Recording(_) => untried,
    }
}

/// What a running capture has shown.
#[must_use]
pub fn of_running(live: &Live, ring_bytes: u32) -> Trial {
    let (uprobes, returns) = live.tried();
    Trial { uprobes, returns, ..attached(ring_bytes) }
}

fn untried(ring_bytes: u32) -> Trial {
    Trial { built: true, ring_bytes, ..Trial::default() }
}

fn attached(ring_bytes: u32) -> Trial {
    Trial {
        built: true,
        bpf: Tried::Works,
        layout: Tried::Works,
        ring: Tried::Works,
        ring_bytes,
        probes: Tried::Works,
        tracepoints: Tried::Works,
        uprobes: Tried::Not,
        returns: Returns::NotTried,
    }
}

/// Attaches the programs on tracepoints; they are detached when the object is dropped.
fn attach(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    for name in object::PROCESS_LIFE.into_iter().chain(object::SOCKETS) {
        let program: &mut RawTracePoint = object::program(ebpf, name)?;
        program.attach(name).map_err(|error| KernelError::Attach { name, error })?;
    }
    Ok(())
}

fn refused(error: &(dyn Error + 'static)) -> Tried {
    Tried::Refused(words(error))
}

/// An error in one line, though the verifier uses several: its message, and its root cause if the message does not contain that.
#[must_use]
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let (text, root) = (error.to_string(), root.to_string());
    let whole = if text.contains(&root) { text } else { format!("{text}: {root}") };
    whole.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::capture::btf::BtfError;

    fn no_room(name: &str) -> KernelError {
        let io_error = io::Error::from_raw_os_error(libc::ENOMEM);
        KernelError::Refused(EbpfError::MapError(MapError::CreateError { name: name.to_owned(), io_error }))
    }

    #[test]
    fn a_failure_tells_what_worked_before_it() {
        let ring = of_failure(&no_room(MAP_RING), 4096);
        assert_eq!((&ring.bpf, &ring.layout, &ring.probes), (&Tried::Works, &Tried::Works, &Tried::Not));
        assert!(matches!(&ring.ring, Tried::Refused(why) if why.contains("Cannot allocate memory")), "{ring:?}");
        let other = of_failure(&no_room("CONNS"), 4096);
        assert!(matches!((&other.bpf, &other.ring), (Tried::Refused(_), Tried::Not)), "{other:?}");
        let btf = of_failure(&KernelError::Btf(BtfError::Missing("sock.sk_type".to_owned())), 4096);
        assert!(matches!(&btf.layout, Tried::Refused(why) if why.contains("sock.sk_type")), "{btf:?}");
        let attach = KernelError::Attach { name: "sys_exit", error: aya::programs::ProgramError::NotLoaded };
        let attach = of_failure(&attach, 4096);
        assert!(matches!((&attach.probes, &attach.tracepoints), (Tried::Works, Tried::Refused(_))), "{attach:?}");
        assert_eq!(of_failure(&KernelError::TooManyCgroups, 4096), untried(4096));
    }

    #[test]
    fn a_refusal_is_one_line() {
        let said = io::Error::other("combined stack size of 5 calls is 704. Too large\nprocessed 9 insns\n\n");
        assert_eq!(words(&said), "combined stack size of 5 calls is 704. Too large; processed 9 insns");
    }
}
