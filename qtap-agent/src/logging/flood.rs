//! Rate limit for log lines: each place in the code that logs may write a fixed number of lines per interval. In: each line's place, and the
//! time. Out: whether the line passes; and, later, one line per place with the number of suppressed lines.
//!
//! Lines at `debug` and below always pass: whoever enables them wants all of them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines per place and interval: more than startup writes about anything.
const LINES: u32 = 100;
/// The interval.
const INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of places tracked separately; the program has some hundreds. All others share one entry.
const PLACES: usize = 2048;

/// State of one place: when its interval began, how many lines passed, and how many did not.
#[derive(Debug)]
struct Place {
    since: Duration,
    passed: u32,
    left_out: u64,
    level: Level,
    target: &'static str,
    at: String,
}

/// State of all places.
#[derive(Debug)]
struct Places<K> {
    by_key: HashMap<K, Place>,
    others: Option<Place>,
}

/// A report: so many lines of one place were suppressed.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    level: Level,
    target: &'static str,
    at: String,
    count: u64,
}

impl Place {
    fn new(now: Duration, level: Level, target: &'static str, at: String) -> Place {
        Place { since: now, passed: 0, left_out: 0, level, target, at }
    }

    fn passes(&mut self, now: Duration) -> bool {
        // Suppressed lines are reported first: until then the interval is extended.
        if self.left_out == 0 && now.saturating_sub(self.since) >= INTERVAL {
            (self.since, self.passed) = (now, 0);
        }
        let passes = self.passed < LINES;
        if passes {
            self.passed += 1;
        } else {
            self.left_out += 1;
        }
        passes
    }

    /// The number of lines suppressed in an interval that is over, or so far when `at_once`.
    fn due(&mut self, now: Duration, at_once: bool) -> Option<LeftOut> {
        if self.left_out == 0 || !(at_once || now.saturating_sub(self.since) >= INTERVAL) {
            return None;
        }
        (self.since, self.passed) = (now, 0);
        let count = std::mem::take(&mut self.left_out);
        Some(LeftOut { level: self.level, target: self.target, at: self.at.clone(), count })
    }
}

impl<K: std::hash::Hash + Eq> Places<K> {
    fn new() -> Places<K> {
        Places { by_key: HashMap::new(), others: None }
    }

    fn passes(&mut self, key: K, now: Duration, describe: impl FnOnce() -> Place) -> bool {
        if let Some(place) = self.by_key.get_mut(&key) {
            return place.passes(now);
        }
        if self.by_key.len() < PLACES {
            return self.by_key.entry(key).or_insert_with(describe).passes(now);
        }
        self.others.get_or_insert_with(describe).passes(now)
    }

    fn due(&mut self, now: Duration, at_once: bool) -> Vec<LeftOut> {
        self.by_key.values_mut().chain(&mut self.others).filter_map(|place| place.due(now, at_once)).collect()
    }
}

/// State shared by the layer and the reporting thread.
#[derive(Debug)]
struct Shared {
    places: Mutex<Places<Identifier>>,
    began: Instant,
    held_back: Condvar,
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places<Identifier>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer that limits log lines.
#[derive(Debug, Clone)]
pub(super) struct Flood {
    shared: Arc<Shared>,
    teller: Arc<std::sync::Once>,
}

impl Flood {
    pub(super) fn new() -> Flood {
        let shared = Shared { places: Mutex::new(Places::new()), began: Instant::now(), held_back: Condvar::new() };
        Flood { shared: Arc::new(shared), teller: Arc::new(std::sync::Once::new()) }
    }

    /// Reports what was suppressed so far.
    pub(super) fn tell_all(&self) {
        let due = self.shared.places().due(self.shared.began.elapsed(), true);
        due.iter().for_each(tell);
    }

    /// Starts the reporting thread when the first line is suppressed: an agent without floods has none.
    fn tell_later(&self) {
        self.teller.call_once(|| {
            let shared = Arc::clone(&self.shared);
            let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
                loop {
                    let places = shared.places();
                    let waited =
                        shared.held_back.wait_timeout(places, INTERVAL).unwrap_or_else(PoisonError::into_inner);
                    let due = { waited.0 }.due(shared.began.elapsed(), false);
                    due.iter().for_each(tell);
                }
            });
        });
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let now = self.shared.began.elapsed();
        let describe = || {
            let at = format!("{}:{}", metadata.file().unwrap_or("?"), metadata.line().unwrap_or(0));
            Place::new(now, *metadata.level(), metadata.target(), at)
        };
        let passes = self.shared.places().passes(metadata.callsite(), now, describe);
        if !passes {
            self.tell_later();
        }
        passes
    }
}

/// Target of the reports, which are never suppressed: at most one line per place and interval.
const TARGET: &str = "qtap::log";

fn tell(left_out: &LeftOut) {
    let LeftOut { level, target, at, count } = left_out;
    tracing::warn!(target: TARGET, count, of = %level, from = target, at, "more lines like those from there were left out");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn place() -> Place {
        Place::new(Duration::ZERO, Level::WARN, "t", "f:1".to_owned())
    }

    fn pass(places: &mut Places<u32>, key: u32, now: Duration, times: u32) -> usize {
        let describe = || Place { since: now, ..place() };
        (0..times).filter(|_| places.passes(key, now, describe)).count()
    }

    #[test]
    fn so_many_pass_of_each_place_and_the_rest_is_counted_once() {
        let mut places = Places::new();
        assert_eq!(pass(&mut places, 1, SECOND, 1000), 100);
        assert_eq!(pass(&mut places, 2, SECOND, 100), 100, "another place has its own");
        assert_eq!(places.due(SECOND * 2, false), [], "the interval is not over");
        assert_eq!(pass(&mut places, 1, SECOND * 3, 1), 0);
        let due = places.due(SECOND + INTERVAL, false);
        assert_eq!(due.iter().map(|one| one.count).collect::<Vec<_>>(), [901]);
        assert_eq!(places.due(SECOND + INTERVAL, true), [], "told once");
        assert_eq!(pass(&mut places, 1, SECOND + INTERVAL, 1000), 100, "the next interval");
        assert_eq!(places.due(SECOND + INTERVAL, true).len(), 1, "at the end what is not due yet, too");
    }

    #[test]
    fn a_slow_place_is_never_held_back() {
        let mut places = Places::new();
        for second in 0..1000 {
            assert_eq!(pass(&mut places, 1, SECOND * second, 9), 9, "{second}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let mut places = Places::new();
        for key in 0..3 * PLACES as u32 {
            pass(&mut places, key, SECOND, 1);
        }
        assert_eq!(places.by_key.len(), PLACES);
        let due = places.due(SECOND, true);
        assert_eq!(due.iter().map(|one| one.count).collect::<Vec<_>>(), [2 * PLACES as u64 - u64::from(LINES)]);
    }

    /// Collects the lines written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that a subscriber with this layer writes.
    #[test]
    fn lines_are_held_back_and_it_is_said() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let written = Written::default();
        let writer = written.clone();
        let flood = Flood::new();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(flood.clone()).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1234 {
                tracing::warn!(number, "again");
                tracing::debug!("all of these pass");
            }
            flood.tell_all();
        });
        let text = String::from_utf8_lossy(&written.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        assert_eq!(text.matches("again").count(), 100);
        assert_eq!(text.matches("all of these pass").count(), 1234);
        assert!(text.contains("left out") && text.contains("count=1134"), "{}", &text[text.len() - 300..]);
    }
}
