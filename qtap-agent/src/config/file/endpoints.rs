//! `tap.endpoints` as typed: domains, each with the stack for its HTTP traffic.

use super::tap::http;
use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::shape;

/// One item of `endpoints`.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) domain: At<String>,
    /// The stack that `http` names; empty: none.
    pub(crate) stack: At<String>,
}

/// Reads `endpoints` of `tap`.
pub(crate) fn read(tap: &Fields<'_>, out: &Findings) -> Vec<Endpoint> {
    let endpoint = |node| {
        let fields = Fields::open(node, &shape::ENDPOINT, out)?;
        fields.require("domain", "write `domain: api.example.com` or `domain: \"*.example.com\"`");
        fields.require("http", "which stack it goes through: `http: {stack: NAME}`, or `http: none`");
        let domain = fields.text("domain");
        let stack = http(&fields, out);
        Some(Endpoint { domain: domain?, stack: stack? })
    };
    tap.list("endpoints").iter().filter_map(endpoint).collect()
}
