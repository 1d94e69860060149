//! Random HTTP/2 conversations. In: a random number generator. Out: both ends' frames of every kind, with header blocks that use and resize tables.

use std::collections::VecDeque;

use fastrand::Rng;

use super::Conversation;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An encoder. It tracks what the decoder's dynamic table must hold, newest first.
struct Encoder {
    table: VecDeque<(String, String)>,
    capacity: usize,
}

fn integer(mark: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![mark | value as u8];
    }
    let (mut octets, mut rest) = (vec![mark | most as u8], value - most);
    while rest >= 128 {
        octets.push(rest as u8 | 0x80);
        rest /= 128;
    }
    octets.push(rest as u8);
    octets
}

fn string(text: &str) -> Vec<u8> {
    let octets: Vec<u8> = text.chars().map(|c| c as u8).collect();
    [integer(0, 7, octets.len()), octets].concat()
}

impl Encoder {
    fn new() -> Encoder {
        Encoder { table: VecDeque::new(), capacity: 4096 }
    }

    fn evict(&mut self) {
        let size = |table: &VecDeque<(String, String)>| {
            table.iter().map(|(n, v)| n.len() + v.chars().count() + 32).sum::<usize>()
        };
        while size(&self.table) > self.capacity {
            self.table.pop_back();
        }
    }

    fn resize(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut octets = Vec::new();
        for _ in 0..rng.usize(1..3) {
            self.capacity = *rng.choice(&[0, 40, 200, 4096]).unwrap();
            octets.extend(integer(0x20, 5, self.capacity));
            self.evict();
        }
        octets
    }

    fn field(&mut self, rng: &mut Rng, name: &str, value: &str) -> Vec<u8> {
        let pair = (name.to_owned(), value.to_owned());
        if let Some(at) = self.table.iter().position(|entry| *entry == pair) {
            return integer(0x80, 7, 62 + at);
        }
        let named = self.table.iter().position(|(known, _)| known == name).map(|at| 62 + at).filter(|_| rng.bool());
        let (mark, prefix) = *rng.choice(&[(0x40, 6), (0x40, 6), (0x00, 4), (0x10, 4)]).unwrap();
        let head = named
            .map_or_else(|| [integer(mark, prefix, 0), string(name)].concat(), |index| integer(mark, prefix, index));
        if mark == 0x40 {
            self.table.push_front(pair);
            self.evict();
        }
        [head, string(value)].concat()
    }

    fn block(&mut self, rng: &mut Rng, pseudo: &[(&str, &str)]) -> Vec<u8> {
        let mut octets = if rng.u8(..8) == 0 { self.resize(rng) } else { Vec::new() };
        for (name, value) in pseudo {
            octets.extend(self.field(rng, name, value));
        }
        octets.extend(self.fields(rng));
        octets
    }

