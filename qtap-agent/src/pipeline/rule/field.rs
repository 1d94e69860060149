//! Every field that a rule can name, with its type and spelling. In: a path as written. Out: the field, or the nearest known one.

use std::fmt::{self, Display, Formatter};

use super::ast::quoted;
use super::lex::is_word_char;
use crate::model::near::nearest;

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// A field with a fixed path.
    Plain(Plain),
    /// A field with a user-defined name: a header field, label or variable.
    Named(Named, Box<str>),
}

/// A field with a fixed path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Method,
    Path,
    Scheme,
    Host,
    Authority,
    Url,
    Status,
    DurationMs,
    Protocol,
    Direction,
    Type,
    Tags,
    SrcIp,
    SrcPort,
    DstIp,
    DstPort,
    DstDomain,
    ProcessPath,
    ProcessBinary,
    ProcessHostname,
    ProcessUserId,
    ProcessUserName,
    ContainerId,
    ContainerName,
    ContainerImage,
    PodName,
    PodNamespace,
    TlsEnabled,
    TlsVersion,
    TlsSni,
    TlsAlpn,
}

/// Kinds of fields with user-defined names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    RequestHeader,
    ResponseHeader,
    ProcessEnv,
    ContainerLabel,
    PodLabel,
    PodAnnotation,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A number.
    Number,
    /// Text.
    Text,
    /// Text that may also be compared as a number or an address.
    Free,
    /// `true` or `false`.
    Flag,
    /// An IP address.
    Ip,
    /// Several texts.
    List,
}

const PLAIN: [(&str, Plain, Type); 31] = [
    ("http.req.method", Plain::Method, Type::Text),
    ("http.req.path", Plain::Path, Type::Text),
    ("http.req.scheme", Plain::Scheme, Type::Text),
    ("http.req.host", Plain::Host, Type::Free),
    ("http.req.authority", Plain::Authority, Type::Text),
    ("http.req.url", Plain::Url, Type::Text),
    ("http.res.status", Plain::Status, Type::Number),
    ("http.duration_ms", Plain::DurationMs, Type::Number),
    ("protocol", Plain::Protocol, Type::Text),
    ("direction", Plain::Direction, Type::Text),
    ("type", Plain::Type, Type::Text),
    ("tags", Plain::Tags, Type::List),
    ("src.ip", Plain::SrcIp, Type::Ip),
    ("src.port", Plain::SrcPort, Type::Number),
    ("dst.ip", Plain::DstIp, Type::Ip),
    ("dst.port", Plain::DstPort, Type::Number),
    ("dst.domain", Plain::DstDomain, Type::Free),
    ("src.process.path", Plain::ProcessPath, Type::Text),
    ("src.process.binary", Plain::ProcessBinary, Type::Text),
    ("src.process.hostname", Plain::ProcessHostname, Type::Text),
    ("src.process.user.id", Plain::ProcessUserId, Type::Number),
    ("src.process.user.name", Plain::ProcessUserName, Type::Text),
    ("src.container.id", Plain::ContainerId, Type::Text),
    ("src.container.name", Plain::ContainerName, Type::Text),
    ("src.container.image", Plain::ContainerImage, Type::Text),
    ("src.pod.name", Plain::PodName, Type::Text),
    ("src.pod.namespace", Plain::PodNamespace, Type::Text),
    ("tls.enabled", Plain::TlsEnabled, Type::Flag),
    ("tls.version", Plain::TlsVersion, Type::Free),
    ("tls.sni", Plain::TlsSni, Type::Text),
    ("tls.alpn", Plain::TlsAlpn, Type::Text),
];

const NAMED: [(&str, Named); 6] = [
    ("http.req.headers", Named::RequestHeader),
    ("http.res.headers", Named::ResponseHeader),
    ("src.process.env", Named::ProcessEnv),
    ("src.container.labels", Named::ContainerLabel),
    ("src.pod.labels", Named::PodLabel),
    ("src.pod.annotations", Named::PodAnnotation),
];

/// The result of looking up a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Field(Field),
    /// A prefix that lacks the name after it.
    Nameless(Named, &'static str),
    /// Not a field; the nearest one, in the usual spelling.
    Unknown(Option<String>),
}

/// The field that `path` names.
pub(super) fn find(path: &str) -> Found {
    if let Some((_, plain, _)) = PLAIN.iter().find(|(known, ..)| *known == path) {
        return Found::Field(Field::Plain(*plain));
    }
    for (prefix, named) in NAMED {
        match path.strip_prefix(prefix).map(|rest| (rest, rest.strip_prefix('.'))) {
            Some(("" | ".", _)) => return Found::Nameless(named, prefix),
            Some((_, Some(name))) => return Found::Field(Field::named(named, name)),
            Some((_, None)) | None => {}
        }
    }
    Found::Unknown(near(path))
}

