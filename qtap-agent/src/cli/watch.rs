//! How often the config is looked at while qtap runs. In: what `--config-watch` is given. Out: [`Watch`].

use std::time::Duration;

use crate::config;

/// How often a file is looked at: soon enough for who waits for it, and nothing beside what an idle agent does.
pub(super) const WATCH_FILE: Duration = Duration::from_secs(2);
/// How often a server is asked, which has others to answer.
pub(super) const WATCH_URL: Duration = Duration::from_secs(30);
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

pub(super) fn watch(text: &str) -> Result<Watch, String> {
    match text {
        "" | "false" => Ok(Watch::Off),
        "true" => Ok(Watch::On),
        text => match config::duration(text).filter(|interval| WATCH_WITHIN.contains(interval)) {
            Some(interval) => Ok(Watch::Every(interval)),
            None => Err("`true`, `false`, or a duration from 1s to 1d".to_owned()),
        },
    }
}
