//! The scanner against literals, and against a reference that has a tree of the document and a list of all positions.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value;

use super::super::body::{End, Stream};
use super::super::out::MASK;
use super::strings::quote_or_backslash;
use super::*;
use crate::model::message::LeftOut;
use crate::pipeline::RedactionKey;
use crate::pipeline::redact::Redactor;
use crate::pipeline::settings::json_path::{JsonPath, PathChild, PathStep};
use crate::pipeline::settings::{BodyValues, Ready, Redact, SecretForm};

fn rules(paths: &[&str], action: RedactAction, patterns: &[Ready]) -> Rules {
    let named =
        paths.iter().filter(|path| **path != "credentials").map(|path| JsonPath::parse(path).unwrap()).collect();
    let settings = Redact {
        json: BodyValues { credentials: paths.contains(&"credentials"), named },
        patterns: patterns.iter().map(|ready| SecretForm::Ready(*ready)).collect(),
        action,
        ..Redact::default()
    };
    Rules::clone(&Redactor::new(&settings, &RedactionKey([1; 32])).rules)
}

/// The redacted form of a body of this type that arrives in pieces of `size`.
fn seen_as(content_type: &str, rules: &Rules, body: &[u8], size: usize, end: End) -> Out {
    let (mut stream, mut out) = (Stream::new(rules, content_type), Out::default());
    body.chunks(size).for_each(|piece| stream.push(rules, piece, End::More, &mut out));
    stream.push(rules, &[], end, &mut out);
    out
}

fn seen(rules: &Rules, body: &str, size: usize) -> Out {
    seen_as("application/json", rules, body.as_bytes(), size, End::Whole)
}

fn text(out: &Out) -> String {
    String::from_utf8_lossy(&out.bytes).into_owned()
}

/// Checks the result for the whole body in one piece, and for every smaller piece size.
fn everywhere(rules: &Rules, body: &str, wanted: &str, left_out: Option<LeftOut>) {
    for size in (1..=body.len().max(1)).rev() {
        let out = seen(rules, body, size);
        assert_eq!((text(&out).as_str(), out.note.left_out), (wanted, left_out), "{body} in pieces of {size}");
    }
}

