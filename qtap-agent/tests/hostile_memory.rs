//! Ten thousand connections that each send what costs most: the tap's memory stays under the bound in docs/http.md, every byte is
//! in a record or counted as lost, and well-behaved connections beside them are still captured whole.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test prints its figures")]

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::model::conn::{Channel, ConnId, Direction, Endpoint, Role, SessionId, Transport};
use qtap_agent::model::event::{Event, Host, Opened, Passed, SessionOpened};
use qtap_agent::model::exchange::Exchange;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::observation::{ConnState, Observation};
use qtap_agent::model::time::KernelTime;
use qtap_agent::tap::{Settings, Tap};

const CONNECTIONS: u64 = 10_000;
/// Segments for each connection.
const ROUNDS: u64 = 4;
/// Bytes of a call.
const SEGMENT: usize = 16 << 10;
/// Most MiB that the tap may add to the resident memory of the process, as stated in docs/http.md.
const BOUND_MIB: u64 = 320;

use Direction::{Received, Sent};

/// Number of kinds of hostile input.
const KINDS: u64 = 10;

struct Bench {
    tap: Tap,
    out: Vec<Observation>,
    now: u64,
    offsets: Vec<u64>,
    fed: u64,
    accounted: u64,
    honest: u64,
    peak_kib: u64,
}

impl Bench {
    fn event(&mut self, event: Event) {
        self.tap.on_event(event, &mut self.out);
        for seen in self.out.drain(..) {
            match seen {
                Observation::Exchange(seen) => {
                    let Exchange::Http(http) = &seen.exchange;
                    let path = http.request.as_ref().and_then(|request| request.target.as_deref());
                    let whole = http.response.as_ref().is_some_and(|response| response.body.is_whole());
                    self.honest += u64::from(path == Some("/honest") && whole && http.incomplete.is_none());
                }
                Observation::Connection(seen) => {
                    if seen.state == ConnState::Closed {
                        self.accounted += seen.captured_bytes + seen.losses.total_bytes();
                        assert_eq!(seen.losses.bytes(Loss::Unaccounted), 0, "{:?}", seen.losses);
                    }
                }
            }
        }
    }

    /// Passes `bytes` on a connection, leaving a hole of `skip` bytes before them.
    fn pass(&mut self, conn: u64, direction: Direction, skip: u64, bytes: &[u8]) {
        let session = conn % KINDS == 9;
        let channel = if session { Channel::Session(SessionId(conn)) } else { Channel::Socket(ConnId(conn)) };
        let next = &mut self.offsets[conn as usize * 2 + direction.index()];
        let offset = *next + skip;
        *next = offset + bytes.len() as u64;
        self.fed += skip + bytes.len() as u64;
        let time = KernelTime(self.now);
        let payload = Bytes::copy_from_slice(bytes);
        self.event(Event::Passed(Passed { channel, direction, offset, time, pid: 7, payload }));
    }

    fn open(&mut self, conn: u64) {
        let time = KernelTime(self.now);
        if conn % KINDS == 9 {
            let session = SessionId(conn);
            self.event(Event::SessionOpened(SessionOpened {
                session,
                time,
                pid: 7,
                library: None,
                joined_late: false,
                is_part: false,
                on_trial: None,
            }));
        } else {
            self.event(Event::Opened(Opened {
                conn: ConnId(conn),
                time,
                pid: 7,
                transport: Transport::Tcp,
                local: Endpoint::Unknown,
                peer: Endpoint::Unknown,
                role: Role::Server,
                joined_late: false,
            }));
        }
    }

