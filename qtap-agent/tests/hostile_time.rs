//! The time that hostile input costs is proportional to its length: eight times the length may not take twenty times as long. Each shape is passed
//! in one piece, in records as large as the probes write, and in small pieces. And it costs as much with many open streams as with
//! one. Times are the thread's own CPU time; the best of a few tries counts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use std::sync::Arc;
use std::time::Duration;

use qtap_agent::http::Settings;
use qtap_agent::model::conn::Direction;
use rustix::time::{ClockId, clock_gettime};
use talk::frames::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PREFACE, PUSH_PROMISE, RST_STREAM, SETTINGS, ask, frame, get,
    indexed,
};
use talk::{Say, tell};

/// Bytes of the shorter input.
const SHORT: usize = 128 << 10;
/// How many times longer the longer input is.
const LONGER: usize = 8;
/// How many times as long it may take: a quadratic cost would take 64 times as long.
const MOST: f64 = 20.0;
/// How many times as long the same may take with 1024 open streams: a scan of all of them would take a hundred times as long.
const MOST_IN_A_CROWD: f64 = 10.0;
/// Limits on the head. Input beyond the limit is searched for the next message, at a different cost per byte than a possible head: both
/// lengths are above one limit and below the other.
const HEAD_LIMITS: [usize; 2] = [4 << 10, 16 << 20];
/// How often a measurement is tried; the first good one is final.
const TRIES: usize = 3;
/// Shorter times mean nothing.
const LEAST: Duration = Duration::from_millis(2);

struct Shape {
    what: &'static str,
    joined_late: bool,
    /// Passed first, whatever the length.
    before: Vec<Say>,
    direction: Direction,
    /// The `n`th of the repeated pieces.
    piece: fn(usize) -> Vec<u8>,
}

fn shape(what: &'static str, before: Vec<Say>, direction: Direction, piece: fn(usize) -> Vec<u8>) -> Shape {
    Shape { what, joined_late: false, before, direction, piece }
}

fn late(what: &'static str, direction: Direction, piece: fn(usize) -> Vec<u8>) -> Shape {
    Shape { what, joined_late: true, before: Vec::new(), direction, piece }
}

/// HTTP/2 with one stream open.
fn alone() -> Vec<Say> {
    open(1)
}

/// HTTP/2 with the most open streams that are kept.
fn crowd() -> Vec<Say> {
    open(1024)
}

fn open(count: u32) -> Vec<Say> {
    let streams = (0..count).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &get("/")));
    vec![
        Say::Up([PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat()),
        Say::Down(frame(SETTINGS, 0, 0, &[])),
        Say::Up(streams.collect()),
    ]
}

/// A stream id of the crowd.
fn one_of(n: usize) -> u32 {
    2 * (n as u32 % 1024) + 1
}

