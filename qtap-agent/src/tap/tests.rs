//! Events written by hand, observations out.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::conn::{Binding, ConnId, Direction, Endpoint, Protocol, Role, Transport};
use crate::model::event::{Count, Counts, Host, Opened, SessionCounts, Skip};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete};
use crate::model::observation::{ConnState, ConnectionSeen, ExchangeSeen};
use crate::model::process::Process;
use crate::model::time::WallClock;

use Direction::{Received, Sent};

const MS: u64 = 1_000_000;
const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const PID: u32 = 42;

/// A tap with a hand that feeds it. Times are milliseconds.
struct Bench {
    tap: Tap,
    out: Vec<Observation>,
    now: u64,
    offsets: HashMap<(Channel, Direction), u64>,
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
        let mut bench = Bench { tap: Tap::new(Settings::default()), out: Vec::new(), now: 0, offsets: HashMap::new() };
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
        let library = Some("libssl.so.3".to_owned());
        self.event(Event::SessionOpened(SessionOpened {
            session: SessionId(id),
            time: self.time(),
            pid: PID,
            library,
        }));
    }

    fn bind(&mut self, id: u64, conn: u64) {
        let (session, conn, time) = (SessionId(id), ConnId(conn), self.time());
        self.event(Event::Bound { session, conn, how: Binding::Nested, time });
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
        self.event(Event::Closed(Counts { conn: ConnId(conn), time: self.time(), sent, received, unread: 0 }));
    }

    /// Closes with counts that meet what was told.
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

fn client_hello() -> Vec<u8> {
    let name = b"api.example.com";
    let sni = [&[0, 0, 0, 20, 0, 18, 0, 0, 15][..], name].concat();
    record(1, &[&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 24], &sni].concat())
}

fn server_hello() -> Vec<u8> {
    record(2, &[&[3, 3][..], &[7; 32], &[0, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4]].concat())
}

#[test]
fn a_plain_exchange_and_its_connection() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.exchange(socket(1));
    bench.close(1);
    let (exchanges, reports) = (bench.exchanges(), bench.reports());
    assert_eq!((exchanges.len(), reports.len()), (1, 1));
    let (seen, report) = (exchanges[0], reports[0]);
    assert_eq!(http(seen).response.as_ref().unwrap().status, Some(200));
    assert_eq!(seen.process.as_ref().unwrap().executable_name(), "curl");
    assert_eq!((seen.number, seen.conn.uid), (0, report.conn.uid));
    assert_eq!((report.state, report.part, report.requests), (ConnState::Closed, 0, 1));
    assert_eq!(report.captured_bytes, (REQUEST.len() + RESPONSE.len()) as u64);
    assert!(report.losses.is_empty(), "{:?}", report.losses);
    assert_eq!(report.authority.as_deref(), Some("api.example.com"));
    assert_eq!((report.conn.protocol, &report.conn.tls, report.conn.binding), (Protocol::Http1, &None, None));
    assert_eq!(bench.tap.counters().connections_active(), 0);
    assert_eq!(*bench.tap.counters().bytes.of(Sent), REQUEST.len() as u64);
}

#[test]
fn reports_come_at_half_a_second_every_ten_and_at_the_close() {
    let mut bench = Bench::new();
    bench.open(1);
    for now in [499, 500, 600, 10_499, 10_500, 20_500] {
        bench.tick(now);
    }
    bench.now = 20_600;
    bench.close(1);
    bench.tick(40_000);
    let all = [(ConnState::Open, 0), (ConnState::Active, 1), (ConnState::Active, 2), (ConnState::Closed, 3)];
    assert_eq!(bench.states(), all);
    let times: Vec<_> = bench.reports().iter().map(|report| report.observed.0 / MS).collect();
    assert_eq!(times, [500, 10_500, 20_500, 20_600]);
}

#[test]
fn a_source_that_stood_still_is_not_caught_up_with() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.tick(35_000);
    bench.tick(35_100);
    bench.tick(40_500);
    assert_eq!(bench.states(), [(ConnState::Open, 0), (ConnState::Active, 1)]);
}

