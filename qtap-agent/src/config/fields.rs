//! Reads one map of the file by its table: unknown, repeated and unsupported keys are faults, old spellings notes; values are
//! checked against the table's types and bounds. In: a node and a `Shape`. Out: typed values, each with its place, and findings.
//! Applies no defaults and never relates values to one another: that is the job of `meaning`.

use std::time::Duration;

use super::finding::Findings;
use super::place::Span;
use super::shape::{self, Shape, Takes};
use super::value;
use super::wording::{
    self, GLUED, braces, glued, head, is_name_char, is_null, keys_of, listed, name_of, plain, quoted, word,
};
use super::yaml::{Kind, Node, Scalar};

/// A value and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) span: Span,
    pub(crate) value: T,
}

impl<T> At<T> {
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { span: self.span, value: f(self.value) }
    }
}

/// A secret or header as typed: the text, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Text(String),
    Env(String),
    File(String),
}

/// A map whose keys have been checked against its table.
pub(crate) struct Fields<'n> {
    /// The map itself: the place to report missing keys at.
    pub(crate) span: Span,
    shape: &'static Shape,
    values: Vec<(&'static str, Span, &'n Node)>,
    out: &'n Findings,
}

impl<'n> Fields<'n> {
    /// Opens a map; reports a fault and returns `None` when the node is not a map.
    pub(crate) fn open(node: &'n Node, shape: &'static Shape, out: &'n Findings) -> Option<Fields<'n>> {
        let span = head(node);
        let mut fields = Fields { span, shape, values: Vec::new(), out };
        let pairs = match &node.kind {
            Kind::Map(pairs) => pairs,
            Kind::Scalar(_, Scalar::Null) => return Some(fields),
            Kind::Scalar(..) | Kind::List(_) => {
                let glued = matches!(&node.kind, Kind::Scalar(text, Scalar::Text) if glued(text));
                let help = if glued { GLUED.to_owned() } else { keys_of(shape) };
                out.fault(node.span, format!("{} is a map of keys, not {}", shape.what, name_of(node)), help);
                return None;
            }
        };
        for (key, value) in pairs {
            fields.admit(key, value);
        }
        Some(fields)
    }

    fn admit(&mut self, key: &'n Node, value: &'n Node) {
        let Kind::Scalar(name, _) = &key.kind else {
            let help = if braces(key) { "a value that begins with `{{` needs quotes" } else { "a key is a word" };
            return self.out.fault(key.span, "this cannot be a key", help);
        };
        let Some(known) = self.shape.key(name) else { return self.unknown(name, key.span, value) };
        self.out.show(key.span);
        let name = match known.takes {
            Takes::Now(new) => {
                self.out.note(key.span, format!("`{name}` is an old name of `{new}`"), format!("write `{new}`"));
                new
            }
            _ => known.name,
        };
        if let Some((_, first, _)) = self.values.iter().find(|(given, _, _)| *given == name) {
            self.show_if_public(name, value);
            return twice(name, key.span, *first, self.out);
        }
        if !is_null(value) {
            self.values.push((name, key.span, value));
        }
    }

    fn unknown(&self, name: &str, at: Span, value: &Node) {
        let elsewhere = shape::ALL.iter().find(|shape| shape.key(name).is_some());
        let near = value::nearest(name, self.shape.all().map(|key| key.name)).filter(|_| elsewhere.is_none());
        // The value may be shown if the nearest key's value may, provided that no key of this table hides its value: `typret` may be
        // what is left of `type` and a following secret, `rd` of `password`. Short words are excluded: they are near to anything.
        let may_hide = self.shape.all().any(shape::hides);
        if let Some(near) = near.filter(|near| near.len() > 3 && !may_hide) {
            self.show_if_public(near, value);
        }
        let help = match (near, elsewhere) {
            _ if glued(name) => GLUED.to_owned(),
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(shape)) => format!("it belongs to {}; {}", shape.what, keys_of(self.shape)),
            (None, None) => keys_of(self.shape),
        };
        // A lone word may be a value that lost its key.
        let lone = near.is_none() && elsewhere.is_none() && is_null(value) && !glued(name);
        if lone {
            self.out.fault(at, format!("a word in {} that is no key", self.shape.what), help);
        } else {
            if name.chars().all(is_name_char) {
                self.out.show(at);
            }
            self.out.fault(at, format!("unknown key `{}` in {}", wording::name(name), self.shape.what), help);
        }
    }

    /// Marks an offending value as showable, when the key's regular value is public.
    fn show_if_public(&self, name: &str, value: &Node) {
        if shape::is_public(name) {
            self.out.show(value.span);
        }
    }

