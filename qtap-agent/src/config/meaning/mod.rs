//! What the file means: defaults, variables, secrets, and references between its parts. In: the file as typed. Out:
//! `Settings`. Continues after a fault, with the default in place of the faulty value, so that all faults are reported at once.

mod access_url;
pub(crate) mod auth;
mod endpoints;
mod filters;
mod otlp;
mod plugins;
mod redact;
mod rules;
mod s3;
mod stacks;
mod stores;
mod variables;

use std::path::{Path, PathBuf};

use super::fields::{At, Given};
use super::file::File;
use super::file::tap::{Tag, TagSource};
use super::finding::Findings;
use super::place::Span;
use super::wording::brief;
use super::{HTTP_BUFFER_SIZE, Settings, TapSettings, value};
use crate::capture::settings::Filters;
use crate::export::settings::{ResourceSettings, Secret, StoreKind, StoreSettings};
use crate::model::record::Severity;
use crate::pipeline::settings::{
    Fact, FactTag, HttpCapture, HttpMetrics, Level, Locator, Macros, Redact, Routing, Settings as PipelineSettings,
    Stack, Step,
};
pub(crate) use rules::macros;

/// What a file may refer to, and where findings are collected.
pub(crate) struct Around<'a> {
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) folder: &'a Path,
    pub(crate) out: &'a Findings,
    /// The macros that rules may call by name.
    pub(crate) macros: &'a Macros,
}

impl Around<'_> {
    /// Resolves a secret.
    fn secret(&self, given: &At<Given>) -> Option<Secret> {
        match &given.value {
            Given::Text(text) => Some(Secret::text(text.clone())),
            Given::Env(name) => self.variable(name, given.span).map(Secret::text),
            Given::File(name) => self.secret_file(name, given.span),
        }
    }

    fn variable(&self, name: &str, at: Span) -> Option<String> {
        if !value::is_name(name) {
            // Not shown: it may be the secret itself, put where its name belongs.
            self.out.fault(at, "this cannot be the name of an environment variable", "letters, digits and `_`");
            return None;
        }
        let found = (self.env)(name);
        if found.is_none() {
            self.out.fault(
                at,
                format!("the environment variable `{}` is not set", brief(name)),
                "set it, or write the value",
            );
        }
        found
    }

    fn secret_file(&self, name: &str, at: Span) -> Option<Secret> {
        match Secret::file(self.folder.join(name)) {
            Ok(secret) => Some(secret),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                self.out.fault(at, "the file is larger than 64kb", "a secret is a line of text");
                None
            }
            Err(error) => {
                self.out.fault(
                    at,
                    format!("the file cannot be read: {error}"),
                    "relative paths start at the folder of this file",
                );
                None
            }
        }
    }

    /// The path of a file, which must exist.
    fn file(&self, path: &At<String>) -> PathBuf {
        let full = self.folder.join(&path.value);
        if let Err(error) = std::fs::metadata(&full) {
            let help = "relative paths start at the folder of this file";
            self.out.fault(path.span, format!("`{}` cannot be read: {error}", brief(&path.value)), help);
        }
        full
    }

    /// The text with its variables expanded.
    fn expanded(&self, text: &At<String>) -> Option<At<String>> {
        match value::expand(&text.value, self.env) {
            Ok(value) => Some(At { span: text.span, value }),
            Err(name) => {
                self.out.fault(
                    text.span,
                    format!("the environment variable `{}` is not set", brief(&name)),
                    "set it, or write the value",
                );
                None
            }
        }
    }
}