#[test]
fn open_connections_report_the_kernels_counts_or_the_sums_so_far() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.exchange(socket(1));
    bench.tick(500);
    let (sent, received) = (carried(1_000), carried(2_000));
    bench.event(Event::Progress(Counts { conn: ConnId(1), time: bench.time(), sent, received, unread: 0 }));
    bench.tick(10_500);
    let sums: Vec<_> = bench.reports().iter().map(|r| (r.sent.carried, r.received.carried)).collect();
    assert_eq!(sums, [(REQUEST.len() as u64, RESPONSE.len() as u64), (1_000, 2_000)]);
}

#[test]
fn plaintext_of_a_session_belongs_to_its_connection() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(1);
    let (exchanges, reports) = (bench.exchanges(), bench.reports());
    assert_eq!((exchanges.len(), reports.len()), (1, 1));
    let report = reports[0];
    assert_eq!(exchanges[0].conn.uid, report.conn.uid);
    let tls = report.conn.tls.as_ref().unwrap();
    assert_eq!((tls.version.as_deref(), tls.sni.as_deref()), (Some("1.3"), Some("api.example.com")));
    assert_eq!((tls.alpn.as_deref(), tls.library.as_deref()), (Some("http/1.1"), Some("libssl.so.3")));
    assert!(tls.inspected && tls.uninspected_reason.is_none());
    assert_eq!((report.conn.protocol, report.conn.binding), (Protocol::Http1, Some(Binding::Nested)));
    assert_eq!(report.captured_bytes, (REQUEST.len() + RESPONSE.len()) as u64);
    assert_eq!(report.sent.carried, client_hello().len() as u64 + 500);
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}

#[test]
fn tls_that_nobody_opened_says_why() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 1 << 20);
    bench.close(1);
    let report = bench.reports()[0];
    let tls = report.conn.tls.as_ref().unwrap();
    assert!(!tls.inspected && tls.uninspected_reason.is_some());
    assert_eq!((report.conn.protocol, report.conn.binding), (Protocol::Tls, Some(Binding::None)));
    assert!(report.losses.is_empty(), "nothing was to be opened: {:?}", report.losses);
}

#[test]
fn exchanges_wait_for_the_binding() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(900);
    assert_eq!(bench.exchanges().len(), 0);
    bench.bind(9, 1);
    bench.tick(2_000);
    let report = bench.reports()[0];
    assert_eq!(bench.exchanges()[0].conn.uid, report.conn.uid);
    assert!(bench.reports().iter().all(|report| report.conn.transport == Transport::Tcp));
}

#[test]
fn a_session_that_is_never_bound_has_a_connection_of_its_own() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(999);
    assert_eq!(bench.exchanges().len(), 0);
    bench.tick(1_000);
    bench.exchange(session(9));
    bench.now = 1_200;
    bench.close_session(9);
    let (exchanges, reports) = (bench.exchanges(), bench.reports());
    assert_eq!(exchanges.iter().map(|seen| seen.number).collect::<Vec<_>>(), [0, 1]);
    let conn = &exchanges[0].conn;
    assert_eq!(
        (conn.transport, conn.binding, &conn.peer),
        (Transport::Unknown, Some(Binding::None), &Endpoint::Unknown)
    );
    assert!(conn.tls.as_ref().unwrap().inspected);
    let last = reports.last().unwrap();
    assert_eq!((last.state, last.conn.uid, last.requests), (ConnState::Closed, conn.uid, 2));
    assert_eq!(last.sent.carried, 2 * REQUEST.len() as u64);
    assert!(last.losses.is_empty());
}

#[test]
fn a_session_that_ends_unbound_is_told_at_once() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.exchange(session(9));
    bench.close_session(9);
    assert_eq!((bench.exchanges().len(), bench.states()), (1, vec![(ConnState::Closed, 0)]));
}

