//! Settings of `sample`: how many exchanges of a stack are kept. Checked values only.

/// The unit of sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleBy {
    /// A connection: all its exchanges are kept, or none.
    Connection,
    /// A trace: all its exchanges are kept, on every host, or none.
    Trace,
}

/// `sample`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The ratio that is kept, 0 to 1.
    pub ratio: f64,
    /// The unit that the ratio applies to.
    pub by: SampleBy,
    /// Exchanges kept per second, on average; `None`: no limit.
    pub rate: Option<u64>,
    /// Exchanges kept at once, after a pause.
    pub burst: u64,
    /// True: failed exchanges are kept anyway.
    pub keep_errors: bool,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { ratio: 1.0, by: SampleBy::Connection, rate: None, burst: 1, keep_errors: false }
    }
}
