//! Processes that are in scope from the start, as descendants of one that is. In: processes and their parents. Out: verdicts in the probes' table,
//! but never one on qtap itself, whoever started it.

use std::collections::HashSet;

use qtap_common::state::scope;

use super::Live;
use crate::capture::discover::{maps, procfs};
use crate::capture::kernel::KernelError;

impl Live {
    /// Adds processes that were started by those in scope before the probes could see it. Repeats until there is no new one, because a process
    /// may fork between two scans.
    pub(super) fn adopt_children(&mut self, pids: &[u32]) -> Result<(), KernelError> {
        let own = std::process::id();
        let mut inside: HashSet<u32> = pids.iter().copied().filter(|pid| *pid != own).collect();
        loop {
            let before = inside.len();
            for pid in maps::processes() {
                let parent = procfs::parent(pid);
                let is_child = parent.is_some_and(|parent| inside.contains(&parent));
                if is_child && pid != own && inside.insert(pid) {
                    self.tables.scope.insert(pid, scope::IN, 0)?;
                }
            }
            if inside.len() == before {
                return Ok(());
            }
        }
    }
}
