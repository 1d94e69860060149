//! Files that are refused, and the exact messages about them. `bad_files.txt` holds both: after a line of `=`, the file;
//! after a line of `-`, the messages. Secrets in them begin with `hunter`. Then: randomly changed files.

use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

use super::{bad, env, good, source};
use crate::config::{Source, Verdict, load, validate};

const BAD_FILES: &str = include_str!("bad_files.txt");

/// A file with a secret in every place that accepts one.
const WITH_SECRETS: &str = "version: 2
services:
  event_stores:
    - type: otel
      id: main
      endpoint: https://${HOST}:4318/v1/logs
      protocol: http
      headers: {X-Api-Key: hunter2, X-Env: {type: env, value: KEY}}
      auth:
        type: basic
        username: me
        password: hunter2
      batch: {max_records: 7, max_bytes: 2mb, interval: 250ms}
      retry: {initial: 2s, max: 1m}
    - type: otel
      id: token
      auth:
        type: oauth2
        grant: jwt_bearer
        token_url: https://t/token
        client_id: me
        client_secret: hunter2
        signing_key: {type: text, value: hunter2}
        scopes: [a]
        params: {audience: b}
  object_stores:
    - type: s3
      bucket: artifacts
      access_key: hunter2
      secret_key:
        type: text
        value: \"hunter2\"
      min_bytes: 4kb
    - {type: otel, headers: {Authorization: hunter2}}
stacks:
  default_stack:
    plugins:
      - type: http_capture
        config: {level: full}
      - type: redact
        config:
          headers: [credentials, x-mine]
tap:
  direction: egress
  http: {stack: default_stack}
tags:
  - {key: team, source: env, location: TEAM}
";

#[test]
fn each_bad_file_is_told_exactly() {
    let cases: Vec<&str> = BAD_FILES.split("=====\n").skip(1).collect();
    assert!(cases.len() > 40, "{}", cases.len());
    for case in cases {
        let (file, said) = case.split_once("-----\n").expect("a file and what is said");
        let told = bad(file);
        assert_eq!(told, said.trim_end(), "\n{file}");
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let told = |bytes: &[u8]| {
        let path = dir.path().join("qtap.yaml");
        std::fs::write(&path, bytes).expect("a file");
        load(Source::Path(path), &env).expect_err("a fault").to_string()
    };
    let help = "not UTF-8 text\n      = save it as UTF-8; or is it another file?\n1 fault";
    for (bytes, place) in [
        (b"version: \xff2\n".as_slice(), "1:10"),
        (b"version: 2\n\xff", "2:1"),
        (b"version: 2\r\n\n# gr\xc3\xb6\xdfe\n", "3:6"),
        (b"\xff", "1:1"),
    ] {
        let all = told(bytes);
        assert!(all.ends_with(&format!("qtap.yaml:{place}: {help}")), "{all}");
    }
    let utf_16: Vec<u8> = "\u{feff}version: 2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(told(&utf_16).ends_with("qtap.yaml: not UTF-8 text, but UTF-16\n      = save it as UTF-8\n1 fault"));
    assert!(told(&vec![b'#'; (1 << 20) + 1]).contains("larger than 1mb"));
    assert!(told(b"\0").contains("qtap.yaml:1:1: "));
    let absent = load(Source::named("/nonexistent/qtap.yaml"), &env).expect_err("a fault").to_string();
    assert!(absent.starts_with("/nonexistent/qtap.yaml: cannot be read: No such file"), "{absent}");
    let elsewhere = load(Source::named("ftp://example.com/qtap.yaml"), &env).expect_err("a fault").to_string();
    assert!(elsewhere.contains("ftp://example.com/qtap.yaml: a config can't be read from there"), "{elsewhere}");
    assert_eq!(Source::named("-"), Source::Stdin);
}

#[test]
fn bounds_hold() {
    for levels in [70, 500] {
        let deep = format!("version: 2\ntap: {}{}\n", "[".repeat(levels), "]".repeat(levels));
        assert!(bad(&deep).contains("nested too deep"), "{}", bad(&deep));
    }
    let mut bomb = "version: 2\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    }
    assert!(bad(&bomb).contains("repetition limit"), "{}", bad(&bomb));
    let many: String = (0..100).map(|n| format!("key{n}: 1\n")).collect();
    assert!(bad(&many).ends_with("101 faults, the first 50 shown"));
}

#[test]
fn notes_of_a_file_that_is_used() {
    let notes = |text: &str| good(text).1.join("\n");
    for (text, said) in [
        ("version: 2\n", "qtap.yaml:1:1: no store: nothing that is captured will be exported"),
        (
            "version: 2\nservices: {event_stores: [{type: stdout}]}\nstacks: {a: {plugins: [{type: http_capture, config: {level: full}}]}}\n",
            "qtap.yaml:3:10: the stack `a` exports headers as they are, credentials too",
        ),
        (
            "version: 2\nservices: {event_stores: [{type: stdout}]}\nstacks: {a: {plugins: [{type: http_capture, config: {level: full}}, {type: redact}]}}\n",
            "qtap.yaml:2:1: the stack makes objects and no object store takes them",
        ),
        (
            "version: 2\nservices: {event_stores: [{type: otel, endpoint: 'x:4318'}]}\n",
            "4318 is the usual port of OTLP over HTTP",
        ),
        (
            "version: 2\nservices: {event_stores: [{type: otel, protocol: http, endpoint: 'x:4317'}]}\n",
            "4317 is the usual port of OTLP over gRPC",
        ),
        (
            "version: 2\nservices: {object_stores: [{type: stdout, min_bytes: 10}]}\n",
            "objects below 10 bytes are stored nowhere",
        ),
        ("version: 2\nservices: {object_stores: [{type: stdout}, {type: otel}]}\n", "no object comes to this store"),
        (
            "version: 2\ntags: [{key: a, source: env, location: NOPE}]\n",
            "qtap.yaml:2:40: the environment variable `NOPE` is not set",
        ),
        (
            "version: 2\nservices: {event_stores: [{type: otel, tls: {server_name: x}}]}\n",
            "this has no effect: the store is sent to without TLS",
        ),
        ("version: 2\nstacks: {default_stack: {}, b: {}}\n", "qtap.yaml:2:29: the stack `b` is not used"),
        (
            "version: 2\nstacks: {a: {plugins: [{type: redact, config: {headers: [], query_keys: [], json: [], form: []}}]}}\n",
            "this `redact` has nothing to redact",
        ),
    ] {
        assert!(notes(text).contains(said), "{text}\n{}", notes(text));
    }
    assert_eq!(notes(WITH_SECRETS), "");
}

#[test]
fn validate_says_valid_or_why_not() {
    let verdict = validate(source("version: 2\nservices: {event_stores: [{type: stdout}]}\n"), &env);
    assert_eq!(verdict, Verdict { text: "qtap.yaml: valid".to_owned(), valid: true });
    let verdict = validate(source("version: 2\n"), &env);
    assert!(
        verdict.valid
            && verdict.text.starts_with("note: qtap.yaml:1:1: ")
            && verdict.text.ends_with("qtap.yaml: valid")
    );
    assert!(!validate(source("version: 3\n"), &env).valid);
}

/// One change to a text, as an editing mistake, a bad merge or a broken disk may make it.
#[derive(Debug, Clone)]
enum Change {
    Delete(usize, usize),
    Insert(usize, String),
    Move(usize, usize),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..1500usize, 1..12usize).prop_map(|(at, len)| Change::Delete(at, len)),
        (0..1500usize, "[ \t\n:{}\\[\\],\"'&*!|>%@`#a-z0-9-]{1,4}").prop_map(|(at, text)| Change::Insert(at, text)),
        (0..1500usize, any::<char>()).prop_map(|(at, c)| Change::Insert(at, c.to_string())),
        (0..40usize, 0..40usize).prop_map(|(from, to)| Change::Move(from, to)),
        (0..40usize).prop_map(Change::Repeat),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<&str> = text.lines().collect();
    match change {
        Change::Delete(at, len) => {
            let at = (*at).min(chars.len());
            chars.drain(at..(at + len).min(chars.len()));
            return chars.into_iter().collect();
        }
        Change::Insert(at, text) => {
            let at = (*at).min(chars.len());
            chars.splice(at..at, text.chars());
            return chars.into_iter().collect();
        }
        Change::Move(from, to) => {
            if *from < lines.len() {
                let line = lines.remove(*from);
                lines.insert((*to).min(lines.len()), line);
            }
        }
        Change::Repeat(at) => {
            if let Some(line) = lines.get(*at).copied() {
                lines.insert(*at, line);
            }
        }
    }
    lines.join("\n")
}

