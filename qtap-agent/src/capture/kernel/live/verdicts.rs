//! Who is left out: decided when the agent learns who a process is, and written where the probes look before they look at anything else.
//!
//! What runs when qtap starts is decided before the first probe on sockets stands. A program that is executed later is decided when the
//! agent has read of it. What it says in the moment before the probes know is not heard either, where it is left out whole
//! (`unheard`); where in part, that is captured. What it starts is left out with it, until that executes something else.

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

/// What was decided on a process in scope.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// Nothing of it is told.
    whole: bool,
    /// Something was looked at until now that is no more.
    is_less: bool,
}

impl Live {
    /// Decides on the processes that are there.
    pub(super) fn judge_all(&mut self, settings: &Scope) {
        let there = match settings {
            Scope::Everyone => maps::processes(),
            // In a control group a process has a verdict once it is met.
            Scope::Listed(_) | Scope::Cgroups(_) => self.tables.scope.keys().flatten().collect(),
        };
        for pid in there {
            if let Some(path) = procfs::executable(pid) {
                let verdict = self.judge(pid, &path, &Environment::default());
                self.unheard.judged(pid, verdict.is_some_and(|verdict| verdict.whole));
            }
        }
    }

    /// Other filters hold from now on, for the processes that are there and for those to come.
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

    /// Decides on a process, of whose environment the kernel said this, and tells who it is when it is heard.
    pub(super) fn met(&mut self, fact: Fact, environment: &Environment, out: &mut Vec<Event>) {
        let Fact::Process(Process { pid, executable_path, .. }) = &fact else { return self.tell(fact, out) };
        let (pid, path) = (*pid, executable_path.clone());
        if self.decide(pid, &path, environment, out) {
            // Should it be heard again, it is told who it is.
            self.people.forget(pid);
        } else {
            self.tell(fact, out);
        }
    }

    /// Decides on a process that may have been heard before. True: it is left out whole.
    fn decide(&mut self, pid: u32, path: &str, environment: &Environment, out: &mut Vec<Event>) -> bool {
        let verdict = self.judge(pid, path, environment);
        let left_out = verdict.is_some_and(|verdict| verdict.whole);
        if verdict.is_some_and(|verdict| verdict.is_less) {
            self.let_go(pid, out);
        }
        self.unheard.judged(pid, left_out);
        left_out
    }

    /// Writes the verdict on a process; none when it is out of scope, or could not be written.
    fn judge(&mut self, pid: u32, path: &str, environment: &Environment) -> Option<Verdict> {
        let before = self.tables.scope.get(&pid, 0).ok();
        if pid == std::process::id() || before.is_some_and(|verdict| verdict & scope::IN == 0) {
            return None;
        }
        let left_out = filter::of_program(&self.filters, path) | filter::of_environment(&environment.of(pid));
        // Without an entry everyone is in scope, or nobody is but those that are gone: what they said may still wait to be heard.
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
            // Its number may be another's soon.
            let _ = self.tables.scope.remove(&pid);
            self.standing.exited(pid);
        }
        tracing::debug!(pid, path, left_out, "left out by filter or by its own wish");
        Some(told)
    }

    /// What a process said in the moment before it was left out is told as far as it came. Left out in part, its connections go on as others, joined
    /// late: so the sums of neither lack what nobody looked at.
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
