//! Who the processes are that the probes speak of: read from /proc while they live, else from what the kernel said at `exec`.
//!
//! In: news of processes. Out: [`Fact`]s, each before the first event that needs it.

use std::collections::HashMap;

use crate::capture::decode::Executed;
use crate::capture::discover::procfs;
use crate::capture::discover::users::Users;
use crate::capture::recording::Fact;
use crate::model::process::Process;
use crate::model::time::KernelTime;

/// Most processes that are known at once; a host has fewer (`kernel.pid_max` is 32 768 by default).
const PEOPLE_MAX: usize = 65_536;

/// The processes told so far.
#[derive(Debug, Default)]
pub(super) struct People {
    known: HashMap<u32, Process>,
    users: Users,
    /// Names of the variables that are read of their environments.
    variables: Vec<String>,
}

impl People {
    /// Nobody yet; of whom is met, these variables are read.
    pub(super) fn new(variables: Vec<String>) -> People {
        People { variables, ..People::default() }
    }

    /// The fact about a process that was not told yet; none when it was, or can't be learnt any more.
    pub(super) fn meet(&mut self, pid: u32) -> Option<Fact> {
        if pid == 0 || self.known.contains_key(&pid) {
            return None;
        }
        let process = procfs::process(pid, &mut self.users, &self.variables)?.process;
        Some(self.tell(process))
    }

    /// A process has a new name. /proc knows it best; a process that is gone already is what the kernel said it was.
    pub(super) fn executed(&mut self, executed: Executed) -> Fact {
        let living = procfs::process(executed.pid, &mut self.users, &self.variables).map(|living| living.process);
        let user_name = self.users.name(executed.user_id);
        let process = named(living, executed, user_name);
        self.tell(process)
    }

    /// A child is called what its parent is called, until it executes something.
    pub(super) fn forked(&mut self, parent: u32, child: u32) -> Option<Fact> {
        let Some(known) = self.known.get(&parent) else { return self.meet(child) };
        let process = Process { pid: child, parent_pid: parent, ..known.clone() };
        Some(self.tell(process))
    }

    /// It was not told after all.
    pub(super) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// A process ended.
    pub(super) fn exited(&mut self, pid: u32, time: KernelTime) -> Fact {
        self.known.remove(&pid);
        Fact::ProcessGone { pid, time }
    }

    fn tell(&mut self, process: Process) -> Fact {
        if self.known.len() < PEOPLE_MAX {
            self.known.insert(process.pid, process.clone());
        }
        Fact::Process(process)
    }
}

/// What a process is called after `exec`. One that is about to end has lost its memory, and its command line with it, a moment before it
/// loses its name: what /proc no longer tells, the kernel told.
fn named(living: Option<Process>, executed: Executed, user_name: Option<String>) -> Process {
    match living {
        Some(process) if process.executable_path.is_empty() || process.command.is_empty() => Process {
            executable_path: if process.executable_path.is_empty() { executed.path } else { process.executable_path },
            command: if process.command.is_empty() { executed.command } else { process.command },
            ..process
        },
        Some(process) => process,
        None => Process {
            pid: executed.pid,
            parent_pid: executed.parent,
            executable_path: executed.path,
            command: executed.command,
            user_id: executed.user_id,
            user_name,
            env: std::collections::BTreeMap::new(),
            container: None,
            pod: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that ended between the two looks had a path and no command line.
    #[test]
    fn what_proc_no_longer_tells_the_kernel_told() {
        let executed = || Executed { pid: 7, parent: 1, user_id: 0, path: "./a".into(), command: "./a b".into() };
        let living = Process { pid: 7, executable_path: "/x/a".into(), ..Process::default() };
        let process = named(Some(living), executed(), None);
        assert_eq!((process.executable_path.as_str(), process.command.as_str()), ("/x/a", "./a b"));
        let process = named(None, executed(), Some("root".into()));
        assert_eq!((process.executable_path.as_str(), process.user_name.as_deref()), ("./a", Some("root")));
        let whole = Process { executable_path: "/x/a".into(), command: "/x/a c".into(), ..Process::default() };
        assert_eq!(named(Some(whole.clone()), executed(), None), whole);
    }
}
