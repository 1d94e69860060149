//! Which bodies are wanted, told while exchanges run: what the settings come to, as the word that the parsers ask. In: settings. Out: an
//! [`Appetite`]; none where all bodies are kept, or none is, whatever the exchange. It decides nothing of what is exported: `step`
//! does, when the exchange has ended, by the same rules.

use super::rule::Facts;
use super::settings::{HttpCapture, Level, Settings, Step};
use crate::model::appetite::{Appetite, Wanted};

impl Settings {
    /// Who tells which bodies are wanted; none: [`Settings::keeps_bodies`] holds for all.
    #[must_use]
    pub fn appetite(&self) -> Option<Appetite> {
        let steps = self.http_stack.iter().flat_map(|stack| &stack.steps);
        // Of several the last one holds, as when the steps are walked.
        let capture = steps.fold(None, |last, step| match step {
            Step::HttpCapture(capture) => Some(capture),
            Step::Redact(_) => last,
        })?;
        if capture.rules.is_empty() || capture.highest() < Level::Full {
            return None;
        }
        let (capture, tags): (HttpCapture, Vec<String>) = (capture.clone(), self.tags.clone());
        Some(Appetite::new(move |exchange, scene| {
            let facts = Facts::of(exchange).tagged(&tags).so_far();
            let facts = match scene {
                Some(scene) => facts.on(&scene.conn, scene.process.as_deref(), &scene.host),
                None => facts,
            };
            match capture.outlook(&facts) {
                (Level::Full, _) => Wanted::Yes,
                (_, Level::Full) => Wanted::Open,
                (_, Level::None | Level::Summary | Level::Details) => Wanted::No,
            }
        }))
    }
}
