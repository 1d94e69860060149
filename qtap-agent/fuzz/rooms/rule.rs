//! Rules. In: texts, parted by a zero byte: the first is the rule, the others are macros `m0`, `m1`, … it may call. Out: nothing, or the promise that was broken: a fault
//! lies in the text; a rule that is printed reads the same; what it comes to at last it could come to before; and no more memory than its
//! bounds allow.

use qtap_agent::model::conn::Protocol;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::message::{Body, Fields, Request, Response, Version};
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::rule::{Facts, MAX_NODES, Macros, Outcomes, compile};

use super::Gauge;

/// What a rule may hold, whatever it is: its parts, and for the most expensive of them, a regex, what that may take, twice.
const PART_BYTES: usize = 4096;
const REGEX_BYTES: usize = 4 << 20;

/// Reads the rule, and asks it.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut texts = text.split('\0');
    let rule = texts.next().unwrap_or_default();
    let list: Vec<_> = texts.take(8).enumerate().map(|(nth, text)| (format!("m{nth}"), text.to_owned())).collect();
    let (macros, faults) = Macros::new(&list);
    for fault in &faults {
        assert!(list[fault.nth].1.get(fault.fault.at.clone()).is_some(), "{fault:?}");
    }
    let before = gauge();
    let regexes = rule.matches('/').count() + rule.matches('m').count();
    let compiled = match compile(rule, &macros) {
        Ok(compiled) => compiled,
        Err(fault) => {
            assert!(rule.get(fault.at.clone()).is_some() && !fault.message.is_empty(), "{fault:?}");
            return;
        }
    };
    let most = MAX_NODES * PART_BYTES + regexes * REGEX_BYTES;
    assert!(gauge().saturating_sub(before) <= most, "{} bytes", gauge() - before);
    let again = compile(compiled.text(), &Macros::default());
    // What has a macro of several fields in it may be longer than a rule may be.
    if let Ok(again) = &again {
        assert_eq!(again.text(), compiled.text());
    } else {
        assert!(!faults.is_empty() || !list.is_empty(), "{again:?}");
    }
    let whole = exchange(true);
    let outcome = match compiled.eval(&Facts::of(&whole)) {
        Some(true) => Outcomes::TRUE,
        Some(false) => Outcomes::FALSE,
        None => Outcomes::MISSING,
    };
    // The connection is unknown to the end here; so it is not among what may still come.
    assert!(compiled.outcomes(&Facts::of(&exchange(false)).so_far()).may_be(outcome), "{}", compiled.text());
}

fn exchange(answered: bool) -> HttpExchange {
    let request = Request {
        method: Some("GET".to_owned()),
        target: Some("/a/b?c".to_owned()),
        scheme: Some("https".to_owned()),
        authority: Some("a.example".to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: Fields::default(),
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(0),
        ended: None,
    };
    let response = Response {
        status: Some(500),
        reason: bytes::Bytes::new(),
        informational: Vec::new(),
        version: Version::Http11,
        fields: Fields::default(),
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(0),
        ended: Some(KernelTime(9_000_000)),
    };
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 1,
        request: Some(request),
        response: answered.then_some(response),
        incomplete: None,
        part: None,
    }
}
