//! Unwanted channels: reported to the source, no longer parsed, and every byte of them counted.

use super::*;
use crate::model::route::{Appetite, Routes, StackId, Wants};

/// Everything is wanted except `api.example.com` and subdomains of `quiet.org`.
fn bench() -> Bench {
    let mut routes = Routes::new(Some(StackId(0)));
    routes.endpoint("api.example.com", None);
    routes.endpoint("*.quiet.org", None);
    let wants = Arc::new(Wants { routes, appetites: vec![Appetite { exchanges: true, bodies: true }] });
    let mut bench = Bench::new();
    bench.tap =
        Tap::new(Settings { http: http::Settings { wants, ..http::Settings::default() }, ..Settings::default() });
    bench
}

fn ask(bench: &mut Bench, channel: Channel, host: &str) {
    bench.pass(channel, Sent, format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    bench.pass(channel, Received, RESPONSE);
}

fn not_wanted(bench: &Bench) -> u64 {
    bench.reports().last().unwrap().losses.bytes(Loss::NotWanted)
}

/// Counts of a direction with `copied` bytes copied and `unwanted` bytes not.
fn left(copied: usize, unwanted: usize) -> Count {
    Count { carried: (copied + unwanted) as u64, copied: copied as u64, unwanted: unwanted as u64, ..Count::default() }
}

#[test]
fn tls_is_left_alone_by_its_server_name() {
    let mut bench = bench();
    bench.open(1);
    bench.handshake(1, 5_000);
    bench.open_session(9);
    bench.bind(9, 1);
    assert_eq!(bench.tap.take_unwanted(), [session(9)]);
    // Data that arrives before the source has received the advice, and after.
    bench.exchange(session(9));
    bench.skip(session(9), Sent, 100, Skip::Unwanted);
    let (sent, received) = (left(REQUEST.len(), 300), left(RESPONSE.len(), 700));
    let time = bench.time();
    bench.event(Event::SessionClosed(SessionCounts { session: SessionId(9), time, sent, received }));
    bench.close(1);
    assert!(bench.exchanges().is_empty() && bench.tap.take_unwanted().is_empty());
    let report = bench.reports()[0];
    assert_eq!((not_wanted(&bench), report.captured_bytes), ((REQUEST.len() + RESPONSE.len()) as u64 + 1_000, 0));
    assert_eq!(report.losses.iter().count(), 1, "{:?}", report.losses);
    assert_eq!(bench.tap.counters().unwanted_bytes, 1_000, "what was copied was not spared");
    assert_eq!(bench.tap.losses().bytes(Loss::NotWanted), not_wanted(&bench));
}

#[test]
fn a_plain_connection_is_left_alone_after_some_in_a_row() {
    let mut bench = bench();
    bench.open(1);
    for _ in 0..3 {
        ask(&mut bench, socket(1), "a.quiet.org");
    }
    assert!(bench.tap.take_unwanted().is_empty());
    ask(&mut bench, socket(1), "a.quiet.org");
    assert_eq!(bench.tap.take_unwanted(), [socket(1)]);
    assert_eq!(bench.exchanges().len(), 4);
    bench.skip(socket(1), Sent, 10, Skip::Unwanted);
    bench.skip(socket(1), Received, 20, Skip::Unwanted);
    let copied = |direction| bench.offsets[&(socket(1), direction)] as usize;
    let (sent, received) = (left(copied(Sent) - 10, 60), left(copied(Received) - 20, 90));
    let carried = sent.carried + received.carried;
    bench.close_with(1, sent, received);
    let report = bench.reports()[0];
    assert_eq!((not_wanted(&bench), report.captured_bytes + not_wanted(&bench)), (150, carried));
    assert_eq!(report.losses.iter().count(), 1, "{:?}", report.losses);
    assert_eq!((bench.exchanges().len(), bench.tap.counters().unwanted_bytes), (4, 150));
}

#[test]
fn what_may_yet_be_wanted_is_not_left_alone() {
    let mut bench = bench();
    bench.open(1);
    for host in ["a.quiet.org", "a.quiet.org", "a.quiet.org", "b.quiet.org", "a.quiet.org", "x.org", "a.quiet.org"] {
        ask(&mut bench, socket(1), host);
    }
    // A server does not know what its client will request.
    bench.open_as(2, Role::Server, false);
    for _ in 0..9 {
        bench.pass(socket(2), Received, "GET /a HTTP/1.1\r\nHost: a.quiet.org\r\n\r\n");
        bench.pass(socket(2), Sent, RESPONSE);
    }
    // The server name of this one is unknown.
    bench.open(3);
    bench.open_session(9);
    bench.bind(9, 3);
    bench.exchange(session(9));
    assert!(bench.tap.take_unwanted().is_empty());
    assert_eq!(bench.exchanges().len(), 7 + 9 + 1);
}

#[test]
fn nothing_is_left_alone_where_every_stack_captures() {
    let mut bench = Bench::new();
    bench.open(1);
    for _ in 0..9 {
        ask(&mut bench, socket(1), "a.quiet.org");
    }
    assert!(bench.tap.take_unwanted().is_empty());
}
