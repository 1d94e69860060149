//! Properties of the `http` room for every input: how bytes are cut makes no difference, every byte is counted once whatever is lost,
//! no request is paired with another's response, and nothing panics.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::Direction;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::message::{Body, Fields};
use qtap_agent::model::segment::{Gap, Segment};
use qtap_agent::model::time::KernelTime;

/// A step: bytes of one direction, a hole of some length, or time.
#[derive(Debug, Clone)]
enum Step {
    Bytes(Direction, Vec<u8>),
    Hole(Direction, u64),
    Wait,
}

/// Passes the steps to a channel, closes it, and asserts the conservation law.
fn tell(steps: &[Step], settings: &Arc<Settings>, joined_late: bool) -> Vec<HttpExchange> {
    let mut http = Http::new(settings, joined_late);
    let mut sink = Sink::default();
    let (mut given, mut now, mut offsets) = (0u64, 0u64, [0u64; 2]);
    for step in steps {
        now += 1000;
        let time = KernelTime(now);
        match step {
            Step::Bytes(direction, bytes) => {
                let payload = Bytes::copy_from_slice(bytes);
                let offset = offsets[direction.index()];
                offsets[direction.index()] += payload.len() as u64;
                given += payload.len() as u64;
                http.on_segment(Segment { direction: *direction, offset, time, pid: 1, payload }, &mut sink);
            }
            Step::Hole(direction, len) => {
                let offset = offsets[direction.index()];
                offsets[direction.index()] += len;
                given += len;
                let gap = Gap { direction: *direction, offset, len: *len, reason: Loss::RingFull, time };
                http.on_gap(gap, &mut sink);
            }
            Step::Wait => {
                now += 300_000_000;
                http.on_tick(KernelTime(now), &mut sink);
            }
        }
    }
    http.on_close(KernelTime(now), false, &mut sink);
    assert_eq!(sink.captured + sink.losses.total_bytes(), given, "bytes counted and bytes given");
    sink.exchanges
}

