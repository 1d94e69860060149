//! Who is left out: decided when the agent learns what a process is, and written to the table that the probes check before anything else.
//!
//! Verdicts on the processes that run when qtap starts are made before the first probe on sockets is attached. A verdict on a program executed
//! later is made when the agent has read its record. What the program does until the probes know is dropped if it is left out entirely (`unheard`);
//! if it is left out in part, it is captured. Its children are left out with it, until they execute something else.

use qtap_common::state::scope;

use super::Live;
use crate::capture::discover::environ::Environment;
use crate::capture::discover::{maps, procfs};
use crate::capture::filter;
use crate::capture::kernel::Scope;
use crate::capture::recording::Fact;
use crate::capture::settings::Filters;
use crate::model::event::Event;
use crate::model::process::Process;

/// The decision on a process in scope.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// Nothing of it is reported.
    whole: bool,
    /// Something was captured until now that no longer is.
    is_less: bool,
}

impl Live {
    /// Decides on the running processes.
    pub(super) fn judge_all(&mut self, settings: &Scope) {
        let there = match settings {
            Scope::Everyone => maps::processes(),
            // In a control group a process has a verdict only after it was first seen.
            Scope::Listed(_) | Scope::Cgroups(_) => self.tables.scope.keys().flatten().collect(),
        };
        for pid in there {
            if let Some(path) = procfs::executable(pid) {
                let verdict = self.judge(pid, &path, &Environment::default());
                self.unheard.judged(pid, verdict.is_some_and(|verdict| verdict.whole));
            }
        }
    }

    /// Applies other filters from now on, to the running processes and to those to come.
    pub fn filter(&mut self, filters: Filters, out: &mut Vec<Event>) {
        self.filters = filters;
        let there: Vec<u32> =
            if self.everyone { maps::processes() } else { self.tables.scope.keys().flatten().collect() };
        for pid in there {
            if let Some(path) = procfs::executable(pid) {
                self.decide(pid, &path, &Environment::default(), out);
            }
        }
    }

    /// Decides on a process, given the environment that the kernel reported, and reports the process if it is captured.
    pub(super) fn met(&mut self, fact: Fact, environment: &Environment, out: &mut Vec<Event>) {
        let Fact::Process(Process { pid, executable_path, .. }) = &fact else { return self.tell(fact, out) };
        let (pid, path) = (*pid, executable_path.clone());
        if self.decide(pid, &path, environment, out) {
            // If it is captured again later, it is reported anew.
            self.people.forget(pid);
        } else {
            self.tell(fact, out);
        }
    }

    /// Decides on a process that may have been captured before. True if it is left out entirely.
    fn decide(&mut self, pid: u32, path: &str, environment: &Environment, out: &mut Vec<Event>) -> bool {
        let verdict = self.judge(pid, path, environment);
        let left_out = verdict.is_some_and(|verdict| verdict.whole);
        if self.is_silent(pid) {
            self.forget_jvm(pid);
        }
        if verdict.is_some_and(|verdict| verdict.is_less) {
            self.let_go(pid, out);
        }
        self.unheard.judged(pid, left_out);
        left_out
    }

    /// Writes the verdict on a process; `None` if it is out of scope, or if the verdict could not be written.
    fn judge(&mut self, pid: u32, path: &str, environment: &Environment) -> Option<Verdict> {
        let before = self.tables.scope.get(&pid, 0).ok();
        if pid == std::process::id() || before.is_some_and(|verdict| verdict & scope::IN == 0) {
            return None;
        }
        let left_out = filter::of_program(&self.filters, path) | filter::of_environment(&environment.of(pid));
        // Without an entry a process is in scope if everyone is. If not, only one that has ended gets a verdict: its records may still wait.
        if before.is_none() && !self.everyone {
            let whole = left_out & scope::NOTHING != 0;
            return (!procfs::lives(pid)).then_some(Verdict { whole, is_less: false });
        }
        let verdict = scope::IN | left_out;
        self.standing.judged(pid, verdict);
        let newly = left_out & !before.unwrap_or(scope::IN);
        let told = Verdict {
            whole: left_out & scope::NOTHING != 0,
            is_less: newly & (scope::NOTHING | scope::NO_DATA | scope::NO_TLS | scope::NO_HTTP) != 0,
        };
        if before.unwrap_or(scope::IN) == verdict {
            return Some(told);
        }
        if let Err(error) = self.tables.scope.insert(pid, verdict, 0) {
            tracing::warn!(pid, %error, "a process that should be left out is captured");
            return None;
        }
        if !procfs::lives(pid) {
            // Its id may soon be reused.
            let _ = self.tables.scope.remove(&pid);
            self.standing.exited(pid);
        }
        tracing::debug!(pid, path, left_out, "left out by filter or by its own wish");
        Some(told)
    }

    /// What a process did before it was left out is reported as far as it was captured. If it is left out in part, its connections go on as new ones,
    /// joined mid-stream, so that the byte counts of both add up.
    fn let_go(&mut self, pid: u32, out: &mut Vec<Event>) {
        if !self.speakers.remove(&pid) {
            return;
        }
        let now = procfs::now();
        self.end_sessions_of(pid, now, out);
        let open: Vec<_> = self.tables.conns.iter().flatten().filter(|(_, conn)| conn.tgid == pid).collect();
        for (address, conn) in open {
            self.tell_closed(address, &conn, now, out);
        }
    }
}
