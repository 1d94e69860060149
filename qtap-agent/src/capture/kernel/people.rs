//! Describes the processes that appear in the probes' records: from /proc while they live, else from what the kernel said at `exec`.
//!
//! In: changes of processes. Out: [`Fact`]s, each before the first event that needs it.

use std::collections::{HashMap, HashSet};

use super::KernelError;
use crate::capture::decode::Executed;
use crate::capture::discover::procfs;
use crate::capture::discover::users::Users;
use crate::capture::recording::Fact;
use crate::capture::runtimes::table::Containers;
use crate::capture::runtimes::{self, Fared, Runtimes};
use crate::model::process::Process;
use crate::model::time::KernelTime;

/// Most processes that are known at once; a host has fewer (`kernel.pid_max` is 32 768 by default).
const PEOPLE_MAX: usize = 65_536;

/// The path in the `exec` of a program that executes itself, as browsers and container runtimes do.
const ITSELF: &str = "/proc/self/exe";

/// The processes reported so far.
#[derive(Debug, Default)]
pub(super) struct People {
    known: HashMap<u32, Process>,
    users: Users,
    containers: Containers,
    /// Names of the environment variables that are read from processes.
    variables: Vec<String>,
}

impl People {
    /// Knows no process yet. `variables` are read from each process's environment; the runtimes in `asked` are asked about containers.
    pub(super) fn new(variables: Vec<String>, asked: &runtimes::Settings) -> Result<People, KernelError> {
        let runtimes = Runtimes::start(asked).map_err(KernelError::Runtimes)?;
        Ok(People { variables, containers: Containers::new(runtimes), ..People::default() })
    }

    /// The fact about a process that was not reported yet; `None` if it was, or if nothing can be learned about it any more.
    pub(super) fn meet(&mut self, pid: u32) -> Option<Fact> {
        if pid == 0 || self.known.contains_key(&pid) {
            return None;
        }
        let process = procfs::process(pid, &mut self.users, &self.variables)?.process;
        Some(self.tell(process))
    }

    /// A process executed a program. /proc is the best source; if the process is already gone, what the kernel said is used.
    pub(super) fn executed(&mut self, mut executed: Executed) -> Fact {
        let before = [executed.pid, executed.parent].into_iter().find_map(|pid| self.known.get(&pid));
        if let Some(program) = before.filter(|before| executed.path == ITSELF && !before.executable_path.is_empty()) {
            executed.path.clone_from(&program.executable_path);
        }
        let living = procfs::process(executed.pid, &mut self.users, &[]).map(|living| living.process);
        // By then it has lost its control group, along with its memory.
        let is_ending = living.as_ref().is_none_or(|process| process.command.is_empty());
        let (parent, user_name) = (executed.parent, self.users.name(executed.user_id));
        let env = executed.environment.variables(executed.pid, &self.variables);
        let mut process = Process { env, ..named(living, executed, user_name) };
        if is_ending && process.container.is_none() {
            match self.known.get(&process.pid) {
                Some(before) => (process.container, process.pod) = (before.container.clone(), before.pod.clone()),
                None => place(&mut process, &[parent]),
            }
        }
        self.tell(process)
    }

    /// A child has the name of its parent until it executes something.
    pub(super) fn forked(&mut self, parent: u32, child: u32) -> Option<Fact> {
        let Some(known) = self.known.get(&parent) else { return self.meet(child) };
        let mut process = Process { pid: child, parent_pid: parent, ..known.clone() };
        // A container runtime moves its children into the container before they execute anything. A child that is gone was where its parent is.
        place(&mut process, &[child, parent]);
        Some(self.tell(process))
    }

    /// It was not reported after all.
    pub(super) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// A process ended.
    pub(super) fn exited(&mut self, pid: u32, time: KernelTime) -> Fact {
        self.known.remove(&pid);
        Fact::ProcessGone { pid, time }
    }

    /// How requests to the container runtimes went.
    pub(super) fn runtimes(&self) -> Fared {
        self.containers.fared()
    }

