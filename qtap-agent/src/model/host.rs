//! What this host offers: each thing that capture wants of it, whether it is there, what follows if not, and what helps. Plain data, for
//! whoever looks and whoever shows. In: findings. Out: the report made of them.

use serde::Serialize;

/// How it is with a requirement, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Capture works; something of it does not.
    Degraded,
    /// Without it nothing is captured, or not what was asked for.
    Missing,
}

impl State {
    /// The word for it.
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
    /// Its name, from a closed list.
    pub requirement: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, in words.
    pub found: String,
    /// What follows from it, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// What helps, where something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(requirement: &'static str, found: impl Into<String>) -> Finding {
        Finding { requirement, state: State::Ok, found: found.into(), effect: None, remedy: None }
    }

    /// Something does not work without it.
    pub fn degraded(requirement: &'static str, found: impl Into<String>, effect: &str, remedy: &str) -> Finding {
        let finding = Finding::ok(requirement, found);
        Finding { state: State::Degraded, effect: Some(effect.to_owned()), remedy: Some(remedy.to_owned()), ..finding }
    }

    /// Capture does not work without it.
    pub fn missing(requirement: &'static str, found: impl Into<String>, effect: &str, remedy: &str) -> Finding {
        Finding { state: State::Missing, ..Finding::degraded(requirement, found, effect, remedy) }
    }

    /// It is not known, for want of another: that one has the remedy.
    pub fn not_tried(requirement: &'static str) -> Finding {
        let finding = Finding::ok(requirement, "not tried, for want of something above");
        Finding { state: State::Missing, ..finding }
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of them.
    pub state: State,
    /// Each.
    pub requirements: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn of(requirements: Vec<Finding>) -> Report {
        let state = requirements.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
        Report { state, requirements }
    }

    /// What capture can't do without, as far as something helps.
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
