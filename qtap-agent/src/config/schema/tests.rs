//! Compares the schema with the reader: the schema accepts whatever the reader accepts; of what the reader refuses, the schema accepts
//! only the faults listed here, which are about meaning.

use std::collections::BTreeSet;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::below::{below, required};
use super::{name, schema};
use crate::config::page;
use crate::config::shape::{self, Takes};
use crate::config::yaml::{self, Kind, Node, Scalar};
use crate::config::{Source, load};

const BAD_FILES: &str = include_str!("../tests/bad_files.txt");

/// Faults that form alone does not show: references, repeated names, bounds behind a unit, and what only a transport, a
/// platform or the text of a value decides.
const MEANING: &[&str] = &[
    "`version` is written twice",
    "the environment variable `PORT` is not set",
    "`encoding: json` is not for gRPC",
    "`method: PUT` is not for gRPC",
    "an empty `id`",
    "an endpoint cannot begin with `ftp://`",
    "an endpoint with a user name in it",
    "this is no endpoint",
    "`a…` cannot be the name of a header",
    "this cannot be the value of a header",
    "`x-a` is written twice",
    "gRPC has no query parameters",
    "the id `a` is that of the store in line 4 too",
    "`insecure: true` and an `https://` endpoint",
    "`access_url` without `{{DIGEST}}`",
    "there is no stack `frist`",
];

fn validator() -> Validator {
    jsonschema::draft202012::options().build(&schema()).unwrap_or_else(|error| panic!("{error}"))
}

/// A document as an editor's schema support sees it: with merge keys resolved; of a repeated key, the last value.
fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(_, Scalar::Null) => Value::Null,
        Kind::Scalar(_, Scalar::Bool(value)) => json!(value),
        Kind::Scalar(_, Scalar::Whole(value)) => json!(value),
        Kind::Scalar(text, Scalar::Number) => text.parse::<f64>().map_or_else(|_| json!(text), |value| json!(value)),
        Kind::Scalar(text, Scalar::Text) => json!(text),
        Kind::List(items) => items.iter().map(json_of).collect(),
        Kind::Map(pairs) => {
            let word = |key: &Node| match &key.kind {
                Kind::Scalar(text, _) => text.clone(),
                Kind::List(_) | Kind::Map(_) => "[…]".to_owned(),
            };
            pairs.iter().map(|(key, value)| (word(key), json_of(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// The schema's errors for a text; `None` when it is not YAML.
fn said(validator: &Validator, text: &str) -> Option<Vec<String>> {
    let document = yaml::read(text).ok()?.map_or(Value::Null, |node| json_of(&node));
    Some(validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect())
}

/// The whole files on the pages and in the examples.
fn good_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join("examples")).expect("examples") {
        let path = entry.expect("an entry").path().join("qtap.yaml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            files.push((path.display().to_string(), text));
        }
    }
    let mut pages = vec![root.join("README.md")];
    pages.extend(std::fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path()));
    for path in pages {
        let page = std::fs::read_to_string(&path).expect("a page");
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        files.extend(
            blocks
                .filter(|block| block.contains("version: 2"))
                .map(|block| (path.display().to_string(), block.to_owned())),
        );
    }
    files
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft202012::meta::is_valid(&schema()));
    let whats: BTreeSet<&str> = shape::ALL.iter().map(|shape| shape.what).collect();
    let names: BTreeSet<String> = shape::ALL.iter().map(|shape| name(shape)).collect();
    assert_eq!((whats.len(), names.len()), (shape::ALL.len(), shape::ALL.len()));
}

#[test]
fn each_key_is_there_with_all_that_is_known_of_it() {
    let schema = schema();
    for shape in shape::ALL {
        let table = if shape.is(&shape::FILE) { &schema } else { &schema["$defs"][name(shape)] };
        assert_eq!(table["additionalProperties"], json!(false), "{}", shape.what);
        for key in shape.all() {
            let property = &table["properties"][key.name];
            let told = !property.is_null();
            let about = property["description"].as_str().is_some_and(|about| !about.is_empty());
            assert!(told && (about || page::about(shape, key).is_none()), "{}: {}", shape.what, key.name);
            assert_eq!(
                property.get("default").is_some(),
                !key.default.is_empty() && !matches!(key.takes, Takes::Now(_))
            );
            assert_eq!(property.get("deprecated").is_some(), matches!(key.takes, Takes::Now(_)), "{}", key.name);
            if let Takes::More(_) = key.takes {
                assert!(below(shape, key.name).is_some(), "{}: `{}` has no entry in `below`", shape.what, key.name);
            }
        }
    }
}

/// A row of the page begins with "required" exactly where the schema says so.
#[test]
fn what_the_page_calls_required_is() {
    for shape in shape::ALL {
        for key in shape.all() {
            let about = page::about(shape, key).unwrap_or_default();
            let told = about == "required" || about.starts_with("required;");
            assert_eq!(told, required(shape).contains(&key.name), "{}: `{}`: {about}", shape.what, key.name);
        }
    }
}

#[test]
fn good_files_pass() {
    let validator = validator();
    let files = good_files();
    assert!(files.len() >= 6, "{}", files.len());
    for (name, text) in files {
        assert_eq!(said(&validator, &text), Some(Vec::new()), "{name}\n{text}");
    }
    for text in crate::config::tests::GOOD_FILES {
        assert_eq!(said(&validator, text), Some(Vec::new()), "{text}");
    }
}

