//! Java's own TLS, JSSE: an agent inside the JVM says what its sessions move. Only where it was asked for.
//!
//! In: a process that has a HotSpot JVM. Out: its messages' mark, for the probes, and how loading the agent went. What was put into the process goes when
//! [`Loaded`] is dropped, or qtap ends in any other way: its end of a pipe is closed then.

pub mod attach;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use self::attach::{AttachError, Target, is_read};

/// The agent, compiled from `qtap-agent/java/` (`cargo xtask java`).
const ARCHIVE: &[u8] = include_bytes!("../../../java/agent.jar");

/// How long a JVM that starts may refuse.
const STARTING: Duration = Duration::from_secs(10);
/// Wait before it is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What makes the messages of one JVM known: nobody else has it.
pub type Mark = [u8; 16];

/// An agent in a JVM, for as long as this lives.
#[derive(Debug)]
pub struct Loaded {
    _life: OwnedFd,
}

/// Loads the agent into process `pid`. Takes as long as the JVM takes: up to two minutes. Wants a thread of its own, which becomes the JVM's user.
///
/// # Errors
/// When it can't be loaded; says why in words for users.
pub fn load(pid: u32, mark: Mark) -> Result<Loaded, AttachError> {
    let target = Target::wait_for(pid)?;
    let name = fastrand::u64(..);
    let (archive, pipe) = (format!(".qtap-{name:016x}.jar"), format!(".qtap-{name:016x}.pipe"));
    let loaded = load_from(&target, &archive, &pipe, mark);
    // The JVM has opened them by now.
    target.remove(&archive);
    target.remove(&pipe);
    loaded
}

fn load_from(target: &Target, archive: &str, pipe: &str, mark: Mark) -> Result<Loaded, AttachError> {
    target.file(archive)?.write_all(ARCHIVE).map_err(|error| AttachError::Io("its /tmp", error))?;
    let life = target.pipe(pipe)?;
    let (mark, version) = (hex(&mark), hex(&Sha256::digest(ARCHIVE)));
    let (archive, options) = (format!("/tmp/{archive}"), format!("/tmp/{archive},/tmp/{pipe},{mark},{version}"));
    let begun = Instant::now();
    loop {
        let loaded = target.load(&archive, &options);
        match loaded.and_then(|()| if is_read(&life) { Ok(()) } else { Err(AttachError::Busy) }) {
            Ok(()) => return Ok(Loaded { _life: life }),
            // A JVM that starts answers before it can load anything; the agent of a qtap that has ended needs a moment to end.
            Err(AttachError::Refused(_) | AttachError::Busy) if begun.elapsed() < STARTING => {
                std::thread::sleep(PAUSE.max(begun.elapsed() / 5));
            }
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Who changes a source has to compile it: `cargo xtask java`.
    #[test]
    fn the_archive_is_of_these_sources() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/java/qtap/jsse");
        let mut sources: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        sources.sort();
        let mut digest = Sha256::new();
        sources.iter().for_each(|source| digest.update(std::fs::read(source).unwrap()));
        let sum = hex(&digest.finalize());
        let (first, second) = sum.split_at(32);
        for line in [format!("Qtap-Sources-1: {first}\r\n"), format!("Qtap-Sources-2: {second}\r\n")] {
            assert!(memchr::memmem::find(ARCHIVE, line.as_bytes()).is_some(), "{line}");
        }
    }
}
