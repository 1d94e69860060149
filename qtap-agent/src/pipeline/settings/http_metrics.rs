//! Settings of `http_metrics`: the exchanges of a stack are counted, with this label cardinality. Checked values only.

/// `http_metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpMetrics {
    /// Number of hosts with a label of their own; the others are counted under `other`.
    pub max_hosts: u16,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        HttpMetrics { max_hosts: 100 }
    }
}
