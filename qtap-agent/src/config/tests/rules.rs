//! Rules of a file: how they are read, and that a fault in one is reported at its exact place, however the value is written.

use super::{bad, good};
use crate::config::Level;
use crate::pipeline::settings::{HttpCapture, Settings, Step};

/// A file whose only rule is `expr`, and its macro `m`.
fn file(expr: &str, m: &str) -> String {
    format!(
        "version: 2
rulekit: {{macros: [{{name: m, expr: {m}}}]}}
services: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}
stacks:
  default_stack:
    plugins:
      - type: redact
      - type: http_capture
        config:
          level: none
          rules:
            - name: one
              level: full
              expr: {expr}
"
    )
}

fn capture(settings: &Settings) -> HttpCapture {
    let steps = settings.http_stack.iter().flat_map(|stack| &stack.steps);
    let capture =
        steps.fold(None, |last, step| if let Step::HttpCapture(capture) = step { Some(capture.clone()) } else { last });
    capture.expect("http_capture")
}

#[test]
fn rules_choose_levels_and_call_macros() {
    let (settings, notes) = good(&file("http.res.status >= 500 or m()", "http.duration_ms > 1000"));
    assert_eq!(notes, Vec::<String>::new());
    let capture = capture(&settings.pipeline);
    assert_eq!((capture.level, capture.highest()), (Level::None, Level::Full));
    let told: Vec<_> = capture.rules.iter().map(|rule| (rule.name.as_str(), rule.rule.text(), rule.level)).collect();
    assert_eq!(told, [("one", "http.res.status >= 500 or http.duration_ms > 1000", Level::Full)]);
    // Whatever a rule may need is captured, kept, and evaluated.
    assert!(settings.tap.http_wanted && settings.pipeline.keeps_bodies() && settings.pipeline.judge().is_some());
}

#[test]
fn without_a_rule_above_none_nothing_is_wanted() {
    let (settings, _) = good(&file("m()", "true").replace("level: full", "level: none"));
    assert!(!settings.tap.http_wanted && !settings.pipeline.keeps_bodies() && settings.pipeline.judge().is_none());
    let (settings, _) = good(&file("m()", "true").replace("level: full", "level: summary"));
    assert!(settings.tap.http_wanted && !settings.pipeline.keeps_bodies() && settings.pipeline.judge().is_none());
}

#[test]
fn variables_that_rules_name_are_asked_for_and_no_others() {
    let (settings, _) =
        good(&file("src.process.env.TEAM == 'a' or m()", "src.process.env.STAGE == src.process.env.TEAM"));
    assert_eq!(settings.pipeline.variables(), ["STAGE", "TEAM"]);
    let (settings, _) = good(&file("m()", "true"));
    assert_eq!(settings.pipeline.variables(), Vec::<String>::new());
}

/// The place of the one fault of a file.
fn place(text: &str) -> (usize, usize, String) {
    let told = bad(text);
    let mut parts = told.split(':');
    let (Some("qtap.yaml"), Some(line), Some(column)) = (parts.next(), parts.next(), parts.next()) else {
        panic!("{told}")
    };
    assert!(told.ends_with("\n1 fault"), "{told}");
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{told}"));
    (number(line), number(column), told)
}

#[test]
fn a_fault_stands_at_its_place_however_the_rule_is_written() {
    for (expr, line, word) in [
        ("http.res.status == wrong", 14, "wrong"),
        ("http.res.status == 1\n                and wrong", 15, "wrong"),
        ("'http.req.path == ''/'' and wrong'", 14, "wrong"),
        ("\"http.req.path == \\\"/\\\" and wrong\"", 14, "wrong"),
        ("|\n                http.res.status == 1 -- one\n                  and wrong", 16, "wrong"),
        (">-\n                http.res.status == 1\n                and wrong", 16, "wrong"),
        ("http.res.status contains 3", 14, "http.res.status contains"),
        ("m() and n()", 14, "n()"),
    ] {
        let text = file(expr, "true");
        let (at, column, told) = place(&text);
        let column_wanted = text.lines().nth(line - 1).and_then(|text| text.find(word)).map(|at| at + 1);
        assert_eq!((at, Some(column)), (line, column_wanted), "{told}");
    }
    let (line, column, told) = place(&file("m()", "http.res.status == wrong"));
    assert_eq!((line, column), (2, 55), "{told}");
}

#[test]
fn lists_are_bounded() {
    let rules: String = (0..1001).map(|n| format!("{{name: r{n}, expr: true, level: none}}, ")).collect();
    let text =
        format!("version: 2\nstacks: {{a: {{plugins: [{{type: http_capture, config: {{rules: [{rules}]}}}}]}}}}\n");
    assert!(bad(&text).contains("1001 rules") && bad(&text).contains("at most 1000"), "{}", bad(&text));
    let macros: String = (0..257).map(|n| format!("{{name: m{n}, expr: true}}, ")).collect();
    let text = format!("version: 2\nrulekit: {{macros: [{macros}]}}\n");
    assert!(bad(&text).contains("257 macros") && bad(&text).contains("at most 256"), "{}", bad(&text));
}
