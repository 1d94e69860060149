//! TLS sessions: which connection their plaintext belongs to, and when that is unknown.

use super::*;

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

/// Found with `hey`, whose first requests came before the probes were attached: nothing reported that they were missing.
#[test]
fn a_session_that_is_met_behind_its_handshake_is_said_to_be() {
    for late in [false, true] {
        let mut bench = Bench::new();
        bench.open(1);
        bench.handshake(1, 500);
        bench.open_session_as(9, late);
        bench.bind(9, 1);
        bench.exchange(session(9));
        bench.close_session(9);
        bench.close(1);
        let report = bench.reports()[0];
        let tls = report.conn.tls.as_ref().unwrap();
        assert_eq!((tls.joined_late, tls.inspected, report.conn.joined_late), (late, true, false));
    }
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
fn a_session_without_plaintext_is_told_as_one_though_it_ended_first() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.close_session(9);
    bench.close(1);
    let report = bench.reports()[0];
    let tls = report.conn.tls.as_ref().unwrap();
    assert_eq!(tls.uninspected_reason.as_deref(), Some("no plaintext of the TLS session of this connection was seen"));
    assert_eq!(report.conn.binding, Some(Binding::Nested));
}

#[test]
fn a_handshake_whose_session_is_not_known_is_told_as_one() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.shook = true;
    bench.close(1);
    let report = bench.reports()[0];
    let tls = report.conn.tls.as_ref().unwrap();
    assert_eq!(tls.uninspected_reason.as_deref(), Some("no plaintext of the TLS session of this connection was seen"));
    assert_eq!(report.conn.binding, Some(Binding::Nested));
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

/// Found with a ring buffer that was too small: without the session's opening its final counts were ignored.
#[test]
fn a_session_whose_opening_was_lost_is_held_to_its_counts() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 5_000);
    bench.bind(9, 1);
    bench.exchange(session(9));
    let sent = Count { lost: 1_000, ..carried(REQUEST.len() + 1_000) };
    let (received, time) = (carried(RESPONSE.len()), bench.time());
    bench.event(Event::SessionClosed(SessionCounts { session: SessionId(9), time, sent, received }));
    bench.close(1);
    let report = bench.reports()[0];
    assert_eq!((report.losses.bytes(Loss::RingFull), report.losses.total_bytes()), (1_000, 1_000));
    assert_eq!(report.captured_bytes, (REQUEST.len() + RESPONSE.len()) as u64);
}

#[test]
fn tls_that_was_joined_late_is_tls() {
    let mut bench = Bench::new();
    bench.open_as(1, Role::Unknown, true);
    bench.pass(socket(1), Sent, b"\x17\x03\x03\x00\x03abc");
    let sent = Count { encrypted: 8, kernel: Some(8), ..carried(8) };
    bench.close_with(1, sent, carried(0));
    let report = bench.reports()[0];
    assert_eq!((report.conn.protocol, report.captured_bytes), (Protocol::Tls, 0));
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}

/// Found by the law of conservation: a body byte 22, the first seen after a loss, was taken for a handshake.
#[test]
fn a_byte_behind_a_loss_is_no_handshake() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.skip(socket(1), Sent, 300, Skip::Lost(Loss::RingFull));
    bench.pass(socket(1), Sent, b"\x16");
    bench.close_with(1, carried(301), carried(0));
    let report = bench.reports()[0];
    assert_eq!(report.captured_bytes + report.losses.total_bytes(), 301, "{:?}", report.losses);
    assert_ne!(report.conn.protocol, Protocol::Tls);
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
fn a_session_of_its_own_reports_its_plaintext() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(1_000);
    bench.tick(1_100);
    let report = bench.reports()[0];
    assert_eq!((report.state, report.sent.carried), (ConnState::Open, REQUEST.len() as u64));
}
