//! Exchanges reported in parts, from outside: what passes and when, and what comes out.

use std::time::Duration;

use crate::http::Settings;
use crate::http::script::{Script, line, lines};
use crate::model::conn::Direction;
use crate::model::exchange::{Incomplete, Part};
use crate::model::loss::Loss;
use crate::model::message::Body;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const END: &str = "0\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn small() -> Settings {
    Settings { part_bytes: 8, body_limit: 16, ..Settings::default() }
}

fn bodies(script: &Script) -> Vec<&Body> {
    script.sink.exchanges.iter().filter_map(|e| e.response.as_ref()).map(|r| &r.body).collect()
}

#[test]
fn what_ends_soon_is_told_whole() {
    let mut script = Script::new(false);
    script.up(GET).down(EVENTS).down(chunk("data: 1\n\n")).wait(5000).down(chunk("data: 2\n\n")).down(END);
    assert_eq!(lines(script.close()), ["GET /a| -> 200|data: 1\n\ndata: 2\n\n"]);
    assert_eq!(script.sink.exchanges[0].part, None);
}

#[test]
fn what_lasts_is_told_by_time() {
    let mut script = Script::new(false);
    script.up(GET).down(EVENTS).down(chunk("one")).wait(9_999).wait(2);
    assert_eq!(lines(&script.sink.exchanges), ["#0 GET /a| -> 200|one"]);
    script.wait(60_000).wait(60_000);
    assert_eq!(script.sink.exchanges.len(), 1, "nothing waits");
    script.down(chunk("two")).wait(9_000).down(chunk("three")).wait(1_001).down(chunk("four")).down(END);
    let want = ["#0 GET /a| -> 200|one", "#1 GET /a| -> 200|twothree", "#2. GET /a| -> 200|four"];
    assert_eq!(lines(script.close()), want);
    let places: Vec<_> = bodies(&script).iter().map(|b| (b.offset, b.size)).collect();
    assert_eq!(places, [(0, 3), (3, 11), (11, 15)]);
    let exchanges = &script.sink.exchanges;
    assert!(exchanges.iter().all(|e| e.ordinal == 0));
    assert_eq!(exchanges[1].part, Some(Part { number: 1, last: false, large: false }));
    let ended: Vec<_> = exchanges.iter().map(|e| e.response.as_ref().unwrap().ended.is_some()).collect();
    assert_eq!(ended, [false, false, true]);
}

#[test]
fn bytes_are_a_reason_to_look_too() {
    let mut script = Script::new(false);
    script.up(GET).down(EVENTS).down(chunk("one")).pass_time(11_000).down(chunk("two"));
    assert_eq!(lines(&script.sink.exchanges), ["#0 GET /a| -> 200|one"]);
    assert_eq!(lines(script.down(END).close()).last().unwrap(), "#1. GET /a| -> 200|two");
}

#[test]
fn what_is_much_is_told_by_size_at_the_same_byte_however_it_comes() {
    let text = "abcdefghijklmnopqrstuvwxyz";
    let stream = format!("{EVENTS}{}{END}", chunk(text));
    let want = [
        "#0 GET /a| -> 200|abcdefgh",
        "#1 GET /a| -> 200|ijklmnop",
        "#2 GET /a| -> 200|qrstuvwx",
        "#3. GET /a| -> 200|yz",
    ];
    for size in 1..stream.len() {
        let mut script = Script::with(small(), false);
        script.up(GET);
        stream.as_bytes().chunks(size).for_each(|piece| {
            script.down(piece);
        });
        assert_eq!(lines(script.close()), want, "{size}");
        assert!(script.sink.losses.is_empty());
        assert!(bodies(&script).iter().all(|body| body.is_whole()));
    }
}

#[test]
fn a_body_of_a_declared_length_is_told_at_its_end() {
    let mut script = Script::new(false);
    script
        .up(GET)
        .down("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 6\r\n\r\nabc")
        .wait(60_000);
    assert!(script.sink.exchanges.is_empty());
    assert_eq!(lines(script.down("def").close()), ["GET /a| -> 200|abcdef"]);
}

#[test]
fn without_a_length_and_a_type_only_time_makes_a_part() {
    let mut script = Script::with(small(), false);
    script.up(GET).down(CHUNKED).down(chunk("0123456789abcdefXY")).down(chunk("Z"));
    assert!(script.sink.exchanges.is_empty());
    script.wait(11_000).down(chunk("0123456789abcdefXY")).down(END);
    let want = ["#0 GET /a| -> 200|0123456789abcdef", "#1. GET /a| -> 200|0123456789abcdef"];
    assert_eq!(lines(script.close()), want);
    let places: Vec<_> = bodies(&script).iter().map(|b| (b.offset, b.size, b.truncated)).collect();
    assert_eq!(places, [(0, 19, true), (19, 37, true)], "the limit is for each part");
    assert_eq!(script.sink.losses.bytes(Loss::BodyLimit), 5);
}

