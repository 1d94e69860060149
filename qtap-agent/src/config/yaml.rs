//! The text of a settings file → a tree of nodes, each with its place.
//!
//! Two parsers read the same text: `serde_yaml` gives the type of each value, `saphyr-parser` its place (the first gives no
//! positions of what it accepts, the second no types). The two trees are joined node by node; where they disagree, the file
//! is refused. Aliases and merge keys (`<<: *base`) are resolved here; a repeated key is kept, so that it can be reported
//! with everything else. Nothing here knows any of qtap's own keys.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::place::{self, Form, Malformed, Place, Span};
use super::wording::{is_name_char, is_null};

/// A value and its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// The text as written, without quotes, and the type that YAML gives it.
    Scalar(String, Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in file order; a key may appear twice.
    Map(Vec<(Node, Node)>),
}

/// The type that YAML gives a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A non-negative whole number.
    Whole(u64),
    /// Any other number.
    Number,
    /// Text.
    Text,
}

impl Node {
    /// Every scalar in and below this node that may be a secret: the values; keys that are not plain names, because a value may
    /// have run into them; keys without a value, because they may be a value that lost its key.
    pub(crate) fn scalars(&self, found: &mut Vec<Span>) {
        match &self.kind {
            Kind::Scalar(_, Scalar::Null) => {}
            Kind::Scalar(..) => found.push(self.span),
            Kind::List(items) => items.iter().for_each(|item| item.scalars(found)),
            Kind::Map(pairs) => pairs.iter().for_each(|(key, value)| {
                let plain = matches!(&key.kind, Kind::Scalar(text, _) if text.chars().all(is_name_char));
                if !plain || is_null(value) {
                    key.scalars(found);
                }
                value.scalars(found);
            }),
        }
    }
}

/// Reads one YAML document; `None` for an empty one.
pub(crate) fn read(text: &str) -> Result<Option<Node>, Malformed> {
    place::doubtful_line_end(text).map_or(Ok(()), Err)?;
    let Some(place) = place::read(text)? else { return Ok(None) };
    let typed: Typed = serde_yaml::from_str(text).map_err(|error| refused(&error))?;
    join(&place, typed).map(Some)
}

/// A value as `serde_yaml` reads it.
enum Typed {
    Scalar(Scalar),
    List(Vec<Typed>),
    Map(Vec<(Typed, Typed)>),
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Typed, D::Error> {
        deserializer.deserialize_any(TypedVisitor)
    }
}

struct TypedVisitor;

impl<'de> Visitor<'de> for TypedVisitor {
    type Value = Typed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value without a tag")
    }
    fn visit_unit<E>(self) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Bool(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Whole(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Typed, E> {
        Ok(Typed::Scalar(u64::try_from(value).map_or(Scalar::Number, Scalar::Whole)))
    }
    fn visit_u128<E>(self, _: u128) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Number))
    }
    fn visit_i128<E>(self, _: i128) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Number))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Number))
    }
    fn visit_str<E>(self, _: &str) -> Result<Typed, E> {
        Ok(Typed::Scalar(Scalar::Text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Typed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Typed::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Typed, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Typed::Map(map))
    }
}

/// Joins the two trees.
fn join(place: &Rc<Place>, typed: Typed) -> Result<Node, Malformed> {
    let kind = match (&place.form, typed) {
        (Form::Scalar(text), Typed::Scalar(scalar)) => Kind::Scalar(text.clone(), scalar),
        (Form::List(places), Typed::List(items)) if places.len() == items.len() => {
            Kind::List(places.iter().zip(items).map(|(place, item)| join(place, item)).collect::<Result<_, _>>()?)
        }
        (Form::Map(places), Typed::Map(pairs)) if places.len() == pairs.len() => {
            let mut map = Vec::with_capacity(pairs.len());
            for ((key_place, value_place), (key, value)) in places.iter().zip(pairs) {
                map.push((join(key_place, key)?, join(value_place, value)?));
            }
            Kind::Map(merged(map))
        }
        (Form::Scalar(_) | Form::List(_) | Form::Map(_), _) => {
            return Err(Malformed::new(
                place.span,
                "two YAML readers understand this differently",
                "write it more plainly, with quotes",
            ));
        }
    };
    Ok(Node { span: place.span, kind })
}

/// Resolves merge keys: the map's own keys win over those that `<<` brings in, and earlier bases win over later ones.
fn merged(map: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let is_merge = |key: &Node| matches!(&key.kind, Kind::Scalar(text, _) if text == "<<");
    let (merges, mut own): (Vec<_>, Vec<_>) =
        map.into_iter().partition(|(key, value)| is_merge(key) && !matches!(value.kind, Kind::Scalar(..)));
    let bases = merges.into_iter().flat_map(|(_, value)| match value.kind {
        Kind::List(items) => items,
        Kind::Map(_) | Kind::Scalar(..) => vec![value],
    });
    for base in bases {
        let Kind::Map(pairs) = base.kind else { continue };
        for (key, value) in pairs {
            if !own.iter().any(|(known, _)| known.kind == key.kind) {
                own.push((key, value));
            }
        }
    }
    own
}

/// The fault for what `serde_yaml` refused and the other parser accepted: nearly always a limit of `serde_yaml`'s own.
fn refused(error: &serde_yaml::Error) -> Malformed {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    let help = match error.to_string() {
        told if told.contains("repetition limit") => "aliases of aliases of aliases: write the values out",
        _ => "write it more plainly, with quotes",
    };
    Malformed::new(Span::within(line, column, 1), format!("not YAML: {error}"), help)
}
