//! Random rules, checked against a naive implementation of the page, and for what must hold for all rules.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use qtap_agent::pipeline::rule::{MAX_BYTES, Macros, Outcomes, Rule, compile};

use crate::facts::named;

/// A condition in its simplest form.
#[derive(Debug, Clone)]
enum Naive {
    /// A test, by its number.
    Test(usize),
    Not(Box<Naive>),
    And(Box<Naive>, Box<Naive>),
    Or(Box<Naive>, Box<Naive>),
}

/// Tests with a known result for `get`.
const TESTS: [(&str, Option<bool>); 8] = [
    ("true", Some(true)),
    ("false", Some(false)),
    ("http.req.method == \"GET\"", Some(true)),
    ("http.res.status>=500", Some(false)),
    ("http.req.headers.none == \"x\"", None),
    ("http.duration_ms in [1, 2]", Some(false)),
    ("src.pod.labels.none", None),
    ("10.0.0.0/8 contains src.ip", Some(true)),
];

impl Naive {
    /// Kleene's three-valued logic, written out.
    fn eval(&self) -> Option<bool> {
        match self {
            Naive::Test(nth) => TESTS[*nth].1,
            Naive::Not(inner) => inner.eval().map(|held| !held),
            Naive::And(a, b) => match (a.eval(), b.eval()) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Naive::Or(a, b) => match (a.eval(), b.eval()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }

    /// Prints it with only the parentheses that precedence needs. `within`: 0 in an `or`, 1 in an `and`, 2 after a `not`. `style` varies the spelling.
    fn print(&self, within: u8, style: &mut u32) -> String {
        let mut pick = |words: &[&str]| {
            *style = style.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            words[(*style >> 16) as usize % words.len()].to_owned()
        };
        let (text, binds) = match self {
            Naive::Test(nth) => (TESTS[*nth].0.to_owned(), 3),
            Naive::Not(inner) => (pick(&["not ", "!", "NOT\n", "! "]) + &inner.print(2, style), 2),
            Naive::And(a, b) => {
                let between = pick(&[" and ", " && ", " AND ", "\tand -- why\n", " /* x */ && "]);
                (a.print(1, style) + &between + &b.print(2, style), 1)
            }
            Naive::Or(a, b) => {
                let between = pick(&[" or ", " || ", "\nOr\n"]);
                (a.print(0, style) + &between + &b.print(1, style), 0)
            }
        };
        if binds < within || (*style).is_multiple_of(7) { format!("({text})") } else { text }
    }
}

fn naive() -> impl Strategy<Value = Naive> {
    let leaf = (0..TESTS.len()).prop_map(Naive::Test);
    leaf.prop_recursive(5, 40, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|inner| Naive::Not(inner.into())),
            two.clone().prop_map(|(a, b)| Naive::And(a.into(), b.into())),
            two.prop_map(|(a, b)| Naive::Or(a.into(), b.into())),
        ]
    })
}

