//! Keeps the agent's own CPU and memory usage within limits: by giving up bodies first, then heads, then new connections.
//!
//! In: limits, and the usage, with the time, once a second. Out: the current step, and each change of it. Pure: no clock, no file.
//!
//! One step up per second while usage exceeds a limit. One step down after a calm period, which gets longer each time a step down proved
//! too early: so retries are rare, and their cost stays within the limit.

use std::time::Duration;

use crate::model::shed::Shed;

/// Calm period before a step is taken back.
const CALM: Duration = Duration::from_secs(10);
/// The same after many steps taken back too early.
const CALM_MAX: Duration = Duration::from_secs(300);
/// If a step has to be taken again within this time, it was taken back too early.
const RELAPSE: Duration = Duration::from_secs(15);
/// Fraction of the CPU limit up to which usage counts as calm.
const CALM_CPU: f64 = 0.7;
/// Fraction of the memory limit above which usage is too high: allocated memory can't be refused afterwards.
const FULL_MEMORY: f64 = 0.9;
/// Fraction of the memory limit up to which usage counts as calm.
const CALM_MEMORY: f64 = 0.8;

/// What the agent may use; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Limits {
    /// CPUs.
    pub(super) cpu: Option<f64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
}

/// What the agent has used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Usage {
    /// CPU time since its start.
    pub(super) cpu: Duration,
    /// Resident memory, in bytes.
    pub(super) memory: u64,
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    Cpu,
    Memory,
}

#[cfg(feature = "kernel")]
impl Because {
    pub(super) fn name(self) -> &'static str {
        match self {
            Because::Cpu => "cpu",
            Because::Memory => "memory",
        }
    }
}

/// A change of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    pub(super) to: Shed,
    /// The reason; `None`: usage is calm.
    pub(super) because: Option<Because>,
    /// CPUs used since the last check.
    pub(super) cpu: f64,
    /// Bytes.
    pub(super) memory: u64,
}

/// Keeps the agent within its limits.
#[derive(Debug)]
pub(super) struct Governor {
    limits: Limits,
    step: Shed,
    last: Option<(Duration, Usage)>,
    /// When the last step was taken or taken back, or usage was last not calm.
    restless: Duration,
    taken_back: Option<Duration>,
    calm: Duration,
}

impl Governor {
    pub(super) fn new(limits: Limits) -> Governor {
        Governor { limits, step: Shed::Nothing, last: None, restless: Duration::ZERO, taken_back: None, calm: CALM }
    }

    /// True if there is no limit.
    pub(super) fn is_idle(&self) -> bool {
        self.limits == Limits::default()
    }

    /// Takes the usage up to `now`.
    pub(super) fn look(&mut self, now: Duration, usage: Usage) -> Option<Change> {
        let (then, before) = self.last.replace((now, usage))?;
        let elapsed = now.saturating_sub(then).as_secs_f64();
        if elapsed <= 0.0 {
            return None;
        }
        let cpu = usage.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed;
        let because = self.over(cpu, usage.memory);
        let to = match because {
            Some(_) => self.up(now),
            None => self.down(now, cpu, usage.memory),
        };
        to.map(|to| Change { to, because, cpu, memory: usage.memory })
    }

    fn over(&self, cpu: f64, memory: u64) -> Option<Because> {
        if self.limits.memory.is_some_and(|limit| memory as f64 > limit as f64 * FULL_MEMORY) {
            return Some(Because::Memory);
        }
        self.limits.cpu.is_some_and(|limit| cpu > limit).then_some(Because::Cpu)
    }

    fn up(&mut self, now: Duration) -> Option<Shed> {
        self.restless = now;
        let to = self.step.more();
        if to == self.step {
            return None;
        }
        if let Some(back) = self.taken_back.take() {
            let relapsed = now.saturating_sub(back) <= RELAPSE;
            self.calm = if relapsed { (self.calm * 2).min(CALM_MAX) } else { CALM };
        }
        self.step = to;
        Some(to)
    }

