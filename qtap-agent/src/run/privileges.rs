//! Drops the capabilities that `qtap run` does not need, before it starts any thread: capabilities belong to a thread, and new threads inherit those
//! of the first.
//!
//! In: the capabilities of this process, and its tasks. Out: fewer of them. Those needed for later libraries and short-lived processes stay: see `KEPT`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Needed as long as it runs: for probes on libraries seen later, and for files and processes of other users.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::CHECKPOINT_RESTORE)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);
/// Needed to write where its user may not: in a folder that belongs to another user.
const OTHERS_FOLDERS: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::FOWNER);
/// Needed to load an agent into JVMs of other users, as these users.
const OTHERS_JVMS: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);
/// Ports below this require a capability.
const PRIVILEGED_PORTS: u16 = 1024;
/// Upper bound on the number of capabilities of a kernel.
const NUMBERS: u32 = 64;

/// Tasks that require more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Errands<'a> {
    /// Folders and sockets that it writes to.
    pub(super) folders: &'a [&'a Path],
    /// The port it listens on.
    pub(super) port: u16,
    /// It loads agents into JVMs.
    pub(super) loads_agents: bool,
}

/// Drops everything else for good: programs that it starts can't regain it either.
pub(super) fn give_up(errands: Errands<'_>) {
    let kept = kept(errands, rustix::process::geteuid().as_raw());
    if let Err(error) = reduce(kept) {
        tracing::warn!(%error, "rights that are not needed could not be given up");
    }
    if let Err(error) = set_no_new_privs(true) {
        tracing::warn!(%error, "programs that qtap starts may have more rights than it has");
    }
}

fn kept(errands: Errands<'_>, user: u32) -> CapabilitySet {
    let mut kept = KEPT;
    if errands.folders.iter().any(|folder| is_others(folder, user)) {
        kept |= OTHERS_FOLDERS;
    }
    if errands.port < PRIVILEGED_PORTS {
        kept |= CapabilitySet::NET_BIND_SERVICE;
    }
    if errands.loads_agents {
        kept |= OTHERS_JVMS;
    }
    kept
}

/// True if the folder, or its closest existing ancestor, belongs to another user.
fn is_others(folder: &Path, user: u32) -> bool {
    let there = folder.ancestors().find_map(|folder| folder.metadata().ok());
    there.is_some_and(|there| there.uid() != user)
}

fn reduce(kept: CapabilitySet) -> rustix::io::Result<()> {
    let has = capabilities(None)?;
    let _ = clear_ambient_capability_set();
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for number in 0..NUMBERS {
            let one = CapabilitySet::from_bits_retain(1 << number);
            // The kernel refuses a capability that it does not have.
            if !kept.contains(one) && remove_capability_from_bounding_set(one).is_err() {
                break;
            }
        }
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: has.effective & kept,
            permitted: has.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// The capabilities of this process: those of the calling thread, which all threads share.
#[cfg(feature = "kernel")]
pub(super) fn told() -> Option<crate::admin::view::PrivilegesView> {
    let has = capabilities(None).ok()?.permitted;
    let names = has.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    let no_new_privs = rustix::thread::no_new_privs().unwrap_or(false);
    Some(crate::admin::view::PrivilegesView { capabilities: names, no_new_privs })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn more_is_kept_only_for_what_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().metadata().unwrap().uid();
        let none = Errands { port: 10_001, ..Errands::default() };
        let of = |folder: &Path, user| kept(Errands { folders: &[folder], ..none }, user);
        assert_eq!(of(&folder.path().join("not/there"), user), KEPT);
        assert_eq!(of(&folder.path().join("not/there"), user + 1), KEPT | OTHERS_FOLDERS);
        let port = |port| kept(Errands { port, ..none }, 0);
        assert_eq!((port(1024), port(80)), (KEPT, KEPT | CapabilitySet::NET_BIND_SERVICE));
        assert_eq!(kept(Errands { loads_agents: true, ..none }, user), KEPT | OTHERS_JVMS);
    }

    /// Runs in a thread of its own: capabilities belong to a thread.
    #[test]
    fn what_is_not_kept_is_gone() {
        std::thread::spawn(|| {
            give_up(Errands { port: 10_001, ..Errands::default() });
            let left = capabilities(None).unwrap();
            assert!(KEPT.contains(left.permitted) && left.inheritable.is_empty(), "{left:?}");
            assert!(rustix::thread::no_new_privs().unwrap());
        })
        .join()
        .unwrap();
    }
}
