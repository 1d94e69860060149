//! The containers that processes were found in: each is asked about once, and its facts go to every process in it.
//!
//! In: processes, with what their control groups say; answers of the runtimes. Out: processes with everything that is known, or marked as awaiting
//! more; and, when it arrives, what was awaited.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Fared, Runtimes, Told};
use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Pod, Process};
use crate::model::time::KernelTime;

/// Most containers remembered: a node runs some hundred. Beyond it, the one seen least recently is forgotten, and asked about again when seen.
const CONTAINERS: usize = 4096;
/// How often to ask again about running containers that no runtime knew: a runtime may have been away.
const AGAIN: Duration = Duration::from_secs(30);

/// The table.
#[derive(Debug, Default)]
pub struct Containers {
    /// None: nobody is asked.
    runtimes: Option<Runtimes>,
    known: HashMap<String, Entry>,
    /// Counts sightings, so that it is known which container was seen last.
    met: u64,
    asked_again: KernelTime,
}

#[derive(Debug)]
struct Entry {
    container: Arc<Container>,
    pod: Option<Arc<Pod>>,
    told: bool,
    met: u64,
}

impl Containers {
    /// Knows no container yet; asks these runtimes.
    #[must_use]
    pub fn new(runtimes: Option<Runtimes>) -> Containers {
        Containers { runtimes, ..Containers::default() }
    }

    /// How requests to the runtimes went.
    #[must_use]
    pub fn fared(&self) -> Fared {
        self.runtimes.as_ref().map(Runtimes::fared).unwrap_or_default()
    }

    /// Completes a process whose container's id is known.
    pub fn complete(&mut self, process: &mut Process) {
        let Some(container) = &process.container else { return };
        self.met += 1;
        if !self.known.contains_key(&container.id) {
            let id = container.id.clone();
            let pod = process.pod.clone().filter(|pod| pod.uid.is_some());
            self.add(id, pod);
        }
        if let Some(entry) = self.known.get_mut(&container.id) {
            entry.met = self.met;
            process.container = Some(Arc::clone(&entry.container));
            process.pod.clone_from(&entry.pod);
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn add(&mut self, id: String, pod: Option<Arc<Pod>>) {
        if self.known.len() >= CONTAINERS
            && let Some(oldest) = self.known.iter().min_by_key(|(_, entry)| entry.met).map(|(id, _)| id.clone())
        {
            self.known.remove(&oldest);
        }
        let awaited = self.runtimes.as_ref().is_some_and(|runtimes| runtimes.ask(&id));
        let container = Arc::new(Container { id: id.clone(), awaited, ..Container::default() });
        self.known.insert(id, Entry { container, pod, told: false, met: self.met });
    }

    /// What arrived since the last call. `running` returns the ids of the containers that processes run in; it is called only if needed.
    pub fn news(&mut self, now: KernelTime, running: impl FnOnce() -> HashSet<String>) -> Vec<ContainerSeen> {
        let mut news = Vec::new();
        while let Some(told) = self.runtimes.as_mut().and_then(Runtimes::answer) {
            news.extend(self.learn(told, now));
        }
        if self.runtimes.is_some() && now.since(self.asked_again) >= AGAIN {
            self.asked_again = now;
            self.ask_again(&running());
        }
        news
    }

    /// `None` if it is no news, because nobody awaits it.
    fn learn(&mut self, told: Told, now: KernelTime) -> Option<ContainerSeen> {
        let Told { id, facts } = told;
        let known = self.known.get_mut(&id);
        let awaited = known.as_ref().is_none_or(|entry| entry.container.awaited);
        let of_group = known.as_ref().and_then(|entry| entry.pod.clone());
        if facts.is_none() && !awaited {
            return None;
        }
        let told = facts.is_some();
        let (container, pod) = match facts {
            Some(facts) => {
                let container = Container { id: id.clone(), awaited: false, ..facts.container };
                (container, joined(facts.pod, of_group))
            }
            None => (Container { id: id.clone(), ..Container::default() }, of_group),
        };
        let container = Arc::new(container);
        if let Some(entry) = known {
            (entry.container, entry.pod, entry.told) = (Arc::clone(&container), pod.clone(), told);
        }
        Some(ContainerSeen { container, pod, told, time: now })
    }

    /// Asks again about the containers that no runtime knew; those that no longer run are forgotten.
    fn ask_again(&mut self, running: &HashSet<String>) {
        let Some(runtimes) = &self.runtimes else { return };
        self.known.retain(|id, entry| entry.told || entry.container.awaited || running.contains(id));
        for (id, _) in self.known.iter().filter(|(_, entry)| !entry.told && !entry.container.awaited) {
            // Nobody waits for the answer: if the queue is full, there will be a next time.
            let _ = runtimes.ask(id);
        }
    }
}

/// What the runtime reported about a pod, completed from the path of the control group.
fn joined(told: Option<Pod>, of_group: Option<Arc<Pod>>) -> Option<Arc<Pod>> {
    match (told, of_group) {
        (Some(told), Some(of_group)) => Some(Arc::new(Pod { uid: told.uid.or_else(|| of_group.uid.clone()), ..told })),
        (Some(told), None) => Some(Arc::new(told)),
        (None, of_group) => of_group,
    }
}
