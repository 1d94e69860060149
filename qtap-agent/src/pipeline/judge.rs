//! Which bodies are wanted, told while exchanges run: what the settings come to, as the word that the parsers ask. In: settings. Out: a
//! [`Judge`]; none where no stack has rules that decide of bodies. It decides nothing of what is exported: `step` does, when the exchange has
//! ended, by the same table and the same rules.

use super::rule;
use super::settings::{FactTag, HttpCapture, Level, Settings, Step, tags_of};
use crate::model::exchange::HttpExchange;
use crate::model::judge::{Judge, Scene, Wanted};
use crate::model::route::{self, Routes};

/// What an exchange is judged by.
struct Table {
    routes: Routes,
    /// By the place of the stack; none: it captures nothing.
    captures: Vec<Option<HttpCapture>>,
    tags: Vec<String>,
    fact_tags: Vec<FactTag>,
}

impl Settings {
    /// Who tells which bodies are wanted of those that a stack wants at most; none: all of them.
    #[must_use]
    pub fn judge(&self) -> Option<Judge> {
        let captures: Vec<Option<HttpCapture>> = self.stacks().map(|stack| capture(&stack.steps)).collect();
        let decides = |capture: &HttpCapture| !capture.rules.is_empty() && capture.highest() == Level::Full;
        if !captures.iter().flatten().any(decides) {
            return None;
        }
        let (tags, fact_tags) = (self.tags.clone(), self.fact_tags.clone());
        let table = Table { routes: self.routes(), captures, tags, fact_tags };
        Some(Judge::new(move |exchange, scene| table.judge(exchange, scene)))
    }
}

/// What of the steps says the level: of several the last one holds, as when the steps are walked.
fn capture(steps: &[Step]) -> Option<HttpCapture> {
    steps.iter().fold(None, |last, step| match step {
        Step::HttpCapture(capture) => Some(capture.clone()),
        Step::Redact(_) => last,
    })
}

impl Table {
    fn judge(&self, exchange: &HttpExchange, scene: Option<&Scene>) -> Wanted {
        let authority = exchange.request.as_ref().and_then(|request| request.authority.as_deref());
        let process = scene.and_then(|scene| scene.process.as_deref());
        let stack = match (scene, authority.and_then(|authority| self.routes.by_name(authority))) {
            (_, Some(named)) => named,
            (Some(scene), None) => self.routes.stack_of(&route::Facts::of(&scene.conn, process, authority)),
            (None, None) if self.captures.len() > 1 => return Wanted::Open,
            (None, None) => self.routes.stack_of(&route::Facts::default()),
        };
        let Some(capture) = stack.and_then(|stack| self.captures.get(stack.0)?.as_ref()) else { return Wanted::No };
        let tags = tags_of(&self.tags, &self.fact_tags, process);
        let mut facts = rule::Facts::of(exchange).so_far();
        if let Some(scene) = scene {
            facts = facts.on(&scene.conn, process, &scene.host);
        }
        // One that is not there may still be learnt of the process.
        if tags.len() == self.tags.len() + self.fact_tags.len() {
            facts = facts.tagged(&tags);
        }
        match capture.outlook(&facts) {
            (Level::Full, _) => Wanted::Yes,
            (_, Level::Full) => Wanted::Open,
            (_, Level::None | Level::Summary | Level::Details) => Wanted::No,
        }
    }
}
