//! Properties of exchanges reported in parts: joined, the parts equal the exchange reported whole, wherever the bytes are cut and
//! whenever time passes; every byte is counted once; and nothing panics, whatever the input.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::Direction;
use qtap_agent::model::exchange::{HttpExchange, Part};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::message::{Body, Fields};
use qtap_agent::model::messages::Messages;
use qtap_agent::model::segment::{Gap, Segment};
use qtap_agent::model::time::KernelTime;

/// A step: bytes of one direction, a hole of some length, or time.
#[derive(Debug, Clone)]
enum Step {
    Bytes(Direction, Vec<u8>),
    Hole(Direction, u64),
    Wait(u64),
}

/// Passes the steps to a channel, closes it, and asserts the conservation law.
fn tell(steps: &[Step], settings: &Settings) -> (Vec<HttpExchange>, Sink) {
    let mut http = Http::new(&Arc::new(settings.clone()), false);
    let mut sink = Sink::default();
    let (mut given, mut now, mut offsets) = (0u64, 0u64, [0u64; 2]);
    for step in steps {
        now += 1000;
        let time = KernelTime(now);
        match step {
            Step::Bytes(direction, bytes) => {
                let (payload, offset) = (Bytes::copy_from_slice(bytes), offsets[direction.index()]);
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
            Step::Wait(ms) => {
                now += ms * 1_000_000;
                http.on_tick(KernelTime(now), &mut sink);
            }
        }
    }
    http.on_close(KernelTime(now), false, &mut sink);
    assert_eq!(sink.captured + sink.losses.total_bytes(), given, "bytes counted and bytes given");
    (std::mem::take(&mut sink.exchanges), sink)
}

/// Appends the body of the next part.
fn add_body(whole: &mut Body, part: Body) {
    assert_eq!(part.offset, whole.size, "a part begins where the one before ended");
    whole.chunks.extend(part.chunks);
    whole.size = part.size;
    whole.truncated |= part.truncated;
    for hole in part.missing {
        match whole.missing.last_mut() {
            Some(last) if last.end == hole.start => last.end = hole.end,
            _ => whole.missing.push(hole),
        }
    }
    whole.messages = match (whole.messages.take(), part.messages) {
        (Some(before), Some(part)) => {
            let kept = [before.kept, part.kept].concat();
            let left_out = before.left_out + part.left_out;
            Some(Box::new(Messages { kept, left_out, ..*part }))
        }
        (None, part) => part,
        (before, None) => before,
    };
}

/// Joins the parts of each exchange.
fn joined(exchanges: Vec<HttpExchange>) -> Vec<HttpExchange> {
    let mut whole: BTreeMap<u64, HttpExchange> = BTreeMap::new();
    for mut exchange in exchanges {
        let Some(Part { number, last, .. }) = exchange.part.take() else {
            assert!(whole.insert(exchange.ordinal, exchange).is_none());
            continue;
        };
        assert!(last || exchange.incomplete.is_none());
        let before = whole.remove(&exchange.ordinal);
        assert_eq!(number > 0, before.is_some());
        if let Some(before) = before {
            let body = before.request.map(|r| r.body).unwrap_or_default();
            let told = exchange.request.as_mut().map(|r| std::mem::replace(&mut r.body, body));
            told.into_iter().for_each(|part| add_body(&mut exchange.request.as_mut().unwrap().body, part));
            let body = before.response.map(|r| r.body).unwrap_or_default();
            let told = exchange.response.as_mut().map(|r| std::mem::replace(&mut r.body, body));
            told.into_iter().for_each(|part| add_body(&mut exchange.response.as_mut().unwrap().body, part));
        }
        whole.insert(exchange.ordinal, exchange);
    }
    whole.into_values().collect()
}

/// An exchange without what cutting may change: times, and the pieces of a body.
fn essence(exchange: &HttpExchange) -> String {
    let messages = |messages: &Messages| {
        let kept = messages.kept.iter();
        let kept: Vec<_> = kept.map(|m| (m.kind, m.size, m.compressed, m.data.clone(), m.truncated)).collect();
        let counts = (messages.count, messages.bytes, messages.compressed, messages.left_out, messages.broken);
        format!("{:?} {counts:?} {kept:?}", messages.framing)
    };
    let body = |body: &Body| {
        let messages = body.messages.as_ref().map(|m| messages(m));
        format!("{:?} {} {} {:?} {messages:?}", body.to_bytes(), body.size, body.truncated, body.missing)
    };
    let fields = |fields: &Fields| format!("{fields:?}");
    let request = exchange.request.as_ref().map(|r| {
        let line = (&r.method, &r.target, &r.protocol, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    let response = exchange.response.as_ref().map(|r| {
        let line = (r.status, &r.informational, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    format!("{:?} {} {:?}\n  {request:?}\n  {response:?}", exchange.protocol, exchange.ordinal, exchange.incomplete)
}

fn essences(exchanges: &[HttpExchange]) -> Vec<String> {
    exchanges.iter().map(essence).collect()
}

fn settings(part_bytes: usize) -> Settings {
    let part_interval = Duration::from_millis(100);
    Settings { part_bytes, part_interval, body_limit: 100, ..Settings::default() }
}

fn never() -> Settings {
    Settings { part_bytes: usize::MAX, part_interval: Duration::MAX, ..Settings::default() }
}

/// Cuts the bytes of each step into pieces of the given lengths, and lets time pass between them.
fn cut(steps: &[Step], distances: &[usize], waits: &[u64]) -> Vec<Step> {
    let (mut distance, mut wait) = (distances.iter().copied().cycle(), waits.iter().copied().cycle());
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
            pieces.extend(wait.next().filter(|ms| *ms > 0).map(Step::Wait));
            rest = after;
        }
    }
    pieces
}

fn chunked(body: &[Vec<u8>]) -> Vec<u8> {
    let chunk = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    [body.iter().flat_map(chunk).collect(), b"0\r\nT: t\r\n\r\n".to_vec()].concat()
}

/// Exchanges whose responses are streams; some of their requests are streams too.
fn streams() -> impl Strategy<Value = Vec<Step>> {
    let body = || proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 0..8);
    proptest::collection::vec((body(), body(), any::<bool>()), 1..4).prop_map(|list| {
        let steps = |(ask, answer, streamed): &(Vec<Vec<u8>>, Vec<Vec<u8>>, bool)| {
            let media = if *streamed { "application/x-ndjson" } else { "text/event-stream" };
            let head = if *streamed {
                format!("POST / HTTP/1.1\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n")
            } else {
                "GET / HTTP/1.1\r\n\r\n".to_owned()
            };
            let body = if *streamed { chunked(ask) } else { Vec::new() };
            let answered = format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n");
            [
                Step::Bytes(Direction::Sent, [head.into_bytes(), body].concat()),
                Step::Bytes(Direction::Received, [answered.into_bytes(), chunked(answer)].concat()),
            ]
        };
        list.iter().flat_map(steps).collect()
    })
}

/// A message of a WebSocket connection: text, compressed or not, and its number of frames.
#[derive(Debug, Clone)]
struct Said {
    text: String,
    compressed: bool,
    frames: usize,
    ping: bool,
}

fn said() -> impl Strategy<Value = Said> {
    ("[a-c]{0,90}", any::<bool>(), 1usize..4, any::<bool>()).prop_map(|(text, compressed, frames, ping)| Said {
        text,
        compressed,
        frames,
        ping,
    })
}

fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(mask | len as u8),
        len => bytes.extend([&[mask | 126][..], &(len as u16).to_be_bytes()].concat()),
    }
    bytes.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.into_iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// The bytes of one direction; the compression window is kept between messages.
fn write_websocket(messages: &[Said], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut bytes = Vec::new();
    for said in messages {
        let mut payload = said.text.clone().into_bytes();
        if said.compressed {
            let mut deflated = Vec::with_capacity(1000);
            compress.compress_vec(&payload, &mut deflated, FlushCompress::Sync).unwrap();
            deflated.truncate(deflated.len().saturating_sub(4));
            // RFC 7692 §7.2.3.6: the form of an empty message.
            payload = if deflated.is_empty() { vec![0] } else { deflated };
        }
        let size = payload.len() / said.frames + 1;
        let count = payload.chunks(size).len().max(1);
        for n in 0..count {
            let part = payload.chunks(size).nth(n).unwrap_or_default();
            let (fin, rsv1) = (u8::from(n + 1 == count) << 7, u8::from(said.compressed && n == 0) << 6);
            bytes.extend(frame(fin | rsv1 | u8::from(n == 0), part, key));
            if said.ping {
                bytes.extend(frame(0x89, b"ping", key));
            }
        }
    }
    bytes.extend(frame(0x88, &[3, 0xe8], key));
    bytes
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fn websocket() -> impl Strategy<Value = Vec<Step>> {
    let said = || proptest::collection::vec(said(), 0..8);
    (said(), said()).prop_map(|(up, down)| {
        vec![
            Step::Bytes(Direction::Sent, ASK.to_vec()),
            Step::Bytes(Direction::Received, SWITCH.to_vec()),
            Step::Bytes(Direction::Sent, write_websocket(&up, Some([1, 2, 3, 4]))),
            Step::Bytes(Direction::Received, write_websocket(&down, None)),
        ]
    })
}

fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Concurrent calls; the messages of each direction are in DATA frames of a random size.
fn grpc() -> impl Strategy<Value = Vec<Step>> {
    let body = || proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..90)), 0..6);
    proptest::collection::vec((body(), body(), 1usize..60), 1..4).prop_map(|calls| {
        let octets = |messages: &Vec<(bool, Vec<u8>)>| -> Vec<u8> {
            let one = |(flag, data): &(bool, Vec<u8>)| {
                [&[u8::from(*flag)][..], &(data.len() as u32).to_be_bytes(), data].concat()
            };
            messages.iter().flat_map(one).collect()
        };
        let data = |stream: u32, octets: &[u8], size: usize, ends: bool| -> Vec<u8> {
            let frames = octets.chunks(size).flat_map(|piece| h2_frame(0, 0, stream, piece));
            frames.chain(h2_frame(0, u8::from(ends), stream, b"")).collect()
        };
        let mut up = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &h2_frame(4, 0, 0, b"")].concat();
        let mut down = h2_frame(4, 0, 0, b"");
        let ids = (0..).map(|n| 2 * n + 1);
        for (id, (ask, answer, size)) in ids.zip(&calls) {
            let head = [vec![0x83, 0x86], literal(":path", "/s/m"), literal("content-type", "application/grpc")];
            up.extend(h2_frame(1, 4, id, &head.concat()));
            up.extend(data(id, &octets(ask), *size, true));
            down.extend(h2_frame(1, 4, id, &[vec![0x88], literal("content-type", "application/grpc+proto")].concat()));
            down.extend(data(id, &octets(answer), *size, false));
            down.extend(h2_frame(1, 5, id, &literal("grpc-status", "0")));
        }
        vec![Step::Bytes(Direction::Sent, up), Step::Bytes(Direction::Received, down)]
    })
}

