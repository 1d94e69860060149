//! Events in any order, true or not: nothing breaks, no state stays behind, and every exchange has its connection.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use qtap_agent::http;
use qtap_agent::model::conn::{Binding, Channel, ConnId, Direction, Endpoint, Random, Role, SessionId, Transport};
use qtap_agent::model::event::{
    Count, Counts, Datagram, Event, Host, Opened, Passed, SessionCounts, SessionHello, SessionJoined, SessionOpened,
    Skip, Skipped,
};
use qtap_agent::model::exchange::Exchange;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::observation::Observation;
use qtap_agent::model::process::Process;
use qtap_agent::model::route::Wants;
use qtap_agent::model::time::KernelTime;
use qtap_agent::tap::{Settings, Tap};

const PIECES: [&[u8]; 9] = [
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"\x16\x03\x01\0\x05\x01\0\0\x01\0",
    b"\x16",
    b"\0\xff random \r\n\r\n",
    b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x0a\0\0\x02",
    &CLIENT_HELLO,
];

/// A whole ClientHello, whose random is all sevens.
const CLIENT_HELLO: [u8; 50] = {
    let mut hello = [7; 50];
    let (head, tail) = (b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x03", b"\0\0\x02\x13\x01\x01\0");
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    at = 0;
    while at < tail.len() {
        hello[43 + at] = tail[at];
        at += 1;
    }
    hello
};

/// The random input for one event.
#[derive(Debug, Clone)]
struct Draw {
    kind: u8,
    conn: u64,
    session: u64,
    pid: u32,
    piece: usize,
    number: u64,
    sent: bool,
    inside: bool,
    step: u64,
}

prop_compose! {
    fn draw()(
        kind in 0..18_u8,
        conn in 0..4_u64,
        session in 0..4_u64,
        pid in 1..4_u32,
        piece in 0..PIECES.len(),
        number in prop_oneof![0..300_u64, any::<u64>()],
        sent in any::<bool>(),
        inside in any::<bool>(),
        step in prop_oneof![0..50_u64, 0..15_000_u64],
    ) -> Draw {
        Draw { kind, conn, session, pid, piece, number, sent, inside, step }
    }
}

/// Turns draws into events. Offsets are mostly consecutive, so that parsers have something to do.
#[derive(Default)]
struct Script {
    now: u64,
    datagrams: u64,
    offsets: std::collections::HashMap<(Channel, Direction), u64>,
}

impl Script {
    fn event(&mut self, draw: &Draw) -> Event {
        self.now += draw.step * 1_000_000;
        let (time, pid) = (KernelTime(self.now), draw.pid);
        let (conn, session) = (ConnId(draw.conn), SessionId(draw.session));
        let channel = if draw.inside { Channel::Session(session) } else { Channel::Socket(conn) };
        let direction = if draw.sent { Direction::Sent } else { Direction::Received };
        let count = |carried| Count { carried, kernel: draw.inside.then_some(carried), ..Count::default() };
        let (sent, received) = (count(draw.number), count(draw.number / 2));
        match draw.kind {
            0 => Event::ProcessSeen(Arc::new(Process { pid, ..Process::default() })),
            1 => Event::ProcessGone { pid, time },
            2 => Event::Opened(Opened {
                conn,
                time,
                pid,
                transport: Transport::Tcp,
                local: Endpoint::Unknown,
                peer: if draw.inside { Endpoint::Inet(([10, 0, 0, 2], 53).into()) } else { Endpoint::Unknown },
                role: if draw.step.is_multiple_of(2) { Role::Client } else { Role::Unknown },
                joined_late: draw.sent,
            }),
            3..=7 => {
                let payload = Bytes::from_static(PIECES[draw.piece]);
                let offset = self.offset(channel, direction, payload.len() as u64, draw);
                Event::Passed(Passed { channel, direction, offset, time, pid, payload })
            }
            8 => {
                let why = match draw.piece % 3 {
                    0 => Skip::Encrypted,
                    1 => Skip::Unwanted,
                    _ => Skip::Lost(Loss::Fault),
                };
                let offset = self.offset(channel, direction, draw.number, draw);
                Event::Skipped(Skipped { channel, direction, offset, len: draw.number, why, time, pid })
            }
            9 => Event::Progress(Counts { conn, time, sent, received, unread: 0, shook: false }),
            10 => Event::Closed(Counts { conn, time, sent, received, unread: 0, shook: false }),
            11 => {
                let (joined_late, is_part) = (draw.inside, draw.sent);
                let on_trial = draw.number.is_multiple_of(3).then_some(draw.piece as u32);
                Event::SessionOpened(SessionOpened {
                    session,
                    time,
                    pid,
                    library: None,
                    joined_late,
                    is_part,
                    on_trial,
                })
            }
            12 if draw.sent => Event::Bound { session, conn, how: Binding::SetFd, time },
            12 => Event::SessionClosed(SessionCounts { session, time, sent, received }),
            13 => {
                self.datagrams += 1;
                Event::Datagram(Datagram {
                    id: 1_000 + self.datagrams,
                    time,
                    pid,
                    local: Endpoint::Unknown,
                    peer: Endpoint::Unknown,
                    len: draw.number,
                    payload: Bytes::from_static(PIECES[draw.piece]),
                })
            }
            // The random of the ClientHello among the pieces.
            14 => Event::SessionHello(SessionHello { session, time, pid, direction, random: Random([7; 32]) }),
            15 => {
                let whose = draw.inside.then_some(SessionId(draw.conn));
                Event::SessionJoined(SessionJoined { part: session, session: whose, offset: draw.number, time })
            }
            _ => Event::Tick(time),
        }
    }

    fn offset(&mut self, channel: Channel, direction: Direction, len: u64, draw: &Draw) -> u64 {
        let next = self.offsets.entry((channel, direction)).or_default();
        if draw.step % 8 == 7 {
            *next = next.wrapping_add(draw.number);
        }
        let offset = *next;
        *next = next.wrapping_add(len);
        offset
    }
}

/// The endpoint `a` has no stack, and the answers of name servers are reported.
fn settings() -> Settings {
    let mut wants = Wants::default();
    wants.routes.endpoint("a", None);
    let http = http::Settings { wants: Arc::new(wants), ..http::Settings::default() };
    Settings { http, reads_dns: true, audit_dns: true }
}

fn run(draws: &[Draw]) -> (Tap, Vec<Observation>) {
    let (mut tap, mut out, mut script) = (Tap::new(settings()), Vec::new(), Script::default());
    tap.on_event(Event::Started(Arc::new(Host::default())), &mut out);
    for draw in draws {
        tap.on_event(script.event(draw), &mut out);
    }
    tap.finish(KernelTime(script.now), &mut out);
    (tap, out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_it_and_nothing_stays(draws in prop::collection::vec(draw(), 0..120)) {
        let (tap, out) = run(&draws);
        prop_assert_eq!(tap.counters().connections_active(), 0);
        let mut reported = HashSet::new();
        let mut exchanges = HashSet::new();
        for observation in &out {
            match observation {
                Observation::Exchange(seen) => {
                    let Exchange::Http(http) = &seen.exchange;
                    let part = http.part.map(|part| part.number);
                    let new = exchanges.insert((seen.conn.uid, seen.number, part));
                    prop_assert!(new, "each has its own number, and each of its parts");
                }
                Observation::Connection(seen) => {
                    prop_assert!(reported.insert((seen.conn.uid, seen.part)), "each has its own part");
                }
            }
        }
        for (uid, ..) in exchanges {
            prop_assert!(reported.contains(&(uid, 0)), "an exchange without its connection");
        }
        let again = run(&draws).1;
        prop_assert_eq!(format!("{out:?}"), format!("{again:?}"), "the same again");
    }
}