    fn down(&mut self, now: Duration, cpu: f64, memory: u64) -> Option<Shed> {
        let calm = self.limits.cpu.is_none_or(|limit| cpu <= limit * CALM_CPU)
            && self.limits.memory.is_none_or(|limit| memory as f64 <= limit as f64 * CALM_MEMORY);
        if !calm {
            self.restless = now;
        }
        if self.step == Shed::Nothing || now.saturating_sub(self.restless) < self.calm {
            return None;
        }
        self.restless = now;
        self.taken_back = Some(now);
        self.step = self.step.less();
        Some(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates second by second: `uses` gives CPU and memory usage under each step; returns the step after each second.
    fn run(limits: Limits, seconds: u32, uses: impl Fn(u32, Shed) -> (f64, u64)) -> Vec<Shed> {
        let mut governor = Governor::new(limits);
        let mut usage = Usage::default();
        let mut steps = Vec::new();
        for second in 0..seconds {
            let (cpu, memory) = uses(second, governor.step);
            usage = Usage { cpu: usage.cpu + Duration::from_secs_f64(cpu), memory };
            let change = governor.look(Duration::from_secs(second.into()), usage);
            assert_eq!(change.map_or(governor.step, |change| change.to), governor.step);
            steps.push(governor.step);
        }
        steps
    }

    const CPU: Limits = Limits { cpu: Some(0.5), memory: None };
    const MEMORY: Limits = Limits { cpu: None, memory: Some(1000) };

    #[test]
    fn without_limits_nothing_is_given_up() {
        assert!(Governor::new(Limits::default()).is_idle() && !Governor::new(CPU).is_idle());
        assert_eq!(run(Limits::default(), 20, |_, _| (8.0, u64::MAX)).last(), Some(&Shed::Nothing));
    }

    #[test]
    fn steps_are_taken_one_a_second_in_their_order_and_no_further_than_needed() {
        let steps = run(CPU, 5, |_, _| (0.6, 0));
        assert_eq!(steps, [Shed::Nothing, Shed::Bodies, Shed::Heads, Shed::Connections, Shed::Connections]);
        let enough = run(CPU, 5, |_, step| (if step == Shed::Nothing { 0.6 } else { 0.49 }, 0));
        assert_eq!(enough[1..], [Shed::Bodies; 4]);
        assert_eq!(run(CPU, 5, |_, _| (0.5, 0)), [Shed::Nothing; 5], "the limit itself is allowed");
    }

    #[test]
    fn they_are_taken_back_after_calm_and_not_between() {
        // Busy for three seconds, then between calm and too high, then calm.
        let uses = |second: u32, _| match second {
            0..=2 => (1.0, 0),
            3..=30 => (0.45, 0),
            _ => (0.1, 0),
        };
        let steps = run(CPU, 60, uses);
        assert_eq!(steps[2..40], [Shed::Heads; 38], "what is not calm takes nothing back");
        assert_eq!(
            (steps[40], steps[49], steps[50], steps[59]),
            (Shed::Bodies, Shed::Bodies, Shed::Nothing, Shed::Nothing)
        );
    }

    /// A constant load: each retry is expensive, and the sum of all is within the limit.
    #[test]
    fn trying_again_gets_seldom() {
        let limit = Limits { cpu: Some(0.1), memory: None };
        let used = std::cell::Cell::new(0.0);
        let steps = run(limit, 1000, |second, step| {
            let cpu = if step < Shed::Heads { 0.8 } else { 0.01 };
            used.set(used.get() + if second > 0 { cpu } else { 0.0 });
            (cpu, 0)
        });
        let tries = steps.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((3..=8).contains(&tries), "{tries}");
        assert!(used.get() / 1000.0 < 0.1 * 0.3, "{}", used.get());
    }

    #[test]
    fn memory_is_given_up_before_it_is_full() {
        assert_eq!(run(MEMORY, 5, |_, _| (9.0, 900)), [Shed::Nothing; 5]);
        assert_eq!(run(MEMORY, 4, |_, _| (0.0, 901)).last(), Some(&Shed::Connections));
        let relieved = run(MEMORY, 30, |second, _| (0.0, if second < 2 { 950 } else { 800 }));
        assert_eq!((relieved[1], relieved[10], relieved[11]), (Shed::Bodies, Shed::Bodies, Shed::Nothing));
    }

    #[test]
    fn a_clock_that_stands_still_tells_nothing() {
        let mut governor = Governor::new(CPU);
        let usage = |cpu| Usage { cpu: Duration::from_secs(cpu), memory: 0 };
        assert_eq!(governor.look(Duration::from_secs(1), usage(0)), None);
        assert_eq!(governor.look(Duration::from_secs(1), usage(9)), None);
    }
}
