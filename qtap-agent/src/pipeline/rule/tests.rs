//! Whole rules: their outcomes, and the faults of invalid rules. (The table of the language is in `tests/rules.rs`.)

use bytes::Bytes;

use super::*;
use crate::model::conn::Protocol;
use crate::model::exchange::HttpExchange;
use crate::model::message::{Body, Field, FieldText, Fields, Request, Version};
use crate::model::time::KernelTime;

fn get(target: &str, fields: &[(&'static str, &'static str)]) -> HttpExchange {
    let text = |t: &'static str| FieldText::Known(Bytes::from_static(t.as_bytes()));
    let request = Request {
        method: Some("GET".to_owned()),
        target: Some(target.to_owned()),
        scheme: None,
        authority: Some("shop.example:8080".to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: Fields(fields.iter().map(|(n, v)| Field { name: text(n), value: text(v) }).collect()),
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(0),
        ended: Some(KernelTime(0)),
    };
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 42,
        request: Some(request),
        response: None,
        incomplete: None,
        part: None,
    }
}

fn compiled(text: &str) -> Rule {
    compile(text, &Macros::default()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

#[test]
fn what_is_missing_is_neither_and_what_may_come_is_open() {
    let http = get("/a?b", &[("X-Id", "7"), ("x-id", "8")]);
    for (text, ended, running) in [
        ("http.req.method == \"GET\"", Some(true), Outcomes::TRUE),
        ("http.req.path == '/a'", Some(true), Outcomes::TRUE),
        ("http.req.headers.x-id > 7", Some(true), Outcomes::TRUE),
        ("http.req.headers.x-id == 9", Some(false), Outcomes::FALSE),
        ("http.req.headers.none == 9", None, Outcomes::MISSING),
        ("http.res.status >= 500", None, Outcomes::ANY),
        ("not http.res.status >= 500", None, Outcomes::ANY),
        ("http.req.method == 'POST' and http.res.status >= 500", Some(false), Outcomes::FALSE),
        ("http.req.method == 'GET' or http.res.status >= 500", Some(true), Outcomes::TRUE),
        ("http.req.host in ['shop.example']", Some(true), Outcomes::TRUE),
    ] {
        let rule = compiled(text);
        assert_eq!(rule.eval(&Facts::of(&http)), ended, "{text}");
        assert_eq!(rule.outcomes(&Facts::of(&http).so_far()), running, "{text}");
    }
}

#[test]
fn the_hundredth_question_is_answered_as_the_first() {
    let http = get("/a?b", &[("X-Id", "7"), ("Accept", "a"), ("x-id", "8"), ("Odd", "\u{e9}")]);
    let (asked, told) = (Facts::of(&http), Facts::of(&http).so_far());
    for _ in 0..100 {
        for (text, wanted) in [
            ("http.req.headers.x-id == 8", Some(true)),
            ("http.req.headers.accept == 'a'", Some(true)),
            ("http.req.headers.ACCEPT contains 'b'", Some(false)),
            ("http.req.headers.odd", Some(true)),
            ("http.req.headers.accent == 'a'", None),
            ("http.req.path == '/a' and dst.domain == 'shop.example'", Some(true)),
        ] {
            let rule = compiled(text);
            assert_eq!((rule.eval(&asked), rule.eval(&told)), (wanted, wanted), "{text}");
        }
        assert_eq!(compiled("http.res.headers.x-id == 8").eval(&asked), None);
        assert_eq!(compiled("http.res.headers.x-id == 8").outcomes(&told), Outcomes::ANY);
    }
}

#[test]
fn macros_stand_for_what_they_say() {
    let list = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let (macros, faults) =
        Macros::new(&list(&[("both", "slow() or big()"), ("slow", "http.duration_ms > 1000"), ("big", "true")]));
    assert_eq!(faults, []);
    let rule = compile("not both()", &macros).unwrap_or_else(|fault| panic!("{fault:?}"));
    assert_eq!(rule.text(), "not (http.duration_ms > 1000 or true)");
    let (_, faults) =
        Macros::new(&list(&[("a", "b() and true"), ("b", "not a()"), ("c", "a()"), ("zone", "true"), ("d", "1 ==")]));
    let told: Vec<_> = faults.iter().map(|fault| (fault.nth, fault.of_name, fault.fault.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (3, true, "`zone` is a word of the language"),
            (4, false, "the rule ends where a value is missing"),
            (0, false, "the macro `a()` leads back to itself"),
            (1, false, "the macro `b()` leads back to itself"),
        ]
    );
}
