//! Who the processes are: from pid to facts, kept a while after the process ended, since what it said may come later.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::process::Process;
use crate::model::time::KernelTime;

/// Processes known at once: twice the largest number of a busy host.
pub(super) const PROCESSES: usize = 65_536;

/// How long a process that ended is remembered.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Processes {
    table: HashMap<u32, Entry>,
    /// Those that ended, in that order.
    gone: VecDeque<(KernelTime, u32)>,
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    gone: Option<KernelTime>,
}

impl Processes {
    /// Learns who a process is. False: the table is full of processes that live.
    #[must_use]
    pub(super) fn seen(&mut self, process: Arc<Process>) -> bool {
        if self.table.len() >= PROCESSES && !self.table.contains_key(&process.pid) && !self.forget_oldest() {
            return false;
        }
        self.table.insert(process.pid, Entry { process, gone: None });
        true
    }

    /// Learns that a process ended.
    pub(super) fn gone(&mut self, pid: u32, time: KernelTime) {
        if let Some(entry) = self.table.get_mut(&pid) {
            entry.gone = Some(time);
            self.gone.push_back((time, pid));
        }
    }

    /// Forgets those that ended long ago.
    pub(super) fn on_tick(&mut self, now: KernelTime) {
        while self.gone.front().is_some_and(|(time, _)| now.since(*time) >= KEPT) {
            self.forget_oldest();
        }
    }

    /// Who `pid` is, or was.
    #[must_use]
    pub(super) fn get(&self, pid: u32) -> Option<&Arc<Process>> {
        self.table.get(&pid).map(|entry| &entry.process)
    }

    /// Forgets the one that ended first; false: none did.
    fn forget_oldest(&mut self) -> bool {
        while let Some((time, pid)) = self.gone.pop_front() {
            // Else the pid was given to another process since.
            if self.table.get(&pid).is_some_and(|entry| entry.gone == Some(time)) {
                self.table.remove(&pid);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, command: &str) -> Arc<Process> {
        Arc::new(Process { pid, command: command.into(), ..Process::default() })
    }

    fn at(seconds: u64) -> KernelTime {
        KernelTime(seconds * 1_000_000_000)
    }

    #[test]
    fn a_process_is_remembered_after_its_end() {
        let mut processes = Processes::default();
        assert!(processes.seen(process(1, "one")));
        processes.gone(1, at(10));
        processes.on_tick(at(39));
        assert_eq!(processes.get(1).map(|p| p.command.as_str()), Some("one"));
        processes.on_tick(at(40));
        assert_eq!(processes.get(1), None);
    }

    #[test]
    fn a_pid_that_is_used_again_belongs_to_the_new_process() {
        let mut processes = Processes::default();
        assert!(processes.seen(process(1, "one")));
        processes.gone(1, at(10));
        assert!(processes.seen(process(1, "two")));
        processes.on_tick(at(60));
        assert_eq!(processes.get(1).map(|p| p.command.as_str()), Some("two"));
    }

    #[test]
    fn the_table_has_a_bound() {
        let mut processes = Processes::default();
        for pid in 0..PROCESSES as u32 {
            assert!(processes.seen(process(pid, "")));
        }
        assert!(!processes.seen(process(1 << 30, "")), "all live");
        processes.gone(7, at(1));
        assert!(processes.seen(process(1 << 30, "")));
        assert_eq!(processes.get(7), None);
    }
}
