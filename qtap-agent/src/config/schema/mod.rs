//! `qtap schema`: a JSON Schema (2020-12) of `qtap.yaml`, for editors and external checks. It is generated from the tables that the file
//! is read by, so the two can't disagree; descriptions are taken from the page. Out: JSON. It knows form, not meaning: only the reader
//! checks references between parts of the file, variables, and bounds of durations and sizes that are written with a unit.

mod below;
mod takes;

use serde_json::{Map, Value, json};

use self::below::{Below, below, required};
use super::file::auth::{GRANTS, KINDS};
use super::meaning::auth;
use super::page;
use super::shape::{self, Key, Shape, Takes};

/// The key of the schema that holds the tables.
const DEFS: &str = "$defs";

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let mut defs = Map::new();
    for shape in shape::ALL.iter().filter(|shape| !shape.is(&shape::FILE)) {
        defs.insert(name(shape), table(shape));
    }
    let mut root = table(&shape::FILE);
    root["type"] = json!("object");
    let mut all = Map::new();
    all.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    all.insert("title".to_owned(), json!("qtap.yaml"));
    all.extend(root.as_object().cloned().unwrap_or_default());
    all.insert(DEFS.to_owned(), Value::Object(defs));
    Value::Object(all)
}

/// A table's name among the definitions, made of its words, e.g. `otel_event_store`.
fn name(shape: &Shape) -> String {
    let what = shape.what.trim_start_matches("the ").trim_start_matches("an ").trim_start_matches("a ");
    what.replace('`', "").replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn link(shape: &Shape) -> String {
    format!("#/{DEFS}/{}", name(shape))
}

/// A map: its keys and no others. Null stands for a map without keys, where the map may be left out.
fn table(shape: &'static Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.all() {
        properties.insert(key.name.to_owned(), property(shape, key));
    }
    let mut out = json!({
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    });
    if !required(shape).is_empty() {
        out["required"] = json!(required(shape));
    }
    let mut all = more(shape);
    for key in shape.all() {
        if let Takes::Now(new) = key.takes {
            all.push(json!({ "not": { "required": [key.name, new] } }));
        }
        if let (Takes::More(_), Some(Below::ByType(tables))) = (key.takes, below(shape, key.name)) {
            let of = |(word, table): &(&str, &'static Shape)| {
                when("type", word, json!({ "properties": { key.name: { "$ref": link(table) } } }))
            };
            all.extend(tables.iter().map(of));
        }
    }
    if !all.is_empty() {
        out["allOf"] = json!(all);
    }
    out
}

/// A subschema that applies when `key` is `word`.
fn when(key: &str, word: &str, then: Value) -> Value {
    json!({ "if": { "properties": { key: { "const": word } }, "required": [key] }, "then": then })
}

/// Constraints that a table does not express: which keys go together.
fn more(shape: &'static Shape) -> Vec<Value> {
    if shape.is(&shape::AUTH) {
        return auths();
    }
    if shape.is(&shape::VALUE) {
        return vec![json!({ "properties": { "value": { "not": { "type": "null" } } } })];
    }
    Vec::new()
}

/// The keys allowed for each type of `auth`, and for each grant.
fn auths() -> Vec<Value> {
    let mut all = Vec::new();
    for (word, kind) in KINDS {
        let keys = auth::keys(kind, None);
        // With `none`, no key is read.
        if !keys.needed.is_empty() {
            all.push(when("type", word, only(&keys)));
        }
    }
    for (word, grant) in GRANTS {
        let keys = auth::keys(super::file::auth::AuthKind::Oauth2, Some(grant));
        let both = json!({ "properties": { "type": { "const": "oauth2" }, "grant": { "const": word } }, "required": ["type", "grant"] });
        all.push(json!({ "if": both, "then": only(&keys) }));
    }
    all
}

/// Requires some keys, allows others, and forbids the rest to have a value.
fn only(keys: &auth::Keys) -> Value {
    let mut properties = Map::new();
    for key in shape::AUTH.all().filter(|key| key.name != "type") {
        if keys.needed.contains(&key.name) {
            properties.insert(key.name.to_owned(), json!({ "not": { "type": "null" } }));
        } else if !keys.more.contains(&key.name) {
            properties.insert(key.name.to_owned(), json!({ "type": "null" }));
        }
    }
    json!({ "required": keys.needed, "properties": properties })
}

/// One key.
fn property(shape: &'static Shape, key: &'static Key) -> Value {
    let mut out = match (key.takes, below(shape, key.name)) {
        (Takes::More(_), Some(below)) => nested(below),
        (Takes::Now(new), _) => match shape.key(new) {
            Some(new) => property(shape, new),
            None => json!({}),
        },
        (takes, _) => takes::scalar(shape, key.name, takes),
    };
    if let Takes::Now(new) = key.takes {
        out["description"] = json!(format!("an old name of `{new}`"));
        out["deprecated"] = json!(true);
        out.as_object_mut().into_iter().for_each(|out| drop(out.remove("default")));
        return out;
    }
    if let Some(about) = page::about(shape, key) {
        out["description"] = json!(about);
    }
    if let Some(default) = default(key) {
        out["default"] = default;
    }
    if required(shape).contains(&key.name) {
        takes::without_null(&mut out);
    }
    out
}

/// The default as JSON.
fn default(key: &Key) -> Option<Value> {
    if key.default.is_empty() { None } else { serde_yaml::from_str(key.default).ok() }
}

fn nested(below: Below) -> Value {
    let item = |shape: &Shape| json!({ "$ref": link(shape), "type": "object" });
    match below {
        Below::Map(shape) => json!({ "$ref": link(shape) }),
        Below::MapOr(shape, words) => json!({ "anyOf": [{ "$ref": link(shape) }, { "enum": words }] }),
        Below::List(shape) => json!({ "type": ["array", "null"], "items": item(shape) }),
        Below::ListOr(shape) => json!({
            "type": ["array", "null"],
            "items": { "if": { "type": "object" }, "then": { "$ref": link(shape) }, "type": ["object", "string", "number", "boolean"] },
        }),
        Below::Named(shape, never) => json!({
            "type": ["object", "null"],
            "propertyNames": { "not": { "enum": never } },
            "additionalProperties": item(shape),
        }),
        Below::Kinds(kinds) => {
            let words: Vec<&str> = kinds.iter().map(|(word, _)| *word).collect();
            let of = |(word, shape): &(&'static str, Option<&'static Shape>)| {
                shape.map(|shape| when("type", word, json!({ "$ref": link(shape) })))
            };
            json!({
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "required": ["type"],
                    "properties": { "type": { "enum": words } },
                    "allOf": kinds.iter().filter_map(of).collect::<Vec<_>>(),
                },
            })
        }
        Below::ByType(_) => json!({ "type": ["object", "null"] }),
    }
}

#[cfg(test)]
mod tests;
