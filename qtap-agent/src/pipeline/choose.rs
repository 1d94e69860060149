//! How much of an exchange is reported: the level of the first rule that matches, else the plugin's own. In: facts. Out: a level. Counts
//! how often each rule was the first match.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::Facts;
use super::settings::{AccessLogs, CaptureRule, HttpCapture, Level, first_to_pass};

/// How often a rule was the first to match.
#[derive(Debug)]
pub struct Passed {
    /// The rule's name; rules of `access_logs` have the prefix `access_logs.`.
    pub rule: String,
    count: AtomicU64,
}

impl Passed {
    /// Number of exchanges so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The compiled rules of a plugin.
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

    /// How much of an exchange, or of a part of one, is reported. `counts`: it is a whole exchange, or its last part.
    pub(super) fn choose(&self, facts: &Facts<'_>, counts: bool) -> Level {
        let Some(nth) = first_to_pass(&self.rules, facts) else { return self.level };
        if let Some(passed) = self.passed.get(nth).filter(|_| counts) {
            passed.count.fetch_add(1, Ordering::Relaxed);
        }
        self.rules.get(nth).map_or(self.level, |rule| rule.level)
    }

    /// The counts; they continue to change.
    pub(super) fn passed(&self) -> &Arc<[Passed]> {
        &self.passed
    }
}
