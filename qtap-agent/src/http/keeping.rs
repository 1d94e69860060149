//! Whether the bodies of an exchange are kept. In: its heads, as they come. Out: bodies that nobody wants, let go, and a count of their
//! bytes. What its stack wants at most is asked once, by the first piece; where that is bodies and there is a [`Judge`], he is asked once for each
//! head: while he can't tell they are kept, within the limits of all bodies.
//!
//! ```text
//! Open ── request's head ──▶ Yes │ No │ Open ── response's head ──▶ Yes │ No │ Open: kept to the end
//! ```

use super::Sink;
use super::pair::{Desk, Open};
#[cfg(doc)]
use crate::model::judge::Judge;
use crate::model::judge::Wanted;

/// What is known of whether they are wanted.
#[derive(Debug)]
pub(super) struct Keeping {
    /// Whether its stack wants bodies; none before the first piece of one.
    stack: Option<bool>,
    wanted: Wanted,
    /// The heads that were there when this was asked last.
    asked: (bool, bool),
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping { stack: None, wanted: Wanted::Open, asked: (false, false) }
    }
}

impl Open {
    /// True while bodies are kept. What its stack wants is decided by the first piece, since a body that is kept in part is of no use
    /// to anyone.
    pub(super) fn keeps(&mut self, desk: &Desk) -> bool {
        let authority = self.exchange.request.as_ref().and_then(|request| request.authority.as_deref());
        *self.keeping.stack.get_or_insert_with(|| desk.keeps_bodies_of(authority)) && self.keeping.wanted != Wanted::No
    }

    /// Asks whether bodies are wanted, when that is not settled and a head came since. Lets go of what is not.
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
