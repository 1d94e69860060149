//! Words for what stands in a file: names, lists, kinds of values. In: nodes and names. Out: text for findings, that shows
//! no more of the file than it must.

use super::place::Span;
use super::shape::{Shape, Takes};
use super::yaml::{Kind, Node, Scalar};

/// Where to point at for a map or list as a whole: its beginning.
pub(crate) fn head(node: &Node) -> Span {
    Span::within(node.span.line, node.span.column, 1)
}

/// The help for what `glued` finds.
pub(crate) const GLUED: &str = "a space is missing after `:`";

/// True for `key:value`, which YAML takes for one word.
pub(crate) fn glued(text: &str) -> bool {
    text.contains(':')
}

/// True for nothing, `~` and `null`.
pub(crate) fn is_null(node: &Node) -> bool {
    matches!(node.kind, Kind::Scalar(_, Scalar::Null))
}

/// `{{ NAME }}` without quotes is read by YAML as a map in a map.
pub(crate) fn braces(node: &Node) -> bool {
    match &node.kind {
        Kind::Map(pairs) => matches!(pairs.as_slice(), [(key, value)]
            if matches!(key.kind, Kind::Map(_)) && matches!(value.kind, Kind::Scalar(_, Scalar::Null))),
        Kind::Scalar(..) | Kind::List(_) => false,
    }
}

/// Words as messages list them.
pub(crate) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{}`", brief(word))).collect::<Vec<_>>().join(", ")
}

/// The keys that may stand in a map.
pub(crate) fn keys_of(shape: &'static Shape) -> String {
    let usable = shape.all().filter(|key| !matches!(key.takes, Takes::Now(_)));
    format!("keys here: {}", listed(&usable.map(|key| key.name).collect::<Vec<_>>()))
}

/// The text of a scalar as written.
pub(crate) fn plain(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar(text, _) => Some(text),
        Kind::List(_) | Kind::Map(_) => None,
    }
}

/// What a node is, in words.
pub(crate) fn name_of(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar(_, Scalar::Null) => "nothing",
        Kind::Scalar(_, Scalar::Bool(_)) => "a flag",
        Kind::Scalar(_, Scalar::Whole(_) | Scalar::Number) => "a number",
        Kind::Scalar(_, Scalar::Text) => "text",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
    }
}

/// The value itself where it is one, else what it is.
pub(crate) fn quoted(node: &Node) -> String {
    plain(node).map_or_else(|| name_of(node).to_owned(), |text| format!("`{}`", word(text)))
}

/// A key as messages name it: what follows its first word may be a value that ran into it.
pub(crate) fn name(key: &str) -> String {
    match key.find(|c: char| !is_name_char(c)) {
        Some(end) => format!("{}…", brief(&key[..end])),
        None => brief(key),
    }
}

/// Characters of plain names.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// A word as messages quote it: what follows it is the next value, that lost its key.
pub(crate) fn word(text: &str) -> String {
    match text.find(char::is_whitespace) {
        Some(end) => format!("{}…", brief(&text[..end])),
        None => brief(text),
    }
}

/// The beginning of a text, on one line.
pub(crate) fn brief(text: &str) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if shown.chars().count() < text.chars().count() { format!("{shown}…") } else { shown }
}
