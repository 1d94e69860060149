//! What a stack does with an exchange: its steps, evaluated in the order of the file.
//!
//! In: the stack's settings, once; then each exchange. Out: how it is to be captured, and the exchange itself with everything
//! taken out that must not be seen. Rules are asked first, about the exchange as it was; of what changes it, a step sees what the
//! steps before it left. Sampling and the other plugins are more variants of [`Step`]. No record is written here.

use std::sync::Arc;

use super::RedactionKey;
use super::choose::{Chooser, Passed};
use super::redact::Redactor;
use super::rule::Facts;
use super::settings::{self, HttpCapture, Level, Stack};
use crate::model::exchange::HttpExchange;
use crate::model::judge::Scene;
use crate::model::process::Process;

/// One step, made ready.
#[derive(Debug)]
enum Step {
    HttpCapture(Chooser),
    Redact(Redactor),
}

/// The steps of one stack.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Makes the steps of `stack` ready.
    pub(super) fn new(stack: &Stack, key: &RedactionKey) -> Steps {
        let ready = |step: &settings::Step| match step {
            settings::Step::HttpCapture(capture) => Step::HttpCapture(Chooser::new(capture)),
            settings::Step::Redact(redact) => Step::Redact(Redactor::new(redact, key)),
        };
        Steps(stack.steps.iter().map(ready).collect())
    }

    /// Walks the steps. Of several `http_capture` steps the last one holds; of several `redact` steps all do. Without an
    /// `http_capture` step nothing is captured.
    pub(super) fn evaluate(&self, exchange: &mut HttpExchange, scene: &Scene, tags: &[String]) -> HttpCapture {
        let facts = Facts::of(exchange).on(&scene.conn, scene.process.as_deref(), &scene.host).tagged(tags);
        let ended = exchange.part.is_none_or(|part| part.last);
        let mut capture = HttpCapture { level: Level::None, ..HttpCapture::default() };
        for step in &self.0 {
            match step {
                Step::HttpCapture(chooser) => capture = chooser.choose(&facts, ended),
                Step::Redact(_) => {}
            }
        }
        for step in &self.0 {
            match step {
                Step::HttpCapture(_) => {}
                Step::Redact(redactor) => redactor.exchange(exchange),
            }
        }
        capture
    }

    /// How often each rule was the first to pass.
    pub(super) fn passed(&self) -> Vec<Arc<[Passed]>> {
        let counts = self.0.iter().filter_map(|step| match step {
            Step::HttpCapture(chooser) => Some(Arc::clone(chooser.passed())),
            Step::Redact(_) => None,
        });
        counts.collect()
    }

    /// The authority of a request, outside of an exchange, as it may be seen.
    pub(super) fn authority(&self, authority: &str) -> String {
        let seen = |text: String, redactor: &Redactor| redactor.authority(&text).unwrap_or(text);
        self.redactors().fold(authority.to_owned(), seen)
    }

    /// The process as it may be seen: its command line may hold a URL or a header field.
    pub(super) fn process(&self, process: &Arc<Process>) -> Arc<Process> {
        let mut seen = Arc::clone(process);
        for redactor in self.redactors() {
            if let Some(command) = redactor.command(&seen.command) {
                Arc::make_mut(&mut seen).command = command;
            }
        }
        seen
    }

    fn redactors(&self) -> impl Iterator<Item = &Redactor> {
        self.0.iter().filter_map(|step| match step {
            Step::Redact(redactor) => Some(redactor),
            Step::HttpCapture(_) => None,
        })
    }
}
