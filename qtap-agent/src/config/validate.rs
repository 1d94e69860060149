//! `qtap validate`: what there is to say about a file, and the exit code it is worth. Prints nothing itself.

use super::{Source, load};

/// The answer of `validate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For people: faults and notes, or that there are none.
    pub text: String,
    /// True when a run would take the file.
    pub valid: bool,
}

/// Checks a file as a run would read it.
#[must_use]
pub fn validate(source: Source, env: &dyn Fn(&str) -> Option<String>) -> Verdict {
    let name = source.name();
    match load(source, env) {
        Ok((_, notes)) => {
            let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
            Verdict { text: format!("{notes}{name}: valid"), valid: true }
        }
        Err(faults) => Verdict { text: faults.to_string(), valid: false },
    }
}
