//! When to retry: exponential backoff with jitter, the store's own Retry-After, and a pause that applies to all workers of a
//! store. In: durations. Out: durations; only [`Pause`] waits.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::settings::RetrySettings;

/// Longest Retry-After that is obeyed; if a store asks for more, qtap still retries after this time.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Shortest Retry-After that counts as one. Below it, a date in the past included, the backoff applies: the store asked for less, not for more.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);

/// Waits that double from `initial` to `max`, each chosen at random between half and all of it, so that agents that
/// failed together do not retry together.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// A backoff at its start.
    #[must_use]
    pub fn new(settings: &RetrySettings) -> Backoff {
        let shortest = Duration::from_millis(1);
        Backoff { next: settings.initial.max(shortest), max: settings.max.max(shortest) }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2).min(self.max);
        whole.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Parses Retry-After (RFC 9110 §10.2.3): seconds, or an HTTP date, from which `now` is subtracted. None when it is neither.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A pause that a store asked for. It applies to all requests to the store, not only to the one that was answered.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Blocks requests for `wait` from now; a longer pause in effect stays.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait.min(RETRY_AFTER_MAX);
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = Some(held.map_or(until, |other| other.max(until)));
    }

    /// Returns when no pause is in effect.
    pub async fn over(&self) {
        loop {
            let until = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_jittered_below() {
        let settings =
            RetrySettings { initial: Duration::from_secs(1), max: Duration::from_secs(5), max_elapsed: Duration::ZERO };
        let mut backoff = Backoff::new(&settings);
        for whole in [1, 2, 4, 5, 5] {
            let (whole, wait) = (Duration::from_secs(whole), backoff.wait());
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
    }

    /// The two forms of RFC 9110 §10.2.3; the date is the RFC's own example.
    #[test]
    fn retry_after_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_790); // ten seconds before the date below
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sat, 01 Jan 2000 00:00:00 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT", now), Some(Duration::from_secs(9)));
        assert_eq!(retry_after("Thu, 31 Dec 1998 23:59:59 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("999999", now), Some(RETRY_AFTER_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longer_pause_stands() {
        let (pause, start) = (Pause::default(), Instant::now());
        pause.hold(Duration::from_secs(9));
        pause.hold(Duration::from_secs(3));
        pause.over().await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));
    }
}