fn chunked() -> Vec<Say> {
    vec![
        Say::Up(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        Say::Down(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
    ]
}

fn asked() -> Vec<Say> {
    vec![Say::Up(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())]
}

fn websocket() -> Vec<Say> {
    vec![
        Say::Up(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec()),
        Say::Down(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n".to_vec()),
    ]
}

fn grpc() -> Vec<Say> {
    let head = [get("/a.B/C"), indexed("content-type", "application/grpc")].concat();
    vec![
        Say::Up([PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_HEADERS, 1, &head)].concat()),
        Say::Down(frame(SETTINGS, 0, 0, &[])),
    ]
}

fn http2() -> Vec<Shape> {
    use Direction::{Received, Sent};
    vec![
        shape("frames lost and found, one stream", alone(), Sent, |_| frame(CONTINUATION, END_HEADERS, 1, b"abc")),
        shape("frames lost and found", crowd(), Sent, |_| frame(CONTINUATION, END_HEADERS, 1, b"abc")),
        shape("frames lost and found, a stream between", crowd(), Sent, |n| {
            [frame(DATA, 0, one_of(n), b"x"), frame(CONTINUATION, END_HEADERS, 1, b"abc")].concat()
        }),
        shape("frames lost and found, a new stream between", crowd(), Sent, |n| {
            [ask(2 * n as u32 + 3001, "/"), frame(CONTINUATION, END_HEADERS, 1, b"")].concat()
        }),
        shape("answers to a crowd that lose the thread", crowd(), Received, |n| {
            [frame(HEADERS, END_HEADERS, one_of(n), &[0x88]), frame(CONTINUATION, 0, 1, b"")].concat()
        }),
        shape("empty DATA", crowd(), Sent, |n| frame(DATA, 0, one_of(n), b"")),
        shape("streams opened beyond the bound", crowd(), Sent, |n| {
            frame(HEADERS, END_HEADERS, 2 * n as u32 + 3001, &get("/"))
        }),
        shape("streams reset", crowd(), Sent, |n| {
            let id = 2 * n as u32 + 3001;
            [frame(HEADERS, END_HEADERS, id, &get("/")), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        }),
        shape("promises reset", crowd(), Received, |n| {
            let id = 2 * n as u32 + 2;
            let promise = [&id.to_be_bytes()[..], &get("/p")].concat();
            [frame(PUSH_PROMISE, END_HEADERS, 1, &promise), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        }),
        shape("GOAWAY", crowd(), Received, |_| frame(GOAWAY, 0, 0, &[0x7f, 255, 255, 255, 0, 0, 0, 0])),
        shape("promises", crowd(), Received, |n| {
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&(2 * n as u32 + 2).to_be_bytes()[..], &get("/p")].concat())
        }),
        shape("a header block without an end", crowd(), Sent, |n| {
            frame(if n == 0 { HEADERS } else { CONTINUATION }, 0, 3001, b"\x82")
        }),
        shape("table sizes", crowd(), Sent, |n| {
            frame(HEADERS, END_HEADERS, one_of(n), &[0x20, 0x3f, 0xe1, 0x1f, 0x82])
        }),
        shape("entries of the table", crowd(), Sent, |n| {
            frame(HEADERS, END_HEADERS, one_of(n), &indexed(&format!("n{n}"), "v"))
        }),
        shape("gRPC messages of no byte", grpc(), Sent, |_| frame(DATA, 0, 1, &[0; 5])),
        shape("gRPC messages in pieces of a byte", grpc(), Sent, |n| frame(DATA, 0, 1, &[[0, 0, 0, 0, 1, 7][n % 6]])),
        late("frames that may be", Sent, |_| vec![0, 0x20, 0, 0, 0, 0, 0, 0, 1]),
        late("frames that are none", Sent, |n| vec![0, 0, 1, 0, 0, 0, 0, 0, n as u8]),
        late("zeros", Sent, |_| vec![0; 64]),
    ]
}

fn http1() -> Vec<Shape> {
    use Direction::{Received, Sent};
    vec![
        shape("requests without an answer", Vec::new(), Sent, |_| b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        shape("answers without a request", asked(), Received, |_| b"HTTP/1.1 204 No\r\n\r\n".to_vec()),
        shape("informational answers", asked(), Received, |_| b"HTTP/1.1 100 C\r\n\r\n".to_vec()),
        shape("chunks of a byte", chunked(), Received, |_| b"1\r\na\r\n".to_vec()),
        shape("chunks and their extensions", chunked(), Received, |_| b"1;a=b;c=\"d\"\r\na\r\n".to_vec()),
        shape("trailers", chunked(), Received, |n| if n == 0 { b"0\r\n".to_vec() } else { b"a: b\r\n".to_vec() }),
        shape(
            "fields",
            asked(),
            Received,
            |n| {
                if n == 0 { b"HTTP/1.1 200 OK\r\n".to_vec() } else { b"a: b\r\n".to_vec() }
            },
        ),
        shape("lines that are no heads", asked(), Sent, |_| b"GET HTTP/1.1\r\n".to_vec()),
        shape("broken heads", asked(), Sent, |_| b"GET / HTTP/1.1\r\nbad\x01\r\n\r\n".to_vec()),
        shape("line feeds", asked(), Sent, |_| b"\n".to_vec()),
        shape("carriage returns", asked(), Sent, |_| b"\r".to_vec()),
        shape("methods", asked(), Sent, |_| b"GET ".to_vec()),
        shape("a line without an end", asked(), Sent, |_| b"a".to_vec()),
        shape("bodies of no byte", Vec::new(), Sent, |_| b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_vec()),
        shape("text after an upgrade", websocket(), Sent, |_| b"\x81\x80abcd".to_vec()),
        shape("fragments of no byte", websocket(), Received, |n| if n == 0 { vec![1, 0] } else { vec![0, 0] }),
        late("status lines", Received, |_| b"HTTP/1.1 200 OK\r\n".to_vec()),
        late("words", Sent, |_| b"HTTP/1.1 POST GET /".to_vec()),
    ]
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

/// The time for this many bytes of the shape, in pieces of at most `piece`.
fn time(shape: &Shape, bytes: usize, piece: usize, head_limit: usize) -> Duration {
    let mut said = Vec::with_capacity(bytes + 100);
    let mut n = 0;
    while said.len() < bytes {
        said.extend((shape.piece)(n));
        n += 1;
    }
    let said = if shape.direction == Direction::Sent { Say::Up(said) } else { Say::Down(said) };
    let settings = Arc::new(Settings { head_limit, ..Settings::default() });
    let once = |said: &[Say]| {
        let start = cpu_time();
        tell(said, &settings, shape.joined_late, piece);
        cpu_time().saturating_sub(start)
    };
    let all: Vec<Say> = shape.before.iter().cloned().chain([said]).collect();
    once(&all).saturating_sub(once(&shape.before))
}

/// Tries a few times whether the longer time is within `bound`; returns the last times when it never is.
fn ratio(bound: f64, measure: impl Fn() -> (Duration, Duration)) -> Option<String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let (short, long) = measure();
        if long.as_secs_f64() <= bound * short.max(LEAST).as_secs_f64() {
            return None;
        }
        last = format!("{short:?}, then {long:?}");
    }
    Some(last)
}

fn is_in_proportion(shapes: &[Shape]) {
    let mut bad = Vec::new();
    for shape in shapes {
        for (piece, bytes) in [(usize::MAX, SHORT), (32 << 10, SHORT), (100, SHORT / 4)] {
            for limit in HEAD_LIMITS {
                let measure = || (time(shape, bytes, piece, limit), time(shape, bytes * LONGER, piece, limit));
                bad.extend(
                    ratio(MOST, measure).map(|times| format!("{} in pieces of {piece}, {limit}: {times}", shape.what)),
                );
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn http1_takes_time_in_proportion() {
    is_in_proportion(&http1());
}

#[test]
fn http2_takes_time_in_proportion() {
    is_in_proportion(&http2());
}

#[test]
fn a_crowd_of_streams_costs_no_more_than_one() {
    let lost = |_| [frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b"abc")].concat();
    let on = |before| shape("", before, Direction::Sent, lost);
    let (alone, crowd) = (on(alone()), on(crowd()));
    let limit = Settings::default().head_limit;
    let found = ratio(MOST_IN_A_CROWD, || (time(&alone, SHORT, 16 << 10, limit), time(&crowd, SHORT, 16 << 10, limit)));
    assert_eq!(found, None);
}
