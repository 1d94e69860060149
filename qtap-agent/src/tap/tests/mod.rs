//! Events written by hand, observations out. This file is the bench; each file beside it has one subject.
#![allow(clippy::unwrap_used)]

mod advice;
mod connections;
mod conservation;
mod containers;
mod joining;
mod judge;
mod ktls;
mod names;
mod parts;
mod sessions;
mod stacks;
mod trial;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::conn::{Binding, ConnId, Direction, Endpoint, Protocol, Random, Role, Transport};
use crate::model::event::{Count, Counts, Host, Opened, SessionCounts, SessionHello, Skip};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete};
use crate::model::message::Version;
use crate::model::observation::{ConnState, ConnectionSeen, ExchangeSeen};
use crate::model::process::Process;
use crate::model::time::WallClock;

use Direction::{Received, Sent};

const MS: u64 = 1_000_000;
const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const PID: u32 = 42;

/// A tap, and the means to feed it. Times are milliseconds.
struct Bench {
    tap: Tap,
    out: Vec<Observation>,
    now: u64,
    offsets: HashMap<(Channel, Direction), u64>,
    /// What the next ends say of handshakes.
    shook: bool,
}

fn socket(number: u64) -> Channel {
    Channel::Socket(ConnId(number))
}

fn session(number: u64) -> Channel {
    Channel::Session(SessionId(number))
}

fn inet(text: &str) -> Endpoint {
    Endpoint::Inet(text.parse::<SocketAddr>().unwrap())
}

fn carried(carried: usize) -> Count {
    Count { carried: carried as u64, copied: carried as u64, ..Count::default() }
}

impl Bench {
    fn new() -> Bench {
        let tap = Tap::new(Settings::default());
        let mut bench = Bench { tap, out: Vec::new(), now: 0, offsets: HashMap::new(), shook: false };
        let clock = WallClock { boot_unix_ns: 1_700_000_000_000_000_000 };
        bench.event(Event::Started(Arc::new(Host { name: "host".into(), clock, ..Host::default() })));
        let curl = Process { pid: PID, executable_path: "/usr/bin/curl".into(), ..Process::default() };
        bench.event(Event::ProcessSeen(Arc::new(curl)));
        bench
    }

    fn time(&self) -> KernelTime {
        KernelTime(self.now * MS)
    }

    fn event(&mut self, event: Event) {
        self.tap.on_event(event, &mut self.out);
    }

    fn tick(&mut self, now: u64) {
        self.now = now;
        self.event(Event::Tick(self.time()));
    }

    fn open_as(&mut self, conn: u64, role: Role, joined_late: bool) {
        self.event(Event::Opened(Opened {
            conn: ConnId(conn),
            time: self.time(),
            pid: PID,
            transport: Transport::Tcp,
            local: inet("10.0.0.1:40000"),
            peer: inet("10.0.0.2:443"),
            role,
            joined_late,
        }));
    }

    fn open(&mut self, conn: u64) {
        self.open_as(conn, Role::Client, false);
    }

    fn open_session(&mut self, id: u64) {
        self.open_session_as(id, false);
    }

    fn open_session_as(&mut self, id: u64, joined_late: bool) {
        let library = Some("libssl.so.3".to_owned());
        self.event(Event::SessionOpened(SessionOpened {
            session: SessionId(id),
            time: self.time(),
            pid: PID,
            library,
            joined_late,
            is_part: false,
            on_trial: None,
        }));
    }

    fn bind(&mut self, id: u64, conn: u64) {
        let (session, conn, time) = (SessionId(id), ConnId(conn), self.time());
        self.event(Event::Bound { session, conn, how: Binding::Nested, time });
    }

    /// A hello of a session that passed through memory.
    fn hello(&mut self, id: u64, direction: Direction, random: u8) {
        let (session, time) = (SessionId(id), self.time());
        let random = Random([random; 32]);
        self.event(Event::SessionHello(SessionHello { session, time, pid: PID, direction, random }));
    }

