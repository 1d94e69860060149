//! Whether the bodies of an exchange are kept. In: its heads, as they arrive. Out: the release of bodies that nobody wants, and a count
//! of their bytes. The first piece of a body looks up once what the stack may want. If that includes bodies and there is a [`Judge`],
//! the judge is asked once per head; while it cannot decide, the bodies are kept, within the limit for all bodies.
//!
//! ```text
//! Open ── request's head ──▶ Yes │ No │ Open ── response's head ──▶ Yes │ No │ Open: kept to the end
//! ```

use super::Sink;
use super::pair::{Desk, Open};
#[cfg(doc)]
use crate::model::judge::Judge;
use crate::model::judge::Wanted;

/// What is known about whether the bodies are wanted.
#[derive(Debug)]
pub(super) struct Keeping {
    /// Whether the stack wants bodies; `None` before the first piece of one.
    stack: Option<bool>,
    wanted: Wanted,
    /// Which heads (request, response) were known when the judge was last asked.
    asked: (bool, bool),
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping { stack: None, wanted: Wanted::Open, asked: (false, false) }
    }
}

impl Open {
    /// True while bodies are kept. What the stack wants is decided at the first piece, because a partly kept body is of no use to
    /// anyone.
    pub(super) fn keeps(&mut self, desk: &Desk) -> bool {
        let authority = self.exchange.request.as_ref().and_then(|request| request.authority.as_deref());
        *self.keeping.stack.get_or_insert_with(|| desk.keeps_bodies_of(authority)) && self.keeping.wanted != Wanted::No
    }

    /// Asks the judge whether bodies are wanted, if that is undecided and a head arrived since. Releases bodies that are not wanted.
    pub(super) fn weigh(&mut self, desk: &mut Desk, sink: &mut Sink) {
        let Some(judge) = &desk.settings.judge else { return };
        let heads = (self.exchange.request.is_some(), self.exchange.response.is_some());
        if self.keeping.wanted != Wanted::Open || self.keeping.asked == heads || !self.keeps(desk) {
            return;
        }
        self.keeping.asked = heads;
        self.keeping.wanted = judge.of(&self.exchange, desk.scene.as_ref());
        if self.keeping.wanted == Wanted::No {
            self.request_body.let_go(&mut desk.budget, sink);
            self.response_body.let_go(&mut desk.budget, sink);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
