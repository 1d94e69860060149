//! Who the processes are: from pid to facts, kept a while after the process ended, since what it said may come later.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Process};
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
    /// Those of whose containers more may be told.
    awaited: usize,
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
        self.awaited += usize::from(process.is_awaited());
        let before = self.table.insert(process.pid, Entry { process, gone: None });
        self.forgotten(before);
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

    /// True when of the container of any of them more may be told.
    pub(super) fn awaits(&self) -> bool {
        self.awaited > 0
    }

    /// What is known now of the very process that was called so: none when its number is another's, or it is forgotten.
    pub(super) fn same(&self, process: &Process) -> Option<Arc<Process>> {
        let id = |process: &Process| process.container.as_ref().map(|container| container.id.clone());
        let known = self.get(process.pid).filter(|known| known.executable_path == process.executable_path)?;
        (id(known) == id(process) && known.command == process.command).then(|| Arc::clone(known))
    }

    /// More was told of a container, or will not be.
    pub(super) fn told(&mut self, seen: &ContainerSeen) {
        self.settle(&seen.container.id, |process| joined(process, seen));
    }

    /// Nothing is awaited of a container any more.
    pub(super) fn give_up(&mut self, container: &str) {
        self.settle(container, |process| {
            let container = process.container.as_deref().map(|known| Container { awaited: false, ..known.clone() });
            Process { container: container.map(Arc::new), ..process.clone() }
        });
    }

    /// Changes what is known of the processes of a container, of which nothing is awaited then.
    fn settle(&mut self, container: &str, change: impl Fn(&Process) -> Process) {
        let of = |process: &Process| process.container.as_ref().is_some_and(|known| known.id == container);
        for entry in self.table.values_mut().filter(|entry| of(&entry.process)) {
            self.awaited -= usize::from(entry.process.is_awaited());
            entry.process = Arc::new(change(&entry.process));
            self.awaited += usize::from(entry.process.is_awaited());
        }
    }

    fn forgotten(&mut self, entry: Option<Entry>) {
        self.awaited -= usize::from(entry.is_some_and(|entry| entry.process.is_awaited()));
    }

    /// Forgets the one that ended first; false: none did.
    fn forget_oldest(&mut self) -> bool {
        while let Some((time, pid)) = self.gone.pop_front() {
            // Else the pid was given to another process since.
            if self.table.get(&pid).is_some_and(|entry| entry.gone == Some(time)) {
                let entry = self.table.remove(&pid);
                self.forgotten(entry);
                return true;
            }
        }
        false
    }
}

/// The process, with what was told of its container.
pub(super) fn joined(process: &Process, seen: &ContainerSeen) -> Process {
    Process { container: Some(Arc::clone(&seen.container)), pod: seen.pod.clone(), ..process.clone() }
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