fn anything_streamed() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![streams(), websocket(), grpc()]
}

/// Uploads and downloads that end, with a Content-Length or chunked: nothing that is reported in parts by itself.
fn transfers() -> impl Strategy<Value = Vec<Step>> {
    let body = || (proptest::collection::vec(any::<u8>(), 0..600), any::<bool>());
    proptest::collection::vec((body(), body()), 1..4).prop_map(|exchanges| {
        let body = |(bytes, declared): &(Vec<u8>, bool)| match declared {
            true => [format!("Content-Length: {}\r\n\r\n", bytes.len()).into_bytes(), bytes.clone()].concat(),
            false => {
                let pieces: Vec<Vec<u8>> = bytes.chunks(40).map(<[u8]>::to_vec).collect();
                [b"Transfer-Encoding: chunked\r\n\r\n".to_vec(), chunked(&pieces)].concat()
            }
        };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for (ask, answer) in &exchanges {
            up.extend([b"PUT /a HTTP/1.1\r\nHost: h\r\n".to_vec(), body(ask)].concat());
            down.extend([b"HTTP/1.1 200 OK\r\n".to_vec(), body(answer)].concat());
        }
        vec![Step::Bytes(Direction::Sent, up), Step::Bytes(Direction::Received, down)]
    })
}

