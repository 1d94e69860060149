//! For tests only: the times of exchanges, from outside. Each piece is one nanosecond later than the one before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use h2::frame::{Head, Kind};

use super::detect::PREFACE;
use super::script::Script;
use crate::model::exchange::HttpExchange;

/// First and last byte of the request, first and last byte of the response.
fn times(exchange: &HttpExchange) -> [Option<u64>; 4] {
    let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
    [
        request.map(|r| r.started.0),
        request.and_then(|r| r.ended).map(|t| t.0),
        response.map(|r| r.started.0),
        response.and_then(|r| r.ended).map(|t| t.0),
    ]
}

fn some(times: [u64; 4]) -> [Option<u64>; 4] {
    times.map(Some)
}

#[test]
fn first_and_last_bytes() {
    let mut script = Script::new(false);
    script.up("POST / HTTP/1.1\r\n").up("Content-Length: 2\r\n\r\n").up("a").up("b");
    script.down("HTTP/1.1 20").down("0 OK\r\nContent-Length: 2\r\n\r\n").down("c").down("d");
    assert_eq!(times(&script.close()[0]), some([1, 4, 5, 8]));
}

#[test]
fn trailers_are_part_of_a_message() {
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.1\r\n\r\n").down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n");
    script.down("A: b\r\n").down("\r\n");
    assert_eq!(times(&script.close()[0]), some([1, 1, 2, 4]));
}

#[test]
fn the_first_byte_is_the_final_answers() {
    let mut script = Script::new(false);
    script.up("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    script.down("HTTP/1.1 100 Continue\r\n\r\n").down("HTTP/1.1 103 Early Hints\r\n\r\n").up("x");
    script.down("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(times(&script.close()[0]), some([1, 4, 5, 5]));
}

#[test]
fn an_answer_may_come_and_end_before_the_request_has() {
    let mut script = Script::new(false);
    script
        .up("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na")
        .down("HTTP/1.1 413 No\r\nContent-Length: 1\r\n\r\nx")
        .up("b");
    assert_eq!(times(&script.close()[0]), some([1, 3, 2, 2]));
}

#[test]
fn a_body_to_the_close_ends_with_its_last_byte() {
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.0\r\n\r\n").down("HTTP/1.0 200 OK\r\n\r\n").down("x").wait(5000);
    assert_eq!(times(&script.close()[0]), some([1, 1, 2, 3]));
}

#[test]
fn each_message_in_a_piece_has_the_time_of_the_piece() {
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.1\r\n\r\nGET /2 HT").up("TP/1.1\r\n\r\n");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    script.down([ok, ok].concat());
    let all: Vec<_> = script.close().iter().map(times).collect();
    assert_eq!(all, [some([1, 1, 3, 3]), some([1, 2, 3, 3])]);
}

fn frame(kind: Kind, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head::new(kind, flags, 1.into()).encode(payload.len(), &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn blocks_of_http2_end_with_their_last_frame() {
    let mut script = Script::new(false);
    script.up(PREFACE);
    script.up(frame(Kind::Headers, 0, &[0x83, 0x86])).up(frame(Kind::Continuation, 4, &[0x84])); // 2, 3
    script.up(frame(Kind::Data, 0, b"a")).up(frame(Kind::Data, 1, b"b")); // 4, 5
    script.down(frame(Kind::Headers, 4, b"\x08\x03103")).down(frame(Kind::Headers, 4, &[0x88])); // 6, 7
    let trailers = frame(Kind::Headers, 5, b"\0\x01a\x01b");
    script.down(frame(Kind::Data, 0, b"c")).down(&trailers[..10]).down(&trailers[10..]); // 8, 9, 10
    assert_eq!(times(&script.close()[0]), some([2, 5, 7, 10]));
}

#[test]
fn a_head_of_http2_may_be_all() {
    let mut script = Script::new(false);
    let ask = frame(Kind::Headers, 5, &[0x82, 0x86, 0x84]);
    script.up(PREFACE).up(&ask[..4]).up(&ask[4..]).down(frame(Kind::Headers, 1, &[])).down(frame(
        Kind::Continuation,
        4,
        &[0x89],
    ));
    assert_eq!(times(&script.close()[0]), some([2, 3, 4, 5]));
}
