//! How much of an exchange is captured: the level of the first rule that passes, else the plugin's own. In: facts. Out: what the artifacts
//! are made by. It counts how often each rule was the one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rule::Facts;
use super::settings::HttpCapture;

/// How often a rule was the first to pass.
#[derive(Debug)]
pub struct Passed {
    /// Its name.
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

/// `http_capture`, made ready.
#[derive(Debug)]
pub(super) struct Chooser {
    capture: HttpCapture,
    /// The same without rules: what is handed on.
    plain: HttpCapture,
    passed: Arc<[Passed]>,
}

impl Chooser {
    pub(super) fn new(capture: &HttpCapture) -> Chooser {
        let passed = capture.rules.iter().map(|rule| Passed { rule: rule.name.clone(), count: AtomicU64::new(0) });
        Chooser {
            passed: passed.collect(),
            plain: HttpCapture { rules: Vec::new(), ..capture.clone() },
            capture: capture.clone(),
        }
    }

    /// How an exchange, or a part of one, is captured. `counts`: it is the whole, or the last part.
    pub(super) fn choose(&self, facts: &Facts<'_>, counts: bool) -> HttpCapture {
        let Some(nth) = self.capture.passed(facts) else { return self.plain.clone() };
        if let Some(passed) = self.passed.get(nth).filter(|_| counts) {
            passed.count.fetch_add(1, Ordering::Relaxed);
        }
        let level = self.capture.rules.get(nth).map_or(self.plain.level, |rule| rule.level);
        HttpCapture { level, ..self.plain.clone() }
    }

    /// The counts, which go on.
    pub(super) fn passed(&self) -> &Arc<[Passed]> {
        &self.passed
    }
}
