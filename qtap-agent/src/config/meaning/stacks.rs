//! The stacks, and which HTTP traffic goes through which. A file without `stacks` has the built-in one; `tap.http.stack` names the default
//! stack, `tap.endpoints` others.

use super::{Around, endpoints, plugins};
use crate::config::fields::At;
use crate::config::file::File;
use crate::config::file::stacks::{Plugin, PluginKind, Stack as TypedStack};
use crate::config::value;
use crate::config::wording::{brief, listed};
use crate::pipeline::settings::{GenAiStep, HttpCapture, Level, Routing, Stack, Step};

/// The name of the built-in stack, and of the default among several.
const BUILT_IN: &str = "default_stack";

/// The names of the existing stacks.
pub(crate) struct Names<'f> {
    names: Vec<&'f str>,
    /// False: the file has none, and the built-in one is used.
    in_file: bool,
}

impl Names<'_> {
    /// The index of the stack of that name; reports a fault when there is none.
    pub(crate) fn find(&self, name: &At<String>, around: &Around<'_>) -> Option<usize> {
        let found = self.names.iter().position(|known| *known == name.value);
        if found.is_none() {
            let help = match value::nearest(&name.value, self.names.iter().copied()) {
                _ if !self.in_file => "the file has no `stacks`".to_owned(),
                Some(near) => format!("did you mean `{}`?", brief(near)),
                None => format!("stacks here: {}", listed(&self.names)),
            };
            around.out.fault(name.span, format!("there is no stack `{}`", brief(&name.value)), help);
        }
        found
    }
}

/// The default stack for HTTP, `None` when the file wants none; and the other stacks, with what goes through them.
pub(crate) fn settle(file: &File, around: &Around<'_>) -> (Option<Stack>, Routing) {
    let names = match &file.stacks {
        Some(stacks) => Names { names: stacks.iter().map(|stack| stack.name.value.as_str()).collect(), in_file: true },
        None => Names { names: vec![BUILT_IN], in_file: false },
    };
    let endpoints = endpoints::settle(&file.tap.endpoints, &names, around);
    let chosen = choose(file, &names, around);
    let mut stacks: Vec<Stack> = match &file.stacks {
        Some(stacks) => stacks.iter().map(|stack| settle_stack(stack, around)).collect(),
        None => vec![super::built_in_stack(Level::Summary)],
    };
    for (at, typed) in file.stacks.iter().flatten().enumerate() {
        let is_named = endpoints.iter().any(|endpoint| endpoint.stack.as_ref() == Some(&typed.name.value));
        if chosen.is_some_and(|chosen| chosen != at) && !is_named {
            let message = format!("the stack `{}` is not used", brief(&typed.name.value));
            let help = "`tap.http.stack` and `tap.endpoints` name those that are; else only a pod's label can";
            around.out.note(typed.name.span, message, help);
        }
    }
    let for_all = chosen.filter(|chosen| *chosen < stacks.len()).map(|chosen| stacks.remove(chosen));
    (for_all, Routing { stacks, endpoints })
}

/// The index of the default stack.
fn choose(file: &File, names: &Names<'_>, around: &Around<'_>) -> Option<usize> {
    match (&file.tap.http_stack, names.names.as_slice()) {
        (Some(name), _) if name.value.is_empty() => None,
        (Some(name), _) => names.find(name, around),
        (None, []) => None,
        (None, [_]) => Some(0),
        (None, [first, ..]) => {
            let default = names.names.iter().position(|name| *name == BUILT_IN);
            if let (None, Some(at)) = (default, file.stacks.iter().flatten().next()) {
                let message = "several stacks, and nothing says which one HTTP goes through";
                let help = format!("write `tap: {{http: {{stack: {}}}}}`", brief(first));
                around.out.fault(at.name.span, message, help);
            }
            default
        }
    }
}

fn settle_stack(typed: &TypedStack, around: &Around<'_>) -> Stack {
    let stack = Stack {
        name: typed.name.value.clone(),
        steps: typed.plugins.iter().map(|plugin| step(plugin, around)).collect(),
    };
    for (nth, plugin) in typed.plugins.iter().enumerate() {
        let name = plugin.kind.name();
        let is_second = typed.plugins.iter().take(nth).any(|before| before.kind.name() == name);
        let help = match plugin.kind {
            PluginKind::Redact { .. } => continue,
            PluginKind::HttpCapture { .. } => "keep one: there is one level for an exchange",
            PluginKind::AccessLogs(_)
            | PluginKind::ReportUsage(_)
            | PluginKind::DetectErrors(_)
            | PluginKind::HttpMetrics(_)
            | PluginKind::GenAi { .. }
            | PluginKind::Sample(_) => "keep one",
        };
        if is_second {
            around.out.fault(plugin.span, format!("a second `{name}` in one stack"), help);
        }
    }
    let redacts = stack.steps.iter().any(|step| matches!(step, Step::Redact(_)));
    if stack.shows() > Level::Summary && !redacts {
        let message = format!("the stack `{}` exports headers as they are, credentials too", brief(&stack.name));
        around.out.note(typed.name.span, message, "add the plugin `- type: redact`");
    }
    stack
}

fn step(plugin: &Plugin, around: &Around<'_>) -> Step {
    match &plugin.kind {
        PluginKind::HttpCapture { level, format, artifacts, rules } => {
            let default = HttpCapture::default();
            Step::HttpCapture(HttpCapture {
                level: level.as_ref().map_or(default.level, |at| at.value),
                format: format.as_ref().map_or(default.format, |at| at.value),
                artifacts: artifacts.as_ref().map_or(default.artifacts, |at| at.value),
                rules: super::rules::with_levels(rules, around),
            })
        }
        PluginKind::AccessLogs(logs) => Step::AccessLogs(plugins::access_logs(logs, around)),
        PluginKind::ReportUsage(usage) => Step::ReportUsage(plugins::report_usage(usage)),
        PluginKind::DetectErrors(detect) => Step::DetectErrors(plugins::detect_errors(detect, around)),
        PluginKind::HttpMetrics(metrics) => Step::HttpMetrics(plugins::http_metrics(metrics)),
        PluginKind::Sample(sample) => Step::Sample(plugins::sample(sample, plugin.span, around)),
        PluginKind::GenAi { conversations } => Step::GenAi(GenAiStep {
            conversations: conversations.as_ref().map_or(GenAiStep::default().conversations, |at| at.value),
        }),
        PluginKind::Redact(typed) => Step::Redact(super::redact::settle(typed, plugin.span, around)),
    }
}

/// The names of a list, in lower case and without duplicates; the word in `all` stands for the built-in names, as does a missing list.
pub(super) fn names(given: Option<&[At<String>]>, all: &str, built_in: Vec<String>) -> Vec<String> {
    let Some(given) = given else { return built_in };
    let mut names: Vec<String> = Vec::new();
    for word in given {
        let more = if word.value == all { built_in.clone() } else { vec![word.value.to_ascii_lowercase()] };
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
