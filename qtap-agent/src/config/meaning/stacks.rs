//! The stack that HTTP goes through. A file without `stacks` has the built-in one; `tap.http.stack` names one of several.

use super::{Around, plugins};
use crate::config::fields::At;
use crate::config::file::File;
use crate::config::file::stacks::{Plugin, PluginKind, Stack as TypedStack};
use crate::config::value;
use crate::config::wording::{brief, listed};
use crate::pipeline::settings::{HttpCapture, Level, Redact, RedactAction, Stack, Step};

/// The word that stands for the built-in list in the lists of `redact`.
const CREDENTIALS: &str = "credentials";

/// The stack for HTTP; none when the file wants none.
pub(crate) fn settle(file: &File, around: &Around<'_>) -> Option<Stack> {
    let named = file.tap.http_stack.as_ref();
    let Some(stacks) = &file.stacks else {
        return match named {
            Some(name) if name.value.is_empty() => None,
            Some(name) if name.value != "default_stack" => {
                around.out.fault(
                    name.span,
                    format!("there is no stack `{}`", brief(&name.value)),
                    "the file has no `stacks`",
                );
                None
            }
            _ => Some(super::built_in_stack(Level::Summary)),
        };
    };
    let settled: Vec<Stack> = stacks.iter().map(|stack| settle_stack(stack, around)).collect();
    let chosen = choose(stacks, named, around);
    for stack in stacks {
        if chosen.is_some_and(|chosen| !std::ptr::eq(chosen, stack)) {
            let message = format!("the stack `{}` is not used", brief(&stack.name.value));
            around.out.note(stack.name.span, message, "`tap.http.stack` names the one that is");
        }
    }
    let name = &chosen?.name.value;
    settled.into_iter().find(|stack| stack.name == *name)
}

fn choose<'f>(stacks: &'f [TypedStack], named: Option<&At<String>>, around: &Around<'_>) -> Option<&'f TypedStack> {
    let names = || stacks.iter().map(|stack| stack.name.value.as_str());
    match (named, stacks) {
        (Some(name), _) if name.value.is_empty() => None,
        (Some(name), _) => {
            let found = stacks.iter().find(|stack| stack.name.value == name.value);
            if found.is_none() {
                let help = match value::nearest(&name.value, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("stacks here: {}", listed(&names().collect::<Vec<_>>())),
                };
                around.out.fault(name.span, format!("there is no stack `{}`", brief(&name.value)), help);
            }
            found
        }
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, [first, ..]) => {
            let default = stacks.iter().find(|stack| stack.name.value == "default_stack");
            if default.is_none() {
                let message = "several stacks, and nothing says which one HTTP goes through";
                around.out.fault(
                    first.name.span,
                    message,
                    format!("write `tap: {{http: {{stack: {}}}}}`", brief(&first.name.value)),
                );
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
        PluginKind::HttpCapture { level, format, artifacts } => {
            let default = HttpCapture::default();
            Step::HttpCapture(HttpCapture {
                level: level.as_ref().map_or(default.level, |at| at.value),
                format: format.as_ref().map_or(default.format, |at| at.value),
                artifacts: artifacts.as_ref().map_or(default.artifacts, |at| at.value),
            })
        }
        PluginKind::AccessLogs(logs) => Step::AccessLogs(plugins::access_logs(logs)),
        PluginKind::ReportUsage(usage) => Step::ReportUsage(plugins::report_usage(usage)),
        PluginKind::DetectErrors(detect) => Step::DetectErrors(plugins::detect_errors(detect, around)),
        PluginKind::HttpMetrics(metrics) => Step::HttpMetrics(plugins::http_metrics(metrics)),
        PluginKind::Sample(sample) => Step::Sample(plugins::sample(sample, plugin.span, around)),
        PluginKind::Redact { headers, query_keys, action } => {
            let default = Redact::default();
            let redact = Redact {
                headers: names(headers.as_deref(), CREDENTIALS, default.headers),
                query_keys: names(query_keys.as_deref(), CREDENTIALS, default.query_keys),
                action: action.as_ref().map_or(RedactAction::Mask, |at| at.value),
            };
            if redact.headers.is_empty() && redact.query_keys.is_empty() {
                around.out.note(
                    plugin.span,
                    "this `redact` has nothing to redact",
                    "`headers: [credentials]` is the built-in list",
                );
            }
            Step::Redact(redact)
        }
    }
}

/// The names of a list, in lower case and once each; `all` stands for the built-in ones, as does no list at all.
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
