//! What was seen of processes in containers of which more is awaited: held until that is told, for a bounded time and within bounded memory.
//! In: observations as the tap makes them, what is told of containers, the time. Out: the same observations, those of one container in
//! their order, with what was told; or without, and then each is counted. What is not awaited is not touched.

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

/// How long an observation waits at most, from one tick to another: longer than the source asks, so that it ends here only where the source says nothing
/// any more. Ticks are told when they are, other events when they are read: of a source that is behind, seconds of them come at once.
pub(super) const GRACE: Duration = Duration::from_secs(4);
/// Observations that wait at most: what a busy container says in that time.
pub(super) const OBSERVATIONS: usize = 16_384;
/// Bytes of their bodies in memory at most.
const BYTES: usize = 32 << 20;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By the id of the container.
    waiting: HashMap<String, Waiting>,
    /// Containers, the one that waits longest first, each with its number. One that was released, and waits again since, stands here twice.
    order: VecDeque<(u64, String)>,
    /// Of these, how many at the end wait since after the last tick.
    new: usize,
    count: usize,
    bytes: usize,
    /// Containers that ever waited.
    numbers: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// The first tick since; none before it.
    since: Option<KernelTime>,
    observations: Vec<Observation>,
    bytes: usize,
}

impl Held {
    /// When the connections were opened of which something waits.
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

    /// From now on what began to wait since the last tick is timed.
    fn tick(&mut self, now: KernelTime) {
        for (_, container) in self.order.iter().rev().take(std::mem::take(&mut self.new)) {
            if let Some(waiting) = self.waiting.get_mut(container) {
                waiting.since.get_or_insert(now);
            }
        }
    }

    /// The container that waited too long by this tick, or, beyond the bounds, longest.
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

    /// The container that stands first.
    fn pop(&mut self) -> Option<String> {
        let (_, container) = self.order.pop_front()?;
        self.new = self.new.min(self.order.len());
        Some(container)
    }
}

impl Tap {
    /// Of what was put into `out` from `first` on, holds what is to wait; lets go of what waited long enough by this tick, if it is one.
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

    /// More was told of a container, or will not be.
    pub(super) fn on_container(&mut self, seen: &ContainerSeen, out: &mut Vec<Observation>) {
        self.common.processes.told(seen);
        self.let_go(&seen.container.id, Some(seen), out);
    }

    /// All that waits goes, with what is known.
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
                // Records of one process share what is known of it.
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
