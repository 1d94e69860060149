//! Tags whose values are facts of the process: labels of its pod or its container.

use std::borrow::Cow;

use crate::model::process::Process;

/// A tag that some processes have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactTag {
    /// Reported as `key:value`.
    pub key: String,
    /// Where the value comes from.
    pub fact: Fact,
    /// Name of the label or annotation.
    pub name: String,
}

/// The source of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A label of the pod.
    PodLabel,
    /// An annotation of the pod.
    PodAnnotation,
    /// A label of the container.
    ContainerLabel,
}

/// All tags of a process: those of every record, and those from its facts.
pub(crate) fn tags_of<'a>(tags: &'a [String], fact_tags: &[FactTag], process: Option<&Process>) -> Cow<'a, [String]> {
    if fact_tags.is_empty() {
        return Cow::Borrowed(tags);
    }
    let of_facts = fact_tags.iter().filter_map(|tag| tag.of(process?));
    tags.iter().cloned().chain(of_facts).collect()
}

impl FactTag {
    /// The tag of a process; `None` if it has no such label.
    #[must_use]
    pub fn of(&self, process: &Process) -> Option<String> {
        let pod = || process.pod.as_deref();
        let value = match self.fact {
            Fact::PodLabel => pod()?.labels.get(&self.name)?,
            Fact::PodAnnotation => pod()?.annotations.get(&self.name)?,
            Fact::ContainerLabel => process.container.as_deref()?.labels.get(&self.name)?,
        };
        Some([&self.key, ":", value].concat())
    }
}
