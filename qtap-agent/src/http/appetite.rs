//! Whether the bodies of an exchange are kept. In: its heads, as they come. Out: bodies that nobody wants, let go, and a count of their
//! bytes. It asks once for each head: while it is not settled they are kept, within the limits of all bodies.
//!
//! ```text
//! Open ── request's head ──▶ Yes │ No │ Open ── response's head ──▶ Yes │ No │ Open: kept to the end
//! ```

use super::Sink;
use super::pair::{Desk, Open};
use crate::model::appetite::Wanted;

/// What is known of whether they are wanted.
#[derive(Debug)]
pub(super) struct Keeping {
    wanted: Wanted,
    /// The heads that were there when this was asked last.
    asked: (bool, bool),
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping { wanted: Wanted::Open, asked: (false, false) }
    }
}

impl Open {
    /// True while bodies are kept.
    pub(super) fn keeps(&self, desk: &Desk) -> bool {
        desk.settings.keep_bodies && self.keeping.wanted != Wanted::No
    }

    /// Asks whether bodies are wanted, when that is not settled and a head came since. Lets go of what is not.
    pub(super) fn weigh(&mut self, desk: &mut Desk, sink: &mut Sink) {
        let Some(appetite) = desk.settings.appetite.as_ref().filter(|_| desk.settings.keep_bodies) else { return };
        let heads = (self.exchange.request.is_some(), self.exchange.response.is_some());
        if self.keeping.wanted != Wanted::Open || self.keeping.asked == heads {
            return;
        }
        let wanted = appetite.of(&self.exchange, desk.scene.as_ref());
        self.keeping = Keeping { wanted, asked: heads };
        if wanted == Wanted::No {
            self.request_body.let_go(&mut desk.budget, sink);
            self.response_body.let_go(&mut desk.budget, sink);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
mod tests;
