//! Connections: their exchanges, their reports, the bounds on them.

use super::*;

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
    assert_eq!((report.authority.as_deref(), report.version), (Some("api.example.com"), Some(Version::Http11)));
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
    bench.event(Event::Progress(Counts {
        conn: ConnId(1),
        time: bench.time(),
        sent,
        received,
        unread: 0,
        shook: false,
    }));
    bench.tick(10_500);
    let sums: Vec<_> = bench.reports().iter().map(|r| (r.sent.carried, r.received.carried)).collect();
    assert_eq!(sums, [(REQUEST.len() as u64, RESPONSE.len() as u64), (1_000, 2_000)]);
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

#[test]
fn an_exchange_told_in_parts_is_one_exchange() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.pass(socket(1), Sent, REQUEST);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    bench.pass(socket(1), Received, head);
    bench.pass(socket(1), Received, "3\r\none\r\n");
    for now in [500, 10_500] {
        bench.tick(now);
    }
    let part = |seen: &&ExchangeSeen| http(seen).part.map(|part| (part.number, part.last));
    assert_eq!(bench.exchanges().iter().map(part).collect::<Vec<_>>(), [Some((0, false))], "while it runs");
    assert_eq!((bench.reports()[1].requests, bench.tap.counters().exchanges), (0, 0));
    bench.pass(socket(1), Received, "3\r\ntwo\r\n0\r\n\r\n");
    bench.close(1);
    let told: Vec<_> = bench.exchanges().iter().map(|seen| (seen.number, part(seen))).collect();
    assert_eq!(told, [(0, Some((0, false))), (0, Some((1, true)))]);
    assert_eq!((bench.reports()[2].requests, bench.tap.counters().exchanges), (1, 1));
    assert!(bench.reports()[2].losses.is_empty());
}

/// A damaged recording may contain any time: missed reports are not made up for, and the end of time causes no endless loop (found by fuzzing).
#[test]
fn time_may_jump_to_its_end() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.tick(600);
    for time in [u64::MAX / 2, u64::MAX - 1, u64::MAX, u64::MAX] {
        bench.event(Event::Tick(KernelTime(time)));
    }
    assert_eq!(bench.states(), [(ConnState::Open, 0), (ConnState::Active, 1), (ConnState::Active, 2)]);
}
