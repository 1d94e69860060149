//! How often the config is looked at while qtap runs, as `--config-watch` says. In: the flag's value, and where the config comes from. Out: an
//! interval, or none. Nothing is looked at here.

use std::time::Duration;

use crate::config;

/// How often a file is looked at: soon enough for who waits for it, and nothing beside what an idle agent does.
const WATCH_FILE: Duration = Duration::from_secs(2);
/// How often a server is asked, which has others to answer.
const WATCH_URL: Duration = Duration::from_secs(30);
/// How often either can be.
const WATCH_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Whether the config is looked at while qtap runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// No.
    Off,
    /// At the usual interval.
    On,
    /// At this one.
    Every(Duration),
}

impl Watch {
    /// How often a config that comes from there is looked at; none: never.
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
