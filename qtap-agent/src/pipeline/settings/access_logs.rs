//! Settings of `access_logs`: a line for each exchange. Checked values only.

use super::{CaptureRule, Level};

/// Format of a line.
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
    /// What a line contains when no rule matches: nothing, the exchange, also its heads, also its bodies.
    pub mode: Level,
    /// Format of the line.
    pub format: LogFormat,
    /// The first rule that matches sets the mode instead.
    pub rules: Vec<CaptureRule>,
}

impl Default for AccessLogs {
    fn default() -> Self {
        AccessLogs { mode: Level::Summary, format: LogFormat::Console, rules: Vec::new() }
    }
}
