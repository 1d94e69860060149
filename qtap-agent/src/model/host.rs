//! What this host provides: each requirement of capture, whether it is met, what follows if it is not, and what helps. Plain data, shared by
//! the code that checks and the code that displays. In: findings. Out: the report built from them.

use serde::Serialize;

/// Whether a requirement is met, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Met.
    Ok,
    /// Capture works, but with restrictions.
    Degraded,
    /// Without it nothing is captured, or not what was asked for.
    Missing,
}

impl State {
    /// The state as a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Missing => "missing",
        }
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, from a fixed list.
    pub requirement: &'static str,
    /// Whether it is met.
    pub state: State,
    /// What was found, in words.
    pub found: String,
    /// The consequence, where the requirement is not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// What helps, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// A requirement that is met.
    pub fn ok(requirement: &'static str, found: impl Into<String>) -> Finding {
        Finding { requirement, state: State::Ok, found: found.into(), effect: None, remedy: None }
    }

    /// A requirement without which something does not work.
    pub fn degraded(requirement: &'static str, found: impl Into<String>, effect: &str, remedy: &str) -> Finding {
        let finding = Finding::ok(requirement, found);
        Finding { state: State::Degraded, effect: Some(effect.to_owned()), remedy: Some(remedy.to_owned()), ..finding }
    }

    /// A requirement without which capture does not work.
    pub fn missing(requirement: &'static str, found: impl Into<String>, effect: &str, remedy: &str) -> Finding {
        Finding { state: State::Missing, ..Finding::degraded(requirement, found, effect, remedy) }
    }

    /// A requirement that could not be checked because another one is not met; that one carries the remedy.
    pub fn not_tried(requirement: &'static str) -> Finding {
        let finding = Finding::ok(requirement, "not tried, for want of something above");
        Finding { state: State::Missing, ..finding }
    }
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst state among them.
    pub state: State,
    /// The findings.
    pub requirements: Vec<Finding>,
}

impl Report {
    /// The report of these findings.
    #[must_use]
    pub fn of(requirements: Vec<Finding>) -> Report {
        let state = requirements.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
        Report { state, requirements }
    }

    /// Requirements that capture cannot do without and for which there is a remedy.
    pub fn wanting(&self) -> impl Iterator<Item = &Finding> {
        self.requirements.iter().filter(|finding| finding.state == State::Missing && finding.remedy.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_good_as_its_worst_finding() {
        let (good, bad) = (Finding::ok("a", "there"), Finding::degraded("b", "half", "less", "more"));
        let gone = Finding::missing("c", "gone", "nothing", "get it");
        assert_eq!(Report::of(Vec::new()).state, State::Ok);
        assert_eq!(Report::of(vec![good.clone(), bad.clone()]).state, State::Degraded);
        let report = Report::of(vec![good, gone.clone(), bad, Finding::not_tried("d")]);
        assert_eq!(report.state, State::Missing);
        assert_eq!(report.wanting().collect::<Vec<_>>(), [&gone], "what was not tried has no remedy of its own");
    }
}
