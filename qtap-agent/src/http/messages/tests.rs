//! Messages from outside: connections that carry them, and what is reported. WebSocket by the examples of RFC 6455 §5.7, RFC 7692 §7.2.3
//! and RFC 8441 §5.1, gRPC by those of its specification.

use h2::frame::{Head, Kind};

use super::frame::unmask;
use crate::http::Settings;
use crate::http::detect::PREFACE;
use crate::http::script::{Script, line};
use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::{HttpExchange, Incomplete};
use crate::model::loss::Loss;
use crate::model::messages::{Close, Frames, Framing, MessageKind, Messages, WebSocket};
use crate::model::time::KernelTime;

/// RFC 6455 §1.3.
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// RFC 7692 §7.2.3.1 and §7.2.3.2: "Hello", and the same again by reference to the window.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const AGAIN: &[u8] = &[0xf2, 0x00, 0x11, 0x00, 0x00];

fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len => frame.extend([&[126][..], &(len as u16).to_be_bytes()].concat()),
    }
    frame.extend(payload);
    frame
}

fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = server(first, payload);
    frame[1] |= 0x80;
    let at = frame.len() - payload.len();
    unmask(&mut frame[at..], KEY, 0);
    frame.splice(at..at, KEY);
    frame
}

fn websocket(extensions: &str, settings: Settings) -> Script {
    let mut script = Script::with(settings, false);
    let extensions =
        if extensions.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {extensions}\r\n") };
    script.up(ASK).down(format!("{SWITCH}{extensions}\r\n"));
    script
}

fn request(exchange: &HttpExchange) -> &Messages {
    exchange.request.as_ref().unwrap().body.messages.as_ref().unwrap()
}

fn response(exchange: &HttpExchange) -> &Messages {
    exchange.response.as_ref().unwrap().body.messages.as_ref().unwrap()
}

fn counted(messages: &Messages) -> &WebSocket {
    match &messages.framing {
        Framing::WebSocket(counted) => counted,
        Framing::Grpc => panic!("gRPC"),
    }
}

fn texts(messages: &Messages) -> Vec<String> {
    messages.kept.iter().map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
}

#[test]
fn frames_in_both_directions() {
    let mut script = websocket("", Settings::default());
    script.up(client(0x81, b"Hello")).down(server(0x81, b"Hello"));
    script.down(server(0x01, b"Hel")).down(server(0x89, b"Hello")).up(client(0x8a, b"Hello")).down(server(0x80, b"lo"));
    script.down(server(0x82, &[7; 256])).up(client(0x88, &[&[0x03, 0xe8][..], b"bye"].concat()));
    script.down(server(0x88, &[0x03, 0xe8]));
    let exchange = script.close()[0].clone();
    assert_eq!((exchange.protocol, exchange.incomplete, exchange.part), (Protocol::Http1, None, None));
    assert_eq!(line(&exchange), "GET /chat| -> 101|");
    let (up, down) = (request(&exchange), response(&exchange));
    assert_eq!(texts(up), ["Hello"]);
    assert_eq!(counted(up).frames, Frames { text: 1, pong: 1, close: 1, ..Frames::default() });
    assert_eq!(counted(up).close, Some(Close { code: Some(1000), reason: "bye".to_owned() }));
    assert_eq!(texts(down)[..2], ["Hello", "Hello"]);
    let frames = Frames { text: 2, continuation: 1, binary: 1, ping: 1, close: 1, ..Frames::default() };
    assert_eq!(counted(down).frames, frames);
    assert_eq!(counted(down).close, Some(Close { code: Some(1000), reason: String::new() }));
    assert_eq!((down.count, down.bytes, down.compressed, down.left_out, down.broken), (3, 266, 0, 0, false));
    let kinds: Vec<_> = down.kept.iter().map(|m| (m.kind, m.size, m.truncated)).collect();
    let text = (MessageKind::Text, 5, false);
    assert_eq!(kinds, [text, text, (MessageKind::Binary, 256, false)]);
    let body = &exchange.response.as_ref().unwrap().body;
    assert_eq!((body.chunks.len(), body.size, body.truncated), (0, 7 + 5 + 7 + 4 + 260 + 4, false));
    assert!(script.sink.losses.is_empty());
}