#[test]
fn a_session_bound_after_its_grace_moves_to_the_connection() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(1_000);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(1);
    let exchanges = bench.exchanges();
    assert_eq!(exchanges.len(), 2);
    assert_ne!(exchanges[0].conn.uid, exchanges[1].conn.uid);
    let closed = bench.reports().iter().filter(|report| report.state == ConnState::Closed).count();
    assert_eq!(closed, 2);
    assert!(bench.tap.losses().is_empty(), "{:?}", bench.tap.losses());
}

#[test]
fn the_last_report_waits_for_the_session() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.pass(session(9), Sent, REQUEST);
    bench.close(1);
    assert_eq!(bench.states(), []);
    bench.now = 100;
    bench.pass(session(9), Received, RESPONSE);
    bench.close_session(9);
    assert_eq!((bench.exchanges().len(), bench.states()), (1, vec![(ConnState::Closed, 0)]));
    assert!(bench.reports()[0].losses.is_empty());
}

#[test]
fn the_last_report_waits_no_longer_than_half_a_second() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close(1);
    bench.tick(499);
    assert_eq!(bench.states(), []);
    bench.tick(500);
    assert_eq!(bench.states(), [(ConnState::Closed, 0)]);
    assert_eq!(bench.reports()[0].observed, KernelTime(0), "when it was closed, not when that was told");
    bench.close_session(9);
    bench.pass(session(9), Sent, "late");
    assert_eq!(bench.tap.losses().bytes(Loss::Unaccounted), 4, "bytes after the last word on their connection");
    assert_eq!(bench.states().len(), 1);
}

#[test]
fn the_sessions_of_a_process_end_with_it() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.pass(session(9), Sent, REQUEST);
    bench.event(Event::ProcessGone { pid: PID, time: bench.time() });
    bench.now = 100;
    bench.open_session(10);
    bench.tick(499);
    assert_eq!(bench.exchanges().len(), 0);
    bench.tick(500);
    assert_eq!(http(bench.exchanges()[0]).incomplete, Some(Incomplete::NoResponse));
    assert_eq!(bench.tap.sessions.len(), 1, "the session of the next process with the pid stays");
}

#[test]
fn sums_that_do_not_meet_are_unaccounted() {
    for (told, loss) in [(REQUEST.len() + 7, 7), (REQUEST.len() - 7, 7), (REQUEST.len(), 0)] {
        let mut bench = Bench::new();
        bench.open(1);
        bench.exchange(socket(1));
        let sent = Count { kernel: Some(told as u64), ..carried(REQUEST.len()) };
        bench.close_with(1, sent, carried(RESPONSE.len()));
        bench.tick(1_000);
        let report = bench.reports().pop().unwrap();
        assert_eq!(report.state, ConnState::Closed);
        assert_eq!(report.losses.bytes(Loss::Unaccounted), loss, "kernel says {told}");
        assert_eq!(report.losses.total_bytes(), loss);
        assert_eq!(bench.tap.losses().total_bytes(), loss);
    }
}

#[test]
fn what_the_ring_lost_in_silence_is_named_when_the_counts_tell() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.exchange(socket(1));
    let lost = Count { carried: REQUEST.len() as u64 + 100, lost: 100, ..Count::default() };
    bench.event(Event::Lost { reason: Loss::RingFull, count: 1, bytes: 100, time: bench.time() });
    bench.close_with(1, lost, carried(RESPONSE.len()));
    bench.tick(500);
    let report = bench.reports().pop().unwrap();
    assert_eq!((report.losses.bytes(Loss::RingFull), report.losses.total_bytes()), (100, 100));
    assert_eq!(bench.tap.losses().bytes(Loss::RingFull), 100, "not counted twice");
}

#[test]
fn a_connection_of_which_nothing_came_is_missing_whole() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.close_with(1, carried(10), carried(0));
    bench.tick(500);
    assert_eq!(bench.reports().pop().unwrap().losses.bytes(Loss::Unaccounted), 10);
}

