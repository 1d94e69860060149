//! `tap` and `tags` as typed.

use super::endpoints::{self, Endpoint};
use super::filters::{self, Filters};
use crate::config::DirectionFilter;
use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::shape;
use crate::config::yaml::{Kind, Node};

/// `tap`.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    pub(crate) direction: Option<At<DirectionFilter>>,
    pub(crate) ignore_loopback: Option<At<bool>>,
    pub(crate) audit_include_dns: Option<At<bool>>,
    /// The stack that `http` names; empty: HTTP is not wanted.
    pub(crate) http_stack: Option<At<String>>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) filters: Filters,
}

/// One item of `tags`.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) key: At<String>,
    pub(crate) source: TagSource,
    /// Name of the variable, label or annotation.
    pub(crate) location: At<String>,
}

/// Where the value of a tag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagSource {
    Env,
    K8sLabel,
    K8sAnnotation,
    ContainerLabel,
}

/// Reads `tap`.
pub(crate) fn read(node: &Node, out: &Findings) -> Tap {
    let Some(fields) = Fields::open(node, &shape::TAP, out) else { return Tap::default() };
    Tap {
        direction: fields.choice(
            "direction",
            &[
                ("all", DirectionFilter::All),
                ("ingress", DirectionFilter::Ingress),
                ("egress", DirectionFilter::Egress),
                ("egress-internal", DirectionFilter::EgressInternal),
                ("egress-external", DirectionFilter::EgressExternal),
            ],
        ),
        ignore_loopback: fields.flag("ignore_loopback"),
        audit_include_dns: fields.flag("audit_include_dns"),
        http_stack: http(&fields, out),
        endpoints: endpoints::read(&fields, out),
        filters: filters::read(&fields, out),
    }
}

/// `http: {stack: NAME}`; `none` and the empty text mean no stack, both as the name and in place of the whole map.
pub(crate) fn http(fields: &Fields<'_>, out: &Findings) -> Option<At<String>> {
    let node = fields.node("http")?;
    let stack = match &node.kind {
        Kind::Scalar(text, _) if text == "none" || text.is_empty() => fields.text("http")?,
        Kind::Scalar(..) | Kind::List(_) | Kind::Map(_) => Fields::open(node, &shape::TAP_HTTP, out)?.text("stack")?,
    };
    Some(stack.map(|name| if name == "none" { String::new() } else { name }))
}

/// Reads one tag; reports a fault and returns `None` when it is incomplete.
pub(crate) fn tag(node: &Node, out: &Findings) -> Option<Tag> {
    let fields = Fields::open(node, &shape::TAG, out)?;
    for (name, help) in [
        ("key", "the tag is told as `key:value`"),
        ("source", "where its value comes from: `source: env`"),
        ("location", "the name of the variable, label or annotation"),
    ] {
        fields.require(name, help);
    }
    let source = fields.choice(
        "source",
        &[
            ("env", TagSource::Env),
            ("k8s.label", TagSource::K8sLabel),
            ("k8s.annotation", TagSource::K8sAnnotation),
            ("container.label", TagSource::ContainerLabel),
        ],
    );
    let (key, location) = (fields.text("key")?, fields.text("location")?);
    Some(Tag { key, source: source?.value, location })
}
