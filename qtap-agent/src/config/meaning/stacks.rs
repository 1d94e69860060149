//! The stack that HTTP goes through. A file without `stacks` has the built-in one; `tap.http.stack` names one of several.

use super::Around;
use crate::config::fields::At;
use crate::config::file::File;
use crate::config::file::stacks::{Plugin, PluginKind, Stack as TypedStack};
use crate::config::value;
use crate::config::wording::{brief, listed};
use crate::pipeline::settings::{HttpCapture, Level, Redact, RedactAction, Stack, Step};

/// The word that stands for the built-in list in the lists of `redact`.
const CREDENTIALS: &str = "credentials";

/// The highest level at which a stack captures.
pub(crate) fn level(stack: &Stack) -> Level {
    let levels = stack.steps.iter().map(|step| match step {
        Step::HttpCapture(capture) => capture.highest(),
        Step::Redact(_) => Level::None,
    });
    levels.max().unwrap_or(Level::None)
}

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
    let captures = |plugin: &&Plugin| matches!(plugin.kind, PluginKind::HttpCapture { .. });
    for second in typed.plugins.iter().filter(captures).skip(1) {
        around.out.fault(
            second.span,
            "a second `http_capture` in one stack",
            "keep one: there is one level for an exchange",
        );
    }
    let redacts = stack.steps.iter().any(|step| matches!(step, Step::Redact(_)));
    if level(&stack) > Level::Summary && !redacts {
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
                rules: super::rules::of_capture(rules, around),
            })
        }
        PluginKind::Redact { headers, query_keys, action } => {
            let default = Redact::default();
            let redact = Redact {
                headers: names(headers.as_deref(), default.headers),
                query_keys: names(query_keys.as_deref(), default.query_keys),
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

/// The names of a list, in lower case and once each; `credentials` stands for the built-in ones, as does no list at all.
fn names(given: Option<&[At<String>]>, built_in: Vec<String>) -> Vec<String> {
    let Some(given) = given else { return built_in };
    let mut names: Vec<String> = Vec::new();
    for word in given {
        let more = if word.value == CREDENTIALS { built_in.clone() } else { vec![word.value.to_ascii_lowercase()] };
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