#[test]
fn named_losses_stand_in_the_report() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.skip(socket(1), Sent, 30, Skip::Lost(Loss::Fault));
    bench.exchange(socket(1));
    bench.close(1);
    let report = bench.reports()[0];
    assert_eq!((report.losses.bytes(Loss::Fault), report.losses.total_bytes()), (30, 30));
}

#[test]
fn what_nobody_wanted_is_neither_captured_nor_lost() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.skip(socket(1), Sent, 1_000, Skip::Unwanted);
    let sent = Count { unwanted: 1_500, kernel: Some(1_500), ..carried(1_500) };
    bench.close_with(1, sent, Count { unwanted: 70, ..carried(70) });
    let report = bench.reports()[0];
    assert_eq!((report.captured_bytes, report.losses.total_bytes(), report.sent.carried), (0, 0, 1_500));
}

#[test]
fn what_is_wanted_after_what_was_not_is_captured() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.skip(socket(1), Sent, 100, Skip::Unwanted);
    bench.exchange(socket(1));
    let sent = Count { unwanted: 100, ..carried(100 + REQUEST.len()) };
    bench.close_with(1, sent, carried(RESPONSE.len()));
    assert_eq!(bench.exchanges().len(), 1);
    let report = bench.reports()[0];
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}

#[test]
fn ciphertext_without_its_plaintext_is_unaccounted() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 4 << 20);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(1);
    let missing = bench.reports()[0].losses.bytes(Loss::Unaccounted);
    assert!(missing > 8_000_000, "two directions of 4 MiB: {missing}");
}

#[test]
fn plaintext_that_the_library_counted_and_nobody_saw_is_unaccounted() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    let (session, time) = (SessionId(9), bench.time());
    let (sent, received) = (carried(REQUEST.len() + 11), carried(RESPONSE.len()));
    bench.event(Event::SessionClosed(SessionCounts { session, time, sent, received }));
    bench.close(1);
    assert_eq!(bench.reports()[0].losses.bytes(Loss::Unaccounted), 11);
}

#[test]
fn the_first_exchange_tells_the_role() {
    let mut bench = Bench::new();
    bench.open_as(1, Role::Unknown, true);
    bench.pass(socket(1), Received, REQUEST);
    bench.pass(socket(1), Sent, RESPONSE);
    assert_eq!(bench.exchanges()[0].conn.role, Role::Server);
    assert!(!http(bench.exchanges()[0]).outgoing);
}

#[test]
fn sessions_that_share_a_connection_number_their_exchanges_apart() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    for id in [8, 9] {
        bench.open_session(id);
        bench.bind(id, 1);
    }
    for id in [8, 9, 8, 9] {
        bench.exchange(session(id));
    }
    let numbers: std::collections::HashSet<_> = bench.exchanges().iter().map(|seen| seen.number).collect();
    assert_eq!(numbers.len(), 4);
    assert!(numbers.contains(&0) && numbers.contains(&1));
}

#[test]
fn a_session_used_again_on_another_connection_is_a_stream_of_its_own() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.pass(session(9), Sent, REQUEST);
    bench.close(1);
    bench.open(2);
    bench.handshake(2, 500);
    bench.bind(9, 2);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(2);
    let exchanges: Vec<_> = bench.exchanges().iter().map(|s| (s.conn.uid, s.number, http(s).incomplete)).collect();
    let (one, two) = (exchanges[0].0, exchanges[2].0);
    assert_ne!(one, two);
    assert_eq!(exchanges, [(one, 0, None), (one, 1, Some(Incomplete::NoResponse)), (two, 0, None)]);
    assert!(bench.tap.losses().is_empty(), "{:?}", bench.tap.losses());
}

#[test]
fn a_hole_is_told_after_a_second() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.pass(socket(1), Sent, &REQUEST[..10]);
    bench.offset(socket(1), Sent, REQUEST.len() - 10);
    bench.pass(socket(1), Sent, REQUEST);
    bench.tick(500);
    bench.tick(999);
    assert!(bench.tap.losses().is_empty());
    bench.tick(1_000);
    assert_eq!(bench.tap.losses().bytes(Loss::ReorderWindow), REQUEST.len() as u64 - 10);
}

