//! `qtap validate`: the findings about a file, and its exit code. Prints nothing itself.

use super::{Source, load};

/// The result of `validate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Human-readable: faults and notes, or that there are none.
    pub text: String,
    /// True when `qtap run` would accept the file.
    pub valid: bool,
}

/// Checks a file the way `qtap run` reads it.
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
