//! Observations of processes in containers about which more is expected: held until that arrives, for a bounded time and within bounded memory.
//! In: observations as the tap makes them, facts about containers, the time. Out: the same observations, those of one container in order,
//! with the facts added; or without, and then each is counted. Other observations pass untouched.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Tap;
use super::processes::joined;
use crate::model::event::ContainerSeen;
use crate::model::exchange::Exchange;
use crate::model::loss::Loss;
use crate::model::message::Body;
use crate::model::observation::Observation;
use crate::model::process::Process;
use crate::model::time::KernelTime;

/// How long an observation waits at most, from one tick to another: longer than the source keeps asking, so the wait ends here only if the source no
/// longer answers. Ticks arrive when they are due, other events when they are read: a source that lags delivers seconds of them at once.
pub(super) const GRACE: Duration = Duration::from_secs(4);
/// Maximum number of waiting observations: what a busy container produces in that time.
pub(super) const OBSERVATIONS: usize = 16_384;
/// Maximum bytes of their bodies in memory.
const BYTES: usize = 32 << 20;

/// Waiting observations.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By container id.
    waiting: HashMap<String, Waiting>,
    /// Containers, the longest waiting first, each with its number. One that was released and waits again is listed twice.
    order: VecDeque<(u64, String)>,
    /// How many entries at the end of `order` began to wait after the last tick.
    new: usize,
    count: usize,
    bytes: usize,
    /// Number of containers that have ever waited.
    numbers: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// The first tick since the wait began; `None` before it.
    since: Option<KernelTime>,
    observations: Vec<Observation>,
    bytes: usize,
}

impl Held {
    /// The opening times of the connections that have waiting observations.
    pub(super) fn opened(&self) -> impl Iterator<Item = KernelTime> + '_ {
        self.waiting.values().flat_map(|waiting| &waiting.observations).map(|observation| match observation {
            Observation::Exchange(seen) => seen.conn.opened,
            Observation::Connection(seen) => seen.conn.opened,
        })
    }

    fn add(&mut self, container: &str, observation: Observation) {
        let bytes = weight(&observation);
        let waiting = self.waiting.entry(container.to_owned()).or_insert_with(|| {
            self.numbers += 1;
            self.order.push_back((self.numbers, container.to_owned()));
            self.new += 1;
            Waiting { number: self.numbers, since: None, observations: Vec::new(), bytes: 0 }
        });
        waiting.observations.push(observation);
        waiting.bytes += bytes;
        self.count += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, container: &str) -> Vec<Observation> {
        let Some(waiting) = self.waiting.remove(container) else { return Vec::new() };
        self.count -= waiting.observations.len();
        self.bytes -= waiting.bytes;
        waiting.observations
    }

    /// Starts the timer of containers that began to wait since the last tick.
    fn tick(&mut self, now: KernelTime) {
        for (_, container) in self.order.iter().rev().take(std::mem::take(&mut self.new)) {
            if let Some(waiting) = self.waiting.get_mut(container) {
                waiting.since.get_or_insert(now);
            }
        }
    }

    /// The container that has waited too long by this tick, or, if a bound is exceeded, the longest waiting one.
    fn overdue(&mut self, tick: Option<KernelTime>) -> Option<String> {
        loop {
            let (number, container) = self.order.front()?;
            let waiting = self.waiting.get(container).filter(|waiting| waiting.number == *number);
            let is_full = self.count > OBSERVATIONS || self.bytes > BYTES;
            let waited = |since: KernelTime| tick.is_some_and(|now| now.since(since) >= GRACE);
            if waiting.is_some_and(|waiting| !is_full && !waiting.since.is_some_and(waited)) {
                return None;
            }
            let is_there = waiting.is_some();
            let container = self.pop();
            if is_there {
                return container;
            }
        }
    }

    /// Removes the first container.
    fn pop(&mut self) -> Option<String> {
        let (_, container) = self.order.pop_front()?;
        self.new = self.new.min(self.order.len());
        Some(container)
    }
}

impl Tap {
    /// Holds back what must wait of the observations in `out` from `first` on; releases what has waited long enough by this tick, if it is one.
    pub(super) fn hold_back(&mut self, first: usize, tick: Option<KernelTime>, out: &mut Vec<Observation>) {
        if out.len() > first && self.common.processes.awaits() {
            for observation in out.split_off(first) {
                match process_of(&observation).filter(|process| process.is_awaited()) {
                    Some(Process { container: Some(container), .. }) => {
                        let id = container.id.clone();
                        self.held.add(&id, observation);
                    }
                    Some(_) | None => out.push(observation),
                }
            }
        }
        tick.into_iter().for_each(|now| self.held.tick(now));
        while let Some(container) = self.held.overdue(tick) {
            self.common.processes.give_up(&container);
            self.let_go(&container, None, out);
        }
    }

    /// Facts about a container arrived, or will not arrive.
    pub(super) fn on_container(&mut self, seen: &ContainerSeen, out: &mut Vec<Observation>) {
        self.common.processes.told(seen);
        self.let_go(&seen.container.id, Some(seen), out);
    }

    /// Releases everything that waits, with the facts known so far.
    pub(super) fn let_all_go(&mut self, out: &mut Vec<Observation>) {
        while let Some(container) = self.held.pop() {
            self.let_go(&container, None, out);
        }
    }

    fn let_go(&mut self, container: &str, seen: Option<&ContainerSeen>, out: &mut Vec<Observation>) {
        let observations = self.held.take(container);
        if !seen.is_some_and(|seen| seen.told) {
            self.common.losses.add_many(Loss::ContainerUnknown, observations.len() as u64, 0);
        }
        let mut last: Option<(Arc<Process>, Arc<Process>)> = None;
        for mut observation in observations {
            if let (Some(seen), Some(process)) = (seen, process_mut(&mut observation)) {
                // Records of one process share one copy of its facts.
                let now = match last.take().filter(|(before, _)| Arc::ptr_eq(before, process)) {
                    Some((_, now)) => now,
                    None => self.common.processes.same(process).unwrap_or_else(|| Arc::new(joined(process, seen))),
                };
                last = Some((Arc::clone(process), Arc::clone(&now)));
                *process = now;
            }
            out.push(observation);
        }
    }
}

fn process_of(observation: &Observation) -> Option<&Process> {
    match observation {
        Observation::Exchange(seen) => seen.process.as_deref(),
        Observation::Connection(seen) => seen.process.as_deref(),
    }
}

fn process_mut(observation: &mut Observation) -> Option<&mut Arc<Process>> {
    match observation {
        Observation::Exchange(seen) => seen.process.as_mut(),
        Observation::Connection(seen) => seen.process.as_mut(),
    }
}

/// Bytes of its bodies.
fn weight(observation: &Observation) -> usize {
    let of = |body: &Body| body.chunks.iter().map(bytes::Bytes::len).sum::<usize>();
    match observation {
        Observation::Exchange(seen) => {
            let Exchange::Http(http) = &seen.exchange;
            http.request.as_ref().map_or(0, |request| of(&request.body))
                + http.response.as_ref().map_or(0, |response| of(&response.body))
        }
        Observation::Connection(_) => 0,
    }
}
