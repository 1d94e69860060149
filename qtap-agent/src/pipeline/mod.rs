//! The policy: turns observations into records. Decides which exchanges are exported and at which level (`step`), how many (`sample`),
//! what is redacted (`redact`), how they are written (`artifact`), what is wrong with them (`issues`), who sent them (`usage`).
//!
//! In: [`Observation`]s. Out: [`Record`]s, in the order of observation: the artifact record of an exchange, its objects, then its
//! additional records; and lines of text, which are not records. Records are already redacted and contain the URL and digest of their
//! objects, so that no exporter waits for another. This module does not read the clock, draw random numbers, or use the network; the only
//! files it uses hold bodies too large for memory (`spool`), and the result does not depend on where a body was: the same
//! observations under the same settings and key yield the same records, byte for byte.

mod artifact;
mod choose;
mod connection;
mod cut;
mod digest;
mod exchange;
mod gen_ai;
mod issues;
mod judge;
mod look;
mod origin;
mod redact;
mod router;
mod rpc;
pub mod rule;
mod sample;
mod scan;
pub mod settings;
pub mod spool;
mod step;
#[cfg(test)]
mod tests;
mod trace_context;
mod url;
mod usage;

use std::sync::Arc;

use crate::model::exchange::{Exchange, Part};
use crate::model::loss::{Loss, Tally};
use crate::model::observation::{ConnState, ExchangeSeen, Observation};
use crate::model::record::Record;
use artifact::Running;
pub use choose::Passed;
use exchange::Untold;
use gen_ai::Calls;
use origin::Origins;
use router::{Chosen, Router};
use sample::LeftOut;
use settings::{Locator, Settings};
use spool::{Folder, Spools};

/// Key of the redaction action `hash`: one per run (or one per host, where equal values are to stay equal across runs and in a
/// replay). Anyone who has it can test guesses of hashed values.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactionKey(pub [u8; 32]);

impl std::fmt::Debug for RedactionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedactionKey(…)")
    }
}

/// The pipelines of one agent.
#[derive(Debug)]
pub struct Pipeline {
    router: Router,
    locators: Arc<[Locator]>,
    origins: Origins,
    running: Running,
    calls: Calls,
    spools: Spools,
    left_out: LeftOut,
    lines: String,
    lost: Tally,
}

/// An exchange whose documents are written to disk, which takes long and can be done on another thread.
#[derive(Debug)]
pub struct Later {
    untold: Untold,
    locators: Arc<[Locator]>,
}

impl Later {
    /// Appends its records; returns what was lost on the way.
    pub fn tell(self, out: &mut Vec<Record>) -> Tally {
        let mut lost = Tally::default();
        let mut untold = self.untold;
        untold.look(&self.locators, (&mut Running::default(), &mut Calls::default()), &mut lost);
        untold.tell(&self.locators, &mut lost, out);
        lost
    }
}

impl Pipeline {
    /// The pipeline that `settings` describe. It has no storage for bodies that are too large for memory: see [`Pipeline::spooling`].
    #[must_use]
    pub fn new(settings: Settings, key: &RedactionKey) -> Pipeline {
        Pipeline {
            router: Router::new(&settings, key),
            locators: settings.locators.into(),
            origins: Origins::new(settings.tags, settings.fact_tags),
            running: Running::default(),
            calls: Calls::default(),
            spools: Spools::default(),
            left_out: LeftOut::default(),
            lines: String::new(),
            lost: Tally::default(),
        }
    }

    /// Adds a folder for bodies that are too large for memory.
    #[must_use]
    pub fn spooling(self, folder: Folder) -> Pipeline {
        Pipeline { spools: Spools::new(folder), ..self }
    }

    /// Changes the locations of objects from now on.
    pub fn locate(&mut self, locators: Arc<[Locator]>) {
        self.locators = locators;
    }

    /// Appends the records of `observation` to `out`: none, one, or an artifact record with its objects.
    pub fn apply(&mut self, observation: Observation, out: &mut Vec<Record>) {
        if let Some(later) = self.apply_or_defer(observation, out) {
            let lost = later.tell(out);
            self.lost.merge(&lost);
        }
    }

    /// The same, but returns work that takes long, to be done elsewhere.
    pub fn apply_or_defer(&mut self, observation: Observation, out: &mut Vec<Record>) -> Option<Later> {
        let mut seen = match observation {
            Observation::Connection(seen) => {
                let left_out = self.left_out.of(seen.conn.uid, seen.state == ConnState::Closed);
                let stack = self.router.of_connection(&seen.conn, seen.process.as_deref(), seen.authority.as_deref());
                out.push(connection::record(&seen, left_out, &mut self.origins, stack));
                return None;
            }
            Observation::Exchange(seen) => *seen,
        };
        let id = self.router.of_exchange(&seen)?;
        let steps = self.router.steps(id)?;
        if steps.leaves_out(seen.conn.uid) {
            leave_out(&seen, &mut self.left_out, &mut self.lost);
            return None;
        }
        let name = (seen.conn.uid, seen.number);
        let Exchange::Http(http) = &mut seen.exchange;
        let spooled = match http.part {
            Some(Part { large: true, .. }) => self.spools.join(name, http, &mut self.lost)?,
            Some(Part { large: false, .. }) | None => None,
        };
        let tags = self.origins.tags_of(seen.process.as_deref());
        let Some(verdict) = steps.evaluate(&mut seen, spooled.as_ref(), &tags) else {
            leave_out(&seen, &mut self.left_out, &mut self.lost);
            return None;
        };
        let mut untold = exchange::untold(seen, verdict, spooled, Chosen { id, steps }, &mut self.origins)?;
        if !untold.is_large() {
            untold.look(&self.locators, (&mut self.running, &mut self.calls), &mut self.lost);
        }
        untold.log(&mut self.lines);
        if untold.is_large() {
            return Some(Later { untold, locators: Arc::clone(&self.locators) });
        }
        untold.tell(&self.locators, &mut self.lost, out);
        None
    }

    /// True when the HTTP metrics count the exchange: its stack has `http_metrics`.
    #[must_use]
    pub fn counts(&self, observation: &Observation) -> bool {
        match observation {
            Observation::Exchange(seen) => self.router.of_exchange(seen).is_some_and(|id| self.router.counts(id)),
            Observation::Connection(_) => false,
        }
    }

    /// The lines of `access_logs` since the last call, each with its line end.
    pub fn take_lines(&mut self) -> String {
        std::mem::take(&mut self.lines)
    }

    /// How often each rule was the first to match; the counts continue to change while the pipeline runs.
    #[must_use]
    pub fn passed(&self) -> Vec<Arc<[Passed]>> {
        self.router.passed()
    }

    /// The losses since the last call.
    pub fn take_lost(&mut self) -> Tally {
        std::mem::take(&mut self.lost)
    }
}

/// Counts an exchange that a `sample` step left out, once, when it has ended.
fn leave_out(seen: &ExchangeSeen, left_out: &mut LeftOut, lost: &mut Tally) {
    let Exchange::Http(http) = &seen.exchange;
    if exchange::has_ended(seen) {
        let bodies = [http.request.as_ref().map(|r| r.body.size), http.response.as_ref().map(|r| r.body.size)];
        lost.add(Loss::SampledOut, bodies.into_iter().flatten().fold(0, u64::saturating_add));
        left_out.add(seen.conn.uid);
    }
}