/// What looks like a public key, but lacks the space after its colon, is text, and what follows it may be anything.
#[test]
fn no_secret_is_shown_of_a_line_that_does_not_parse() {
    for line in ["type:rsio-a\u{1}b value: hunter2}", "type:\tx, value: hunter2", "type: x\tvalue:\thunter2: \u{1}"] {
        let text = format!("version: 2\nservices:\n  event_stores:\n    - {line}\n");
        let told = load(source(&text), &env).err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(!told.contains("hunter2"), "{line:?}: {told}");
    }
    let told = load(source("version: 2\ntap:\n  direction: all: x\n"), &env)
        .err()
        .map(|faults| faults.to_string())
        .unwrap_or_default();
    assert!(told.contains("direction: …"), "{told}");
    let told = load(source("version: 2\ntap:\n  direction: 'all\n"), &env)
        .err()
        .map(|faults| faults.to_string())
        .unwrap_or_default();
    assert!(told.contains("direction: 'all"), "what may be shown is: {told}");
    let told =
        load(source("tap: \u{fffd}\u{fffd}\u{1}x\n"), &env).err().map(|faults| faults.to_string()).unwrap_or_default();
    assert!(told.starts_with("qtap.yaml:1:8: ") || told.starts_with("qtap.yaml:1:1: "), "{told}");
}

/// True when a secret is shown as a word of its own; one that lost the space and colon before it counts as a key.
fn shows_secret(told: &str) -> bool {
    told.match_indices("hunter2")
        .any(|(at, _)| !told[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// No panic, a place within the file for every fault, and no secret in the messages.
    #[test]
    fn changed_files_are_taken_or_told(changes in proptest::collection::vec(change(), 1..4)) {
        let text = changes.iter().fold(WITH_SECRETS.to_owned(), |text, change| apply(&text, change));
        if let Err(faults) = load(source(&text), &env) {
            prop_assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                prop_assert!(fault.line <= crate::config::place::lines(&text).len() + 1, "{}", fault);
            }
            prop_assert!(!shows_secret(&faults.to_string()), "{}", faults);
        }
    }

    #[test]
    fn any_text_is_taken_or_told(text in any::<String>()) {
        let _ = load(source(&text), &env).map_err(|faults| faults.to_string());
    }
}
