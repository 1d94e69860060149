//! What `gen_ai` tells of calls of language models.

/// `gen_ai`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenAiStep {
    /// The conversation becomes an object, where bodies do.
    pub conversations: bool,
}

impl Default for GenAiStep {
    fn default() -> Self {
        GenAiStep { conversations: true }
    }
}
