//! What a key takes, as a schema says it: types, words, bounds, and how durations and sizes are written. Null is a key that is left out.

use serde_json::{Value, json};

use super::below::{old_words, words};
use super::link;
use crate::config::shape::{self, Shape, Takes};

/// How a size is written: `config::value::size`.
const SIZE: &str = r"^\s*[0-9]+\s*([bB]|[kKmMgG]([iI]?[bB])?)?\s*$";
/// How a duration is written: `config::value::duration`.
const DURATION: &str = r"^\s*(0|([0-9]+(ms|[smhd])\s*)+)\s*$";

/// A key that has no table below it.
pub(super) fn scalar(shape: &'static Shape, name: &str, takes: Takes) -> Value {
    match takes {
        Takes::Text => text(),
        Takes::Secret if shape.is(&shape::VALUE) => text(),
        Takes::Secret => secret(),
        Takes::Flag => json!({ "type": ["boolean", "null"] }),
        Takes::Share => json!({ "type": ["number", "null"], "minimum": 0, "maximum": 1 }),
        Takes::Whole(min, max) => json!({ "type": ["integer", "null"], "minimum": min, "maximum": max }),
        Takes::Size(min, max) => {
            json!({ "type": ["string", "integer", "null"], "pattern": SIZE, "minimum": min, "maximum": max })
        }
        Takes::Time(min, _) if min.is_zero() => {
            json!({ "type": ["string", "integer", "null"], "pattern": DURATION, "minimum": 0, "maximum": 0 })
        }
        Takes::Time(..) => json!({ "type": ["string", "null"], "pattern": DURATION }),
        Takes::Choice(words) => choice(shape, name, words),
        Takes::Words => {
            let words = words(shape, name);
            let item = if words.is_empty() { word() } else { json!({ "enum": words }) };
            json!({ "type": ["array", "null"], "items": item })
        }
        Takes::Names => json!({ "type": ["object", "null"], "additionalProperties": word() }),
        Takes::Headers => {
            let mut value = secret();
            without_null(&mut value);
            json!({ "type": ["object", "null"], "additionalProperties": value })
        }
        // A table without an entry: a test says so.
        Takes::More(_) | Takes::Now(_) => json!({}),
    }
}

/// Text; numbers and flags are taken as they are written.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean", "null"] })
}

/// The same, where there must be some.
fn word() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn secret() -> Value {
    json!({ "if": { "type": "object" }, "then": { "$ref": link(&shape::VALUE) }, "type": ["string", "number", "boolean", "object", "null"] })
}

fn choice(shape: &'static Shape, name: &str, words: &'static [&'static str]) -> Value {
    let old: Vec<Value> = old_words(shape, name)
        .map(|(old, new)| json!({ "const": old, "deprecated": true, "description": format!("an old name of `{new}`") }))
        .collect();
    if old.is_empty() {
        let words: Vec<Value> = words.iter().map(|word| json!(word)).chain([Value::Null]).collect();
        return json!({ "enum": words });
    }
    let mut any = vec![json!({ "enum": words })];
    any.extend(old);
    any.push(json!({ "type": "null" }));
    json!({ "anyOf": any })
}

/// Takes null out of what a value may be: the key must be there.
pub(super) fn without_null(schema: &mut Value) {
    if let Some(any) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.retain(|one| one["type"] != "null");
    }
    for list in ["type", "enum"] {
        if let Some(list) = schema.get_mut(list).and_then(Value::as_array_mut) {
            list.retain(|item| !(item.is_null() || item == "null"));
        }
    }
}
