//! How often rules matched, by name: several stacks, and successive configs, may have rules of the same name. In: the counts that
//! pipelines keep. Out: sums, which never decrease.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::Passed;

/// Maximum number of names whose counts are kept after the last rule of that name is gone.
const NAMES: usize = 4096;

/// The counts.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(any(feature = "kernel", test)), allow(dead_code))] // nobody asks a replay
pub(super) struct Passes(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    /// Counts of pipelines that no longer exist.
    before: Vec<(String, u64)>,
    lists: Vec<Arc<[Passed]>>,
}

#[cfg_attr(not(any(feature = "kernel", test)), allow(dead_code))]
impl Passes {
    /// Adds the counts of another pipeline.
    pub(super) fn add(&self, lists: Vec<Arc<[Passed]>>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.fold();
        inside.lists.extend(lists);
    }

    /// The sums of the existing rules.
    pub(super) fn sums(&self) -> Vec<(String, u64)> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.fold();
        let mut sums: Vec<(String, u64)> = Vec::new();
        for rule in inside.lists.iter().flat_map(|list| list.iter()) {
            if !sums.iter().any(|(name, _)| *name == rule.rule) {
                let before = inside.before.iter().find(|(name, _)| *name == rule.rule).map_or(0, |(_, count)| *count);
                sums.push((rule.rule.clone(), before));
            }
            add(&mut sums, &rule.rule, rule.count());
        }
        sums
    }
}

impl Inside {
    /// Keeps the final counts of pipelines that have been dropped.
    fn fold(&mut self) {
        let (over, lists) = std::mem::take(&mut self.lists).into_iter().partition(|list| Arc::strong_count(list) == 1);
        self.lists = lists;
        let over: Vec<Arc<[Passed]>> = over;
        for rule in over.iter().flat_map(|list| list.iter()) {
            if self.before.len() < NAMES || self.before.iter().any(|(name, _)| *name == rule.rule) {
                add(&mut self.before, &rule.rule, rule.count());
            }
        }
    }
}

fn add(counts: &mut Vec<(String, u64)>, name: &str, count: u64) {
    match counts.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known += count,
        None => counts.push((name.to_owned(), count)),
    }
}
