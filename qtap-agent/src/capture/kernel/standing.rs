//! The state of capture, for readers on other threads: the files that have probes, the processes that are left out, the ring, how often the probes
//! ran. In: what the live source does. Out: a handle, [`Standing`], that any thread may read. Nothing here decides anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qtap_common::state::scope;

use super::tls::Library;
use crate::capture::discover::elf::FileId;

/// Most processes that are remembered as left out: as many as the probes' own table holds.
const LEFT_OUT_MAX: usize = 65_536;

/// How one program of the object ran since it was loaded; the kernel counts only while `kernel.bpf_stats_enabled` is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Name of the program.
    pub program: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// Time spent in it.
    pub time: Duration,
}

/// Use of the ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingUse {
    /// Most bytes of records that one read found waiting, in the last second.
    pub waiting_bytes: u64,
    /// How often a record did not fit.
    pub full: u64,
}

/// Why a process is left out, in whole or in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// A filter leaves it out.
    Filtered,
    /// Its own environment asks for it (`QTAP_STRATEGY`).
    ByItself,
    /// A filter leaves out its TLS.
    Tls,
}

impl LeftOut {
    /// What a verdict means for TLS; `None` if TLS is captured.
    fn of(verdict: u8) -> Option<LeftOut> {
        match verdict {
            ignored if ignored & scope::IGNORED != 0 => Some(LeftOut::ByItself),
            whole if whole & (scope::LEFT_OUT | scope::NO_DATA) != 0 => Some(LeftOut::Filtered),
            tls if tls & scope::NO_TLS != 0 => Some(LeftOut::Tls),
            _ => None,
        }
    }
}

/// The state of capture now; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    libraries: BTreeMap<FileId, Arc<Library>>,
    left_out: HashMap<u32, LeftOut>,
    ran: Vec<Ran>,
    ring: RingUse,
    jvms: HashMap<u32, Result<(), String>>,
}

impl Standing {
    /// Files with probes, by file id.
    #[must_use]
    pub fn libraries(&self) -> BTreeMap<FileId, Arc<Library>> {
        self.state().libraries.clone()
    }

    /// Why `pid` is left out; `None` if it is not.
    #[must_use]
    pub fn left_out(&self, pid: u32) -> Option<LeftOut> {
        self.state().left_out.get(&pid).copied()
    }

    /// How often each program ran; empty where the kernel keeps no count.
    #[must_use]
    pub fn ran(&self) -> Vec<Ran> {
        self.state().ran.clone()
    }

    /// Use of the ring.
    #[must_use]
    pub fn ring(&self) -> RingUse {
        self.state().ring
    }

    pub(super) fn attached(&self, id: FileId, library: Arc<Library>) {
        self.state().libraries.insert(id, library);
    }

    /// These files have no probes any more.
    pub(super) fn detached(&self, ids: &HashSet<FileId>) {
        self.state().libraries.retain(|id, _| !ids.contains(id));
    }

    /// A verdict was written.
    pub(super) fn judged(&self, pid: u32, verdict: u8) {
        let mut state = self.state();
        match LeftOut::of(verdict) {
            Some(why) if state.left_out.len() < LEFT_OUT_MAX => {
                state.left_out.insert(pid, why);
            }
            _ => {
                state.left_out.remove(&pid);
            }
        }
    }

    /// A child inherits its parent's verdict until it executes something.
    pub(super) fn forked(&self, parent: u32, child: u32) {
        let mut state = self.state();
        if let Some(why) = state.left_out.get(&parent).copied()
            && state.left_out.len() < LEFT_OUT_MAX
        {
            state.left_out.insert(child, why);
        }
    }

    /// How loading qtap's agent into the JVM of a process went; `None` if it was not tried.
    #[must_use]
    pub fn agent_in(&self, pid: u32) -> Option<Result<(), String>> {
        self.state().jvms.get(&pid).cloned()
    }

    pub(super) fn jvm(&self, pid: u32, loaded: Result<(), String>) {
        self.state().jvms.insert(pid, loaded);
    }

    pub(super) fn exited(&self, pid: u32) {
        self.state().jvms.remove(&pid);
        self.state().left_out.remove(&pid);
    }

    pub(super) fn counted(&self, ring: RingUse, ran: Vec<Ran>) {
        let mut state = self.state();
        (state.ring, state.ran) = (ring, ran);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_out_is_known_with_its_children_until_it_ends() {
        let standing = Standing::default();
        standing.judged(1, scope::IN | scope::LEFT_OUT);
        standing.judged(2, scope::IN | scope::IGNORED);
        standing.judged(3, scope::IN | scope::NO_TLS);
        standing.judged(4, scope::IN | scope::NO_HTTP);
        standing.forked(1, 11);
        standing.forked(4, 14);
        let told = [1, 2, 3, 4, 11, 14].map(|pid| standing.left_out(pid));
        let filtered = Some(LeftOut::Filtered);
        assert_eq!(told, [filtered, Some(LeftOut::ByItself), Some(LeftOut::Tls), None, filtered, None]);
        standing.exited(1);
        standing.judged(11, scope::IN);
        assert_eq!([standing.left_out(1), standing.left_out(11)], [None, None]);
    }
}
