//! Applies a stack to an exchange: its steps, evaluated in the order of the configuration file.
//!
//! In: the stack's settings, once; then each exchange with its context. Out: a [`Verdict`], and the redacted exchange. Rules are
//! evaluated first, on the original exchange; a step that inspects the exchange itself sees it as changed by the steps before it. Each
//! plugin is a variant of [`Step`], and adds its result to the verdict. No record is written here.

use std::sync::Arc;

use super::RedactionKey;
use super::choose::{Chooser, Passed};
use super::exchange;
use super::gen_ai;
use super::issues::{Detectors, Issue};
use super::redact::{Looks, Redactor};
use super::rule::Facts;
use super::sample::Sampler;
use super::settings::{self, AccessLogs, HttpCapture, Level, Stack};
use super::spool::Spooled;
use super::usage::{Credential, Usage};
use crate::model::conn::ConnectionUid;
use crate::model::exchange::{Exchange, HttpExchange};
use crate::model::observation::ExchangeSeen;
use crate::model::process::Process;

/// A compiled step.
#[derive(Debug)]
enum Step {
    HttpCapture(HttpCapture, Chooser),
    AccessLogs(AccessLogs, Chooser),
    ReportUsage(Usage),
    DetectErrors(Detectors),
    /// The caller of the pipeline does the counting.
    HttpMetrics,
    Redact(Redactor),
    Sample(Sampler),
    /// True: conversations become objects.
    GenAi(bool),
}

/// What the steps of a stack decide about one exchange, or about a part of one.
#[derive(Debug)]
pub(super) struct Verdict {
    /// How to capture it.
    pub(super) capture: HttpCapture,
    /// What to redact in its bodies.
    pub(super) looks: Looks,
    /// Set if it is read as a call to a language model; true: its conversation becomes an object.
    pub(super) gen_ai: Option<bool>,
    /// The log line to write; `None`: no line.
    pub(super) log: Option<AccessLogs>,
    /// Who used what; `None`: no step asks for it.
    pub(super) usage: Option<Used>,
    /// What is wrong with the exchange.
    pub(super) issues: Vec<Issue>,
}

/// What is reported of a use in addition to the exchange itself.
#[derive(Debug)]
pub(super) struct Used {
    /// `None`: the request had no credential.
    pub(super) credential: Option<Credential>,
}

impl Default for Verdict {
    /// Nothing is captured.
    fn default() -> Verdict {
        let capture = HttpCapture { level: Level::None, ..HttpCapture::default() };
        Verdict { capture, looks: Looks::default(), gen_ai: None, log: None, usage: None, issues: Vec::new() }
    }
}

impl Verdict {
    /// The levels at which the request and the response become objects: an issue never records less than what is captured anyway.
    pub(super) fn levels(&self) -> [Level; 2] {
        let captured = self.capture.level;
        let most = |of: fn(&Issue) -> Level| self.issues.iter().map(of).fold(captured, Level::max);
        [most(|issue| issue.request), most(|issue| issue.response)]
    }

    /// Marks a shown body that was not kept as truncated. (A rule may match after all if its facts changed meanwhile.)
    pub(super) fn say_unwanted(&self, http: &mut HttpExchange) {
        let shown = self.log.as_ref().map_or(Level::None, |log| log.mode);
        let bodies = [http.request.as_mut().map(|r| &mut r.body), http.response.as_mut().map(|r| &mut r.body)];
        for (body, level) in bodies.into_iter().zip(self.levels()) {
            body.into_iter().for_each(|body| body.truncated |= body.unwanted && level.max(shown) == Level::Full);
        }
    }

    /// True when something of the exchange is reported.
    pub(super) fn is_any(&self) -> bool {
        self.capture.level > Level::None || self.log.is_some() || self.usage.is_some() || !self.issues.is_empty()
    }
}

