//! The small path language of `redact`, which selects values in a JSON document. In: text from the configuration file. Out: the steps of
//! the path, or a description of the fault. `docs/redaction.md` explains the language.
//!
//! ```text
//! path = "$" *step
//! step = "." name | "." "*" | "[" index "]" | "[" "*" "]" | "[" quoted "]" | ".." name | ".." "*" | ".." "[" … "]"
//! ```

use std::fmt;

/// Maximum number of steps in one path.
const MOST_STEPS: usize = 32;
/// Maximum bytes of a path: every name in it is compared with every name of a document.
const MOST_BYTES: usize = 1024;

/// Maximum number of steps in all paths of one `redact` step together: each is a bit of a set.
pub const MOST_TOGETHER: usize = 128;

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath {
    /// From the document inwards; empty: the document itself.
    pub steps: Vec<PathStep>,
}

/// One step inwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStep {
    /// True for `..`: at any depth below, not only directly.
    pub deep: bool,
    /// Where it leads.
    pub child: PathChild,
}

/// The target of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChild {
    /// The member with this name (case-sensitive).
    Name(String),
    /// The element with this index, from 0.
    Index(u64),
    /// Every member or element.
    Any,
}

impl JsonPath {
    /// Parses a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<JsonPath, PathFault> {
        if text.len() > MOST_BYTES {
            return Err(PathFault("a path has at most 1024 bytes"));
        }
        let mut rest = text.strip_prefix('$').ok_or(PathFault("a path begins with `$`, e.g. `$.user.password`"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        if steps.len() > MOST_STEPS {
            return Err(PathFault("a path has at most 32 steps"));
        }
        Ok(JsonPath { steps })
    }
}

/// A fault in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFault(&'static str);

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for PathFault {}

fn step(rest: &str) -> Result<(PathStep, &str), PathFault> {
    if let Some(inside) = rest.strip_prefix("..") {
        let (child, after) = if inside.starts_with('[') { bracket(inside)? } else { name(inside)? };
        return Ok((PathStep { deep: true, child }, after));
    }
    let (child, after) = match rest.strip_prefix('.') {
        Some(inside) => name(inside)?,
        None => bracket(rest)?,
    };
    Ok((PathStep { deep: false, child }, after))
}

fn name(rest: &str) -> Result<(PathChild, &str), PathFault> {
    let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    if name == "*" {
        return Ok((PathChild::Any, after));
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(PathFault(
            "after a dot stands a name of letters, digits, `_` and `-`, or `*`; others as `['name']`",
        ));
    }
    Ok((PathChild::Name(name.to_owned()), after))
}

fn bracket(rest: &str) -> Result<(PathChild, &str), PathFault> {
    const RIGHT: PathFault =
        PathFault("in brackets stands a number, `*`, or a name in quotes: `[0]`, `[*]`, `['name']`");
    let inside = rest.strip_prefix('[').ok_or(RIGHT)?;
    if let Some(quote) = inside.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, after) = quoted(inside.get(1..).unwrap_or_default(), quote).ok_or(RIGHT)?;
        return Ok((PathChild::Name(name), after.strip_prefix(']').ok_or(RIGHT)?));
    }
    let (what, after) = inside.split_once(']').ok_or(RIGHT)?;
    let child = match what {
        "*" => PathChild::Any,
        number if number.bytes().all(|b| b.is_ascii_digit()) => PathChild::Index(number.parse().map_err(|_| RIGHT)?),
        _ => return Err(RIGHT),
    };
    Ok((child, after))
}

/// A name up to its closing quote, and the rest after it; a backslash escapes the next character.
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            c if c == quote => return Some((name, rest.get(at + 1..)?)),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn name(name: &str) -> PathChild {
        PathChild::Name(name.to_owned())
    }

    #[test]
    fn paths_are_read() {
        for (text, wanted) in [
            ("$", vec![]),
            ("$.a", vec![(false, name("a"))]),
            ("$.a-b._c", vec![(false, name("a-b")), (false, name("_c"))]),
            ("$..a.b", vec![(true, name("a")), (false, name("b"))]),
            ("$.*[*][0]", vec![(false, PathChild::Any), (false, PathChild::Any), (false, PathChild::Index(0))]),
            ("$['a.b'][\"c'\"]['d\\'e']", vec![(false, name("a.b")), (false, name("c'")), (false, name("d'e"))]),
            ("$..[1]..*..['x']", vec![(true, PathChild::Index(1)), (true, PathChild::Any), (true, name("x"))]),
            ("$.größe", vec![(false, name("größe"))]),
        ] {
            let steps = wanted.into_iter().map(|(deep, child)| PathStep { deep, child }).collect();
            assert_eq!(JsonPath::parse(text), Ok(JsonPath { steps }), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = format!("${}", ".a".repeat(33));
        for text in
            ["", "a", "a.b", "$a", "$.", "$..", "$.a.", "$[", "$[]", "$[a]", "$[-1]", "$['a]", "$['a'", "$.a b", &long]
        {
            assert!(JsonPath::parse(text).is_err(), "{text}");
        }
        assert!(JsonPath::parse("user.password").unwrap_err().to_string().contains("`$.user.password`"));
    }
}
