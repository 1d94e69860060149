//! Decides which bodies are wanted while exchanges are still running: the settings, as a function that the parsers call. In: settings.
//! Out: a [`Judge`], or `None` if nothing in them decides about bodies. It does not decide what is exported: `step` does that once the
//! exchange has ended, with the same table, the same rules and the same sampling decision.

use super::gen_ai;
use super::issues;
use super::rule;
use super::sample;
use super::settings::{AccessLogs, DetectErrors, FactTag, HttpCapture, Level, Sample, Settings, Step, tags_of};
use crate::model::exchange::HttpExchange;
use crate::model::judge::{Judge, Scene, Wanted};
use crate::model::route::{self, Routes};

/// What exchanges are judged by.
struct Table {
    routes: Routes,
    /// Indexed by stack.
    stacks: Vec<Wishes>,
    tags: Vec<String>,
    fact_tags: Vec<FactTag>,
}

/// The steps of a stack that want bodies or leave them out.
#[derive(Default)]
struct Wishes {
    capture: Option<HttpCapture>,
    logs: Option<AccessLogs>,
    detect: Option<DetectErrors>,
    sample: Option<Sample>,
    /// Calls to language models are read.
    gen_ai: bool,
}

impl Settings {
    /// Decides which of the bodies that a stack may want are in fact wanted; `None`: all of them.
    #[must_use]
    pub fn judge(&self) -> Option<Judge> {
        let stacks: Vec<Wishes> = self.stacks().map(|stack| Wishes::of(&stack.steps)).collect();
        let decides = self.stacks().zip(&stacks).any(|(stack, wishes)| stack.appetite().bodies && wishes.decide());
        if !decides {
            return None;
        }
        let (tags, fact_tags) = (self.tags.clone(), self.fact_tags.clone());
        let table = Table { routes: self.routes(), stacks, tags, fact_tags };
        Some(Judge::new(move |exchange, scene| table.judge(exchange, scene)))
    }
}

impl Wishes {
    /// The last of several `http_capture` steps applies, as when the steps run; the other steps occur at most once.
    fn of(steps: &[Step]) -> Wishes {
        let mut wishes = Wishes::default();
        for step in steps {
            match step {
                Step::HttpCapture(capture) => wishes.capture = Some(capture.clone()),
                Step::AccessLogs(logs) => wishes.logs = Some(logs.clone()),
                Step::DetectErrors(detect) => wishes.detect = Some(detect.clone()),
                Step::Sample(sample) => wishes.sample = Some(sample.clone()),
                Step::GenAi(_) => wishes.gen_ai = true,
                Step::ReportUsage(_) | Step::HttpMetrics(_) | Step::Redact(_) => {}
            }
        }
        wishes
    }

    /// True when the wanted bodies depend on the exchange.
    fn decide(&self) -> bool {
        let rules = self.capture.iter().map(|capture| &capture.rules).chain(self.logs.iter().map(|logs| &logs.rules));
        let draws = self.sample.as_ref().is_some_and(sample::draws_by_connection);
        draws
            || self.gen_ai
            || rules.into_iter().any(|rules| !rules.is_empty())
            || self.detect.as_ref().is_some_and(issues::want_bodies)
    }

    fn judge(&self, exchange: &HttpExchange, facts: &rule::Facts<'_>, scene: Option<&Scene>) -> Wanted {
        let drawn = self.sample.as_ref().filter(|sample| sample::draws_by_connection(sample));
        match (drawn, scene) {
            (Some(sample), Some(scene)) if sample::leaves_out(sample, scene.conn.uid) => return Wanted::No,
            (Some(_), None) => return Wanted::Open,
            (Some(_) | None, _) => {}
        }
        let level = |(low, high): (Level, Level)| match (low, high) {
            (Level::Full, _) => Wanted::Yes,
            (_, Level::Full) => Wanted::Open,
            (_, Level::None | Level::Summary | Level::Details) => Wanted::No,
        };
        let all = [
            self.capture.as_ref().map_or(Wanted::No, |capture| level(capture.outlook(facts))),
            self.logs.as_ref().map_or(Wanted::No, |logs| level(logs.outlook(facts))),
            self.detect.as_ref().map_or(Wanted::No, |detect| issues::wanted(detect, exchange, facts)),
            if self.gen_ai { gen_ai::wanted(exchange) } else { Wanted::No },
        ];
        if all.contains(&Wanted::Yes) {
            Wanted::Yes
        } else if all.contains(&Wanted::Open) {
            Wanted::Open
        } else {
            Wanted::No
        }
    }
}

impl Table {
    fn judge(&self, exchange: &HttpExchange, scene: Option<&Scene>) -> Wanted {
        let authority = exchange.request.as_ref().and_then(|request| request.authority.as_deref());
        let process = scene.and_then(|scene| scene.process.as_deref());
        let stack = match (scene, authority.and_then(|authority| self.routes.by_name(authority))) {
            (_, Some(named)) => named,
            (Some(scene), None) => {
                let facts = route::Facts::of(&scene.conn, process, authority);
                if self.stacks.len() > 1 && self.routes.is_open(&facts) {
                    return Wanted::Open;
                }
                self.routes.stack_of(&facts)
            }
            (None, None) if self.stacks.len() > 1 => return Wanted::Open,
            (None, None) => self.routes.stack_of(&route::Facts::default()),
        };
        let Some(wishes) = stack.and_then(|stack| self.stacks.get(stack.0)) else { return Wanted::No };
        let tags = tags_of(&self.tags, &self.fact_tags, process);
        let mut facts = rule::Facts::of(exchange).so_far();
        if let Some(scene) = scene {
            facts = facts.on(&scene.conn, process, &scene.host);
        }
        // A tag that is missing may still be learned from the process.
        if tags.len() == self.tags.len() + self.fact_tags.len() {
            facts = facts.tagged(&tags);
        }
        wishes.judge(exchange, &facts, scene)
    }
}
