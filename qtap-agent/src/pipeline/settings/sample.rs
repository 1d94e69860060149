//! Settings of `sample`: how many exchanges of a stack are told. Checked values only.

/// What is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleBy {
    /// A connection: all exchanges of it, or none.
    Connection,
    /// A trace: all exchanges of it, on whatever host, or none.
    Trace,
}

/// `sample`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The share that is told, 0 to 1.
    pub ratio: f64,
    /// What it is a share of.
    pub by: SampleBy,
    /// Exchanges told per second, on average; none: as many as there are.
    pub rate: Option<u64>,
    /// Exchanges told at once, after a pause.
    pub burst: u64,
    /// True: an exchange that failed is told anyway.
    pub keep_errors: bool,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { ratio: 1.0, by: SampleBy::Connection, rate: None, burst: 1, keep_errors: false }
    }
}