    /// The node of a key's value; `None` when absent or null.
    pub(crate) fn node(&self, name: &str) -> Option<&'n Node> {
        self.values.iter().find(|(key, _, _)| *key == name).map(|(_, _, node)| *node)
    }

    /// The place of a key that was given.
    pub(crate) fn key_span(&self, name: &str) -> Option<Span> {
        self.values.iter().find(|(key, _, _)| *key == name).map(|(_, span, _)| *span)
    }

    /// Reports a fault when a required key is missing.
    pub(crate) fn require(&self, name: &str, help: &str) {
        if self.node(name).is_none() {
            self.out.fault(self.span, format!("`{name}` is missing in {}", self.shape.what), help);
        }
    }

    /// Like `require`, for a key whose allowed words the table lists.
    pub(crate) fn require_choice(&self, name: &str) {
        self.require(name, &format!("one of {}", listed(self.choices(name))));
    }

    fn choices(&self, name: &str) -> &'static [&'static str] {
        match self.shape.key(name).map(|key| key.takes) {
            Some(Takes::Choice(words)) => words,
            _ => &[],
        }
    }

    /// Text; numbers and flags are accepted as written.
    pub(crate) fn text(&self, name: &str) -> Option<At<String>> {
        let node = self.node(name)?;
        let text = scalar(name, node, self.out)?;
        self.out.show(node.span);
        Some(text)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Option<At<bool>> {
        let node = self.public(name)?;
        match &node.kind {
            Kind::Scalar(_, Scalar::Bool(value)) => Some(At { span: node.span, value: *value }),
            _ => self.wrong(name, node, &without_quotes(node, "`true` or `false`")),
        }
    }

    /// A whole number within the table's bounds.
    pub(crate) fn whole(&self, name: &str) -> Option<At<u64>> {
        let node = self.public(name)?;
        let (min, max) = match self.shape.key(name)?.takes {
            Takes::Whole(min, max) => (min, max),
            _ => (0, u64::MAX),
        };
        match &node.kind {
            Kind::Scalar(_, Scalar::Whole(value)) if (min..=max).contains(value) => {
                Some(At { span: node.span, value: *value })
            }
            _ if min == max => self.wrong(name, node, &without_quotes(node, &min.to_string())),
            _ => self.wrong(name, node, &without_quotes(node, &format!("a whole number from {min} to {max}"))),
        }
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&self, name: &str) -> Option<At<f64>> {
        let node = self.public(name)?;
        let read = match &node.kind {
            Kind::Scalar(text, Scalar::Whole(_) | Scalar::Number) => text.parse().ok(),
            Kind::Scalar(..) | Kind::List(_) | Kind::Map(_) => None,
        };
        let within = read.filter(|share: &f64| (0.0..=1.0).contains(share));
        within
            .map(|value| At { span: node.span, value })
            .or_else(|| self.wrong(name, node, &without_quotes(node, "a number from 0 to 1, e.g. 0.1")))
    }

    /// A duration within the table's bounds.
    pub(crate) fn time(&self, name: &str) -> Option<At<Duration>> {
        let node = self.public(name)?;
        let (min, max) = match self.shape.key(name)?.takes {
            Takes::Time(min, max) => (min, max),
            _ => (Duration::ZERO, Duration::MAX),
        };
        let read = plain(node).and_then(value::duration).filter(|time| (min..=max).contains(time));
        let bounds = || {
            format!("a duration from {} to {}, e.g. 10s or 500ms", value::show_duration(min), value::show_duration(max))
        };
        read.map(|value| At { span: node.span, value }).or_else(|| self.wrong(name, node, &bounds()))
    }

    /// A number of bytes within the table's bounds.
    pub(crate) fn size(&self, name: &str) -> Option<At<u64>> {
        let node = self.public(name)?;
        let (min, max) = match self.shape.key(name)?.takes {
            Takes::Size(min, max) => (min, max),
            _ => (0, u64::MAX),
        };
        let read = plain(node).and_then(|text| value::size(text).ok()).filter(|size| (min..=max).contains(size));
        let bounds =
            || format!("a size from {} to {}, e.g. 512kb or 1mb", value::show_size(min), value::show_size(max));
        read.map(|value| At { span: node.span, value }).or_else(|| self.wrong(name, node, &bounds()))
    }

    /// One of the table's words, translated to its value in `meanings`.
    pub(crate) fn choice<T: Copy>(&self, name: &str, meanings: &[(&str, T)]) -> Option<At<T>> {
        let node = self.public(name)?;
        let found = plain(node).and_then(|text| meanings.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = found {
            return Some(At { span: node.span, value: *value });
        }
        let words = self.choices(name);
        let (message, near) = match plain(node) {
            Some(text) => (format!("`{name}` cannot be `{}`", word(text)), value::nearest(text, words.iter().copied())),
            None => (format!("`{name}` is {}", name_of(node)), None),
        };
        let one_of = format!("one of {}", listed(words));
        let help = near.map_or(one_of.clone(), |near| format!("did you mean `{near}`? {one_of}"));
        self.out.fault(node.span, message, help);
        None
    }

    /// A secret: text, or `{type: text|env|file, value}`. Never shown.
    pub(crate) fn secret(&self, name: &str) -> Option<At<Given>> {
        given(name, self.node(name)?, self.out)
    }

    /// A list of maps or words.
    pub(crate) fn list(&self, name: &str) -> &'n [Node] {
        match self.node(name).map(|node| (node, &node.kind)) {
            Some((_, Kind::List(items))) => items,
            Some((node, Kind::Map(_) | Kind::Scalar(..))) => {
                self.out.fault(
                    node.span,
                    format!("`{name}` is a {}, not {}", self.takes(name), name_of(node)),
                    "begin each item with `- `",
                );
                &[]
            }
            None => &[],
        }
    }

    /// A list of words; none when absent.
    pub(crate) fn words(&self, name: &str) -> Option<Vec<At<String>>> {
        self.node(name)?;
        let word = |node: &'n Node| {
            self.out.show(node.span);
            scalar(name, node, self.out)
        };
        Some(self.list(name).iter().filter_map(word).collect())
    }

    /// A map with names chosen by the user; a repeated name is a fault.
    pub(crate) fn names(&self, name: &str) -> Vec<(At<String>, &'n Node)> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Kind::Map(pairs) = &node.kind else {
            self.out.fault(
                node.span,
                format!("`{name}` is a {}, not {}", self.takes(name), name_of(node)),
                "write each as `NAME: VALUE`",
            );
            return Vec::new();
        };
        let mut names: Vec<(At<String>, &'n Node)> = Vec::new();
        for (key, value) in pairs {
            let Kind::Scalar(text, _) = &key.kind else {
                self.out.fault(key.span, "this cannot be a name", "a name is a word");
                continue;
            };
            if is_null(value) {
                let help = if glued(text) { GLUED } else { "write each as `NAME: VALUE`" };
                self.out.fault(key.span, format!("a name without a value in `{name}`"), help);
                continue;
            }
            match names.iter().find(|(known, _)| known.value == *text) {
                Some((first, _)) => twice(text, key.span, first.span, self.out),
                None => names.push((At { span: key.span, value: text.clone() }, value)),
            }
        }
        names
    }

    fn public(&self, name: &str) -> Option<&'n Node> {
        let node = self.node(name)?;
        if plain(node).is_some_and(|text| !text.contains(char::is_whitespace)) {
            self.out.show(node.span);
        }
        Some(node)
    }

    fn wrong<T>(&self, name: &str, node: &Node, right: &str) -> Option<At<T>> {
        let default = self.shape.key(name).map(|key| key.default).filter(|default| !default.is_empty());
        let help = default
            .map_or_else(|| format!("it is {right}"), |default| format!("it is {right}; {default} when left out"));
        self.out.fault(node.span, format!("`{name}` cannot be {}", quoted(node)), help);
        None
    }

    /// The table's description of what a key takes.
    fn takes(&self, name: &str) -> &'static str {
        match self.shape.key(name).map(|key| key.takes) {
            Some(Takes::More(words)) => words,
            Some(Takes::Words) => "list of words",
            _ => "map of names",
        }
    }
}

