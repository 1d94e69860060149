//! Carries out what the governor decides: once a second the agent's usage is read, and what is given up is passed on to the probes and to the tap's side.
//!
//! In: limits, the source, the pump. Out: steps taken and taken back, each with a line in the log; the current state, for status requests.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::governor::{Change, Governor, Limits, Usage};
use super::pump::Pump;
use crate::admin::view::LimitsView;
use crate::capture::kernel::Live;
use crate::cli::LimitsArgs;
use crate::model::shed::Shed;

/// How often usage is checked.
const LOOK: Duration = Duration::from_secs(1);
/// The memory limit divided by this is what streams may hold, and also what may wait for the pipeline.
const SHARE: u64 = 4;

/// Watches the agent's usage.
pub(super) struct Keeper {
    governor: Governor,
    began: Instant,
    looked: Instant,
    view: LimitsView,
}

impl Keeper {
    /// Creates a keeper of these limits; if there is a memory limit, the pump's is set at once.
    pub(super) fn new(args: &LimitsArgs, pump: &mut Pump) -> Keeper {
        let limits = Limits { cpu: args.max_cpu, memory: args.max_memory };
        if let Some(memory) = limits.memory {
            pump.hold_at_most(usize::try_from(memory / SHARE).unwrap_or(usize::MAX));
        }
        let view =
            LimitsView { max_cpu: limits.cpu, max_memory: limits.memory, begun: steps(), ..LimitsView::default() };
        pump.shared.get().limits = view.clone();
        let now = Instant::now();
        Keeper { governor: Governor::new(limits), began: now, looked: now, view }
    }

    /// Checks usage, if it is time to.
    pub(super) fn keep(&mut self, source: &mut Live, pump: &mut Pump) {
        if self.governor.is_idle() || self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        if let Some(change) = self.governor.look(self.began.elapsed(), usage()) {
            self.tell(&change);
            source.shed(change.to);
            pump.intake.shed(change.to);
            if change.because.is_some() {
                let begun = self.view.begun.iter_mut().find(|(step, _)| *step == change.to.name());
                begun.into_iter().for_each(|(_, count)| *count += 1);
            }
            self.view.shedding = change.to;
            self.view.because = change.because.map(super::governor::Because::name);
            self.view.since_unix_ns = now_unix_ns();
            pump.shared.get().limits = self.view.clone();
        }
    }

    fn tell(&self, change: &Change) {
        let (cpu, memory) = (format!("{:.2}", change.cpu), change.memory);
        match change.because {
            Some(because) => tracing::warn!(
                sheds = change.to.name(),
                because = because.name(),
                cpu,
                memory,
                "over its limit: more is given up"
            ),
            None => tracing::info!(sheds = change.to.name(), cpu, memory, "within its limit: less is given up"),
        }
    }
}

/// What this process has used so far.
fn usage() -> Usage {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(cpu.tv_sec).unwrap_or(0));
    let cpu = seconds + Duration::from_nanos(u64::try_from(cpu.tv_nsec).unwrap_or(0));
    let memory = procfs::process::Process::myself().and_then(|process| process.statm());
    let page = rustix::param::page_size() as u64;
    Usage { cpu, memory: memory.map_or(0, |memory| memory.resident * page) }
}

fn now_unix_ns() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok())
}

/// Every step, with a count of zero.
fn steps() -> Vec<(&'static str, u64)> {
    Shed::ALL.into_iter().filter(|step| *step != Shed::Nothing).map(|step| (step.name(), 0)).collect()
}