/// The answer names the protocol and proves the handshake (RFC 6455 §4.2.2): what follows it are frames, although the request was not seen.
#[test]
fn an_answer_whose_request_was_not_seen() {
    let mut script = Script::new(true);
    let frames = [server(0x81, b"Hello"), server(0xc1, HELLO)].concat();
    let switch = format!("{SWITCH}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    script.down([switch.as_bytes(), &frames].concat()).down(server(0x88, &[0x03, 0xe8]));
    let exchange = script.close()[0].clone();
    assert_eq!(line(&exchange), "- -> 101| (joined_late)");
    assert_eq!(texts(response(&exchange)), ["Hello", "Hello"]);
    assert_eq!(counted(response(&exchange)).frames, Frames { text: 2, close: 1, ..Frames::default() });
    let mut script = Script::new(true);
    script.down(SWITCH.replace("websocket", "IRC/6.9") + "\r\nNOTICE");
    assert_eq!(line(&script.close()[0]), "- -> 101|NOTICE (joined_late)");
}

#[test]
fn every_byte_by_itself() {
    let mut script = websocket("permessage-deflate", Settings::default());
    let frames = [client(0xc1, HELLO), client(0x01, b"He"), client(0x89, b""), client(0x80, b"y"), client(0x88, b"")];
    frames.concat().iter().for_each(|b| {
        script.up([*b]);
    });
    let exchange = script.close()[0].clone();
    assert_eq!(texts(request(&exchange)), ["Hello", "Hey"]);
    assert_eq!(counted(request(&exchange)).close, Some(Close::default()));
    assert!(!request(&exchange).broken && script.sink.losses.is_empty());
}

#[test]
fn a_message_has_the_time_of_its_last_byte() {
    let mut script = websocket("", Settings::default());
    script.up(client(0x01, b"a")).up(client(0x80, b"b"));
    assert_eq!(request(&script.close()[0]).kept[0].time, KernelTime(4));
}

#[test]
fn what_was_negotiated_decompresses() {
    let mut script = websocket("permessage-deflate; server_no_context_takeover", Settings::default());
    script.up(client(0xc1, HELLO)).up(client(0xc1, AGAIN)).up(client(0x81, b"plain"));
    script.down(server(0x41, &HELLO[..3])).down(server(0x80, &HELLO[3..])).down(server(0xc1, AGAIN));
    script.down(server(0xc1, HELLO));
    let exchange = script.close()[0].clone();
    let (up, down) = (request(&exchange), response(&exchange));
    assert_eq!(texts(up), ["Hello", "Hello", "plain"]);
    assert_eq!((up.count, up.compressed, up.bytes), (3, 2, 17));
    let told: Vec<_> = down.kept.iter().map(|m| (m.data.as_ref(), m.truncated, m.compressed)).collect();
    assert_eq!(told, [(&b"Hello"[..], false, true), (b"", true, true), (b"Hello", false, true)]);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), AGAIN.len() as u64, "it refers to a window that is gone");
}

#[test]
fn rules_that_are_broken_end_the_reading_not_the_counting() {
    for (why, wrong) in [
        ("not masked", server(0x81, b"x")),
        ("compressed without agreement", client(0xc1, HELLO)),
        ("a continuation of nothing", client(0x80, b"x")),
        ("an opcode that is reserved", client(0x83, b"x")),
        ("half a status code", client(0x88, b"x")),
        ("a message inside a message", [client(0x01, b"x"), client(0x81, b"x")].concat()),
        ("a frame after Close", [client(0x88, b""), client(0x81, b"x")].concat()),
    ] {
        let mut script = websocket("", Settings::default());
        script.up(client(0x81, b"good")).up(&wrong).up(client(0x81, b"never read")).down(server(0x81, b"good"));
        let exchange = script.close()[0].clone();
        let (up, down) = (request(&exchange), response(&exchange));
        assert_eq!((texts(up), up.broken, up.count), (vec!["good".to_owned()], true, 1), "{why}");
        assert_eq!((texts(down), down.broken), (vec!["good".to_owned()], false), "{why}");
        let size = exchange.request.as_ref().unwrap().body.size;
        assert_eq!(size, (10 + wrong.len() + 16) as u64, "{why}");
    }
    let mut script = websocket("", Settings::default());
    assert!(response(&script.down(client(0x81, b"x")).close()[0]).broken, "a server does not mask");
}

