//! `qtap doctor`: what live capture requires of this host, what of it is available, and the remedies. Also used at the start and by `/status`.
//!
//! In: facts about the host, and the result of trying the probes. Out: a report, its text, an exit code. Nothing is changed, and
//! no process is captured.

mod disk;
mod text;

use std::path::Path;

use serde_json::json;

use crate::capture::host::{Facts, Trial, findings};
use crate::cli::{DoctorArgs, exit};
use crate::model::host::{Report, State};

/// Prints the report on this host; returns the exit code: 3 if nothing can be captured here.
pub fn doctor(args: &DoctorArgs, print: &mut dyn FnMut(&str)) -> u8 {
    let report = examine(trial(), &args.data_dir);
    if args.json {
        let all = json!({"version": super::VERSION, "state": report.state, "requirements": report.requirements});
        print(&format!("{all:#}"));
    } else {
        print(&text::of(&report));
    }
    if report.state == State::Missing { exit::HOST } else { exit::OK }
}

/// All findings, including the result of the trial and the data directory of `run`.
pub(super) fn examine(trial: Trial, data_dir: &Path) -> Report {
    let mut all = findings(&Facts::read(trial));
    all.push(disk::finding(&disk::Disk::read(data_dir)));
    Report::of(all)
}

/// Logs a warning for each requirement that is not fully met.
#[cfg(feature = "kernel")]
pub(super) fn warn(report: &Report) {
    for one in report.requirements.iter().filter(|one| one.state != State::Ok) {
        let (effect, remedy) = (one.effect.as_deref().unwrap_or_default(), one.remedy.as_deref().unwrap_or_default());
        tracing::warn!(requirement = one.requirement, found = one.found, effect, remedy, "the host lacks something");
    }
}

/// Tries the probes, with the default ring buffer of `run`.
#[cfg(feature = "kernel")]
fn trial() -> Trial {
    crate::capture::kernel::trial::attempt(super::live::usual_ring())
}

#[cfg(not(feature = "kernel"))]
fn trial() -> Trial {
    Trial::default()
}
