//! Rules and macros as typed: names and expressions, not yet parsed. In: nodes of `rules` and `rulekit`. Out: texts with their places.

use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::shape::{self, Shape};
use crate::config::yaml::Node;
use crate::pipeline::settings::Level;

/// A name and its expression; the name is `None` when it is missing, which has been reported.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Option<At<String>>,
    pub(crate) expr: At<String>,
}

/// One of the `rules` of `http_capture`, or of `access_logs`.
#[derive(Debug)]
pub(crate) struct CaptureRule {
    pub(crate) rule: Named,
    /// Its `level`, or its `mode`. `None` when it is missing or wrong, which has been reported.
    pub(crate) level: Option<At<Level>>,
}

/// Reads one of the `rules` of `http_capture`; reports a fault and returns `None` when it has no expression.
pub(crate) fn capture_rule(node: &Node, out: &Findings) -> Option<CaptureRule> {
    let fields = Fields::open(node, &shape::CAPTURE_RULE, out)?;
    let rule = named(&fields, "what it is called in counts, e.g. `name: errors`");
    fields.require_choice("level");
    let level = super::stacks::level(&fields, out);
    Some(CaptureRule { rule: rule?, level })
}

/// Reads one of the `rules` of `access_logs`; reports a fault and returns `None` when it has no expression.
pub(crate) fn log_rule(node: &Node, out: &Findings) -> Option<CaptureRule> {
    let fields = Fields::open(node, &shape::LOG_RULE, out)?;
    let rule = named(&fields, "what it is called in counts, e.g. `name: health`");
    fields.require_choice("mode");
    let level = super::plugins::mode(&fields);
    Some(CaptureRule { rule: rule?, level })
}

/// Reads the macros of `rulekit`.
pub(crate) fn rulekit(node: &Node, out: &Findings) -> Vec<Named> {
    let Some(fields) = Fields::open(node, &shape::RULEKIT, out) else { return Vec::new() };
    fields
        .list("macros")
        .iter()
        .filter_map(|item| open(item, &shape::MACRO, "rules call it as `NAME()`", out))
        .collect()
}

/// Reads a map that holds only a name and an expression.
fn open(node: &Node, shape: &'static Shape, name: &str, out: &Findings) -> Option<Named> {
    named(&Fields::open(node, shape, out)?, name)
}

/// The keys `name` and `expr` of a map; `name`: the help for a missing name.
pub(crate) fn named(fields: &Fields<'_>, name: &str) -> Option<Named> {
    fields.require("name", name);
    fields.require("expr", "e.g. `expr: http.res.status >= 500`");
    let (name, expr) = (fields.text("name"), fields.text("expr"));
    Some(Named { name, expr: expr? })
}
