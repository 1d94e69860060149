//! What was told of containers: as facts, in order with what else happens, and how those fared that are asked.

use super::Live;
use crate::capture::runtimes::Fared;
use crate::model::event::Event;
use crate::model::time::KernelTime;

impl Live {
    /// Tells what came of containers since the last call.
    pub(super) fn tell_containers(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        for fact in self.people.news(now) {
            self.tell(fact, out);
        }
    }

    /// How the container runtimes fare that are asked, to be looked at from any thread.
    #[must_use]
    pub fn runtimes(&self) -> Fared {
        self.people.runtimes()
    }
}