/// Many bodies at once on one connection, none of them large: together they exceed what may be held, and are passed on in pieces before
/// any of them is cut off.
#[test]
fn many_bodies_at_once_are_all_whole() {
    const STREAMS: u32 = 40;
    let ids = || (0..STREAMS).map(|n| 2 * n + 1);
    let mut up = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &h2_frame(4, 0, 0, b"")].concat();
    let mut steps = Vec::new();
    for id in ids() {
        up.extend(h2_frame(1, 5, id, &[vec![0x82, 0x86], literal(":path", "/a")].concat()));
    }
    steps.push(Step::Bytes(Direction::Sent, up));
    let mut down = h2_frame(4, 0, 0, b"");
    ids().for_each(|id| down.extend(h2_frame(1, 4, id, &[0x88])));
    steps.push(Step::Bytes(Direction::Received, down));
    // One after the other comes close to the size of a large body, and stays there.
    for id in ids() {
        (0..19).for_each(|_| steps.push(Step::Bytes(Direction::Received, h2_frame(0, 0, id, &[b'x'; 50]))));
    }
    ids().for_each(|id| steps.push(Step::Bytes(Direction::Received, h2_frame(0, 1, id, b"end"))));
    let (whole, _) = tell(&steps, &never());
    let (pieces, sink) = tell(&steps, &Settings { in_flight_limit: 8_000, ..large(1_000) });
    assert!(sink.losses.is_empty(), "{:?}", sink.losses);
    assert_eq!(essences(&joined(pieces)), essences(&joined(whole)));
}

/// Bodies above this many bytes are passed on in pieces of eight.
fn large(large_bytes: usize) -> Settings {
    Settings { large_bytes: Some(large_bytes), part_bytes: 8, ..never() }
}

fn distances() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..60, 1..20)
}