#[test]
fn a_long_poll() {
    let mut script = Script::new(false);
    script.up(GET).wait(60_000).down(CHUNKED).wait(11_000).wait(20_000).down(chunk("news")).down(END);
    assert_eq!(lines(script.close()), ["#0 GET /a| -> 200|", "#1. GET /a| -> 200|news"]);
    let mut script = Script::new(false);
    script.up(GET).wait(60_000).down(format!("{CHUNKED}{}{END}", chunk("news")));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|news"], "it was asked long ago, and answered at once");
}

#[test]
fn a_request_may_be_what_lasts() {
    let mut script = Script::new(false);
    script.up("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").up(chunk("one")).wait(11_000);
    script.up(chunk("two")).down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").up(END);
    assert_eq!(lines(script.close()), ["#0 POST /p|one -> -", "#1. POST /p|two -> 200|ok"]);
}

#[test]
fn both_bodies_stand_in_a_part() {
    let mut script = Script::new(false);
    script.up("POST /p HTTP/1.1\r\nContent-Length: 3\r\n\r\nask").down(EVENTS).down(chunk("one")).wait(11_000);
    script.down(chunk("two"));
    assert_eq!(lines(script.close()), ["#0 POST /p|ask -> 200|one", "#1. POST /p| -> 200|two (closed_early)"]);
    let request = &script.sink.exchanges[1].request.as_ref().unwrap().body;
    assert_eq!((request.offset, request.size), (3, 3));
}

#[test]
fn why_it_is_not_whole_is_told_with_the_last_part() {
    let mut script = Script::new(false);
    script.up(GET).down(EVENTS).down("9\r\n").down("abc").gap(Direction::Received, 2).down("f").wait(11_000);
    script.down("ghi\r\n").down(END);
    let want = ["#0 GET /a| -> 200|abcf", "#1. GET /a| -> 200|ghi (bytes_lost)"];
    assert_eq!(lines(script.close()), want);
    let missing: Vec<_> = bodies(&script).iter().map(|body| body.missing.clone()).collect();
    assert_eq!(missing, [std::slice::from_ref(&(3..5)), &[]]);
    let mut script = Script::new(false);
    script.up(GET).down(EVENTS).down(chunk("one")).wait(11_000);
    assert_eq!(lines(script.end(true)), ["#0 GET /a| -> 200|one", "#1. GET /a| -> 200| (still_open)"]);
}

#[test]
fn sizes_alone_are_told_by_time() {
    let mut script = Script::with(Settings { keep_bodies: false, ..small() }, false);
    script.up(GET).down(EVENTS).down(chunk("one, two, three, four")).wait(11_000).down(chunk("five")).down(END);
    assert_eq!(lines(script.close()), ["#0 GET /a| -> 200|", "#1. GET /a| -> 200|"]);
    let sizes: Vec<_> = bodies(&script).iter().map(|body| body.size).collect();
    assert_eq!(sizes, [21, 25]);
}

#[test]
fn a_stream_that_finds_the_channel_full_is_told_before_it_is_cut() {
    let limits = Settings { part_bytes: 100, body_limit: 100, in_flight_limit: 100, ..Settings::default() };
    let mut script = Script::with(limits, false);
    let text = "x".repeat(60);
    script.up(format!("POST /p HTTP/1.1\r\nContent-Length: 80\r\n\r\n{}", "y".repeat(50))).down(EVENTS);
    (0..5).for_each(|_| {
        script.down(chunk(&text[..30]));
    });
    script.up("y".repeat(30)).down(END).close();
    let kept: u64 = bodies(&script).iter().map(|body| body.kept()).sum();
    assert_eq!((kept, script.sink.losses.is_empty()), (150, true));
}