    /// What the runtimes reported about containers since the last call.
    pub(super) fn news(&mut self, now: KernelTime) -> impl Iterator<Item = Fact> + use<> {
        let known = &self.known;
        let running = || -> HashSet<String> {
            known.values().filter_map(|process| Some(process.container.as_ref()?.id.clone())).collect()
        };
        self.containers.news(now, running).into_iter().map(Fact::Container)
    }

    fn tell(&mut self, mut process: Process) -> Fact {
        self.containers.complete(&mut process);
        if self.known.len() < PEOPLE_MAX {
            self.known.insert(process.pid, process.clone());
        }
        Fact::Process(process)
    }
}

/// Places a process in the first container that any of these processes is in.
fn place(process: &mut Process, pids: &[u32]) {
    if let Some((container, pod)) =
        pids.iter().map(|pid| procfs::container(*pid)).find(|(container, _)| container.is_some())
    {
        (process.container, process.pod) = (container, pod);
    }
}

/// The description of a process after `exec`. A process that is about to end loses its memory, and its command line with it, a moment before it
/// loses its name: what /proc no longer has is taken from the kernel's record.
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
    use crate::capture::discover::environ::Environment;

    /// No process has such a number.
    const GONE: u32 = u32::MAX - 9;

    /// A process that ended between the two reads had a path and no command line.
    #[test]
    fn what_proc_no_longer_tells_the_kernel_told() {
        let executed = || Executed {
            pid: 7,
            parent: 1,
            user_id: 0,
            path: "./a".into(),
            command: "./a b".into(),
            environment: Environment::default(),
        };
        let living = Process { pid: 7, executable_path: "/x/a".into(), ..Process::default() };
        let process = named(Some(living), executed(), None);
        assert_eq!((process.executable_path.as_str(), process.command.as_str()), ("/x/a", "./a b"));
        let process = named(None, executed(), Some("root".into()));
        assert_eq!((process.executable_path.as_str(), process.user_name.as_deref()), ("./a", Some("root")));
        let whole = Process { executable_path: "/x/a".into(), command: "/x/a c".into(), ..Process::default() };
        assert_eq!(named(Some(whole.clone()), executed(), None), whole);
    }

    #[test]
    fn a_process_of_a_moment_has_its_environment() {
        let variables = vec!["TEAM".to_owned()];
        let mut people = People { variables, ..People::default() };
        let environment = Environment(b"A=1\0TEAM=red\0".to_vec());
        let executed =
            Executed { pid: GONE, parent: 1, user_id: 0, path: "/x".into(), command: "/x".into(), environment };
        let Fact::Process(process) = people.executed(executed) else { panic!() };
        assert_eq!(process.env, [("TEAM".to_owned(), "red".to_owned())].into());
    }

    /// Found with Chromium, whose processes had ended before qtap could inspect them: they were reported as a program named `exe`.
    #[test]
    fn a_program_that_executes_itself_is_what_it_was() {
        let mut people = People::default();
        people.tell(Process { pid: GONE, executable_path: "/x/browser".into(), ..Process::default() });
        let executed = |pid, parent, path: &str| Executed {
            pid,
            parent,
            user_id: 0,
            path: path.into(),
            command: "/proc/self/exe --type=x".into(),
            environment: Environment::default(),
        };
        let path = |fact| match fact {
            Fact::Process(process) => process.executable_path,
            _ => String::new(),
        };
        assert_eq!(path(people.executed(executed(GONE + 1, GONE, ITSELF))), "/x/browser", "a child");
        assert_eq!(path(people.executed(executed(GONE + 1, GONE, "/x/other"))), "/x/other");
        assert_eq!(path(people.executed(executed(GONE + 1, GONE, ITSELF))), "/x/other", "itself");
        assert_eq!(path(people.executed(executed(GONE + 3, GONE + 2, ITSELF))), ITSELF, "nothing else is known");
    }
}