fn waits() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![3 => Just(0u64), 1 => 0u64..150], 1..20)
}

/// Turns some of the pieces into holes.
fn lose(steps: Vec<Step>, every: usize) -> Vec<Step> {
    let lost = |(n, step)| match step {
        Step::Bytes(direction, bytes) if n % every == every - 1 => Step::Hole(direction, bytes.len() as u64),
        step => step,
    };
    steps.into_iter().enumerate().map(lost).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_put_together_are_the_whole(
        steps in anything_streamed(), distances in distances(), waits in waits(), part_bytes in 1usize..100,
    ) {
        let (whole, _) = tell(&steps, &never());
        prop_assert!(whole.iter().all(|exchange| exchange.part.is_none() && exchange.incomplete.is_none()));
        let (parts, sink) = tell(&cut(&steps, &distances, &waits), &settings(part_bytes));
        prop_assert!(sink.losses.is_empty(), "{:?}", sink.losses);
        let bounded = |body: &Body| body.kept() <= part_bytes as u64;
        prop_assert!(parts.iter().filter_map(|e| e.response.as_ref()).all(|r| bounded(&r.body)));
        prop_assert_eq!(essences(&joined(parts)), essences(&joined(whole)));
    }

    #[test]
    fn where_a_part_ends_by_size_does_not_depend_on_how_the_bytes_came(
        steps in anything_streamed(), distances in distances(), part_bytes in 1usize..100,
    ) {
        let (whole, _) = tell(&steps, &settings(part_bytes));
        let (parts, _) = tell(&cut(&steps, &distances, &[0]), &settings(part_bytes));
        prop_assert_eq!(essences(&parts), essences(&whole));
    }

    #[test]
    fn holes_are_told_alike_whole_and_in_parts(
        steps in anything_streamed(), distances in distances(), every in 2usize..12, part_bytes in 1usize..100,
    ) {
        let steps = lose(cut(&steps, &distances, &[0]), every);
        let (whole, _) = tell(&steps, &never());
        let settings = Settings { body_limit: never().body_limit, ..settings(part_bytes) };
        let (parts, _) = tell(&steps, &settings);
        prop_assert_eq!(essences(&joined(parts)), essences(&joined(whole)));
    }

    #[test]
    fn pieces_of_large_bodies_put_together_are_the_whole(
        steps in prop_oneof![3 => transfers(), 1 => anything_streamed()],
        distances in distances(), waits in waits(), every in 2usize..40, large_bytes in 1usize..100, limit in 100usize..800,
    ) {
        let steps = lose(cut(&steps, &distances, &waits), every);
        let limited = |settings: Settings| Settings { body_limit: limit, ..settings };
        let (whole, counted) = tell(&steps, &limited(never()));
        let (pieces, sink) = tell(&steps, &limited(large(large_bytes)));
        // The limit applies to each part of a stream; a body that is large before its exchange turns out to be a stream has it only once.
        let streamed = pieces.iter().chain(&whole).any(|e| e.part.is_some_and(|part| !part.large));
        if !streamed {
            prop_assert_eq!(essences(&joined(pieces)), essences(&joined(whole)));
            prop_assert_eq!(sink.losses, counted.losses);
        }
    }

    #[test]
    fn no_more_of_a_body_is_held_than_its_pieces(
        steps in transfers(), distances in distances(), large_bytes in 1usize..100,
    ) {
        let steps = cut(&steps, &distances, &[0]);
        let (pieces, _) = tell(&steps, &large(large_bytes));
        // A call of up to 60 bytes may be added to what was held; heads do not count as bodies.
        let bodies = pieces.iter().flat_map(|e| e.request.as_ref().map(|r| &r.body).into_iter().chain(e.response.as_ref().map(|r| &r.body)));
        prop_assert!(bodies.into_iter().all(|body| body.kept() <= (large_bytes + 60) as u64));
    }

    #[test]
    fn nothing_breaks_it(
        steps in prop_oneof![3 => anything_streamed(), 1 => transfers()], noise in proptest::collection::vec((0usize..4000, any::<u8>()), 0..6),
        distances in distances(), waits in waits(), every in 2usize..40, part_bytes in 1usize..200, keep in any::<bool>(),
        large_bytes in proptest::option::of(1usize..200),
    ) {
        let mut steps = steps;
        for (at, value) in noise {
            let count = steps.len();
            if let Some(Step::Bytes(_, bytes)) = steps.get_mut(at % count) {
                let len = bytes.len().max(1);
                bytes.get_mut(at % len).into_iter().for_each(|byte| *byte = value);
            }
        }
        let settings = Settings { keep_bodies: keep, in_flight_limit: 150, large_bytes, ..settings(part_bytes) };
        joined(tell(&lose(cut(&steps, &distances, &waits), every), &settings).0);
    }
}