#[test]
fn an_unknown_protocol_is_a_tunnel_and_told_by_time() {
    let mut script = Script::new(false);
    script.up("GET /t HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
    script.down("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n");
    script.up("GET / HTTP/1.1\r\n\r\n").down("one").wait(11_000).up("bye").down("two");
    let want = ["#0 GET /t|GET / HTTP/1.1\r\n\r\n -> 101|one", "#1. GET /t|bye -> 101|two"];
    assert_eq!(lines(script.close()), want);
    let mut script = Script::new(false);
    script.up("CONNECT h:1 HTTP/1.1\r\n\r\n").down("HTTP/1.1 200 OK\r\n\r\n").up("a").down("b");
    assert_eq!(lines(script.close()), ["CONNECT h:1|a -> 200|b"]);
}

#[test]
fn the_interval_is_a_setting() {
    let settings = Settings { part_interval: Duration::from_millis(100), ..Settings::default() };
    let mut script = Script::with(settings, false);
    script.up(GET).down(EVENTS).down(chunk("one")).wait(101);
    assert_eq!(line(&script.sink.exchanges[0]), "#0 GET /a| -> 200|one");
    assert_eq!(script.close()[1].incomplete, Some(Incomplete::ClosedEarly));
}

/// Settings for pieces of large bodies: of 8 bytes, after the first 16.
fn large() -> Settings {
    Settings { part_bytes: 8, large_bytes: Some(16), body_limit: 100, ..Settings::default() }
}

fn sized(len: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")
}

/// Reassembles the pieces: their bytes, the missing ranges, and whether the end was cut off.
fn together(script: &Script) -> (String, Vec<std::ops::Range<u64>>, bool) {
    let bodies = bodies(script);
    let text = bodies.iter().map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap()).collect();
    let missing = bodies.iter().flat_map(|body| body.missing.clone()).collect();
    (text, missing, bodies.last().unwrap().truncated)
}

#[test]
fn a_body_that_is_large_is_handed_on_in_pieces() {
    for head in [sized(40), CHUNKED.to_owned()] {
        let mut script = Script::with(large(), false);
        script.up(GET).down(&head);
        for nth in 0..5 {
            let piece = format!("{nth}2345678");
            let wait = if head == CHUNKED { 1_000 } else { 20_000 };
            script.down(if head == CHUNKED { chunk(&piece) } else { piece }).wait(wait);
        }
        script.down(if head == CHUNKED { END } else { "" });
        script.close();
        let parts: Vec<_> = script.sink.exchanges.iter().map(|e| e.part.unwrap()).collect();
        let is = |number, last| Part { number, last, large: true };
        assert_eq!(parts.first(), Some(&is(0, false)));
        assert!(parts.last().unwrap().last && parts.iter().all(|part| part.large), "{parts:?}");
        assert_eq!(together(&script), ("0234567812345678223456783234567842345678".to_owned(), Vec::new(), false));
        assert!(script.sink.exchanges.iter().all(|e| e.incomplete.is_none()));
        assert!(script.sink.losses.is_empty());
    }
}

#[test]
fn what_stays_small_is_told_whole() {
    let mut script = Script::with(large(), false);
    script.up(GET).down(sized(16)).down("0123456789abcdef").close();
    assert_eq!(lines(&script.sink.exchanges), ["GET /a| -> 200|0123456789abcdef"]);
}

#[test]
fn the_limit_is_that_of_the_whole() {
    let mut script = Script::with(Settings { body_limit: 30, ..large() }, false);
    script.up(GET).down(sized(60));
    (0..6).for_each(|nth| {
        script.down(format!("{nth}234567890"));
    });
    script.close();
    assert_eq!(together(&script), ("023456789012345678902234567890".to_owned(), Vec::new(), true));
    assert_eq!(script.sink.losses.bytes(Loss::BodyLimit), 30);
    assert_eq!(bodies(&script).last().unwrap().size, 60);
}

#[test]
fn holes_are_told_at_their_place() {
    let mut script = Script::with(large(), false);
    script.up(GET).down(sized(60)).down("0123456789").gap(Direction::Received, 10).down("0123456789");
    script.down("0123456789").gap(Direction::Received, 10).down("0123456789").close();
    let (text, missing, truncated) = together(&script);
    assert_eq!((text.len(), truncated), (40, false));
    assert_eq!(missing, [10..20, 40..50]);
    assert_eq!(script.sink.exchanges.last().unwrap().incomplete, Some(Incomplete::BytesLost));
}

/// Its parts are those of a stream, and stay so.
#[test]
fn what_may_never_end_is_no_large_body() {
    let mut script = Script::with(large(), false);
    script.up(GET).down(EVENTS);
    (0..6).for_each(|nth| {
        script.down(chunk(&format!("{nth}234567890")));
    });
    script.down(END).close();
    assert!(script.sink.exchanges.iter().all(|e| !e.part.unwrap().large));
}

#[test]
fn a_large_request_and_its_answer_are_one() {
    let mut script = Script::with(large(), false);
    script.up("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n");
    (0..4).for_each(|nth| {
        script.up(format!("{nth}234567890"));
    });
    script.down(sized(2)).down("ok").close();
    let last = script.sink.exchanges.last().unwrap();
    assert_eq!(last.part.map(|part| (part.last, part.large)), Some((true, true)));
    assert_eq!(last.response.as_ref().unwrap().body.to_bytes(), "ok");
    let requests = script.sink.exchanges.iter().map(|e| e.request.as_ref().unwrap().body.kept());
    assert_eq!(requests.sum::<u64>(), 40);
}
