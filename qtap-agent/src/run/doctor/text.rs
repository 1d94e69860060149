//! The report as text: a line per requirement, with effect and remedy below it. In: a report. Out: text, without colour.

use std::fmt::Write as _;

use crate::model::host::{Report, State};

/// The lines, and the verdict.
pub(super) fn of(report: &Report) -> String {
    let width = report.requirements.iter().map(|one| one.requirement.len()).max().unwrap_or(0);
    let mut text = String::new();
    for one in &report.requirements {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:8}  {:width$}  {}", one.state.name(), one.requirement, one.found);
        for (what, said) in [("effect", &one.effect), ("remedy", &one.remedy)] {
            if let Some(said) = said {
                let _ = writeln!(text, "{:8}  {:width$}  {what}: {said}", "", "");
            }
        }
    }
    text.push_str(match report.state {
        State::Ok => "\nqtap can capture here.",
        State::Degraded => "\nqtap can capture here, but not all of it.",
        State::Missing => "\nqtap can't capture here.",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::Finding;

    #[test]
    fn what_is_not_well_has_its_remedy_below() {
        let report =
            Report::of(vec![Finding::ok("kernel", "6.1"), Finding::degraded("cgroups", "none", "less", "mount")]);
        let lines = "ok        kernel   6.1\n\
                     degraded  cgroups  none\n\
                     \x20                  effect: less\n\
                     \x20                  remedy: mount\n\
                     \nqtap can capture here, but not all of it.";
        assert_eq!(of(&report), lines);
    }
}
