//! The containers that processes were found in: each is asked for once, and its facts go onto every process in it.
//!
//! In: processes, with what their control groups tell; answers of the runtimes. Out: processes with all that is known, or marked as awaiting more;
//! and, when it comes, what was awaited.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Fared, Runtimes, Told};
use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Pod, Process};
use crate::model::time::KernelTime;

/// Containers remembered: a node runs some hundred. Past it the one that was met longest ago is forgotten, and asked for again when it is met.
const CONTAINERS: usize = 4096;
/// How often those that no runtime told of are asked for again, while they run: a runtime may have been away.
const AGAIN: Duration = Duration::from_secs(30);

/// The table.
#[derive(Debug, Default)]
pub struct Containers {
    /// None: nobody is asked.
    runtimes: Option<Runtimes>,
    known: HashMap<String, Entry>,
    /// Counts what was met, so that it is known which container was met last.
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
    /// Nothing is known yet; these are asked.
    #[must_use]
    pub fn new(runtimes: Option<Runtimes>) -> Containers {
        Containers { runtimes, ..Containers::default() }
    }

    /// How those fare that are asked.
    #[must_use]
    pub fn fared(&self) -> Fared {
        self.runtimes.as_ref().map(Runtimes::fared).unwrap_or_default()
    }

    /// Completes a process, of whose container the id is known.
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

    /// What came since the last call. `running`: ids of the containers that processes run in, looked up where it is asked.
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

    /// None when it is no news: nobody awaits it.
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

    /// Asks again for those that nobody told of; those that run no more are forgotten.
    fn ask_again(&mut self, running: &HashSet<String>) {
        let Some(runtimes) = &self.runtimes else { return };
        self.known.retain(|id, entry| entry.told || entry.container.awaited || running.contains(id));
        for (id, _) in self.known.iter().filter(|(_, entry)| !entry.told && !entry.container.awaited) {
            // Nobody waits: should there be no room for it, there is a next time.
            let _ = runtimes.ask(id);
        }
    }
}

/// What the runtime told of a pod, completed by what the path of the control group did.
fn joined(told: Option<Pod>, of_group: Option<Arc<Pod>>) -> Option<Arc<Pod>> {
    match (told, of_group) {
        (Some(told), Some(of_group)) => Some(Arc::new(Pod { uid: told.uid.or_else(|| of_group.uid.clone()), ..told })),
        (Some(told), None) => Some(Arc::new(told)),
        (None, of_group) => of_group,
    }
}
