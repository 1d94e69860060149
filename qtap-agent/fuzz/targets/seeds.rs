//! Writes what the corpora began with. In: the recordings of `tests/replay`, and examples of the RFCs. Out: files `seed-…` in the folder that is named,
//! one folder a target.

#[path = "../rooms/mod.rs"]
mod rooms;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Frame, Reader};
use qtap_agent::capture::replay::Replay;
use qtap_agent::capture::source::{Flow, Source};
use qtap_agent::model::conn::{Channel, Direction};
use qtap_agent::model::event::{Event, Skip};
use rooms::channel::Step;
use rooms::script;

/// Longer seeds teach a fuzzer little and slow it down.
const MOST: usize = 4096;

/// What a client says, and what it is told (RFC 9112, RFC 9110).
const SAID: [(&str, &str); 12] = [
    ("GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\nAccept-Language: en, mi\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: Mon, 27 Jul 2009 12:28:53 GMT\r\nETag: \"34aa387-d-1568eb00\"\r\nContent-Length: 51\r\nVary: Accept-Encoding\r\n\r\nHello World! My content includes a trailing CRLF.\r\n"),
    ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nTrailer: X\r\n\r\n4;ext=\"va;l\\\"ue\"\r\nWiki\r\n5\r\npedia\r\n0\r\nX: y\r\n\r\n"),
    ("PUT /f HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    ("PUT /f HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"),
    ("CONNECT server.example.com:80 HTTP/1.1\r\nHost: server.example.com\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nthere"),
    ("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\u{1}\u{2}", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{3}abc"),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nuntil the close"),
    ("\r\nOPTIONS * HTTP/1.1\nHost: a\n\nPOST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "HTTP/1.1 200\r\nX: a\r\n  fold\r\nContent-Length: 2, 2\r\n\r\nokHTTP/1.1 400 Bad\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
    ("GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzzz"),
    ("EHLO mail\r\n", "250 OK\r\n"),
];

/// Header blocks of RFC 7541, Appendix C, each line one connection.
const BLOCKS: [&[&str]; 5] = [
    &["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
    &["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
    &["400a637573746f6d2d6b65790d637573746f6d2d686561646572", "040c2f73616d706c652f70617468", "100870617373776f726406736563726574", "be"],
    &["3fe11f4001610162be", "204001610162be", "3f29", "20", "3fe1ff03bf"],
    &["88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"],
];

/// The same words as gzip, zlib, deflate, brotli and zstd, and the number of each in `rooms/body.rs`.
const BODIES: [(u8, &str); 5] = [
    (8, "1f8b08000000000002ff2bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a7eb8079442a0600d3e1cab258000000"),
    (1, "789c2bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a7eb8079442a06009ea8203f"),
    (1, "2bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a7eb8079442a0600"),
    (2, "1b5700008c946ee662844a873a59aab7fe3542d108c837b430d880038704f2171ae47ab6cc2eb1b363b24509cbc346d9ea0f93f20900"),
    (3, "28b52ffd0458b50100c40274686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672c0200a02a8021cc32c7aa3643"),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

struct Seeds<'a> {
    home: &'a Path,
    count: usize,
}

impl Seeds<'_> {
    fn write(&mut self, target: &str, data: &[u8]) {
        let folder = self.home.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        self.count += 1;
        fs::write(folder.join(format!("seed-{:03}", self.count)), &data[..data.len().min(MOST)]).expect("a file");
    }

    /// The channels of a recording, and its records.
    fn recording(&mut self, bytes: &[u8]) {
        let (mut source, mut events) = (Replay::open(bytes).expect("a recording"), Vec::new());
        while matches!(source.poll(Duration::ZERO, &mut events), Ok(Flow::Open)) {}
        let mut channels: HashMap<Channel, (u64, Vec<Step>)> = HashMap::new();
        for event in events {
            let (channel, offset, step) = match event {
                Event::Passed(p) => (p.channel, p.offset, Step::Bytes(p.direction, p.payload.to_vec())),
                Event::Skipped(s) if matches!(s.why, Skip::Lost(_)) => (s.channel, s.offset, Step::Hole(s.direction, s.len)),
                _ => continue,
            };
            channels.entry(channel).or_insert((offset, Vec::new())).1.push(step);
        }
        for (first, steps) in channels.into_values() {
            let is_h2 = steps.iter().any(|step| matches!(step, Step::Bytes(_, bytes) if bytes.starts_with(b"PRI * ")));
            for late in [false, true] {
                self.write(if is_h2 { "h2" } else { "h1" }, &script::write(&steps, late || first > 0));
            }
        }
        let records = Reader::new(bytes, ABI).expect("a recording").filter_map(|frame| match frame {
            Ok(Frame::Kernel(record)) if record.len() < 600 => Some(record),
            _ => None,
        });
        let encoded: Vec<u8> = records.flat_map(|r| [&(r.len() as u16).to_le_bytes()[..], &r].concat()).collect();
        self.write("decode", &encoded);
    }

    fn said(&mut self) {
        for (up, down) in SAID {
            let steps = [Step::Bytes(Direction::Sent, up.into()), Step::Bytes(Direction::Received, down.into())];
            self.write("h1", &script::write(&steps, false));
            let turned = [steps[1].clone(), Step::Wait(100), steps[0].clone(), Step::Wait(200)];
            self.write("h1", &script::write(&turned, true));
        }
    }

    fn blocks(&mut self) {
        for blocks in BLOCKS {
            let mut data = vec![1];
            let mut h2 = vec![0];
            for (n, block) in blocks.iter().map(|block| hex(block)).enumerate() {
                data.push(block.len() as u8);
                data.extend(&block);
                let stream = 2 * n as u8 + 1;
                h2.extend([&[6, 1, 4, stream, block.len() as u8][..], &block].concat());
                h2.extend([7, 0, 9, stream, 5, 1, b'a', b'b', b'c', 0]);
                h2.extend([6 | 8, 1, 4, stream, 1, 0x88, 15, 0, 1, stream, 1, b'x', 15, 3, 0, stream, 4, 0, 0, 0, 8]);
            }
            self.write("hpack", &data);
            self.write("h2", &h2);
        }
    }

    fn frames(&mut self) {
        for (flags, up, down) in FRAMES {
            let step = |direction, frame: &&str| Step::Bytes(direction, hex(frame));
            let steps: Vec<Step> =
                up.iter().map(|f| step(Direction::Sent, f)).chain(down.iter().map(|f| step(Direction::Received, f))).collect();
            let mut data = script::write(&steps, false);
            data[0] |= flags;
            self.write("websocket", &data);
        }
        let message = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        let (call, answer) = ([&[6, 0, 1, 1, 8][..], &message].concat(), [&[14, 0, 0, 1, 8][..], &message].concat());
        let trailers = [&[14, 1, 5, 1, 15, 0, 11][..], b"grpc-status", &[1, b'0']].concat();
        self.write("grpc", &[&[0][..], &call, &answer, &[4, 100], &answer, &trailers].concat());
        self.write("grpc", &[&[2][..], &call[..9], &[6, 0, 1, 1, 4], &message[4..], &answer, &trailers].concat());
        let frame = [6, 0, 0, 1, 11, 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        self.write("grpc", &[&[16][..], &frame, &[14, 0, 1, 1, 7, 0x81, 5], b"Hello"].concat());
    }

    fn bodies(&mut self) {
        for (coding, body) in BODIES {
            for flags in [0, 1, 8, 32] {
                self.write("body", &[&[flags, coding][..], &hex(body)].concat());
            }
        }
        self.write("body", b"\x30\0------x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--");
        self.write("body", b"\x10\0password=x&token=%79&q=1");
        self.write("body", b"\x00\0{\"password\": \"x\", \"a\": [1, {\"token\": null}]}");
    }
}

/// Frames of RFC 6455 §5.7 (a text, masked, in fragments, ping and pong, close) and messages of RFC 7692 §7.2.3, as hexadecimal; those of gRPC beside
/// them.
const FRAMES: [(u8, &[&str], &[&str]); 3] = [
    (0, &["818537fa213d7f9f4d5158", "8a8537fa213d7f9f4d5158", "888237fa213d3412"], &["810548656c6c6f", "010348656c", "80026c6f", "890548656c6c6f", "880203e8"]),
    (16, &["c18737fa213dc5b2e8f4fefa21"], &["c107f248cdc9c90700", "4103f248cd", "8004c9c90700", "c105f200110000", "c10bf248cdc9c9070000000000"]),
    (0, &["827e0100"], &["c10702"]),
];

fn main() {
    let home = std::env::args().nth(1).expect("the folder to write to");
    let mut seeds = Seeds { home: Path::new(&home), count: 0 };
    let replay = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/replay");
    let mut cases: Vec<_> = fs::read_dir(replay).expect("recordings").flatten().map(|entry| entry.path()).collect();
    cases.sort();
    for case in cases.iter().map(|case| case.join("recording.qtap")).filter(|path| path.exists()) {
        seeds.recording(&fs::read(case).expect("a file"));
    }
    seeds.said();
    seeds.blocks();
    seeds.bodies();
    seeds.frames();
    let script = [&[0][..], &[0, 0, 0, 10, 0, 20, 0, 10, 0, 10, 0, 10, 3, 40, 0, 9, 0, 4, 120, 2, 0xfe, 9, 6, 0]].concat();
    seeds.write("reassembly", &script);
    seeds.write("reassembly", &[&[3][..], &script[1..]].concat());
}