#[test]
fn a_hole_inside_a_payload_costs_the_message() {
    let mut script = websocket("permessage-deflate", Settings::default());
    let frame = client(0x81, b"0123456789");
    script.up(&frame[..8]).gap(Direction::Sent, 5).up(&frame[13..]).up(client(0x81, b"next"));
    script.down(&server(0xc1, HELLO)[..4]).gap(Direction::Received, 5).down(server(0xc1, AGAIN));
    let exchange = script.close()[0].clone();
    let (up, down) = (request(&exchange), response(&exchange));
    assert_eq!((texts(up), up.count, up.left_out, up.broken), (vec!["next".to_owned()], 2, 1, false));
    assert_eq!((texts(down), down.count, down.left_out), (vec![String::new()], 2, 1));
    assert!(down.kept[0].truncated, "the window is not known");
    assert_eq!(exchange.incomplete, Some(Incomplete::BytesLost));
    assert_eq!(exchange.request.as_ref().unwrap().body.missing, std::slice::from_ref(&(8..13)));
}

#[test]
fn any_other_hole_costs_the_framing() {
    let mut script = websocket("", Settings::default());
    script.up(client(0x81, b"one")).gap(Direction::Sent, 9).up(client(0x81, b"two"));
    let exchange = script.close()[0].clone();
    let up = request(&exchange);
    assert_eq!((texts(up), up.broken, up.count), (vec!["one".to_owned()], true, 1));
    let mut script = websocket("", Settings::default());
    script.up(&client(0x81, b"0123456789")[..8]).gap(Direction::Sent, 9).up(client(0x81, b"two"));
    assert!(request(&script.close()[0]).broken);
}

#[test]
fn what_is_no_upgrade_to_it_is_a_tunnel() {
    for answer in [SWITCH.replace("websocket", "other"), SWITCH.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "")] {
        let mut script = Script::new(false);
        script.up(ASK).down(format!("{answer}\r\n")).up(client(0x81, b"x")).down("bytes");
        let exchange = script.close()[0].clone();
        assert!(exchange.request.as_ref().unwrap().body.messages.is_none());
        assert_eq!(exchange.response.as_ref().unwrap().body.to_bytes(), "bytes");
    }
}

#[test]
fn a_long_one_is_told_in_parts() {
    let mut script = websocket("", Settings::default());
    script.wait(11_000).down(server(0x81, b"one")).wait(11_000).down(server(0x01, b"t")).wait(11_000);
    script.down(server(0x80, b"wo")).up(client(0x81, b"up"));
    let exchanges = script.close().to_vec();
    let told: Vec<_> =
        exchanges.iter().map(|e| (e.part.unwrap().number, texts(response(e)), response(e).count)).collect();
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(told, [(0, vec![], 0), (1, one("one"), 1), (2, vec![], 1), (3, one("two"), 2)]);
    assert_eq!(texts(request(&exchanges[3])), ["up"]);
    assert!(exchanges[3].part.unwrap().last);
    let offsets: Vec<_> = exchanges.iter().map(|e| e.response.as_ref().unwrap().body.offset).collect();
    assert_eq!(offsets, [0, 0, 5, 8]);
}

#[test]
fn parts_by_size_are_the_same_however_the_bytes_come() {
    let settings = || Settings { part_bytes: 10, body_limit: 15, ..Settings::default() };
    let frames: Vec<u8> = ["aaaa", "bbbb", "cccc", "dddddddd", "eeeeeeeeeeee", "f"]
        .iter()
        .flat_map(|text| server(0x81, text.as_bytes()))
        .chain(server(0x82, &[7; 20]))
        .collect();
    let mut told = Vec::new();
    for size in 1..=frames.len() {
        let mut script = websocket("", settings());
        frames.chunks(size).for_each(|piece| {
            script.down(piece);
        });
        let parts: Vec<_> = script.close().iter().map(|e| texts(response(e))).collect();
        told.push(parts);
        let last = script.sink.exchanges.last().unwrap().clone();
        assert_eq!((response(&last).count, response(&last).bytes), (7, 53));
        assert_eq!(script.sink.losses.bytes(Loss::BodyLimit), 5, "{size}");
    }
    assert!(told.iter().all(|parts| *parts == told[0]));
    assert_eq!(told[0][..2], [vec!["aaaa", "bbbb", "cccc"], vec!["dddddddd"]]);
    assert!(told[0].iter().all(|part| part.iter().map(String::len).sum::<usize>() <= 15));
    assert_eq!(told[0].concat().len(), 7);
}

