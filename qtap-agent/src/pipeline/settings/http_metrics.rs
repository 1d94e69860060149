//! Settings of `http_metrics`: that the exchanges of a stack are counted, and how finely. Checked values only.

/// `http_metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpMetrics {
    /// Hosts that have a label of their own; the others are counted under `other`.
    pub max_hosts: u16,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        HttpMetrics { max_hosts: 100 }
    }
}
