//! Rules that choose the level of an exchange, and what follows from a list of them.

use super::{HttpCapture, Level, Settings, Step};
use crate::pipeline::rule::{Facts, Outcomes};

/// What the text of a rule is made into, for who reads the file.
pub use crate::pipeline::rule::{Macros, Rule, compile};

/// One of the `rules` of `http_capture`.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureRule {
    /// Its name in counts; unique in its list.
    pub name: String,
    /// Which exchanges it is for.
    pub rule: Rule,
    /// How much of them is exported.
    pub level: Level,
}

impl HttpCapture {
    /// The highest level that an exchange can have.
    #[must_use]
    pub fn highest(&self) -> Level {
        self.rules.iter().map(|rule| rule.level).fold(self.level, Level::max)
    }

    /// The first rule that passes, by its number.
    #[must_use]
    pub fn passed(&self, facts: &Facts<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.rule.eval(facts) == Some(true))
    }

    /// The lowest and the highest level that an exchange can still have, by what is known of it.
    #[must_use]
    pub fn outlook(&self, facts: &Facts<'_>) -> (Level, Level) {
        let mut reach: Option<(Level, Level)> = None;
        let mut add = |level: Level| {
            reach = Some(reach.map_or((level, level), |(low, high)| (low.min(level), high.max(level))));
        };
        let mut settled = false;
        for CaptureRule { rule, level, .. } in &self.rules {
            let outcomes = rule.outcomes(facts);
            if outcomes.may_be(Outcomes::TRUE) {
                add(*level);
            }
            if outcomes.is_only(Outcomes::TRUE) {
                settled = true;
                break;
            }
        }
        if !settled {
            add(self.level);
        }
        reach.unwrap_or((self.level, self.level))
    }
}

impl Settings {
    /// Names of the variables of processes that rules ask for: the only ones that are captured.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let steps = self.stacks().flat_map(|stack| &stack.steps);
        let rules = steps.flat_map(|step| match step {
            Step::HttpCapture(capture) => capture.rules.as_slice(),
            Step::Redact(_) => &[],
        });
        let mut names: Vec<String> = rules.flat_map(|rule| rule.rule.variables()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}