#[test]
fn bytes_that_overtook_the_close_are_waited_for() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.pass(socket(1), Sent, REQUEST);
    bench.close_with(1, carried(REQUEST.len()), carried(RESPONSE.len()));
    bench.now = 100;
    bench.pass(socket(1), Received, RESPONSE);
    bench.tick(500);
    assert_eq!(bench.exchanges().len(), 1);
    assert!(bench.reports()[0].losses.is_empty());
}

#[test]
fn bytes_without_an_opening_make_a_connection() {
    let mut bench = Bench::new();
    bench.exchange(socket(5));
    let conn = &bench.exchanges()[0].conn;
    assert_eq!((conn.transport, conn.joined_late), (Transport::Unknown, true));
    bench.tick(30_000);
    bench.exchange(socket(5));
    bench.tick(60_000);
    assert_eq!(bench.reports().last().unwrap().state, ConnState::Active);
    bench.tick(90_000);
    assert_eq!(bench.reports().last().unwrap().state, ConnState::Closed);
    assert_eq!(bench.tap.counters().connections_active(), 0);
}

#[test]
fn an_opening_that_comes_late_explains_the_connection() {
    let mut bench = Bench::new();
    bench.pass(socket(5), Sent, REQUEST);
    bench.open(5);
    bench.pass(socket(5), Received, RESPONSE);
    assert_eq!(bench.exchanges()[0].conn.peer, inet("10.0.0.2:443"));
}

#[test]
fn the_tables_have_a_bound() {
    let mut bench = Bench::new();
    for conn in 0..CONNECTIONS as u64 {
        bench.open(conn);
    }
    bench.open(1 << 40);
    bench.pass(socket(1 << 40), Sent, "abc");
    let losses = bench.tap.losses();
    assert_eq!((losses.count(Loss::StreamTableFull), losses.bytes(Loss::StreamTableFull)), (2, 3));
    bench.close(0);
    bench.open(1 << 41);
    assert_eq!(bench.tap.losses().count(Loss::StreamTableFull), 2);
}

#[test]
fn what_is_open_when_the_agent_stops_is_told_as_open() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.pass(socket(1), Sent, REQUEST);
    bench.tick(500);
    bench.open(2);
    bench.open_session(9);
    bench.pass(session(9), Sent, REQUEST);
    bench.pass(socket(3), Sent, REQUEST);
    bench.out.clear();
    bench.now = 700;
    let now = bench.time();
    bench.tap.finish(now, &mut bench.out);
    let incomplete: Vec<_> = bench.exchanges().iter().map(|seen| http(seen).incomplete).collect();
    assert_eq!(incomplete, [Some(Incomplete::StillOpen); 3]);
    let mut states = bench.states();
    states.sort_by_key(|(_, part)| *part);
    let open = (ConnState::Open, 0);
    assert_eq!(states, [open, open, open, (ConnState::Active, 1)]);
    assert!(bench.tap.conns.is_empty() && bench.tap.sessions.is_empty() && bench.tap.by_pid.is_empty());
}

#[test]
fn a_process_that_changes_hands_is_told() {
    let mut bench = Bench::new();
    let worker = Process { pid: 43, executable_path: "/usr/sbin/nginx".into(), ..Process::default() };
    bench.event(Event::ProcessSeen(Arc::new(worker)));
    bench.open(1);
    let (channel, direction, time) = (socket(1), Sent, bench.time());
    let payload = Bytes::from_static(REQUEST.as_bytes());
    bench.event(Event::Passed(Passed { channel, direction, offset: 0, time, pid: 43, payload }));
    bench.close_with(1, carried(REQUEST.len()), carried(0));
    let report = bench.reports()[0];
    assert_eq!((report.conn.pid, report.process.as_ref().unwrap().executable_name()), (43, "nginx"));
}