#[test]
fn bad_files_are_refused_unless_only_meaning_tells() {
    let validator = validator();
    let mut unknown = Vec::new();
    let mut known: BTreeSet<&str> = MEANING.iter().copied().collect();
    for case in BAD_FILES.split("=====\n").skip(1) {
        let (text, told) = case.split_once("-----\n").expect("a file and what is said");
        if said(&validator, text).is_none_or(|errors| !errors.is_empty()) {
            continue;
        }
        for fault in told.lines().filter_map(|line| line.strip_prefix("qtap.yaml:")?.split_once(": ")) {
            if !MEANING.contains(&fault.1) {
                unknown.push(fault.1);
            }
            known.remove(fault.1);
        }
    }
    assert!(
        unknown.is_empty(),
        "the schema takes files with these, and should not, or `MEANING` should say so:\n{unknown:#?}"
    );
    assert!(known.is_empty(), "never met: {known:?}");
}

/// Files with a single mistake: the schema reports it, as the reader does.
#[test]
fn slips_are_marked() {
    let validator = validator();
    let store = |keys: &str| format!("version: 2\nservices: {{event_stores: [{{type: otel, {keys}}}]}}\n");
    let object = |keys: &str| format!("version: 2\nservices: {{object_stores: [{{type: s3, bucket: b, {keys}}}]}}\n");
    let plugin = |keys: &str| format!("version: 2\nstacks: {{s: {{plugins: [{{{keys}}}]}}}}\n");
    let slips = [
        "version: '2'\n".to_owned(),
        "version: 2\ntap: {directoin: all}\n".to_owned(),
        "version: 2\ntap: {direction: inwards}\n".to_owned(),
        "version: 2\ntap: {ignore_loopback: 'yes'}\n".to_owned(),
        "version: 2\ntap: {http: other}\n".to_owned(),
        "version: 2\ntap: [all]\n".to_owned(),
        "version: 2\nstacks: {none: {}}\n".to_owned(),
        "version: 2\nstacks: {a: }\n".to_owned(),
        "version: 2\ntags: [{key: a, source: env}]\n".to_owned(),
        "version: 2\ntags: [{key: a, source: env, location: }]\n".to_owned(),
        "version: 2\ntags: [x]\n".to_owned(),
        "version: 2\nservices: {event_stores: [{id: a}]}\n".to_owned(),
        "version: 2\nservices: {event_stores: [{type: s3, bucket: b}]}\n".to_owned(),
        "version: 2\nservices: {event_stores: [{type: stdout, endpoint: x}]}\n".to_owned(),
        store("endpiont: x"),
        store("endpoint: [x]"),
        store("protocol: htttp"),
        store("headers: {A: }"),
        store("headers: {A: {type: vault, value: x}}"),
        store("headers: {A: {type: env}}"),
        store("headers: [A]"),
        store("workers: 0"),
        store("workers: many"),
        store("workers: 65"),
        store("timeout: 10"),
        store("timeout: 10 parsecs"),
        store("batch: {max_bytes: 1.5mb}"),
        store("batch: {max_bytes: 1tb}"),
        store("batch: {max_bytes: 1}"),
        store("batch: {interval: }\n, max_records: 3"),
        store("auth: {type: bearer}"),
        store("auth: {username: a}"),
        store("auth: {type: basic, username: a}"),
        store("auth: {type: basic, username: a, password: }"),
        store("auth: {type: basic, username: a, password: b, name: c}"),
        store("auth: {type: header, name: a, value: b, scopes: [c]}"),
        store("auth: {type: oauth2, token_url: 'https://t'}"),
        store("auth: {type: oauth2, grant: client_credentials, token_url: 'https://t', client_id: a}"),
        store(
            "auth: {type: oauth2, grant: password, token_url: 'https://t', username: a, password: b, signing_key: k}",
        ),
        store("endpoint: a, otel_endpoint: b"),
        object("min_bytes: -1"),
        object("server_side_encryption: rot13"),
        object("access_key: [a]"),
        plugin("config: {}"),
        plugin("type: http_captur"),
        plugin("type: http_capture, config: {level: fulll}"),
        plugin("type: http_capture, config: {headers: []}"),
        plugin("type: redact, config: {headers: authorization}"),
        plugin("type: redact, config: {level: full}"),
    ];
    for text in slips {
        let marked = said(&validator, &text).is_none_or(|errors| !errors.is_empty());
        assert!(marked, "the schema takes this:\n{text}");
        let source = Source::Text { name: "f".to_owned(), text: text.clone() };
        assert!(load(source, &|_| Some("x".to_owned())).is_err(), "the reader takes this:\n{text}");
    }
}

/// What an editor can offer: the words of a choice; that a word is outdated; what a key is.
#[test]
fn an_editor_learns_what_it_needs() {
    let schema = schema();
    assert_eq!(schema["properties"]["version"]["minimum"], json!(2));
    let tap = &schema["$defs"]["tap"]["properties"];
    assert!(tap["direction"]["enum"].as_array().is_some_and(|words| words.contains(&json!("egress-internal"))));
    assert_eq!(tap["direction"]["default"], json!("all"));
    assert!(tap["direction"]["description"].as_str().is_some_and(|about| about.contains("accepted here")));
    let otel = &schema["$defs"]["otel_event_store"]["properties"];
    assert_eq!(otel["otel_endpoint"]["deprecated"], json!(true));
    assert!(otel["compression"]["description"].is_string());
    let level = &schema["$defs"]["config_of_http_capture"]["properties"]["level"]["anyOf"];
    let old = level.as_array().and_then(|any| any.iter().find(|any| any["const"] == "headers"));
    assert_eq!(old.map(|old| &old["deprecated"]), Some(&json!(true)), "{level}");
}
