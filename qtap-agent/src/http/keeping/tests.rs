//! Which bodies are kept when a judge decides exchange by exchange. This one decides by path and status.

use super::*;
use crate::http::Settings;
use crate::http::script::{Script, lines};
use crate::model::exchange::HttpExchange;
use crate::model::judge::Judge;
use crate::model::message::Body;

/// `/yes` is wanted, `/no` is not; any other is wanted if its status is 5xx, and undecided without a response.
fn judge() -> Judge {
    Judge::new(|exchange: &HttpExchange, _| {
        let target = exchange.request.as_ref().and_then(|request| request.target.as_deref());
        match (target, exchange.response.as_ref().and_then(|response| response.status)) {
            (Some("/yes"), _) => Wanted::Yes,
            (Some("/no"), _) => Wanted::No,
            (_, Some(500..)) => Wanted::Yes,
            (_, Some(_)) => Wanted::No,
            (_, None) => Wanted::Open,
        }
    })
}

fn script(settings: Settings) -> Script {
    Script::with(Settings { judge: Some(judge()), ..settings }, false)
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sizes of both bodies, and whether they were wanted.
fn told(exchange: &HttpExchange) -> [(u64, bool); 2] {
    let of = |body: Option<&Body>| body.map_or((0, false), |body| (body.size, !body.unwanted));
    [of(exchange.request.as_ref().map(|r| &r.body)), of(exchange.response.as_ref().map(|r| &r.body))]
}

#[test]
fn a_body_that_is_not_wanted_is_measured_and_not_kept() {
    let mut script = script(Settings::default());
    script.up(post("/no", "question")).down(answer(500, "answer"));
    script.up(post("/yes", "question")).down(answer(200, "answer"));
    let want = ["POST /no| -> 500|", "POST /yes|question -> 200|answer"];
    assert_eq!(lines(script.close()), want);
    assert_eq!(told(&script.sink.exchanges[0]), [(8, false), (6, false)]);
    assert_eq!(told(&script.sink.exchanges[1]), [(8, true), (6, true)]);
    assert_eq!(script.sink.unwanted, 14);
}

#[test]
fn what_the_answer_decides_is_held_until_then_and_let_go() {
    let mut script = script(Settings::default());
    script.up(post("/a", &"q".repeat(50_000)));
    let held = script.http.held();
    script.down("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").down("x");
    assert!(held > 50_000 && script.http.held() < held - 49_000, "{held} {}", script.http.held());
    script.down("x".repeat(99_999));
    script.up(post("/b", "question")).down(answer(503, "sorry"));
    assert_eq!(lines(script.close()), ["POST /a| -> 200|", "POST /b|question -> 503|sorry"]);
    assert_eq!(told(&script.sink.exchanges[0]), [(50_000, false), (100_000, false)]);
    assert_eq!((script.sink.unwanted, script.sink.losses.is_empty()), (150_000, true));
}

#[test]
fn an_answer_without_a_body_decides_as_well() {
    let mut script = script(Settings::default());
    script.up(post("/a", "question")).down("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(lines(script.close()), ["POST /a| -> 204|"]);
    assert_eq!(script.sink.unwanted, 8);
}

#[test]
fn what_is_never_decided_is_kept() {
    let mut script = script(Settings::default());
    script.up(post("/a", "question"));
    assert_eq!(lines(script.close()), ["POST /a|question -> - (no_response)"]);
    assert_eq!(script.sink.unwanted, 0);
}

#[test]
fn where_no_body_is_kept_all_are_counted_and_nobody_is_asked() {
    let asked = Judge::new(|_: &HttpExchange, _| panic!("asked"));
    let settings = Settings { keep_bodies: false, judge: Some(asked), ..Settings::default() };
    let mut script = Script::with(settings, false);
    script.up(post("/yes", "question")).down(answer(200, "answer"));
    assert_eq!(lines(script.close()), ["POST /yes| -> 200|"]);
    assert_eq!(script.sink.unwanted, 14);
}

#[test]
fn once_settled_nobody_is_asked_again_and_once_for_each_head() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    let (count, counted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&count);
    let inner = judge();
    let asking = Judge::new(move |exchange: &HttpExchange, scene| {
        counter.fetch_add(1, Ordering::Relaxed);
        inner.of(exchange, scene)
    });
    let mut script = Script::with(Settings { judge: Some(asking), ..Settings::default() }, false);
    let asked = |script: &mut Script, path: &str| {
        script.up(post(path, "")).up("").down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        (0..20).for_each(|_| {
            script.down("1\r\nx\r\n");
        });
        script.down("0\r\n\r\n");
        let now = count.load(Ordering::Relaxed);
        now - counted.swap(now, Ordering::Relaxed)
    };
    assert_eq!(asked(&mut script, "/yes"), 1);
    assert_eq!(asked(&mut script, "/no"), 1);
    // Its request has no body to ask about, so the judge is first asked at the response's head.
    assert_eq!(asked(&mut script, "/a"), 1);
    script.close();
}

#[test]
fn a_part_that_was_told_stays_told_and_the_rest_is_not_kept() {
    let mut script = script(Settings::default());
    script.up("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n3\r\nabc\r\n").wait(11_000);
    script.up("3\r\ndef\r\n").down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").up("0\r\n\r\n");
    assert_eq!(lines(script.close()), ["#0 POST /a|abc -> -", "#1. POST /a| -> 200|"]);
    assert_eq!(script.sink.unwanted, 5);
}

#[test]
fn large_bodies_are_let_go_too() {
    let settings = Settings { large_bytes: Some(1000), body_limit: 1 << 20, part_bytes: 1000, ..Settings::default() };
    let mut script = script(settings);
    script.up("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    (0..10).for_each(|_| {
        script.up("q".repeat(1000));
    });
    script.down("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
    (0..10).for_each(|_| {
        script.down("a".repeat(1000));
    });
    script.close();
    let kept: u64 = script.sink.exchanges.iter().filter_map(|e| e.request.as_ref()).map(|r| r.body.kept()).sum();
    let answered: u64 = script.sink.exchanges.iter().filter_map(|e| e.response.as_ref()).map(|r| r.body.kept()).sum();
    assert_eq!((kept + script.sink.unwanted, answered), (20_000, 0));
    assert!(script.sink.exchanges.last().unwrap().part.is_some_and(|part| part.large && part.last));
}

#[test]
fn messages_of_a_websocket_that_nobody_wants_are_counted_and_not_kept() {
    let mut script = script(Settings::default());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    script.up(format!(
        "GET /no HTTP/1.1\r\nHost: a\r\n{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ));
    script.down(format!(
        "HTTP/1.1 101 Switching Protocols\r\n{upgrade}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    ));
    script.down(b"\x81\x05hello").down(b"\x81\x05again");
    script.close();
    let messages = script.sink.exchanges[0].response.as_ref().unwrap().body.messages.as_deref().unwrap();
    assert_eq!((messages.count, messages.bytes, messages.kept.len()), (2, 10, 0));
    assert_eq!(script.sink.unwanted, 10);
}

#[test]
fn messages_of_grpc_that_nobody_wants_are_counted_and_not_kept() {
    let block = |fields: &[(&str, &str)], stream: u8, flags: u8| {
        let literal = |(name, value): &(&str, &str)| {
            [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
        };
        let block: Vec<u8> = fields.iter().flat_map(literal).collect();
        [&[0, 0, block.len() as u8, 1, flags, 0, 0, 0, stream][..], &block].concat()
    };
    let data = |payload: &[u8], flags: u8| [&[0, 0, payload.len() as u8, 0, flags, 0, 0, 0, 1][..], payload].concat();
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let grpc = ("content-type", "application/grpc");
    let mut script = script(Settings::default());
    script.up([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings].concat()).down(settings);
    script.up(block(&[(":method", "POST"), (":path", "/a.B/C"), (":scheme", "https"), grpc], 1, 4));
    script.up(data(b"\0\0\0\0\x03one", 0)).up(data(b"\0\0\0\0\x03two", 1));
    script.down(block(&[(":status", "200"), grpc], 1, 4)).down(data(b"\0\0\0\0\x05three", 0));
    script.down(block(&[("grpc-status", "0")], 1, 5));
    script.close();
    let exchange = &script.sink.exchanges[0];
    let messages = |body: &Body| body.messages.as_deref().map(|m| (m.count, m.bytes, m.kept.len()));
    assert_eq!(messages(&exchange.request.as_ref().unwrap().body), Some((2, 6, 0)));
    assert_eq!(messages(&exchange.response.as_ref().unwrap().body), Some((1, 5, 0)));
    assert_eq!(told(exchange), [(16, false), (10, false)]);
    assert_eq!(script.sink.unwanted, 26);
}
