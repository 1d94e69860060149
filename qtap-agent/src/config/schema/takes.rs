//! A key's value as a subschema: types, words, bounds, and the syntax of durations and sizes. Null means that the key is left out.

use serde_json::{Value, json};

use super::below::{old_words, words};
use super::link;
use crate::config::shape::{self, Shape, Takes};

/// The syntax of a size: `config::value::size`.
const SIZE: &str = r"^\s*[0-9]+\s*([bB]|[kKmMgG]([iI]?[bB])?)?\s*$";
/// The syntax of a duration: `config::value::duration`.
const DURATION: &str = r"^\s*(0|([0-9]+(ms|[smhd])\s*)+)\s*$";

/// A key without a table of its own.
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
        // A table without an entry: a test fails on it.
        Takes::More(_) | Takes::Now(_) => json!({}),
    }
}

/// Text; numbers and flags are accepted as written.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean", "null"] })
}

/// The same, but required.
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

/// Removes null from the values that a schema accepts: the key is required.
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
