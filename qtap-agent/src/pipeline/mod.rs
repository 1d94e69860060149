//! The policy: from observations to records. Which exchanges are exported and how much of them (`step`), what may be seen of
//! them (`redact`), how they are written (`artifact`).
//!
//! An [`Observation`] comes in, [`Record`]s go out, in the order in which they were observed: the artifact record of an
//! exchange, then its objects. What leaves has been redacted and carries its object's URL and digest already, so that no
//! exporter waits for another. Nothing here asks for the time, draws a random number, reads a file or the network: the same
//! observations under the same settings and key give the same records, byte for byte.

mod artifact;
mod connection;
mod digest;
mod exchange;
mod origin;
mod redact;
mod rpc;
mod scan;
pub mod settings;
mod step;
#[cfg(test)]
mod tests;
mod trace_context;
mod url;

use crate::model::observation::Observation;
use crate::model::record::Record;
use artifact::Running;
use origin::Origins;
use settings::{Locator, Settings};
use step::Steps;

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
    http: Option<Steps>,
    locators: Vec<Locator>,
    origins: Origins,
    running: Running,
}

impl Pipeline {
    /// The pipeline that `settings` describe.
    #[must_use]
    pub fn new(settings: Settings, key: &RedactionKey) -> Pipeline {
        Pipeline {
            http: settings.http_stack.as_ref().map(|stack| Steps::new(stack, key)),
            locators: settings.locators,
            origins: Origins::new(settings.tags),
            running: Running::default(),
        }
    }

    /// Appends to `out` the records that `observation` makes: none, one, or an artifact record with its objects.
    pub fn apply(&mut self, observation: Observation, out: &mut Vec<Record>) {
        match observation {
            Observation::Connection(seen) => {
                out.push(connection::record(&seen, &mut self.origins, self.http.as_ref()));
            }
            Observation::Exchange(seen) => {
                if let Some(steps) = &self.http {
                    exchange::records(*seen, steps, &self.locators, &mut self.origins, &mut self.running, out);
                }
            }
        }
    }
}