#[test]
fn values_are_masked_where_their_path_leads() {
    for (paths, body, wanted) in [
        (&["$.a"][..], r#"{"a":1,"b":2}"#, r#"{"a":"[redacted]","b":2}"#),
        (&["$.a"], r#"{"b":{"a":1}, "a" : {"b":[1,"]"]} }"#, r#"{"b":{"a":1}, "a" : "[redacted]" }"#),
        (&["$.a"], r#"{"A":1,"aa":2,"\u0061":3}"#, r#"{"A":1,"aa":2,"\u0061":"[redacted]"}"#),
        (&["$..a"], r#"[{"a":1},{"b":{"a":null}}]"#, r#"[{"a":"[redacted]"},{"b":{"a":"[redacted]"}}]"#),
        (&["$[1]", "$[3][0]"], "[0,1,2,[3]]", r#"[0,"[redacted]",2,["[redacted]"]]"#),
        (&["$[*].b"], r#"[{"b":1},{"c":{"b":1}}]"#, r#"[{"b":"[redacted]"},{"c":{"b":1}}]"#),
        (&["$..b[0]"], r#"{"a":{"b":["x","y"]}}"#, r#"{"a":{"b":["[redacted]","y"]}}"#),
        (&["$..a.b"], r#"{"a":{"a":{"b":1}},"b":2}"#, r#"{"a":{"a":{"b":"[redacted]"}},"b":2}"#),
        (&["$"], r#" {"a":1} [2] "x" 3 "#, r#" "[redacted]" "[redacted]" "[redacted]" "[redacted]" "#),
        (&["$.*"], r#"{"a":1,"b":{}}"#, r#"{"a":"[redacted]","b":"[redacted]"}"#),
        (&["$['a.b']"], r#"{"a.b":"\"\\","c":1}"#, r#"{"a.b":"[redacted]","c":1}"#),
        (
            &["credentials"],
            r#"{"user":{"accessToken":"x","max_tokens":5}}"#,
            r#"{"user":{"accessToken":"[redacted]","max_tokens":5}}"#,
        ),
        (&["$.x"], "[true,false,null,-1.5e+3,\"\"]", "[true,false,null,-1.5e+3,\"\"]"),
        (&["$.a"], "{\"a\":1}\n{\"a\":2}\n", "{\"a\":\"[redacted]\"}\n{\"a\":\"[redacted]\"}\n"),
        (&["$.a"], "\u{1e}{\"a\":1}\n", "\u{1e}{\"a\":\"[redacted]\"}\n"),
    ] {
        everywhere(&rules(paths, RedactAction::Mask, &[]), body, wanted, None);
    }
}

#[test]
fn what_is_dropped_leaves_neither_name_nor_comma() {
    for (body, wanted) in [
        (r#"{"a":1,"b":2,"c":3}"#, r#"{"b":2,"c":3}"#),
        (r#"{"b":2,"a":{"x":[1]},"c":3}"#, r#"{"b":2,"c":3}"#),
        (r#"{"b":2,"a":"x"}"#, r#"{"b":2}"#),
        (r#"{"a":1}"#, "{}"),
        (r#"{"a":1,"a":2,"b":[{"a":1}],"a":3}"#, r#"{"b":[{}]}"#),
    ] {
        everywhere(&rules(&["$..a"], RedactAction::Drop, &[]), body, wanted, None);
    }
    for (body, wanted) in [("[1,2,3]", "[2]"), ("[1]", "[]"), ("[[1,2],2,[3]]", "[2]")] {
        everywhere(&rules(&["$[0]", "$[2]"], RedactAction::Drop, &[]), body, wanted, None);
    }
}

#[test]
fn hashes_are_of_what_is_said_not_of_how_it_is_written() {
    let rules = rules(&["$..a"], RedactAction::Hash, &[]);
    let hash = |body: &str, size| {
        let shown = text(&seen(&rules, body, size));
        let value: Value = serde_json::from_str(&shown).unwrap();
        value["a"].as_str().unwrap().to_owned()
    };
    let plain = hash(r#"{"a":"pass"}"#, 100);
    assert!(plain.starts_with("[hash:") && plain.len() == 39);
    for size in 1..20 {
        assert_eq!(hash(r#"{"a":"p\u0061ss"}"#, size), plain);
        assert_eq!(hash(r#"{"a":{"b":["x"]}}"#, size), hash(r#"{"a":{"b":["x"]}}"#, 100));
    }
    assert_ne!(hash(r#"{"a":"pasS"}"#, 100), plain);
}

#[test]
fn patterns_are_found_in_strings_names_and_numbers() {
    let rules = rules(&["$.a"], RedactAction::Mask, &[Ready::Card, Ready::Email]);
    for (body, wanted) in [
        (r#"{"c":"to a@b.de, c@d.de!"}"#, r#"{"c":"to [redacted], [redacted]!"}"#),
        (r#"{"c":"a\u0040b.de\n\"x"}"#, r#"{"c":"[redacted]\n\"x"}"#),
        (r#"{"a@b.de":4111111111111111,"d":41}"#, r#"{"[redacted]":"[redacted]","d":41}"#),
        (r#"["4111 1111 1111 1111","x"]"#, r#"["[redacted]","x"]"#),
    ] {
        everywhere(&rules, body, wanted, None);
    }
}

#[test]
fn what_is_no_json_is_left_out_from_there_on() {
    let rules = rules(&["$.a"], RedactAction::Mask, &[]);
    for (body, wanted) in [
        (r#"{"b":1,a:"x"}"#, r#"{"b":1,[redacted]"#),
        (r#"{"b":1 "a":"x"}"#, r#"{"b":1 [redacted]"#),
        (r#"{'a':"x"}"#, "{[redacted]"),
        ("<html>a</html>", "[redacted]"),
        (r#"{"a":"x"]"#, r#"{"a":"[redacted]"[redacted]"#),
        ("[1,]", "[1,[redacted]"),
        ("nope", "[redacted]"),
        (r#"{"a":["x"}"#, r#"{"a":"[redacted]"[redacted]"#),
    ] {
        everywhere(&rules, body, wanted, Some(LeftOut::Unparsed));
    }
    let deep = "[".repeat(600);
    let out = seen(&rules, &deep, 600);
    assert_eq!((out.bytes.len(), out.note.left_out), (512 + MASK.len(), Some(LeftOut::Unparsed)));
}

#[test]
fn of_a_document_that_is_cut_only_what_is_proven_is_shown() {
    let cut = |rules: &Rules, body: &str| {
        let out = seen_as("application/json", rules, body.as_bytes(), 7, End::Cut);
        (text(&out), out.note.left_out)
    };
    let plain = rules(&["$.a"], RedactAction::Mask, &[]);
    assert_eq!(cut(&plain, r#"{"b":"begun"#), (r#"{"b":"begun"#.to_owned(), None));
    assert_eq!(cut(&plain, r#"{"a":"sec"#), (r#"{"a":"[redacted]""#.to_owned(), None));
    assert_eq!(cut(&plain, r#"{"a":["sec"#), (r#"{"a":"[redacted]""#.to_owned(), None));
    assert_eq!(cut(&plain, r#"{"b":1,"a"#), (r#"{"b":1,[redacted]"#.to_owned(), Some(LeftOut::Cut)));
    let looked = rules(&["$.a"], RedactAction::Mask, &[Ready::Card]);
    assert_eq!(cut(&looked, r#"{"b":"41111111"#), (r#"{"b":[redacted]"#.to_owned(), Some(LeftOut::Cut)));
    assert_eq!(cut(&looked, r#"{"b":41111111"#), (r#"{"b":[redacted]"#.to_owned(), Some(LeftOut::Cut)));
    let hashed = rules(&["$.a"], RedactAction::Hash, &[]);
    assert_eq!(cut(&hashed, r#"{"a":{"b":"sec"#), (r#"{"a":"#.to_owned(), None));
}

#[test]
fn what_stands_before_json_is_no_reason_to_leave_it_out() {
    let rules = rules(&["$.a"], RedactAction::Mask, &[]);
    for before in ["\u{feff}", ")]}'\n", ")]}',\n"] {
        let body = format!("{before}{{\"a\":1}}");
        let out = seen(&rules, &body, body.len());
        assert_eq!((text(&out), out.note.left_out), (format!("{before}{{\"a\":\"[redacted]\"}}"), None));
    }
}

#[test]
fn a_long_string_goes_by_without_being_held_unless_all_of_it_is_needed() {
    let body = format!(r#"{{"b":"{}","a":"{}","c":1}}"#, "x".repeat(3 << 20), "\\\"".repeat(2 << 20));
    let out = seen(&rules(&["$.a"], RedactAction::Mask, &[]), &body, 100_001);
    assert_eq!((out.note.left_out, out.note.values), (None, 1));
    assert!(text(&out).ends_with(r#"x","a":"[redacted]","c":1}"#) && out.bytes.len() < (3 << 20) + 100);
    for (action, patterns) in [(RedactAction::Hash, &[][..]), (RedactAction::Mask, &[Ready::Card])] {
        let out = seen(&rules(&["$.a"], action, patterns), &body, 100_001);
        assert_eq!(out.note.left_out, Some(LeftOut::TooLong));
    }
}

/// One step of a value's position.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Name(String),
    Index(u64),
}

/// The reference: does the path lead exactly to this position?
fn leads(steps: &[PathStep], places: &[Place]) -> bool {
    let Some((step, later)) = steps.split_first() else { return places.is_empty() };
    let reach = if step.deep { places.len() } else { places.len().min(1) };
    (0..reach).any(|skipped| {
        let goes = match (&step.child, &places[skipped]) {
            (PathChild::Any, _) => true,
            (PathChild::Name(wanted), Place::Name(name)) => wanted == name,
            (PathChild::Index(wanted), Place::Index(index)) => wanted == index,
            _ => false,
        };
        goes && leads(later, &places[skipped + 1..])
    })
}

fn reference(value: &Value, paths: &[JsonPath], places: &mut Vec<Place>, drops: bool) -> Option<Value> {
    if paths.iter().any(|path| leads(&path.steps, places)) {
        return (!drops).then(|| MASK.into());
    }
    let mut inside = |place, value: &Value| {
        places.push(place);
        let seen = reference(value, paths, places, drops);
        places.pop();
        seen
    };
    Some(match value {
        Value::Array(list) => {
            list.iter().enumerate().filter_map(|(n, value)| inside(Place::Index(n as u64), value)).collect()
        }
        Value::Object(map) => {
            let pairs =
                map.iter().filter_map(|(name, value)| Some((name.clone(), inside(Place::Name(name.clone()), value)?)));
            Value::Object(pairs.collect())
        }
        other => other.clone(),
    })
}

/// True one time out of `of`, from the next number of `style`.
fn turn(style: &mut u64, of: u64) -> bool {
    *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*style >> 33).is_multiple_of(of)
}

/// Writes a document in varying styles: `style` decides on white space and escapes.
fn write(value: &Value, style: &mut u64, out: &mut String) {
    let string = |text: &str, escape: bool| {
        let plain = serde_json::to_string(text).unwrap();
        if !escape {
            return plain;
        }
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    };
    let space = |is: bool| if is { " \n" } else { "" };
    match value {
        Value::Array(list) => {
            out.push('[');
            for (n, value) in list.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                out.push_str(space(turn(style, 3)));
                write(value, style, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (name, value)) in map.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                let (escape, wide) = (turn(style, 4), turn(style, 3));
                out.push_str(&format!("{}{}{}:{}", space(wide), string(name, escape), space(wide), space(!wide)));
                write(value, style, out);
            }
            out.push('}');
        }
        Value::String(text) => out.push_str(&string(text, turn(style, 3))),
        other => out.push_str(&other.to_string()),
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-c\"\\\\{}\\[\\],: é😀]{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[ab]{1,2}|é", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn paths() -> impl Strategy<Value = Vec<JsonPath>> {
    let child = prop_oneof![
        3 => "[ab]{1,2}|é".prop_map(PathChild::Name),
        1 => (0_u64..4).prop_map(PathChild::Index),
        1 => Just(PathChild::Any),
    ];
    let step = (prop::bool::weighted(0.3), child).prop_map(|(deep, child)| PathStep { deep, child });
    prop::collection::vec(prop::collection::vec(step, 1..4).prop_map(|steps| JsonPath { steps }), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_does_what_the_reference_does(document in documents(), paths in paths(), style in any::<u64>(), size in 1_usize..40, drops in any::<bool>()) {
        let mut body = String::new();
        write(&document, &mut style.clone(), &mut body);
        let action = if drops { RedactAction::Drop } else { RedactAction::Mask };
        let settings = Redact {
            json: BodyValues { credentials: false, named: paths.clone() },
            action,
            ..Redact::default()
        };
        let rules = Rules::clone(&Redactor::new(&settings, &RedactionKey([1; 32])).rules);
        let wanted = reference(&document, &paths, &mut Vec::new(), drops);
        for size in [size, body.len().max(1)] {
            let out = seen(&rules, &body, size);
            prop_assert_eq!(out.note.left_out, None, "{}", body);
            let shown: Option<Value> = serde_json::from_slice(&out.bytes).ok();
            prop_assert_eq!(&shown, &wanted, "{} shown as {}", &body, text(&out));
            prop_assert!(!out.note.is_clean() || out.bytes == body.as_bytes(), "clean means unchanged");
        }
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same(body in "[\\[\\]{}\":,a1 \\\\tnu-]{0,60}", size in 1_usize..20) {
        for action in [RedactAction::Mask, RedactAction::Hash, RedactAction::Drop] {
            for patterns in [&[][..], &[Ready::Card]] {
                let rules = rules(&["$..a", "$[0]"], action, patterns);
                let (whole, pieces) = (seen(&rules, &body, 1000), seen(&rules, &body, size));
                prop_assert_eq!(text(&whole), text(&pieces));
                prop_assert_eq!(whole.note, pieces.note);
            }
        }
    }
}

#[test]
fn the_end_of_a_string_is_found_wherever_it_stands() {
    for filler in [b'a', 0, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
        for len in 0..80 {
            let mut text = vec![filler; len];
            assert_eq!(quote_or_backslash(&text), None, "{filler} {len}");
            for (at, mark) in (0..len).flat_map(|at| [(at, b'"'), (at, b'\\')]) {
                // The byte after it makes no difference.
                for behind in [filler, b'"', b'\\'] {
                    text.fill(filler);
                    text[at] = mark;
                    text[at + 1..].fill(behind);
                    assert_eq!(quote_or_backslash(&text), Some(at), "{filler} {len} {mark} {behind}");
                }
            }
        }
    }
}
