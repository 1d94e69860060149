//! How often qtap checks the config for changes while it runs, as `--config-watch` says. In: the flag's value, and the config's source. Out: an
//! interval, or none. The checks themselves are made elsewhere.

use std::time::Duration;

use crate::config;

/// Interval for a file: short enough for someone who waits for it, and negligible beside an idle agent's other work.
const WATCH_FILE: Duration = Duration::from_secs(2);
/// Interval for a URL: longer, because the server has other clients.
const WATCH_URL: Duration = Duration::from_secs(30);
/// Allowed intervals.
const WATCH_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Whether to check the config for changes while qtap runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// No.
    Off,
    /// At the default interval.
    On,
    /// At this interval.
    Every(Duration),
}

impl Watch {
    /// How often to check a config from this source; `None`: never.
    pub(super) fn of(self, source: &config::Source) -> Option<Duration> {
        match (self, source) {
            (Watch::Off, _) | (_, config::Source::Stdin) => None,
            (Watch::Every(interval), _) => Some(interval),
            (Watch::On, config::Source::Url { .. }) => Some(WATCH_URL),
            (Watch::On, config::Source::Path(_) | config::Source::Text { .. }) => Some(WATCH_FILE),
        }
    }
}

/// Reads the flag's value.
pub(super) fn parse(text: &str) -> Result<Watch, String> {
    match text {
        "" | "false" => Ok(Watch::Off),
        "true" => Ok(Watch::On),
        text => match config::duration(text).filter(|interval| WATCH_WITHIN.contains(interval)) {
            Some(interval) => Ok(Watch::Every(interval)),
            None => Err("`true`, `false`, or a duration from 1s to 1d".to_owned()),
        },
    }
}
