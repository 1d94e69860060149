//! `tap.filters` as typed: groups of programs, and programs by executable path.

use crate::capture::settings::Aspect;
use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::shape;

/// `filters`.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) groups: Vec<At<String>>,
    pub(crate) custom: Vec<Custom>,
}

/// One item of `custom`.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) exe: At<String>,
    pub(crate) strategy: Option<At<Strategy>>,
    pub(crate) only: Vec<At<String>>,
}

/// How `exe` is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Regex,
}

/// Words of `only`.
pub(crate) const ASPECTS: [(&str, Aspect); 4] =
    [("data", Aspect::Data), ("dns", Aspect::Dns), ("tls", Aspect::Tls), ("http", Aspect::Http)];

/// Reads `filters` of `tap`.
pub(crate) fn read(tap: &Fields<'_>, out: &Findings) -> Filters {
    let fields = tap.node("filters").and_then(|node| Fields::open(node, &shape::FILTERS, out));
    let Some(fields) = fields else { return Filters::default() };
    let custom = |node| {
        let fields = Fields::open(node, &shape::FILTER, out)?;
        fields.require("exe", "the path of the executable, e.g. `/usr/bin/curl`, or a part of it");
        let strategy = fields.choice(
            "strategy",
            &[
                ("exact", Strategy::Exact),
                ("prefix", Strategy::Prefix),
                ("suffix", Strategy::Suffix),
                ("contains", Strategy::Contains),
                ("regex", Strategy::Regex),
            ],
        );
        let only = fields.words("only").unwrap_or_default();
        Some(Custom { exe: fields.text("exe")?, strategy, only })
    };
    Filters {
        groups: fields.words("groups").unwrap_or_default(),
        custom: fields.list("custom").iter().filter_map(custom).collect(),
    }
}
