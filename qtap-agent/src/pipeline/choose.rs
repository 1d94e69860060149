//! How much of an exchange is told: the level of the first rule that passes, else the plugin's own. In: facts. Out: a level. It counts how
//! often each rule was the one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::Facts;
use super::settings::{AccessLogs, CaptureRule, HttpCapture, Level, first_to_pass};

/// How often a rule was the first to pass.
#[derive(Debug)]
pub struct Passed {
    /// Its name; that of `access_logs` stands before those of its rules.
    pub rule: String,
    count: AtomicU64,
}

impl Passed {
    /// Exchanges so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The rules of a plugin, made ready.
#[derive(Debug)]
pub(super) struct Chooser {
    level: Level,
    rules: Vec<CaptureRule>,
    passed: Arc<[Passed]>,
}

impl Chooser {
    pub(super) fn of_capture(capture: &HttpCapture) -> Chooser {
        Chooser::new(capture.level, &capture.rules, "")
    }

    pub(super) fn of_logs(logs: &AccessLogs) -> Chooser {
        Chooser::new(logs.mode, &logs.rules, "access_logs.")
    }

    fn new(level: Level, rules: &[CaptureRule], prefix: &str) -> Chooser {
        let passed = rules.iter().map(|rule| Passed { rule: [prefix, &rule.name].concat(), count: AtomicU64::new(0) });
        Chooser { level, passed: passed.collect(), rules: rules.to_vec() }
    }

    /// How much is told of an exchange, or of a part of one. `counts`: it is the whole, or the last part.
    pub(super) fn choose(&self, facts: &Facts<'_>, counts: bool) -> Level {
        let Some(nth) = first_to_pass(&self.rules, facts) else { return self.level };
        if let Some(passed) = self.passed.get(nth).filter(|_| counts) {
            passed.count.fetch_add(1, Ordering::Relaxed);
        }
        self.rules.get(nth).map_or(self.level, |rule| rule.level)
    }

    /// The counts, which go on.
    pub(super) fn passed(&self) -> &Arc<[Passed]> {
        &self.passed
    }
}
