//! What the container runtimes report, as facts in order with everything else, and how requests to them went.

use super::Live;
use crate::capture::runtimes::Fared;
use crate::model::event::Event;
use crate::model::time::KernelTime;

impl Live {
    /// Reports what arrived about containers since the last call.
    pub(super) fn tell_containers(&mut self, now: KernelTime, out: &mut Vec<Event>) {
        for fact in self.people.news(now) {
            self.tell(fact, out);
        }
    }

    /// How requests to the container runtimes went, readable from any thread.
    #[must_use]
    pub fn runtimes(&self) -> Fared {
        self.people.runtimes()
    }
}
