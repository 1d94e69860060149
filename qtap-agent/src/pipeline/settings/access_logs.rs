//! Settings of `access_logs`: a line for each exchange. Checked values only.

use super::Level;

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
    /// What a line tells: nothing, the exchange, also its heads, also its bodies.
    pub mode: Level,
    /// How.
    pub format: LogFormat,
}

impl Default for AccessLogs {
    fn default() -> Self {
        AccessLogs { mode: Level::Summary, format: LogFormat::Console }
    }
}
