//! `qtap doctor`: what live capture wants of this host, what of it is there, and what helps. The start and `/status` have it from here too.
//!
//! In: facts of the host, and what became of the probes when they were tried. Out: a report, its text, an exit code. Nothing is changed, and
//! nobody is captured.

mod disk;
mod text;

use std::path::Path;

use serde_json::json;

use crate::capture::host::{Facts, Trial, findings};
use crate::cli::{DoctorArgs, exit};
use crate::model::host::{Report, State};

/// Says how this host is; returns the exit code: 3 when nothing can be captured here.
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

/// Everything, with what was tried and the directory that `run` is to have.
pub(super) fn examine(trial: Trial, data_dir: &Path) -> Report {
    let mut all = findings(&Facts::read(trial));
    all.push(disk::finding(&disk::Disk::read(data_dir)));
    Report::of(all)
}

/// A line of the log for each thing that is not as it should be.
#[cfg(feature = "kernel")]
pub(super) fn warn(report: &Report) {
    for one in report.requirements.iter().filter(|one| one.state != State::Ok) {
        let (effect, remedy) = (one.effect.as_deref().unwrap_or_default(), one.remedy.as_deref().unwrap_or_default());
        tracing::warn!(requirement = one.requirement, found = one.found, effect, remedy, "the host lacks something");
    }
}

/// Tries the probes, with the ring that `run` has unless it is told otherwise.
#[cfg(feature = "kernel")]
fn trial() -> Trial {
    crate::capture::kernel::trial::attempt(super::live::usual_ring())
}

#[cfg(not(feature = "kernel"))]
fn trial() -> Trial {
    Trial::default()
}
