//! Settings of `gen_ai`: what is reported of calls to language models.

/// `gen_ai`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenAiStep {
    /// The conversation becomes an object, wherever bodies do.
    pub conversations: bool,
}

impl Default for GenAiStep {
    fn default() -> Self {
        GenAiStep { conversations: true }
    }
}