/// The settings of all rooms, from the whole file.
pub(crate) fn settle(file: &File, around: &Around<'_>) -> Settings {
    let (stores, locators) = stores::settle(file, around);
    let (http_stack, routing) = stacks::settle(file, around);
    let pipeline =
        PipelineSettings { http_stack, routing, locators, tags: tags(file, around), fact_tags: fact_tags(file) };
    let stored = pipeline.stacks().map(Stack::stores).max().unwrap_or(Level::None);
    if let Some(at) = file.services_at.filter(|_| around.out.is_clean()) {
        if stores.is_empty() {
            around.out.note(
                at,
                "no store: nothing that is captured will be exported",
                "add one to `services.event_stores`",
            );
        } else if stored > Level::Summary && pipeline.locators.is_empty() {
            let message = "the stack makes objects and no object store takes them: heads and bodies are not exported";
            around.out.note(at, message, "add one to `services.object_stores`, or choose the level `summary`");
        }
    }
    let audit_dns = file.tap.audit_include_dns.as_ref().is_some_and(|at| at.value);
    let tap = TapSettings {
        direction: file.tap.direction.as_ref().map_or_else(Default::default, |at| at.value),
        ignore_loopback: file.tap.ignore_loopback.as_ref().is_some_and(|at| at.value),
        http_wanted: pipeline.wants_http(),
        http_buffer_size: HTTP_BUFFER_SIZE,
        filters: filters::settle(&file.tap.filters, around),
        reads_dns: audit_dns || !pipeline.routing.endpoints.is_empty(),
        audit_dns,
    };
    Settings { stores, pipeline, tap }
}

/// Tags from environment variables. A tag whose variable is not set is left out: that is no reason not to start.
fn tags(file: &File, around: &Around<'_>) -> Vec<String> {
    let variables = file.tags.iter().filter(|tag| tag.source == TagSource::Env);
    let tag = |tag: &Tag| match (around.env)(&tag.location.value) {
        Some(value) => Some(format!("{}:{value}", tag.key.value)),
        None => {
            let message = format!("the environment variable `{}` is not set", brief(&tag.location.value));
            around.out.note(tag.location.span, message, "the tag is left out");
            None
        }
    };
    variables.filter_map(tag).collect()
}

/// Tags whose value is looked up for each process.
fn fact_tags(file: &File) -> Vec<FactTag> {
    let tag = |tag: &Tag| {
        let fact = match tag.source {
            TagSource::Env => return None,
            TagSource::K8sLabel => Fact::PodLabel,
            TagSource::K8sAnnotation => Fact::PodAnnotation,
            TagSource::ContainerLabel => Fact::ContainerLabel,
        };
        Some(FactTag { key: tag.key.value.clone(), fact, name: tag.location.value.clone() })
    };
    file.tags.iter().filter_map(tag).collect()
}

/// See [`Settings::built_in`].
pub(crate) fn built_in(level: Level) -> Settings {
    let resource = ResourceSettings { service_name: "qtap".to_owned(), ..ResourceSettings::default() };
    Settings {
        stores: vec![StoreSettings {
            id: "stdout".to_owned(),
            events: true,
            objects: true,
            kind: StoreKind::Stdout(resource, Severity::Trace),
            queue: None,
        }],
        pipeline: PipelineSettings {
            http_stack: Some(built_in_stack(level)),
            routing: Routing::default(),
            locators: vec![Locator { store: "stdout".to_owned(), url: stores::STDOUT_URL.to_owned(), min_bytes: 0 }],
            tags: Vec::new(),
            fact_tags: Vec::new(),
        },
        tap: TapSettings {
            direction: super::DirectionFilter::All,
            ignore_loopback: false,
            http_wanted: true,
            http_buffer_size: HTTP_BUFFER_SIZE,
            filters: Filters::default(),
            reads_dns: false,
            audit_dns: false,
        },
    }
}

/// The stack used without a file, and for a file without stacks.
fn built_in_stack(level: Level) -> Stack {
    let capture = HttpCapture { level, ..HttpCapture::default() };
    let steps =
        vec![Step::HttpCapture(capture), Step::HttpMetrics(HttpMetrics::default()), Step::Redact(Redact::default())];
    Stack { name: "default_stack".to_owned(), steps }
}
