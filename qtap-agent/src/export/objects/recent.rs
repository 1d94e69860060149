//! Digests of objects that were put recently: content that repeats (a health check's answer) costs one request, not one each time.
//! In: digests of objects that the store has accepted. Out: whether a digest is among them. Digests expire, so that an object that
//! the bucket's lifecycle rules removed is put again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Maximum number of remembered digests: about 600 KiB.
const MOST: usize = 4096;
/// How long a digest is remembered. Lifecycle rules work in days.
const AGE: Duration = Duration::from_secs(600);

/// The recent digests.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    digests: HashSet<String>,
    /// The same digests, oldest first.
    order: VecDeque<(Instant, String)>,
}

impl Recent {
    /// True when the store accepted an object with this digest recently.
    pub(super) fn has(&self, digest: &str) -> bool {
        let mut known = self.known();
        known.forget(Instant::now());
        known.digests.contains(digest)
    }

    /// Remembers that the store has accepted an object with this digest.
    pub(super) fn add(&self, digest: &str) {
        let (mut known, now) = (self.known(), Instant::now());
        known.forget(now);
        if known.digests.insert(digest.to_owned()) {
            known.order.push_back((now, digest.to_owned()));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front() {
            if self.order.len() < MOST && now.duration_since(*since) < AGE {
                return;
            }
            if let Some((_, digest)) = self.order.pop_front() {
                self.digests.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn digests_are_forgotten_by_age_and_by_number() {
        let recent = Recent::default();
        recent.add("a");
        assert!(recent.has("a") && !recent.has("b"));
        tokio::time::advance(AGE).await;
        assert!(!recent.has("a"), "too old");
        (0..MOST).for_each(|number| recent.add(&number.to_string()));
        assert!(!recent.has("0"), "pushed out");
        assert!(recent.has(&(MOST - 1).to_string()));
        let known = recent.known();
        assert_eq!(known.order.len(), known.digests.len());
    }
}
