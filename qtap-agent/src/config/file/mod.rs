//! The file as typed: the values of its keys, not yet interpreted. In: the tree of nodes. Out: structs with the structure of the
//! file, `None` where nothing is written. No defaults, variables or references: those belong to `meaning`.

pub(crate) mod auth;
pub(crate) mod endpoints;
pub(crate) mod filters;
pub(crate) mod plugins;
pub(crate) mod redact;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod stacks;
pub(crate) mod tap;

use super::fields::{At, Fields};
use super::finding::Findings;
use super::place::Span;
use super::shape;
use super::yaml::Node;

/// `qtap.yaml`.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) event_stores: Vec<services::Store>,
    pub(crate) object_stores: Vec<services::Store>,
    /// None when the file has no `stacks`.
    pub(crate) stacks: Option<Vec<stacks::Stack>>,
    pub(crate) tap: tap::Tap,
    pub(crate) tags: Vec<tap::Tag>,
    pub(crate) macros: Vec<rules::Named>,
    /// The place of `services`, or where it would be.
    pub(crate) services_at: Option<Span>,
}

/// Reads all keys of the file.
pub(crate) fn read(root: Option<&Node>, out: &Findings) -> File {
    let start = Span::within(1, 1, 1);
    let Some(root) = root else {
        out.fault(start, "the file is empty", "begin with `version: 2`");
        return File::default();
    };
    let Some(fields) = Fields::open(root, &shape::FILE, out) else { return File::default() };
    fields.require("version", "begin the file with `version: 2`");
    fields.whole("version");
    let services = fields.node("services").and_then(|node| Fields::open(node, &shape::SERVICES, out));
    let stores = |name, objects| -> Vec<services::Store> {
        let items = services.as_ref().map(|services| services.list(name)).unwrap_or_default();
        items.iter().filter_map(|item| services::store(item, objects, out)).collect()
    };
    File {
        event_stores: stores("event_stores", false),
        object_stores: stores("object_stores", true),
        stacks: fields.node("stacks").map(|_| stacks::read(&fields, out)),
        tap: fields.node("tap").map(|node| tap::read(node, out)).unwrap_or_default(),
        tags: fields.list("tags").iter().filter_map(|item| tap::tag(item, out)).collect(),
        macros: fields.node("rulekit").map(|node| rules::rulekit(node, out)).unwrap_or_default(),
        services_at: Some(fields.key_span("services").unwrap_or(start)),
    }
}

/// The variant for the value of `type`; reports a fault when there is none.
pub(crate) fn kind<T: Copy>(fields: &Fields<'_>, kinds: &[(&str, T)]) -> Option<At<T>> {
    fields.require_choice("type");
    fields.choice("type", kinds)
}
