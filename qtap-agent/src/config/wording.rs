//! The wording of messages: names, lists, kinds of values. In: nodes and names. Out: text for findings that shows no more of
//! the file than necessary.

use super::place::Span;
use super::shape::{Shape, Takes};
use super::yaml::{Kind, Node, Scalar};

/// Where messages about a map or list as a whole point: its beginning.
pub(crate) fn head(node: &Node) -> Span {
    Span::within(node.span.line, node.span.column, 1)
}

/// The help for a word that `glued` recognises.
pub(crate) const GLUED: &str = "a space is missing after `:`";

/// True for `key:value`, which YAML takes for a single word.
pub(crate) fn glued(text: &str) -> bool {
    text.contains(':')
}

/// True for an absent value, `~` and `null`.
pub(crate) fn is_null(node: &Node) -> bool {
    matches!(node.kind, Kind::Scalar(_, Scalar::Null))
}

/// True for an unquoted `{{ NAME }}`, which YAML reads as a map in a map.
pub(crate) fn braces(node: &Node) -> bool {
    match &node.kind {
        Kind::Map(pairs) => matches!(pairs.as_slice(), [(key, value)]
            if matches!(key.kind, Kind::Map(_)) && matches!(value.kind, Kind::Scalar(_, Scalar::Null))),
        Kind::Scalar(..) | Kind::List(_) => false,
    }
}

/// Words, formatted as a list for messages.
pub(crate) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{}`", brief(word))).collect::<Vec<_>>().join(", ")
}

/// The keys allowed in a map.
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

/// The value itself when it is a scalar, else what kind of node it is.
pub(crate) fn quoted(node: &Node) -> String {
    plain(node).map_or_else(|| name_of(node).to_owned(), |text| format!("`{}`", word(text)))
}

/// A key as messages name it. Only its first word is shown: the rest may be a value that ran into the key.
pub(crate) fn name(key: &str) -> String {
    match key.find(|c: char| !is_name_char(c)) {
        Some(end) => format!("{}…", brief(&key[..end])),
        None => brief(key),
    }
}

/// Characters allowed in plain names.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// A word as messages quote it. Only the first is shown: the rest may be the next value, which lost its key.
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