#[test]
fn a_session_taken_up_again_after_its_connection_ended_is_heard() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close(1);
    bench.tick(500);
    bench.open(2);
    bench.handshake(2, 500);
    bench.bind(9, 2);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(2);
    let (exchanges, reports) = (bench.exchanges(), bench.reports());
    assert_eq!((exchanges.len(), reports.len()), (2, 2));
    assert_eq!(exchanges[1].conn.uid, reports[1].conn.uid);
    assert!(bench.tap.losses().is_empty(), "{:?}", bench.tap.losses());
}

#[test]
fn ciphertext_after_plain_bytes_is_not_a_loss() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.exchange(socket(1));
    bench.skip(socket(1), Sent, 700, Skip::Encrypted);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close_session(9);
    let sent = Count { encrypted: 700, ..carried(REQUEST.len() + 700) };
    bench.close_with(1, sent, carried(RESPONSE.len()));
    let report = bench.reports()[0];
    assert!(report.losses.is_empty(), "{:?}", report.losses);
    assert_eq!((report.requests, report.conn.tls.as_ref().unwrap().inspected), (2, true));
    let numbers: Vec<_> = bench.exchanges().iter().map(|seen| seen.number).collect();
    assert_eq!(numbers, [0, 1 << 40]);
}

#[test]
fn tls_joined_in_the_middle_is_not_read_as_plain_text() {
    let mut bench = Bench::new();
    bench.open_as(1, Role::Unknown, true);
    bench.open_session(9);
    bench.pass(socket(1), Sent, [&[23, 3, 3, 0, 200][..], &[7; 200]].concat());
    bench.bind(9, 1);
    bench.pass(session(9), Sent, REQUEST);
    bench.pass(socket(1), Received, [23, 3, 3, 1, 44]);
    bench.pass(socket(1), Received, [7; 300]);
    bench.pass(session(9), Received, RESPONSE);
    bench.close_session(9);
    bench.close_with(1, Count { encrypted: 205, ..carried(205) }, Count { encrypted: 305, ..carried(305) });
    let report = bench.reports()[0];
    assert!(report.losses.is_empty(), "{:?}", report.losses);
    assert_eq!(report.requests, 1);
}

#[test]
fn tls_whose_hello_was_lost_is_tls() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.skip(socket(1), Sent, 300, Skip::Lost(Loss::RingFull));
    bench.skip(socket(1), Sent, 700, Skip::Encrypted);
    let sent = Count { encrypted: 700, lost: 300, kernel: Some(1_000), ..carried(1_000) };
    bench.close_with(1, sent, carried(0));
    let report = bench.reports()[0];
    assert_eq!((report.conn.protocol, report.conn.binding), (Protocol::Tls, Some(Binding::None)));
    assert_eq!((report.losses.bytes(Loss::RingFull), report.losses.total_bytes()), (300, 300));
}

#[test]
fn exchanges_without_room_for_a_connection_are_counted() {
    let mut bench = Bench::new();
    for conn in 0..CONNECTIONS as u64 {
        bench.open(conn);
    }
    bench.open_session(9);
    bench.exchange(session(9));
    bench.close_session(9);
    assert_eq!((bench.exchanges().len(), bench.tap.losses().count(Loss::StreamTableFull)), (0, 1));
    bench.exchange(socket(1));
    assert_eq!(bench.exchanges().len(), 1);
}

#[test]
fn a_session_of_its_own_reports_its_plaintext() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(1_000);
    bench.tick(1_100);
    let report = bench.reports()[0];
    assert_eq!((report.state, report.sent.carried), (ConnState::Open, REQUEST.len() as u64));
}

#[test]
fn deadlines_do_not_pile_up() {
    let mut bench = Bench::new();
    bench.open(1);
    for now in (0..120_000).step_by(100) {
        bench.exchange(socket(1));
        bench.tick(now);
    }
    assert!(bench.tap.common.deadlines.len() <= 3, "{}", bench.tap.common.deadlines.len());
}

#[test]
fn a_connection_is_small() {
    let sizes = (size_of::<Conn>(), size_of::<stream::Stream>(), size_of::<Session>());
    assert!(sizes.0 + sizes.1 + sizes.2 < 3_000, "{sizes:?}");
}