    fn offset(&mut self, channel: Channel, direction: Direction, len: usize) -> u64 {
        let next = self.offsets.entry((channel, direction)).or_default();
        *next += len as u64;
        *next - len as u64
    }

    fn pass(&mut self, channel: Channel, direction: Direction, bytes: impl AsRef<[u8]>) {
        let payload = Bytes::copy_from_slice(bytes.as_ref());
        let offset = self.offset(channel, direction, payload.len());
        self.event(Event::Passed(Passed { channel, direction, offset, time: self.time(), pid: PID, payload }));
    }

    fn skip(&mut self, channel: Channel, direction: Direction, len: usize, why: Skip) {
        let offset = self.offset(channel, direction, len);
        let (len, time) = (len as u64, self.time());
        self.event(Event::Skipped(Skipped { channel, direction, offset, len, why, time, pid: PID }));
    }

    /// A request and its response, seen from the client.
    fn exchange(&mut self, channel: Channel) {
        self.pass(channel, Sent, REQUEST);
        self.pass(channel, Received, RESPONSE);
    }

    /// Both hellos, and ciphertext after them.
    fn handshake(&mut self, conn: u64, ciphertext: usize) {
        self.pass(socket(conn), Sent, client_hello());
        self.pass(socket(conn), Received, server_hello());
        self.skip(socket(conn), Sent, ciphertext, Skip::Encrypted);
        self.skip(socket(conn), Received, ciphertext, Skip::Encrypted);
    }

    fn close_with(&mut self, conn: u64, sent: Count, received: Count) {
        self.event(Event::Closed(Counts {
            conn: ConnId(conn),
            time: self.time(),
            sent,
            received,
            unread: 0,
            shook: self.shook,
        }));
    }

    /// Closes with counts that match what was reported.
    fn close(&mut self, conn: u64) {
        let told = |direction| self.offsets.get(&(socket(conn), direction)).copied().unwrap_or(0) as usize;
        let (sent, received) = (carried(told(Sent)), carried(told(Received)));
        self.close_with(conn, sent, received);
    }

    fn close_session(&mut self, id: u64) {
        let told = |direction| self.offsets.get(&(session(id), direction)).copied().unwrap_or(0) as usize;
        let (sent, received) = (carried(told(Sent)), carried(told(Received)));
        let time = self.time();
        self.event(Event::SessionClosed(SessionCounts { session: SessionId(id), time, sent, received }));
    }

    fn exchanges(&self) -> Vec<&ExchangeSeen> {
        let mut all = Vec::new();
        for observation in &self.out {
            if let Observation::Exchange(seen) = observation {
                all.push(&**seen);
            }
        }
        all
    }

    fn reports(&self) -> Vec<&ConnectionSeen> {
        let mut all = Vec::new();
        for observation in &self.out {
            if let Observation::Connection(seen) = observation {
                all.push(&**seen);
            }
        }
        all
    }

    fn states(&self) -> Vec<(ConnState, u32)> {
        self.reports().iter().map(|report| (report.state, report.part)).collect()
    }
}

fn http(seen: &ExchangeSeen) -> &HttpExchange {
    let Exchange::Http(http) = &seen.exchange;
    http
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u8;
    [&[22, 3, 1, 0, len + 4, kind, 0, 0, len][..], body].concat()
}

/// The random of the bench's hellos.
const SEVEN: u8 = 7;

/// A hello with another random.
fn other(mut hello: Vec<u8>, random: u8) -> Vec<u8> {
    hello[11..43].fill(random);
    hello
}

fn client_hello() -> Vec<u8> {
    let name = b"api.example.com";
    let sni = [&[0, 0, 0, 20, 0, 18, 0, 0, 15][..], name].concat();
    record(1, &[&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 24], &sni].concat())
}

fn server_hello() -> Vec<u8> {
    record(2, &[&[3, 3][..], &[7; 32], &[0, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4]].concat())
}
