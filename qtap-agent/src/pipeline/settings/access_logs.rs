//! Settings of `access_logs`: a line for each exchange. Checked values only.

use super::{CaptureRule, Level};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people.
    Console,
    /// A JSON object.
    Json,
}

/// `access_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLogs {
    /// What a line tells when no rule passes: nothing, the exchange, also its heads, also its bodies.
    pub mode: Level,
    /// How.
    pub format: LogFormat,
    /// What a line tells of some exchanges: the first that passes says it.
    pub rules: Vec<CaptureRule>,
}

impl Default for AccessLogs {
    fn default() -> Self {
        AccessLogs { mode: Level::Summary, format: LogFormat::Console, rules: Vec::new() }
    }
}