/// The known path that `path` most likely means.
fn near(path: &str) -> Option<String> {
    let last = path.rsplit('.').next().unwrap_or_default();
    let named = NAMED.iter().filter(|_| path.contains('.')).map(|(prefix, _)| format!("{prefix}.{last}"));
    let known: Vec<String> = PLAIN.iter().map(|(known, ..)| (*known).to_owned()).chain(named).collect();
    nearest(path, known.iter().map(String::as_str)).map(str::to_owned)
}

/// True when `path` is followed by a label name, which may contain slashes (`app.kubernetes.io/name`).
pub(super) fn takes_slashes(path: &str) -> bool {
    ["src.container.labels.", "src.pod.labels.", "src.pod.annotations."].iter().any(|prefix| path.starts_with(prefix))
}

impl Field {
    /// A field with a user-defined name; names of header fields are case-insensitive.
    pub(super) fn named(named: Named, name: &str) -> Field {
        let name = match named {
            Named::RequestHeader | Named::ResponseHeader => name.to_ascii_lowercase(),
            Named::ProcessEnv | Named::ContainerLabel | Named::PodLabel | Named::PodAnnotation => name.to_owned(),
        };
        Field::Named(named, name.into())
    }

    /// Approximate cost of finding its value, in nanoseconds.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Field::Plain(Plain::Url) => 100,
            Field::Plain(Plain::Path | Plain::Host | Plain::DstDomain | Plain::Scheme) => 8,
            Field::Plain(_) => 2,
            // Searches all fields of the head.
            Field::Named(Named::RequestHeader | Named::ResponseHeader, _) => 30,
            Field::Named(..) => 20,
        }
    }

    /// The type of its values.
    pub(super) fn takes(&self) -> Type {
        match self {
            Field::Plain(plain) => PLAIN.iter().find(|(_, known, _)| known == plain).map_or(Type::Text, |(.., t)| *t),
            Field::Named(..) => Type::Free,
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Field::Plain(plain) => {
                f.write_str(PLAIN.iter().find(|(_, known, _)| known == plain).map_or("", |(path, ..)| path))
            }
            Field::Named(named, name) => {
                let prefix = NAMED.iter().find(|(_, known)| known == named).map_or("", |(prefix, _)| prefix);
                f.write_str(prefix)?;
                if is_plain_name(prefix, name) {
                    return write!(f, ".{name}");
                }
                f.write_str("[")?;
                quoted(name, f)?;
                f.write_str("]")
            }
        }
    }
}

/// True when the name needs no quotes.
fn is_plain_name(prefix: &str, name: &str) -> bool {
    let slashes = takes_slashes(&format!("{prefix}."));
    let fits = |c: char| is_word_char(c) || (slashes && c == '/');
    let joins = |c: char| matches!(c, '.' | '-' | '/');
    !name.is_empty()
        && name.chars().all(fits)
        && !name.contains("--")
        && !name.ends_with(joins)
        && !name.starts_with(joins)
        && !name.contains("//")
        && !name.contains("/-")
        && !name.contains("/.")
}

impl Type {
    /// The type as messages describe it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Type::Number => "a number",
            Type::Text | Type::Free => "text",
            Type::Flag => "true or false",
            Type::Ip => "an IP address",
            Type::List => "a list of texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_name_and_says_it_again() {
        for (path, ..) in PLAIN {
            match find(path) {
                Found::Field(field) => assert_eq!(field.to_string(), path),
                other => panic!("{path}: {other:?}"),
            }
        }
        for (prefix, named) in NAMED {
            assert_eq!(find(prefix), Found::Nameless(named, prefix));
            let path = format!("{prefix}.abc-d");
            match find(&path) {
                Found::Field(field) => assert_eq!(field.to_string(), path),
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_misspelt_field_names_the_nearest() {
        for (typed, near) in [
            ("http.res.statsu", Some("http.res.status")),
            ("http.request.method", Some("http.req.method")),
            ("http.req.header.accept", Some("http.req.headers.accept")),
            ("http.duration", Some("http.duration_ms")),
            ("src.pod.label.app", Some("src.pod.labels.app")),
            ("zzzzzzzzzz", None),
        ] {
            assert_eq!(find(typed), Found::Unknown(near.map(str::to_owned)), "{typed}");
        }
    }
}
