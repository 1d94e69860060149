//! The config of `redact` as typed.

use crate::config::fields::{At, Fields, Given, scalar};
use crate::config::finding::Findings;
use crate::config::shape;
use crate::config::yaml::{Kind, Node};
use crate::pipeline::settings::RedactAction;

/// The keys that the file gives.
#[derive(Debug, Default)]
pub(crate) struct Redact {
    pub(crate) headers: Option<Vec<At<String>>>,
    pub(crate) query_keys: Option<Vec<At<String>>>,
    pub(crate) cookies: Option<Vec<At<String>>>,
    pub(crate) json: Option<Vec<At<String>>>,
    pub(crate) form: Option<Vec<At<String>>>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) action: Option<At<RedactAction>>,
    pub(crate) salt: Option<At<Given>>,
}

/// One pattern.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// A built-in pattern, by name.
    Ready(At<String>),
    /// A pattern of the user's own.
    Own { name: At<String>, regex: At<String> },
}

/// Reads the config of `redact`.
pub(crate) fn read(node: &Node, out: &Findings) -> Option<Redact> {
    let fields = Fields::open(node, &shape::REDACT, out)?;
    Some(Redact {
        headers: fields.words("headers"),
        query_keys: fields.words("query_keys"),
        cookies: fields.words("cookies"),
        json: fields.words("json"),
        form: fields.words("form"),
        patterns: fields.list("patterns").iter().filter_map(|item| pattern(item, out)).collect(),
        action: fields.choice(
            "action",
            &[("mask", RedactAction::Mask), ("hash", RedactAction::Hash), ("drop", RedactAction::Drop)],
        ),
        salt: fields.secret("salt"),
    })
}

fn pattern(node: &Node, out: &Findings) -> Option<Pattern> {
    if !matches!(node.kind, Kind::Map(_)) {
        out.show(node.span);
        return scalar("patterns", node, out).map(Pattern::Ready);
    }
    let fields = Fields::open(node, &shape::PATTERN, out)?;
    fields.require("name", "what messages are to call it");
    fields.require("regex", "what it is: a regular expression, in quotes");
    Some(Pattern::Own { name: fields.text("name")?, regex: fields.text("regex")? })
}
