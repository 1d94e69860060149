//! Each key of `redact`, and of `gen_ai`, means what the page says; what is invalid is reported at its place.

use super::*;
use crate::pipeline::settings::json_path::JsonPath;
use crate::pipeline::settings::{Ready, Salt, SecretForm};

fn redact(config: &str) -> Redact {
    let Step::Redact(redact) = steps(&format!("- {{type: redact, config: {{{config}}}}}")).remove(0) else {
        panic!("not redact")
    };
    redact
}

fn faults(config: &str) -> String {
    let text = format!("version: 2\nstacks: {{a: {{plugins: [{{type: redact, config: {{{config}}}}}]}}}}\n");
    load(Source::Text { name: "qtap.yaml".to_owned(), text }, &env).expect_err("a fault").to_string()
}

#[test]
fn nothing_said_is_credentials() {
    assert_eq!(redact(""), Redact::default());
    let default = Redact::default();
    assert!(default.json.credentials && default.form.credentials && default.patterns.is_empty());
}

#[test]
fn single_cookies_take_the_place_of_their_fields() {
    let named = redact("cookies: [SID, credentials]");
    assert!(named.cookies.contains(&"sid".to_owned()) && named.cookies.contains(&"jsessionid".to_owned()));
    assert!(!named.headers.iter().any(|name| name == "cookie" || name == "set-cookie"));
    assert!(named.headers.contains(&"authorization".to_owned()));
    assert!(redact("cookies: [sid], headers: [credentials, Cookie]").headers.contains(&"cookie".to_owned()));
    assert!(redact("cookies: []").headers.contains(&"cookie".to_owned()));
}

#[test]
fn paths_and_fields_take_the_place_of_credentials_or_stand_beside_them() {
    let named = redact("json: ['$.a', \"$..b[0]\"], form: [Pin]");
    assert_eq!(named.json.named, ["$.a", "$..b[0]"].map(|path| JsonPath::parse(path).expect("a path")));
    assert!(!named.json.credentials && !named.form.credentials);
    assert_eq!(named.form.named, ["pin"]);
    let both = redact("json: [credentials, '$.a'], form: [credentials]");
    assert!(both.json.credentials && both.json.named.len() == 1 && both.form.credentials);
}

#[test]
fn patterns_are_ready_ones_or_ones_own() {
    let patterns = redact("patterns: [card, credentials, {name: staff, regex: 'E-[0-9]+'}]").patterns;
    let ready = [Ready::Card, Ready::Jwt, Ready::CloudKeys, Ready::PrivateKey].map(SecretForm::Ready);
    assert_eq!(patterns[..4], ready);
    assert!(matches!(&patterns[4], SecretForm::Own { name, regex } if name == "staff" && regex.as_str() == "E-[0-9]+"));
}

#[test]
fn a_salt_is_a_secret() {
    assert_eq!(redact("action: hash, salt: abc").salt, Some(Salt::of("abc")));
    assert_ne!(Salt::of("abc"), Salt::of("abd"));
    assert!(!format!("{:?}", redact("action: hash, salt: abc")).contains("abc"));
    assert_eq!(redact("action: hash").salt, None);
}

#[test]
fn what_can_not_be_is_said() {
    for (config, said) in [
        ("json: [a.b]", "`a.b` is no path"),
        ("json: ['$.a..']", "after a dot stands a name"),
        ("patterns: [cards]", "did you mean `card`?"),
        ("patterns: [{name: a}]", "regex"),
        ("patterns: [{name: a, regex: '('}]", "the pattern `a` is no regular expression"),
        ("patterns: [{name: a, regex: '(?=b)'}]", "look-around"),
        ("patterns: [{name: a, regex: '(?:x{1000}){1000}'}]", "the pattern `a` is no regular expression"),
        ("action: hash, salt: ''", "the salt is empty"),
    ] {
        let faults = faults(config);
        assert!(faults.contains(said) && faults.contains("qtap.yaml:2:"), "{config}\n{faults}");
    }
    let many: Vec<String> = (0..65).map(|n| format!("'$.a.b{n}'")).collect();
    assert!(faults(&format!("json: [{}]", many.join(", "))).contains("at most 128"));
}

#[test]
fn gen_ai_makes_objects_of_conversations_unless_told_otherwise() {
    use crate::pipeline::settings::GenAiStep;
    assert_eq!(steps("- type: gen_ai"), [Step::GenAi(GenAiStep { conversations: true })]);
    let without = steps("- {type: gen_ai, config: {conversations: false}}");
    assert_eq!(without, [Step::GenAi(GenAiStep { conversations: false })]);
}