fn compiled(text: &str) -> Rule {
    compile(text, &Macros::default()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

/// Fragments of rules, valid and invalid.
fn pieces() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "http.req.method",
        "http.req.headers.",
        "http.req.headers[\"a b\"]",
        "src.ip",
        "tags",
        "tls.enabled",
        "==",
        "!=",
        "<",
        "=~",
        "contains",
        "matches",
        "in",
        "and",
        "or",
        "not",
        "!",
        "(",
        ")",
        "[",
        "]",
        ",",
        "\"GET\"",
        "'",
        "\"",
        "/a+/i",
        "/",
        "500",
        "-1.5e3",
        "10.0.0.0/8",
        "::1",
        "aa:bb:cc:dd:ee:ff",
        "zone(",
        "in_zone(",
        "starts_with(",
        "--",
        "/*",
        "*/",
        "\\",
        "é",
        "\u{0}",
        "\n",
        "5x",
        "a.b",
    ]);
    let any_text = "\\PC{0,8}";
    prop::collection::vec(prop_oneof![8 => piece.prop_map(str::to_owned), 1 => any_text], 0..12)
        .prop_map(|all| all.join(" "))
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    /// Precedence, spelling, white space and comments: a rule evaluates to the same as the tree it was printed from, and parses the same when
    /// it is printed again.
    #[test]
    fn a_rule_means_what_its_tree_means(tree in naive(), style: u32) {
        let text = tree.print(0, &mut style.clone());
        let rule = compiled(&text);
        let get = named("get");
        prop_assert_eq!(rule.eval(&get.facts()), tree.eval(), "{}", text);
        let again = compiled(rule.text());
        prop_assert_eq!(again.text(), rule.text());
        prop_assert_eq!(again.eval(&get.facts()), tree.eval(), "{}", rule.text());
        prop_assert!(again == rule);
    }

    /// The final result of a rule was among its possible results at every earlier stage.
    #[test]
    fn what_is_known_early_stays_true(tree in naive(), style: u32) {
        let rule = compiled(&tree.print(0, &mut style.clone()));
        let outcome = match tree.eval() {
            Some(true) => Outcomes::TRUE,
            Some(false) => Outcomes::FALSE,
            None => Outcomes::MISSING,
        };
        for stage in ["head", "met", "heads"] {
            let case = named(stage);
            prop_assert!(rule.outcomes(&case.facts()).may_be(outcome), "{} of {}", stage, rule.text());
        }
    }

    /// A string is what its quotes enclose, whatever that is.
    #[test]
    fn texts_come_back(text: String, quote in select(vec!['"', '\''])) {
        let escaped: String = text.chars().map(|c| match c {
            '\\' => "\\\\".to_owned(),
            c if c == quote => format!("\\{c}"),
            c if c.is_control() => format!("\\u{{{:X}}}", u32::from(c)),
            c => c.to_string(),
        }).collect();
        let mut case = named("get");
        case.http.request.as_mut().unwrap().method = Some(text);
        for rule in [format!("http.req.method == {quote}{escaped}{quote}"), format!("http.req.method in [{quote}{escaped}{quote}]")] {
            let rule = compiled(&rule);
            prop_assert_eq!(rule.eval(&case.facts()), Some(true), "{}", rule.text());
            prop_assert_eq!(compiled(rule.text()).eval(&case.facts()), Some(true), "{}", rule.text());
        }
    }

    /// The same for numbers, addresses, networks, field names, and regexes.
    #[test]
    fn values_come_back(
        int: i64, float in any::<f64>().prop_filter("finite", |float| float.is_finite()), v4: std::net::Ipv4Addr,
        v6: std::net::Ipv6Addr, bits in 0u8..=32, mac: [u8; 6], name: String, regex in "[a-z/\\\\ ]{0,6}",
    ) {
        let mac = mac.map(|octet| format!("{octet:02X}")).join("-");
        let net = u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        let name: String = name.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
        let regex = regex.replace('\\', "\\\\").replace('/', "\\/");
        for value in [
            format!("http.req.headers.a == {int}"), format!("http.req.headers.a < {float:?}"), format!("{int} < {float:?}"),
            format!("{v4} == {v6}"), format!("src.ip in [{}/{bits}, {v6}]", std::net::Ipv4Addr::from(net)),
            format!("http.req.headers.a == {mac}"), format!("http.req.headers[\"{name}\"]"), format!("src.pod.labels[\"{name}\"]"),
            format!("http.req.path matches /{regex}/i"),
        ] {
            let once = compiled(&value);
            let again = compiled(once.text());
            prop_assert_eq!(again.text(), once.text(), "{}", value);
        }
    }

    /// No input causes a panic, and the position of a fault is inside the text.
    #[test]
    fn what_is_no_rule_is_told(text in pieces()) {
        match compile(&text, &Macros::default()) {
            Ok(rule) => {
                let again = compiled(rule.text());
                prop_assert_eq!(again.text(), rule.text(), "{}", text);
                for facts in ["get", "nothing", "head"] {
                    let _ = rule.eval(&named(facts).facts());
                }
            }
            Err(fault) => {
                prop_assert!(fault.at.start <= fault.at.end && fault.at.end <= text.len(), "{:?} of {:?}", fault, text);
                prop_assert!(text.is_char_boundary(fault.at.start) && text.is_char_boundary(fault.at.end), "{:?} of {:?}", fault, text);
                prop_assert!(!fault.message.is_empty());
            }
        }
    }
}

#[test]
fn the_place_of_a_fault_is_of_whole_characters() {
    let long = format!("\u{e9}{}", " ".repeat(MAX_BYTES));
    for (text, at) in [("not -- \u{10080}", 7..11), ("\u{3000}", 0..3), (long.as_str(), 0..2), ("not \u{e9}", 4..6)] {
        let fault = compile(text, &Macros::default()).expect_err("a fault");
        assert_eq!(fault.at, at, "{fault:?}");
    }
}

#[test]
fn every_bound_has_its_fault() {
    let told = |text: &str| compile(text, &Macros::default()).expect_err("a fault").message;
    assert_eq!(told(&"(".repeat(40)), "nested too deep");
    assert_eq!(told(&format!("{}true", "not ".repeat(10_000 / 4))), "nested too deep");
    assert_eq!(told(&" ".repeat(MAX_BYTES + 1)), format!("a rule of {} bytes", MAX_BYTES + 1));
    assert_eq!(told(&format!("src.port in [{}]", "1, ".repeat(4096))), "the rule grows too large here");
    assert_eq!(told(" /* */ -- x"), "the rule is empty");
    let deep = compiled(&format!("{}true{}", "(".repeat(32), ")".repeat(32)));
    assert_eq!(deep.text(), "true");
    // Each macro doubles the one before: without a bound the last would have 2^40 parts.
    let mut list = vec![("m0".to_owned(), "true".to_owned())];
    list.extend((1..40).map(|n| (format!("m{n}"), format!("m{0}() or m{0}()", n - 1))));
    let (macros, faults) = Macros::new(&list);
    // A macro that is refused counts as one part in its callers, so their size starts anew.
    let told: Vec<_> = faults.iter().map(|fault| (fault.nth, fault.fault.message.as_str())).collect();
    assert_eq!(told, [11, 22, 33].map(|nth| (nth, "the rule grows too large here")));
    assert!(compile("m39()", &macros).is_ok(), "what calls it is not told once more");
    let deep: Vec<_> = (0..200)
        .map(|n| (format!("d{n}"), if n == 0 { "true".to_owned() } else { format!("not d{}()", n - 1) }))
        .collect();
    let (_, faults) = Macros::new(&deep);
    let told: Vec<_> = faults.iter().map(|fault| fault.fault.message.as_str()).collect();
    assert_eq!(told, ["nested too deep"; 3]);
}
