//! `stacks` as typed: named lists of plugins.

use super::plugins::{AccessLogs, DetectErrors, HttpMetrics, ReportUsage, Sample};
use super::redact::Redact;
use super::rules::{self, CaptureRule};
use crate::config::fields::{At, Fields};
use crate::config::finding::Findings;
use crate::config::place::Span;
use crate::config::shape;
use crate::config::yaml::{Kind, Node};
use crate::pipeline::settings::{Artifacts, Format, Level};

/// One stack.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: At<String>,
    pub(crate) plugins: Vec<Plugin>,
}

/// One plugin that this version supports.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// The place of its `type`.
    pub(crate) span: Span,
    pub(crate) kind: PluginKind,
}

#[derive(Debug)]
pub(crate) enum PluginKind {
    HttpCapture {
        level: Option<At<Level>>,
        format: Option<At<Format>>,
        artifacts: Option<At<Artifacts>>,
        rules: Vec<CaptureRule>,
    },
    AccessLogs(AccessLogs),
    ReportUsage(ReportUsage),
    DetectErrors(DetectErrors),
    HttpMetrics(HttpMetrics),
    Redact(Box<Redact>),
    Sample(Sample),
    GenAi {
        conversations: Option<At<bool>>,
    },
}

impl PluginKind {
    /// Its `type`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            PluginKind::HttpCapture { .. } => "http_capture",
            PluginKind::AccessLogs(_) => "access_logs",
            PluginKind::ReportUsage(_) => "report_usage",
            PluginKind::DetectErrors(_) => "detect_errors",
            PluginKind::HttpMetrics(_) => "http_metrics",
            PluginKind::Redact(_) => "redact",
            PluginKind::Sample(_) => "sample",
            PluginKind::GenAi { .. } => "gen_ai",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    HttpCapture,
    AccessLogs,
    ReportUsage,
    DetectErrors,
    HttpMetrics,
    Redact,
    Sample,
    GenAi,
}

/// Reads `stacks` of the file.
pub(crate) fn read(file: &Fields<'_>, out: &Findings) -> Vec<Stack> {
    let stack = |(name, node): (At<String>, &Node)| {
        let fields = Fields::open(node, &shape::STACK, out)?;
        let plugins = fields.list("plugins").iter().filter_map(|item| plugin(item, out)).collect();
        if name.value.is_empty() || name.value == "none" {
            out.fault(
                name.span,
                format!("`{}` cannot name a stack", name.value),
                "it means that there is none: choose another name",
            );
        }
        Some(Stack { name, plugins })
    };
    file.names("stacks").into_iter().filter_map(stack).collect()
}

fn plugin(node: &Node, out: &Findings) -> Option<Plugin> {
    let fields = Fields::open(node, &shape::PLUGIN, out)?;
    let types = [
        ("http_capture", Type::HttpCapture),
        ("access_logs", Type::AccessLogs),
        ("report_usage", Type::ReportUsage),
        ("detect_errors", Type::DetectErrors),
        ("http_metrics", Type::HttpMetrics),
        ("redact", Type::Redact),
        ("sample", Type::Sample),
        ("gen_ai", Type::GenAi),
    ];
    let kind = super::kind(&fields, &types)?;
    let none = Node { span: fields.span, kind: Kind::Map(Vec::new()) };
    let config = fields.node("config").unwrap_or(&none);
    let plugin = match kind.value {
        Type::HttpCapture => http_capture(config, out),
        Type::AccessLogs => AccessLogs::read(config, out).map(PluginKind::AccessLogs),
        Type::ReportUsage => ReportUsage::read(config, out).map(PluginKind::ReportUsage),
        Type::DetectErrors => DetectErrors::read(config, out).map(PluginKind::DetectErrors),
        Type::HttpMetrics => HttpMetrics::read(config, out).map(PluginKind::HttpMetrics),
        Type::Redact => super::redact::read(config, out).map(|typed| PluginKind::Redact(Box::new(typed))),
        Type::Sample => Sample::read(config, out).map(PluginKind::Sample),
        Type::GenAi => Fields::open(config, &shape::GEN_AI, out)
            .map(|fields| PluginKind::GenAi { conversations: fields.flag("conversations") }),
    };
    Some(Plugin { span: kind.span, kind: plugin? })
}

fn http_capture(node: &Node, out: &Findings) -> Option<PluginKind> {
    let fields = Fields::open(node, &shape::HTTP_CAPTURE, out)?;
    Some(PluginKind::HttpCapture {
        level: level(&fields, out),
        format: fields.choice("format", &[("json", Format::Json), ("http", Format::Http), ("text", Format::Text)]),
        artifacts: fields.choice("artifacts", &[("split", Artifacts::Split), ("transaction", Artifacts::Transaction)]),
        rules: fields.list("rules").iter().filter_map(|item| rules::capture_rule(item, out)).collect(),
    })
}

/// The key `level`.
pub(crate) fn level(fields: &Fields<'_>, out: &Findings) -> Option<At<Level>> {
    let old = matches!(fields.node("level").map(|node| &node.kind), Some(Kind::Scalar(word, _)) if word == "headers");
    if old {
        let span = fields.text("level").map_or(fields.span, |level| level.span);
        out.note(span, "`headers` is an old name of the level `details`", "write `details`");
        Some(At { span, value: Level::Details })
    } else {
        fields.choice(
            "level",
            &[("none", Level::None), ("summary", Level::Summary), ("details", Level::Details), ("full", Level::Full)],
        )
    }
}