    fn fields(&mut self, rng: &mut Rng) -> Vec<u8> {
        let mut octets = Vec::new();
        for _ in 0..rng.usize(..5) {
            let name = format!("x-{}", rng.u8(..4));
            let value =
                *rng.choice(&["", "1", "two words", "caf\u{e9}", "0123456789012345678901234567890123456789"]).unwrap();
            octets.extend(self.field(rng, &name, value));
        }
        octets
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A payload, with padding or without, and the flag for it.
fn padded(rng: &mut Rng, payload: Vec<u8>) -> (u8, Vec<u8>) {
    if rng.u8(..4) > 0 {
        return (0, payload);
    }
    let padding = rng.u8(..20);
    (8, [vec![padding], payload, vec![0; usize::from(padding)]].concat())
}

/// A header block as one frame or several.
fn headers(rng: &mut Rng, stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    let cut = if rng.u8(..4) == 0 { rng.usize(..=block.len()) } else { block.len() };
    let (first, mut rest) = block.split_at(cut);
    let priority = rng.u8(..6) == 0;
    let payload = if priority { [&[0, 0, 0, 0, 15][..], first].concat() } else { first.to_vec() };
    // Python's h2 refuses HEADERS of nothing but padding, which RFC 9113 §6.2 allows.
    let (flag, payload) = if payload.is_empty() { (0, payload) } else { padded(rng, payload) };
    let flags = u8::from(end) | flag | if priority { 0x20 } else { 0 };
    let mut bytes = frame(1, flags | if rest.is_empty() { 4 } else { 0 }, stream, &payload);
    // nghttp2 accepts at most eight of them.
    for left in (0..4).rev() {
        if rest.is_empty() {
            break;
        }
        let (part, after) = rest.split_at(if left == 0 { rest.len() } else { rng.usize(..=rest.len()) });
        bytes.extend(frame(9, if after.is_empty() { 4 } else { 0 }, stream, part));
        rest = after;
    }
    bytes
}

/// The frames of a message after its head: body and trailers.
fn rest_of(rng: &mut Rng, encoder: &mut Encoder, stream: u32, parts: usize) -> Vec<Vec<u8>> {
    let trailers = rng.u8(..3) == 0;
    let mut frames = Vec::new();
    for n in 0..parts {
        let len = *rng.choice(&[0, 1, 10, 500]).unwrap();
        let payload = (0..len).map(|_| rng.u8(..)).collect();
        let (flag, payload) = padded(rng, payload);
        let last = n + 1 == parts && !trailers;
        frames.push(frame(0, flag | u8::from(last), stream, &payload));
    }
    if trailers || parts == 0 {
        let block = encoder.field(rng, "x-trailer", "t");
        frames.push(headers(rng, stream, &block, true));
    }
    frames
}

/// A frame that may occur between any two others.
fn aside(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..12) {
        0 => frame(6, 0, 0, b"abcdefgh"),
        1 => frame(8, 0, 0, &[0, 0, 1, 0]),
        2 => frame(0xba, rng.u8(..), 0, b"extension"),
        3 => frame(4, 0, 0, &[0, 3, 0, 0, 1, 0]),
        _ => Vec::new(),
    }
}

/// A conversation of several streams that are all open at once.
pub(crate) fn conversation(rng: &mut Rng) -> Conversation {
    let (mut up_encoder, mut down_encoder) = (Encoder::new(), Encoder::new());
    let settings = frame(4, 0, 0, &[]);
    let (mut up, mut down) = ([PREFACE, &settings].concat(), settings);
    let mut said = Conversation::default();
    let count = rng.u32(1..7);
    let mut answers: Vec<(u32, VecDeque<Vec<u8>>)> = Vec::new();
    for n in 0..count {
        let (stream, target) = (2 * n + 1, format!("/{n}?{}", rng.u16(..)));
        let method = *rng.choice(&["GET", "POST", "PUT"]).unwrap();
        let pseudo = [(":method", method), (":scheme", "http"), (":path", &target), (":authority", "h")];
        let block = up_encoder.block(rng, &pseudo);
        let parts = if method == "GET" { None } else { Some(rng.usize(..4)) };
        up.extend(headers(rng, stream, &block, parts.is_none()));
        up.extend(aside(rng));
        if let Some(parts) = parts {
            up.extend(rest_of(rng, &mut up_encoder, stream, parts).concat());
        }
        said.asked.push((method.to_owned(), target));
        answers.push((stream, VecDeque::new()));
    }
    // The responses' header blocks are sent in this order, whatever the order of the frames between them.
    for (stream, frames) in &mut answers {
        if rng.u8(..3) == 0 {
            let block = down_encoder.block(rng, &[(":status", "103")]);
            down.extend(headers(rng, *stream, &block, false));
        }
        let status = (*rng.choice(&[200, 204, 404, 500]).unwrap()).to_string();
        let block = down_encoder.block(rng, &[(":status", &status)]);
        down.extend(headers(rng, *stream, &block, false));
        for _ in 0..rng.usize(..4) {
            let len = rng.usize(..300);
            let payload = (0..len).map(|_| rng.u8(..)).collect();
            let (flag, payload) = padded(rng, payload);
            frames.push_back(frame(0, flag, *stream, &payload));
        }
        frames.push_back(frame(0, 1, *stream, b""));
    }
    while let Some(at) = (!answers.is_empty()).then(|| rng.usize(..answers.len())) {
        down.extend(aside(rng));
        match answers[at].1.pop_front() {
            Some(frame) => down.extend(frame),
            None => drop(answers.remove(at)),
        }
    }
    said.turns.push((up, down));
    said
}
