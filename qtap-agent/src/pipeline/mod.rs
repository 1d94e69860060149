//! The policy: from observations to records. Which exchanges are exported and how much of them (`step`), what may be seen of
//! them (`redact`), how they are written (`artifact`).
//!
//! An [`Observation`] comes in, [`Record`]s go out, in the order in which they were observed: the artifact record of an
//! exchange, then its objects. What leaves has been redacted and carries its object's URL and digest already, so that no
//! exporter waits for another. Nothing here asks for the time, draws a random number, or reads the network; of files only those of
//! bodies that are too large for memory (`spool`), and what becomes of an exchange does not depend on which it was: the same
//! observations under the same settings and key give the same records, byte for byte.

mod artifact;
mod connection;
mod digest;
mod exchange;
mod origin;
mod redact;
mod router;
mod rpc;
mod scan;
pub mod settings;
pub mod spool;
mod step;
#[cfg(test)]
mod tests;
mod trace_context;
mod url;

use std::sync::Arc;

use crate::model::exchange::{Exchange, Part};
use crate::model::loss::Tally;
use crate::model::observation::Observation;
use crate::model::record::Record;
use artifact::Running;
use exchange::Untold;
use origin::Origins;
use router::Router;
use settings::{Locator, Settings};
use spool::{Folder, Spools};

/// Key of the `hash` form of redaction: one a run (or one a host, where equal values are to stay equal across runs and in a
/// replay). Whoever has it can test guesses of what was hashed.
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
    spools: Spools,
    lost: Tally,
}

/// An exchange whose documents are written to disk: that takes long, and can be done elsewhere.
#[derive(Debug)]
pub struct Later {
    untold: Untold,
    locators: Arc<[Locator]>,
}

impl Later {
    /// Appends its records; what was lost on the way.
    pub fn tell(self, out: &mut Vec<Record>) -> Tally {
        let mut lost = Tally::default();
        self.untold.tell(&self.locators, &mut Running::default(), &mut lost, out);
        lost
    }
}

impl Pipeline {
    /// The pipeline that `settings` describe. Bodies that are too large for memory have no place: see [`Pipeline::spooling`].
    #[must_use]
    pub fn new(settings: Settings, key: &RedactionKey) -> Pipeline {
        Pipeline {
            router: Router::new(&settings, key),
            locators: settings.locators.into(),
            origins: Origins::new(settings.tags, settings.fact_tags),
            running: Running::default(),
            spools: Spools::default(),
            lost: Tally::default(),
        }
    }

    /// The same, with a folder for bodies that are too large for memory.
    #[must_use]
    pub fn spooling(self, folder: Folder) -> Pipeline {
        Pipeline { spools: Spools::new(folder), ..self }
    }

    /// From now on objects are said to be there.
    pub fn locate(&mut self, locators: Arc<[Locator]>) {
        self.locators = locators;
    }

    /// Appends to `out` the records that `observation` makes: none, one, or an artifact record with its objects.
    pub fn apply(&mut self, observation: Observation, out: &mut Vec<Record>) {
        if let Some(later) = self.apply_or_defer(observation, out) {
            let lost = later.tell(out);
            self.lost.merge(&lost);
        }
    }

    /// The same; but what takes long comes out, to be told elsewhere.
    pub fn apply_or_defer(&mut self, observation: Observation, out: &mut Vec<Record>) -> Option<Later> {
        let mut seen = match observation {
            Observation::Connection(seen) => {
                let stack = self.router.of_connection(&seen.conn, seen.process.as_deref(), seen.authority.as_deref());
                out.push(connection::record(&seen, &mut self.origins, stack));
                return None;
            }
            Observation::Exchange(seen) => *seen,
        };
        let name = (seen.conn.uid, seen.number);
        let Exchange::Http(http) = &mut seen.exchange;
        let authority = http.request.as_ref().and_then(|request| request.authority.as_deref());
        let stack = self.router.of_exchange(&seen.conn, seen.process.as_deref(), authority)?;
        let spooled = match http.part {
            Some(Part { large: true, .. }) => self.spools.join(name, http, &mut self.lost)?,
            Some(Part { large: false, .. }) | None => None,
        };
        let untold = exchange::evaluate(seen, spooled, stack, &mut self.origins)?;
        if untold.is_large() {
            return Some(Later { untold, locators: Arc::clone(&self.locators) });
        }
        untold.tell(&self.locators, &mut self.running, &mut self.lost, out);
        None
    }

    /// What was lost since this was asked last.
    pub fn take_lost(&mut self) -> Tally {
        std::mem::take(&mut self.lost)
    }
}