#[test]
fn without_bodies_there_are_counts() {
    let mut script = websocket("permessage-deflate", Settings { keep_bodies: false, ..Settings::default() });
    script.up(client(0xc1, HELLO)).up(client(0x81, b"x")).up(client(0x01, b"unfinished"));
    let exchange = script.close()[0].clone();
    let up = request(&exchange);
    assert_eq!((up.count, up.compressed, up.bytes, up.kept.len(), up.left_out), (2, 1, 8, 0, 0));
    assert!(script.sink.losses.is_empty());
}

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head::new(kind, flags, stream.into()).encode(payload.len(), &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn http2() -> Script {
    let mut script = Script::new(false);
    script.up([PREFACE, &frame(Kind::Settings, 0, 0, &[])].concat()).down(frame(Kind::Settings, 0, 0, &[]));
    script
}

/// RFC 8441 §5.1.
#[test]
fn an_extended_connect() {
    let ask = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat")];
    for early in [false, true] {
        let mut script = http2();
        script.up(frame(Kind::Headers, 4, 1, &block(&ask)));
        let data = frame(Kind::Data, 0, 1, &client(0xc1, HELLO));
        let answer = block(&[(":status", "200"), ("sec-websocket-extensions", "permessage-deflate")]);
        if early {
            script.up(data).down(frame(Kind::Headers, 4, 1, &answer));
        } else {
            script.down(frame(Kind::Headers, 4, 1, &answer)).up(data);
        }
        script.down(frame(Kind::Data, 0, 1, &server(0x81, b"hi"))).down(frame(Kind::Data, 1, 1, &server(0x88, b"")));
        script.up(frame(Kind::Data, 1, 1, &client(0x88, b"")));
        let exchange = script.close()[0].clone();
        assert_eq!((exchange.protocol, exchange.incomplete), (Protocol::Http2, None));
        assert_eq!(exchange.request.as_ref().unwrap().protocol.as_deref(), Some("websocket"));
        assert_eq!((texts(request(&exchange)), texts(response(&exchange))), (vec!["Hello".into()], vec!["hi".into()]));
        assert_eq!(counted(request(&exchange)).close, Some(Close::default()), "{early}");
        assert!(script.sink.losses.is_empty());
    }
}

/// The record of the answer may come before that of the request (two threads).
#[test]
fn an_extended_connect_whose_answer_is_seen_first() {
    let ask = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat")];
    let mut script = http2();
    script.down(frame(Kind::Headers, 4, 1, &block(&[(":status", "200")])));
    script.down(frame(Kind::Data, 0, 1, &server(0x81, b"hi"))).up(frame(Kind::Headers, 4, 1, &block(&ask)));
    script.up(frame(Kind::Data, 1, 1, &client(0x81, b"Hello"))).down(frame(Kind::Data, 1, 1, &server(0x88, b"")));
    let exchange = script.close()[0].clone();
    assert_eq!((exchange.incomplete, line(&exchange)), (None, "CONNECT /chat| -> 200|".to_owned()));
    assert_eq!((texts(request(&exchange)), texts(response(&exchange))), (vec!["Hello".into()], vec!["hi".into()]));
}

#[test]
fn a_connect_over_http2_is_a_tunnel() {
    let mut script = http2();
    script.up(frame(Kind::Headers, 4, 1, &block(&[(":method", "CONNECT"), (":authority", "h:1")])));
    script.down(frame(Kind::Headers, 4, 1, &block(&[(":status", "200")])));
    script.up(frame(Kind::Data, 0, 1, b"there")).down(frame(Kind::Data, 0, 1, b"back")).wait(11_000);
    script.up(frame(Kind::Data, 1, 1, b"more")).down(frame(Kind::Data, 1, 1, b""));
    let lines: Vec<_> = script.close().iter().map(line).collect();
    assert_eq!(lines, ["#0 CONNECT h:1|there -> 200|back", "#1. CONNECT h:1|more -> 200|"]);
    assert!(script.sink.exchanges[0].request.as_ref().unwrap().body.messages.is_none());
}

fn grpc(text: &[u8]) -> Vec<u8> {
    [&[0][..], &(text.len() as u32).to_be_bytes(), text].concat()
}

const CALL: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/s/m"), ("content-type", "application/grpc+proto")];
const ANSWER: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

#[test]
fn a_unary_call() {
    let mut script = http2();
    script.up(frame(Kind::Headers, 4, 1, &block(&CALL))).up(frame(Kind::Data, 1, 1, &grpc(b"ask"))).wait(60_000);
    script.down(frame(Kind::Headers, 4, 1, &block(&ANSWER))).down(frame(Kind::Data, 0, 1, &grpc(b"answer")));
    script.down(frame(Kind::Headers, 5, 1, &block(&[("grpc-status", "0")])));
    let exchange = script.close()[0].clone();
    assert_eq!((exchange.protocol, exchange.part), (Protocol::Grpc, None), "however long the answer took");
    assert_eq!((texts(request(&exchange)), texts(response(&exchange))), (vec!["ask".into()], vec!["answer".into()]));
    assert_eq!(response(&exchange).framing, Framing::Grpc);
    assert_eq!(exchange.response.as_ref().unwrap().body.to_bytes(), grpc(b"answer"), "the body stays as it is");
}

#[test]
fn an_answer_of_trailers_only() {
    let mut script = http2();
    script.up(frame(Kind::Headers, 4, 1, &block(&CALL))).up(frame(Kind::Data, 1, 1, &grpc(b"ask")));
    let only = [ANSWER.to_vec(), vec![("grpc-status", "5"), ("grpc-message", "not%20found")]].concat();
    script.down(frame(Kind::Headers, 5, 1, &block(&only)));
    let exchange = script.close()[0].clone();
    let answer = exchange.response.as_ref().unwrap();
    assert_eq!((answer.fields.get("grpc-status"), answer.trailers.get("grpc-status")), (Some("5"), None));
    assert_eq!((answer.fields.get("grpc-message"), answer.ended.is_some()), (Some("not%20found"), true));
    assert_eq!((response(&exchange).count, exchange.incomplete), (0, None));
}

#[test]
fn a_streaming_call_is_told_in_parts() {
    let mut script = http2();
    script.up(frame(Kind::Headers, 4, 1, &block(&CALL))).down(frame(Kind::Headers, 4, 1, &block(&ANSWER)));
    let (start, rest) = (grpc(b"three")[..7].to_vec(), grpc(b"three")[7..].to_vec());
    script.up(frame(Kind::Data, 0, 1, &grpc(b"one"))).down(frame(Kind::Data, 0, 1, &grpc(b"two"))).wait(11_000);
    script.down(frame(Kind::Data, 0, 1, &start)).wait(11_000).down(frame(Kind::Data, 0, 1, &rest));
    script.up(frame(Kind::Reset, 0, 1, &[0, 0, 0, 8]));
    let exchanges = script.close().to_vec();
    let told: Vec<_> = exchanges.iter().map(|e| (texts(request(e)), texts(response(e)))).collect();
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(told, [(one("one"), one("two")), (vec![], vec![]), (vec![], one("three"))]);
    let whys: Vec<_> = exchanges.iter().map(|e| (e.incomplete, e.part.unwrap().last)).collect();
    assert_eq!(whys, [(None, false), (None, false), (Some(Incomplete::Reset), true)]);
    assert_eq!(response(&exchanges[2]).count, 2, "counts go on");
}

#[test]
fn frames_that_were_lost_break_the_messages() {
    let mut script = http2();
    script.up(frame(Kind::Headers, 4, 1, &block(&CALL)));
    script.up(frame(Kind::Data, 0, 1, &grpc(b"one"))).gap(Direction::Sent, 30);
    script.up([frame(Kind::Ping, 0, 0, &[0; 8]).repeat(3), frame(Kind::Data, 0, 1, &grpc(b"two"))].concat());
    let exchange = script.close()[0].clone();
    assert_eq!((texts(request(&exchange)), request(&exchange).broken), (vec!["one".to_owned()], true));
}
