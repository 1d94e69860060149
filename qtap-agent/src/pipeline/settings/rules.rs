//! Rules that choose the level of an exchange, or the mode of its log line, and what a list of them implies.

use super::{AccessLogs, HttpCapture, Level, Settings, Step};
use crate::pipeline::rule::{Facts, Outcomes};

/// For the code that reads the configuration file.
pub use crate::pipeline::rule::{Macros, Rule, compile};

/// One of the `rules` of `http_capture`, or of `access_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureRule {
    /// Its name in the counts; unique in its list.
    pub name: String,
    /// Selects exchanges.
    pub rule: Rule,
    /// How much of them is exported, or written to the log line.
    pub level: Level,
}

impl HttpCapture {
    /// The highest level that an exchange can have.
    #[must_use]
    pub fn highest(&self) -> Level {
        highest(self.level, &self.rules)
    }

    /// The index of the first rule that matches.
    #[must_use]
    pub fn passed(&self, facts: &Facts<'_>) -> Option<usize> {
        first_to_pass(&self.rules, facts)
    }

    /// The lowest and the highest level that an exchange can still get, given what is known of it.
    #[must_use]
    pub fn outlook(&self, facts: &Facts<'_>) -> (Level, Level) {
        outlook(self.level, &self.rules, facts)
    }

    /// The same, without its rules.
    #[must_use]
    pub fn without_rules(&self) -> HttpCapture {
        HttpCapture { rules: Vec::new(), ..self.clone() }
    }
}

impl AccessLogs {
    /// The highest mode that a line can have.
    #[must_use]
    pub fn highest(&self) -> Level {
        highest(self.mode, &self.rules)
    }

    /// The lowest and the highest mode that the line of an exchange can still get, given what is known of it.
    #[must_use]
    pub fn outlook(&self, facts: &Facts<'_>) -> (Level, Level) {
        outlook(self.mode, &self.rules, facts)
    }

    /// The same, without its rules.
    #[must_use]
    pub fn without_rules(&self) -> AccessLogs {
        AccessLogs { rules: Vec::new(), ..self.clone() }
    }
}

fn highest(level: Level, rules: &[CaptureRule]) -> Level {
    rules.iter().map(|rule| rule.level).fold(level, Level::max)
}

/// The index of the first rule that matches.
pub(crate) fn first_to_pass(rules: &[CaptureRule], facts: &Facts<'_>) -> Option<usize> {
    rules.iter().position(|rule| rule.rule.eval(facts) == Some(true))
}

/// The lowest and the highest level that `level` and `rules` can still yield.
fn outlook(level: Level, rules: &[CaptureRule], facts: &Facts<'_>) -> (Level, Level) {
    let mut reach: Option<(Level, Level)> = None;
    let mut add = |level: Level| {
        reach = Some(reach.map_or((level, level), |(low, high)| (low.min(level), high.max(level))));
    };
    let mut settled = false;
    for CaptureRule { rule, level, .. } in rules {
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
        add(level);
    }
    reach.unwrap_or((level, level))
}

impl Settings {
    /// Names of the environment variables that rules use: only these are captured.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let steps = self.stacks().flat_map(|stack| &stack.steps);
        let rules = steps.flat_map(|step| -> Vec<&Rule> {
            match step {
                Step::HttpCapture(capture) => capture.rules.iter().map(|rule| &rule.rule).collect(),
                Step::AccessLogs(logs) => logs.rules.iter().map(|rule| &rule.rule).collect(),
                Step::DetectErrors(detect) => detect.rules.iter().filter_map(|rule| rule.expr.as_ref()).collect(),
                Step::ReportUsage(_) | Step::HttpMetrics(_) | Step::Redact(_) | Step::GenAi(_) | Step::Sample(_) => {
                    Vec::new()
                }
            }
        });
        let mut names: Vec<String> = rules.flat_map(Rule::variables).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}
