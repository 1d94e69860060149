//! Who is left out: decided when the agent learns who a process is, and written where the probes look before they look at anything else.
//!
//! What runs when qtap starts is decided before the first probe on sockets stands. A program that is executed later is decided when the
//! agent has read of it: what it says in the moment before that is captured. What it starts is left out with it, until that
//! executes something else.

use qtap_common::state::scope;

use super::Live;
use crate::capture::discover::{maps, procfs};
use crate::capture::filter;
use crate::capture::kernel::Scope;
use crate::capture::recording::Fact;
use crate::model::event::Event;
use crate::model::process::Process;

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
                self.judge(pid, &path);
            }
        }
    }

    /// Tells who a process is, and decides on it.
    pub(super) fn met(&mut self, fact: Fact, out: &mut Vec<Event>) {
        let who = match &fact {
            Fact::Process(Process { pid, executable_path, .. }) => Some((*pid, executable_path.clone())),
            _ => None,
        };
        self.tell(fact, out);
        if let Some((pid, path)) = who
            && self.judge(pid, &path)
        {
            self.let_go(pid, out);
        }
    }

    /// Writes the verdict on a process. True: something was looked at until now that is no more.
    fn judge(&mut self, pid: u32, path: &str) -> bool {
        let before = self.tables.scope.get(&pid, 0).ok();
        // Without an entry everyone is in scope, or nobody is.
        if pid == std::process::id() || before.map_or(!self.everyone, |verdict| verdict & scope::IN == 0) {
            return false;
        }
        let left_out = filter::of_program(&self.filters, path) | filter::of_environment(&procfs::environment(pid));
        let verdict = scope::IN | left_out;
        if before.unwrap_or(scope::IN) == verdict {
            return false;
        }
        if let Err(error) = self.tables.scope.insert(pid, verdict, 0) {
            tracing::warn!(pid, %error, "a process that should be left out is captured");
            return false;
        }
        if !procfs::lives(pid) {
            // Its number may be another's soon.
            let _ = self.tables.scope.remove(&pid);
        }
        tracing::debug!(pid, path, left_out, "left out by filter or by its own wish");
        let newly = left_out & !before.unwrap_or(scope::IN);
        newly & (scope::NOTHING | scope::NO_DATA | scope::NO_TLS | scope::NO_HTTP) != 0
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