/// An exchange without what cutting may change: times, and the pieces of a body.
fn essence(exchange: &HttpExchange) -> String {
    let body = |body: &Body| format!("{:?} {} {} {:?}", body.to_bytes(), body.size, body.truncated, body.missing);
    let fields = |fields: &Fields| format!("{fields:?}");
    let request = exchange.request.as_ref().map(|r| {
        let line = (&r.method, &r.target, &r.scheme, &r.authority, r.version, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    let response = exchange.response.as_ref().map(|r| {
        let line = (r.status, &r.reason, &r.informational, r.version, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    let rest = (exchange.protocol, exchange.ordinal, exchange.outgoing, exchange.incomplete);
    format!("{rest:?}\n  {request:?}\n  {response:?}")
}

fn essences(exchanges: &[HttpExchange]) -> Vec<String> {
    exchanges.iter().map(essence).collect()
}

/// The bytes of a request and its response; or of a client and its server.
type Pair = (Vec<u8>, Vec<u8>);

/// How a body is framed.
#[derive(Debug, Clone)]
enum Framed {
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

fn framed() -> impl Strategy<Value = Framed> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        bytes().prop_map(Framed::Length),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..4).prop_map(Framed::Chunked),
    ]
}

fn write_body(head: String, body: &Framed) -> Vec<u8> {
    let mut bytes = head.into_bytes();
    match body {
        Framed::Length(body) => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
        Framed::Chunked(chunks) => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in chunks {
                bytes.extend(format!("{:x};x=y\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\nT: t\r\n\r\n");
        }
    }
    bytes
}

/// The `n`th exchange: its request and its response carry the same number.
fn write_pair(n: usize, ask: &Framed, answer: &Framed, informs: bool, head: bool) -> Pair {
    let method = if head { "HEAD" } else { "POST" };
    let request = write_body(format!("{method} /{n} HTTP/1.1\r\nHost: h\r\n"), ask);
    let mut response = if informs { b"HTTP/1.1 102 Processing\r\n\r\n".to_vec() } else { Vec::new() };
    if head {
        response.extend(format!("HTTP/1.1 200 OK\r\nN: {n}\r\nContent-Length: 9\r\n\r\n").bytes());
    } else {
        response.extend(write_body(format!("HTTP/1.1 200 OK\r\nN: {n}\r\n"), answer));
    }
    (request, response)
}

fn pairs(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Pair>> {
    let one = (framed(), framed(), any::<bool>(), any::<bool>());
    proptest::collection::vec(one, count).prop_map(|list| {
        let numbered = list.iter().enumerate();
        numbered.map(|(n, (ask, answer, informs, head))| write_pair(n, ask, answer, *informs, *head)).collect()
    })
}

/// In turns, as by a client that waits for each response.
fn in_turns(pairs: &[Pair]) -> Vec<Step> {
    let steps = |(request, response): &Pair| {
        [Step::Bytes(Direction::Sent, request.clone()), Step::Bytes(Direction::Received, response.clone())]
    };
    pairs.iter().flat_map(steps).collect()
}

/// All requests, then all responses, as by a client that pipelines.
fn in_bursts(pairs: &[Pair]) -> Vec<Step> {
    let requests = pairs.iter().map(|pair| Step::Bytes(Direction::Sent, pair.0.clone()));
    requests.chain(pairs.iter().map(|pair| Step::Bytes(Direction::Received, pair.1.clone()))).collect()
}

fn laid_out(pairs: &[Pair], burst: bool) -> Vec<Step> {
    if burst { in_bursts(pairs) } else { in_turns(pairs) }
}

/// Cuts the bytes of each step into pieces of the given lengths.
fn cut(steps: &[Step], distances: &[usize]) -> Vec<Step> {
    let mut distance = distances.iter().copied().cycle();
    let mut pieces = Vec::new();
    for step in steps {
        let Step::Bytes(direction, bytes) = step else {
            pieces.push(step.clone());
            continue;
        };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(distance.next().unwrap_or(1).clamp(1, rest.len()));
            pieces.push(Step::Bytes(*direction, piece.to_vec()));
            rest = after;
        }
    }
    pieces
}

/// Removes `len` bytes of one direction from `at` on, leaving a hole.
fn lose(steps: &[Step], direction: Direction, at: usize, len: usize) -> Vec<Step> {
    let mut seen = 0;
    let mut left = Vec::new();
    for step in steps {
        let Step::Bytes(d, bytes) = step else { continue };
        if *d != direction {
            left.push(step.clone());
            continue;
        }
        let from = at.saturating_sub(seen).min(bytes.len());
        let to = (at + len).saturating_sub(seen).clamp(from, bytes.len());
        seen += bytes.len();
        left.push(Step::Bytes(direction, bytes[..from].to_vec()));
        left.push(Step::Hole(direction, (to - from) as u64));
        left.push(Step::Bytes(direction, bytes[to..].to_vec()));
    }
    left.retain(|step| match step {
        Step::Bytes(_, bytes) => !bytes.is_empty(),
        Step::Hole(_, len) => *len > 0,
        Step::Wait => true,
    });
    left
}

/// No exchange has a request with one number and a response with another.
fn assert_no_wrong_pair(exchanges: &[HttpExchange]) {
    for exchange in exchanges {
        let asked = exchange.request.as_ref().and_then(|r| r.target.as_deref()).map(|t| t.trim_start_matches('/'));
        let answered = exchange.response.as_ref().and_then(|r| r.fields.get("n"));
        if let (Some(asked), Some(answered)) = (asked, answered) {
            assert_eq!(asked, answered, "a request with another's response");
        }
    }
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Sent), Just(Direction::Received)]
}

fn settings() -> Arc<Settings> {
    let (part_bytes, part_interval) = (20, Duration::from_millis(200));
    let limits = Settings { body_limit: 40, head_limit: 200, max_in_flight: 64, ..Settings::default() };
    Arc::new(Settings { part_bytes, part_interval, ..limits })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A literal with incremental indexing, so that the table has an effect.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x40, name.len() as u8];
    bytes.extend(name.bytes());
    bytes.push(value.len() as u8);
    bytes.extend(value.bytes());
    bytes
}

/// An HTTP/2 connection. Each exchange carries its number in both directions.
fn h2_connection() -> impl Strategy<Value = Pair> {
    let body = || proptest::collection::vec(any::<u8>(), 0..50);
    proptest::collection::vec((body(), body(), any::<bool>()), 1..6).prop_map(|list| {
        let settings = frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
        let mut up = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings.clone()].concat();
        let mut down = settings;
        let ids: Vec<u32> = (0..list.len() as u32).map(|n| 2 * n + 1).collect();
        for (id, (ask, _, split)) in ids.iter().zip(&list) {
            let block = [vec![0x83, 0x86], literal(":path", &format!("/{id}")), vec![0xbe]].concat();
            let at = if *split { 3 } else { block.len() };
            up.extend(frame(1, if *split { 0 } else { 4 }, *id, &block[..at]));
            if *split {
                up.extend(frame(9, 4, *id, &block[at..]));
            }
            up.extend(frame(0, 1, *id, ask));
        }
        for (id, (_, answer, trailers)) in ids.iter().zip(&list).rev() {
            let block = [vec![0x88], literal("n", &id.to_string()), vec![0xbe]].concat();
            down.extend(frame(1, 4, *id, &block));
            down.extend(frame(0, u8::from(!trailers), *id, answer));
            if *trailers {
                down.extend(frame(1, 5, *id, &literal("t", "t")));
            }
        }
        (up, down)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_http1_is_cut_makes_no_difference(
        pairs in pairs(1..6), distances in proptest::collection::vec(1usize..40, 1..20), burst in any::<bool>(),
    ) {
        let steps = laid_out(&pairs, burst);
        let whole = tell(&steps, &settings(), false);
        prop_assert_eq!(whole.len(), pairs.len());
        prop_assert!(whole.iter().all(|exchange| exchange.incomplete.is_none()));
        assert_no_wrong_pair(&whole);
        prop_assert_eq!(essences(&tell(&cut(&steps, &distances), &settings(), false)), essences(&whole));
        prop_assert_eq!(essences(&tell(&cut(&steps, &[1]), &settings(), false)), essences(&whole));
    }

    #[test]
    fn how_the_directions_interleave_makes_no_difference(
        pairs in pairs(1..6), turns in proptest::collection::vec(any::<bool>(), 1..60),
    ) {
        let steps = cut(&in_bursts(&pairs), &[7, 30, 11]);
        let (up, down): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| matches!(step, Step::Bytes(Direction::Sent, _)));
        let (mut up, mut down) = (up.into_iter(), down.into_iter());
        let mut mixed = Vec::new();
        for turn in turns {
            mixed.extend(if turn { up.next() } else { down.next() });
        }
        mixed.extend(up.chain(down));
        let exchanges = tell(&mixed, &settings(), false);
        prop_assert_eq!(exchanges.len(), pairs.len());
        prop_assert!(exchanges.iter().all(|exchange| exchange.incomplete.is_none()));
        assert_no_wrong_pair(&exchanges);
    }

    #[test]
    fn a_hole_in_http1_makes_no_wrong_pair(
        pairs in pairs(1..9), direction in direction(), at in 0usize..900, len in 1usize..300,
        burst in any::<bool>(), distance in 1usize..80, joined_late in any::<bool>(),
    ) {
        let steps = lose(&laid_out(&pairs, burst), direction, at, len);
        assert_no_wrong_pair(&tell(&steps, &settings(), joined_late));
        assert_no_wrong_pair(&tell(&cut(&steps, &[distance]), &settings(), joined_late));
    }

    #[test]
    fn http1_cut_off_anywhere(pairs in pairs(1..4), keep in 0usize..600, burst in any::<bool>()) {
        let steps = cut(&laid_out(&pairs, burst), &[3]);
        assert_no_wrong_pair(&tell(&steps[..keep.min(steps.len())], &settings(), false));
    }

    #[test]
    fn how_http2_is_cut_makes_no_difference(
        connection in h2_connection(), distances in proptest::collection::vec(1usize..40, 1..20),
    ) {
        let (up, down) = connection;
        let steps = [Step::Bytes(Direction::Sent, up), Step::Bytes(Direction::Received, down)];
        let whole = tell(&steps, &settings(), false);
        prop_assert!(whole.iter().all(|exchange| exchange.incomplete.is_none()));
        assert_no_wrong_pair(&whole);
        prop_assert_eq!(essences(&tell(&cut(&steps, &distances), &settings(), false)), essences(&whole));
        prop_assert_eq!(essences(&tell(&cut(&steps, &[1]), &settings(), false)), essences(&whole));
    }

    #[test]
    fn a_hole_in_http2_makes_no_wrong_pair_and_no_wrong_field(
        connection in h2_connection(), direction in direction(), at in 0usize..600, len in 1usize..200,
        distance in 1usize..80, joined_late in any::<bool>(), wait in any::<bool>(),
    ) {
        let (up, down) = connection;
        let steps = [Step::Bytes(Direction::Sent, up), Step::Bytes(Direction::Received, down)];
        let mut steps = cut(&lose(&steps, direction, at, len), &[distance]);
        if wait {
            steps.insert(steps.len() / 2, Step::Wait);
        }
        assert_no_wrong_pair(&tell(&steps, &settings(), joined_late));
    }

    #[test]
    fn anything_at_all(steps in proptest::collection::vec(anything(), 0..30), joined_late in any::<bool>()) {
        tell(&steps, &settings(), joined_late);
    }

    #[test]
    fn anything_after_a_good_start(
        h2 in any::<bool>(), steps in proptest::collection::vec(anything(), 0..30), joined_late in any::<bool>(),
    ) {
        let start: &[u8] = if h2 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" } else { b"GET / HTTP/1.1\r\n\r\n" };
        let mut all = vec![Step::Bytes(Direction::Sent, start.to_vec())];
        all.extend(steps);
        tell(&all, &settings(), joined_late);
    }
}

/// Random bytes, bytes that look like HTTP, holes, and time.
fn anything() -> impl Strategy<Value = Step> {
    let words: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"CONNECT h HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: h2c\r\n",
        b"\r\n",
        b"\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        b"\0\0\x03\x01\x05\0\0\0\x01\x82\x84\x86",
        b"\0\0\x01\x01\x05\0\0\0\x01\x88",
        b"\0\0\x02\x01\x00\0\0\0\x03\x40\xff",
        b"\0\0\x05\x00\x08\0\0\0\x01\x03xyzw",
        b"\0\0\x04\x03\x00\0\0\0\x01\0\0\0\x08",
        b"\0\x01\x00\x09\x04\0\0\0\x01",
    ];
    prop_oneof![
        4 => (direction(), proptest::sample::select(words)).prop_map(|(d, bytes)| Step::Bytes(d, bytes.to_vec())),
        2 => (direction(), proptest::collection::vec(any::<u8>(), 1..300)).prop_map(|(d, bytes)| Step::Bytes(d, bytes)),
        1 => (direction(), 1u64..400).prop_map(|(d, len)| Step::Hole(d, len)),
        1 => Just(Step::Wait),
    ]
}

/// More of one kind of input than any window or wait holds.
fn plenty() -> impl Strategy<Value = Step> {
    let words: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\nA: b\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"no line feed in sight",
        b"\r\n",
        b"a: b\n",
        b"\0\0\x08\x06\0\0\0\0\0",
        b"\0\x40\0\0\0\0\0\0\x01",
        b"\0\0\x04\x01\x00\0\0\0\x01\x82\x84\x86\x87",
        b"\0\0\x04\x09\x00\0\0\0\x01\x82\x84\x86\x87",
        b"\0",
    ];
    (direction(), proptest::sample::select(words), 1usize..300_000)
        .prop_map(|(direction, word, len)| Step::Bytes(direction, word.iter().copied().cycle().take(len).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plenty_of_anything(
        steps in proptest::collection::vec(prop_oneof![plenty(), plenty(), anything()], 1..8),
        start in 0usize..4, distance in 1usize..20_000, joined_late in any::<bool>(), usual in any::<bool>(),
    ) {
        let starts: [&[u8]; 4] = [
            b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT / HTTP/1.1\r\n\r\n",
        ];
        let mut all = vec![Step::Bytes(Direction::Sent, starts[start].to_vec())];
        all.extend(steps);
        let settings = if usual { Arc::new(Settings::default()) } else { settings() };
        tell(&cut(&all, &[distance]), &settings, joined_late);
    }
}