/// The steps of one stack.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// Compiles the steps of `stack`.
    pub(super) fn new(stack: &Stack, key: &RedactionKey) -> Steps {
        let ready = |step: &settings::Step| match step {
            settings::Step::HttpCapture(capture) => {
                Step::HttpCapture(capture.without_rules(), Chooser::of_capture(capture))
            }
            settings::Step::AccessLogs(logs) => Step::AccessLogs(logs.without_rules(), Chooser::of_logs(logs)),
            settings::Step::ReportUsage(usage) => Step::ReportUsage(Usage::new(usage)),
            settings::Step::DetectErrors(detect) => Step::DetectErrors(Detectors::new(detect)),
            settings::Step::HttpMetrics(_) => Step::HttpMetrics,
            settings::Step::Redact(redact) => Step::Redact(Redactor::new(redact, key)),
            settings::Step::Sample(sample) => Step::Sample(Sampler::new(sample)),
            settings::Step::GenAi(gen_ai) => Step::GenAi(gen_ai.conversations),
        };
        Steps(stack.steps.iter().map(ready).collect())
    }

    /// Evaluates the steps; `None` when a `sample` step leaves out the exchange, or this part of it. Of several `http_capture` steps the
    /// last one applies; of several `redact` steps all do. Without an `http_capture` step nothing is captured. The position of a `sample`
    /// step makes no difference, and a `report_usage` step sees credentials wherever it is: it outputs only their digests.
    /// `tags`: the tags that rules see.
    pub(super) fn evaluate(
        &mut self,
        seen: &mut ExchangeSeen,
        spooled: Option<&Spooled>,
        tags: &[String],
    ) -> Option<Verdict> {
        let is_told = self.samples(seen);
        if !is_told && !self.keeps_errors() {
            return None;
        }
        let ended = exchange::has_ended(seen);
        let (mut verdict, held) = self.choose(seen, tags, ended);
        for step in &mut self.0 {
            match step {
                Step::DetectErrors(detectors) => verdict.issues = detectors.look(seen, spooled, held),
                Step::Redact(redactor) => {
                    let Exchange::Http(http) = &mut seen.exchange;
                    redactor.exchange(http);
                    verdict.looks.add(redactor);
                }
                Step::GenAi(conversations) => {
                    let Exchange::Http(http) = &seen.exchange;
                    verdict.gen_ai = gen_ai::is_call(http).then_some(*conversations);
                }
                Step::HttpCapture(..)
                | Step::AccessLogs(..)
                | Step::ReportUsage(_)
                | Step::HttpMetrics
                | Step::Sample(_) => {}
            }
        }
        let is_error = || ended && (!verdict.issues.is_empty() || exchange::has_failed(seen));
        (is_told || is_error()).then_some(verdict)
    }

    /// The results of the steps that inspect the original exchange, and which issue rules hold for it.
    fn choose(&self, seen: &ExchangeSeen, tags: &[String], ended: bool) -> (Verdict, u64) {
        let Exchange::Http(http) = &seen.exchange;
        let facts = Facts::of(http).on(&seen.conn, seen.process.as_deref(), &seen.host).tagged(tags);
        let (mut verdict, mut held) = (Verdict::default(), 0);
        for step in &self.0 {
            match step {
                Step::HttpCapture(capture, chooser) => {
                    verdict.capture = HttpCapture { level: chooser.choose(&facts, ended), ..capture.clone() };
                }
                Step::AccessLogs(logs, chooser) if ended => {
                    let mode = chooser.choose(&facts, ended);
                    verdict.log = (mode > Level::None).then(|| AccessLogs { mode, ..logs.clone() });
                }
                Step::ReportUsage(usage) if ended => {
                    let credential = http.request.as_ref().and_then(|request| usage.credential(request));
                    verdict.usage = Some(Used { credential });
                }
                Step::DetectErrors(detectors) if ended => held = detectors.hold(&facts),
                Step::AccessLogs(..)
                | Step::ReportUsage(_)
                | Step::DetectErrors(_)
                | Step::HttpMetrics
                | Step::Redact(_)
                | Step::GenAi(_)
                | Step::Sample(_) => {}
            }
        }
        (verdict, held)
    }

    /// True when nothing of the connection will be kept, whatever it carries.
    pub(super) fn leaves_out(&self, connection: ConnectionUid) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Sample(sampler) if sampler.leaves_out(connection)))
    }

    /// True when the HTTP metrics count its exchanges.
    pub(super) fn counts(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::HttpMetrics))
    }

    fn samples(&mut self, seen: &ExchangeSeen) -> bool {
        let Exchange::Http(http) = &seen.exchange;
        self.0.iter_mut().all(|step| if let Step::Sample(sampler) = step { sampler.tells(seen, http) } else { true })
    }

    fn keeps_errors(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Sample(sampler) if sampler.keeps_errors()))
    }

    /// How often each rule was the first to match.
    pub(super) fn passed(&self) -> Vec<Arc<[Passed]>> {
        let counts = self.0.iter().filter_map(|step| match step {
            Step::HttpCapture(_, chooser) | Step::AccessLogs(_, chooser) => Some(Arc::clone(chooser.passed())),
            Step::ReportUsage(_)
            | Step::DetectErrors(_)
            | Step::HttpMetrics
            | Step::Redact(_)
            | Step::GenAi(_)
            | Step::Sample(_) => None,
        });
        counts.collect()
    }

    /// The redacted authority of a request, outside of an exchange.
    pub(super) fn authority(&self, authority: &str) -> String {
        let seen = |text: String, redactor: &Redactor| redactor.authority(&text).unwrap_or(text);
        self.redactors().fold(authority.to_owned(), seen)
    }

    /// The redacted process: its command line may contain a URL or a header field.
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
        self.0.iter().filter_map(|step| if let Step::Redact(redactor) = step { Some(redactor) } else { None })
    }
}