/// The help where a number or a flag is expected: a quoted one is text (YAML 1.2 §10.3.2), yet looks the same in a message.
fn without_quotes(node: &Node, right: &str) -> String {
    match &node.kind {
        Kind::Scalar(text, Scalar::Text)
            if text.parse::<f64>().is_ok() || ["true", "false"].contains(&text.as_str()) =>
        {
            format!("{right}, without quotes")
        }
        _ => right.to_owned(),
    }
}

/// The text of a scalar; a fault for anything else.
pub(crate) fn scalar(name: &str, node: &Node, out: &Findings) -> Option<At<String>> {
    match &node.kind {
        Kind::Scalar(_, Scalar::Null) | Kind::List(_) | Kind::Map(_) => {
            let help = if braces(node) { "a value that begins with `{{` needs quotes" } else { "write one value" };
            out.fault(node.span, format!("`{}` is text, not {}", wording::name(name), name_of(node)), help);
            None
        }
        Kind::Scalar(text, _) => Some(At { span: node.span, value: text.clone() }),
    }
}

/// A secret or header value as typed.
pub(crate) fn given(name: &str, node: &Node, out: &Findings) -> Option<At<Given>> {
    if !matches!(node.kind, Kind::Map(_)) || braces(node) {
        return scalar(name, node, out).map(|text| text.map(Given::Text));
    }
    let fields = Fields::open(node, &shape::VALUE, out)?;
    let make: At<fn(String) -> Given> = fields
        .choice::<fn(String) -> Given>("type", &[("text", Given::Text), ("env", Given::Env), ("file", Given::File)])
        .or_else(|| {
            fields.node("type").is_none().then_some(At { span: fields.span, value: Given::Text as fn(String) -> Given })
        })?;
    fields.require("value", "write `{type: text|env|file, value: …}`");
    let value = scalar("value", fields.node("value")?, out)?;
    Some(value.map(make.value))
}

/// Reports a fault: a name appears for the second time.
pub(crate) fn twice(name: &str, at: Span, first: Span, out: &Findings) {
    let help = format!("it stands in line {} already: keep one", first.line);
    out.fault(at, format!("`{}` is written twice", wording::name(name)), help);
}