    fn measure(&mut self) {
        self.peak_kib = self.peak_kib.max(resident_kib());
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The segment that a kind sends in a round.
fn hostile(kind: u64, round: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT);
    let first = round == 0;
    match kind {
        // A request line without an end, just too short to be given up.
        0 => bytes.extend(if first { [b"GET /".as_slice(), &[b'a'; 16_000]].concat() } else { vec![b'a'; 60] }),
        // A head without an end.
        1 => {
            if first {
                bytes.extend(b"GET / HTTP/1.1\r\n");
            }
            while bytes.len() < SEGMENT {
                bytes.extend(b"x: y\r\n");
            }
        }
        // All of it beyond a hole; and the same in the smallest pieces (see the caller).
        2 | 3 => bytes.resize(SEGMENT, b'z'),
        // A body that never ends.
        4 => {
            if first {
                bytes.extend(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
            }
            bytes.resize(SEGMENT, b'b');
        }
        // Requests without responses, with the smallest header lines.
        5 => {
            while bytes.len() < SEGMENT {
                bytes.extend(b"GET / HTTP/1.1\r\n");
                (0..200).for_each(|_| bytes.extend(b"a:\r\n"));
                bytes.extend(b"\r\n");
            }
        }
        // Streams without responses, each with the largest table entries.
        6 => {
            preface(&mut bytes, first);
            let mut stream = 1 + round * 4000;
            while bytes.len() < SEGMENT {
                let mut block = vec![0x82, 0x86, 0x84, 0x3f, 0xe1, 0xff, 0x03];
                block.extend([0x40, 3, b'x', b'-', b'a' + (stream / 2 % 26) as u8, 100]);
                block.extend([b'v'; 100]);
                frame(&mut bytes, 1, 4, stream as u32, &block);
                stream += 2;
            }
        }
        // A header block without an end.
        7 => {
            preface(&mut bytes, first);
            frame(&mut bytes, if first { 1 } else { 9 }, 0, 1, &[0x40; 16_000]);
        }
        // Frames that are kept, each in a segment whose rest is not.
        8 => {
            preface(&mut bytes, first);
            if first {
                frame(&mut bytes, 1, 4, 1, &[0x83, 0x86, 0x84]);
            }
            frame(&mut bytes, 0, 0, 1, &[b'k'; 1100]);
            frame(&mut bytes, 0xfe, 0, 0, &[0; 14_000]);
        }
        // Exchanges inside TLS whose connection is never reported.
        _ => bytes.extend(b"POST /t HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n"),
    }
    bytes
}

fn preface(bytes: &mut Vec<u8>, first: bool) {
    if first {
        bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frame(bytes, 4, 0, 0, &[]);
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

fn say(bench: &mut Bench, conn: u64, round: u64) {
    let kind = conn % KINDS;
    let bytes = hostile(kind, round);
    match kind {
        2 => bench.pass(conn, Received, u64::from(round == 0), &bytes),
        3 => (0..40).for_each(|_| bench.pass(conn, Received, 1, b"z")),
        9 => {
            bench.pass(conn, Received, 0, &bytes);
            bench.pass(conn, Received, 0, &[b'p'; 12_000]);
            bench.pass(conn, Sent, 0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        _ => bench.pass(conn, Received, 0, &bytes),
    }
}

#[test]
fn ten_thousand_hostile_connections() {
    let mut bench = Bench {
        tap: Tap::new(Settings::default()),
        out: Vec::new(),
        now: 1,
        offsets: vec![0; CONNECTIONS as usize * 2 + 2],
        fed: 0,
        accounted: 0,
        honest: 0,
        peak_kib: 0,
    };
    bench.event(Event::Started(Arc::new(Host::default())));
    let before = resident_kib();
    (0..=CONNECTIONS).for_each(|conn| bench.open(conn));
    bench.measure();
    let idle = bench.peak_kib - before;
    let mut asked = 0;
    for round in 0..ROUNDS {
        for conn in 0..CONNECTIONS {
            bench.now += 1000;
            say(&mut bench, conn, round);
            if conn % 500 == 0 {
                bench.measure();
                asked += 1;
                bench.pass(CONNECTIONS, Received, 0, b"GET /honest HTTP/1.1\r\nHost: a\r\n\r\n");
                bench.pass(CONNECTIONS, Sent, 0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            }
        }
    }
    let added = bench.peak_kib - before;
    println!(
        "{CONNECTIONS} connections: {} KiB opened, {} MiB at most under {} MiB of hostile bytes; {} times relieved",
        idle,
        added >> 10,
        bench.fed >> 20,
        bench.tap.losses().count(Loss::MemoryLimit),
    );
    assert_eq!(bench.honest, asked, "every honest exchange is whole");
    let (now, mut rest) = (KernelTime(bench.now + 1), Vec::new());
    bench.tap.finish(now, &mut rest);
    for seen in rest {
        if let Observation::Connection(seen) = seen {
            bench.accounted += seen.captured_bytes + seen.losses.total_bytes();
            assert_eq!(seen.losses.bytes(Loss::Unaccounted), 0, "{:?}", seen.losses);
        }
    }
    assert_eq!(bench.accounted, bench.fed, "every byte is in a record or counted");
    assert!(bench.tap.losses().count(Loss::MemoryLimit) > 0, "the load reaches the bound");
    assert!(added >> 10 <= BOUND_MIB, "{} MiB", added >> 10);
}
