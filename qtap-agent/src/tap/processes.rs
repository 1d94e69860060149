//! Facts about processes, by pid. They are kept for a while after the process exits, since its data may arrive later.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Process};
use crate::model::time::KernelTime;

/// Maximum number of processes: twice the largest number on a busy host.
pub(super) const PROCESSES: usize = 65_536;

/// How long an exited process is remembered.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Processes {
    table: HashMap<u32, Entry>,
    /// Exited processes, in order of exit.
    gone: VecDeque<(KernelTime, u32)>,
    /// Number of processes about whose containers more facts are expected.
    awaited: usize,
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    gone: Option<KernelTime>,
}

impl Processes {
    /// Adds a process. False: the table is full of live processes.
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

    /// Marks a process as exited.
    pub(super) fn gone(&mut self, pid: u32, time: KernelTime) {
        if let Some(entry) = self.table.get_mut(&pid) {
            entry.gone = Some(time);
            self.gone.push_back((time, pid));
        }
    }

    /// Forgets processes that exited long ago.
    pub(super) fn on_tick(&mut self, now: KernelTime) {
        while self.gone.front().is_some_and(|(time, _)| now.since(*time) >= KEPT) {
            self.forget_oldest();
        }
    }

    /// The process that has, or had, this pid.
    #[must_use]
    pub(super) fn get(&self, pid: u32) -> Option<&Arc<Process>> {
        self.table.get(&pid).map(|entry| &entry.process)
    }

    /// True if more facts are expected about the container of any process.
    pub(super) fn awaits(&self) -> bool {
        self.awaited > 0
    }

    /// The current facts of this very process; `None` if its pid now belongs to another one, or it has been forgotten.
    pub(super) fn same(&self, process: &Process) -> Option<Arc<Process>> {
        let id = |process: &Process| process.container.as_ref().map(|container| container.id.clone());
        let known = self.get(process.pid).filter(|known| known.executable_path == process.executable_path)?;
        (id(known) == id(process) && known.command == process.command).then(|| Arc::clone(known))
    }

    /// More facts about a container arrived, or will not arrive.
    pub(super) fn told(&mut self, seen: &ContainerSeen) {
        self.settle(&seen.container.id, |process| joined(process, seen));
    }

    /// Nothing more is expected about a container.
    pub(super) fn give_up(&mut self, container: &str) {
        self.settle(container, |process| {
            let container = process.container.as_deref().map(|known| Container { awaited: false, ..known.clone() });
            Process { container: container.map(Arc::new), ..process.clone() }
        });
    }

    /// Changes the facts of all processes of a container.
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

    /// Forgets the process that exited first; false: none has exited.
    fn forget_oldest(&mut self) -> bool {
        while let Some((time, pid)) = self.gone.pop_front() {
            // Otherwise the pid has been reused by another process.
            if self.table.get(&pid).is_some_and(|entry| entry.gone == Some(time)) {
                let entry = self.table.remove(&pid);
                self.forgotten(entry);
                return true;
            }
        }
        false
    }
}

/// The process, with the facts about its container added.
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
