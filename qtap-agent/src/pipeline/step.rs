//! What a stack does with an exchange: its steps, evaluated in the order of the file.
//!
//! In: the stack's settings, once; then each exchange with all that is known of where it happened. Out: a [`Verdict`], and the
//! exchange itself with everything taken out that must not be seen. A step sees what the steps before it left. Each plugin is a
//! variant of [`Step`], evaluated in the same loop, and says what it wants in the verdict. No record is written here.

use std::sync::Arc;

use super::RedactionKey;
use super::redact::Redactor;
use super::settings::{self, HttpCapture, Level, Stack};
use crate::model::exchange::Exchange;
use crate::model::observation::ExchangeSeen;
use crate::model::process::Process;

/// One step, made ready.
#[derive(Debug)]
enum Step {
    HttpCapture(HttpCapture),
    Redact(Redactor),
}

/// What the steps of a stack say of one exchange, or of a part of one.
#[derive(Debug)]
pub(super) struct Verdict {
    /// How it is captured.
    pub(super) capture: HttpCapture,
}

impl Default for Verdict {
    /// Nothing is captured.
    fn default() -> Verdict {
        Verdict { capture: HttpCapture { level: Level::None, ..HttpCapture::default() } }
    }
}

/// The steps of one stack.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Makes the steps of `stack` ready.
    pub(super) fn new(stack: &Stack, key: &RedactionKey) -> Steps {
        let ready = |step: &settings::Step| match step {
            settings::Step::HttpCapture(capture) => Step::HttpCapture(capture.clone()),
            settings::Step::Redact(redact) => Step::Redact(Redactor::new(redact, key)),
        };
        Steps(stack.steps.iter().map(ready).collect())
    }

    /// Walks the steps. Of several `http_capture` steps the last one holds; of several `redact` steps all do. Without an
    /// `http_capture` step nothing is captured.
    pub(super) fn evaluate(&mut self, seen: &mut ExchangeSeen) -> Verdict {
        let Exchange::Http(http) = &mut seen.exchange;
        let mut verdict = Verdict::default();
        for step in &mut self.0 {
            match step {
                Step::HttpCapture(wanted) => verdict.capture = wanted.clone(),
                Step::Redact(redactor) => redactor.exchange(http),
            }
        }
        verdict
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
