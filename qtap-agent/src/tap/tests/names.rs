//! Answers of name servers: names for addresses, and connections of their own if they are reported.

use super::*;
use crate::model::event::Datagram;

/// `api.example.org` A 10.0.0.2, the peer of all connections of the bench.
const ANSWER: &[u8] = b"\0\x07\x81\x80\0\x01\0\x01\0\0\0\0\x03api\x07example\x03org\0\0\x01\0\x01\
    \xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x0a\0\0\x02";

fn bench(audit_dns: bool) -> Bench {
    let mut bench = Bench::new();
    bench.tap = Tap::new(Settings { reads_dns: true, audit_dns, ..Settings::default() });
    bench
}

fn receive(bench: &mut Bench, payload: &'static [u8], len: u64) {
    bench.event(Event::Datagram(Datagram {
        id: 77,
        time: bench.time(),
        pid: PID,
        local: inet("10.0.0.1:50000"),
        peer: inet("10.0.0.9:53"),
        len,
        payload: Bytes::from_static(payload),
    }));
}

#[test]
fn an_address_has_the_name_that_was_asked_for() {
    let mut bench = bench(false);
    receive(&mut bench, ANSWER, ANSWER.len() as u64);
    bench.open(1);
    bench.open_as(2, Role::Server, false);
    bench.close(1);
    bench.close(2);
    let names: Vec<_> = bench.reports().iter().map(|report| report.conn.domain.as_deref()).collect();
    assert_eq!(names, [Some("api.example.org"), None], "whoever asks here has no name");
}

#[test]
fn an_answer_is_a_connection_where_they_are_told() {
    let mut bench = bench(true);
    receive(&mut bench, ANSWER, 5_000);
    let report = bench.reports()[0];
    assert_eq!((report.conn.transport, report.conn.protocol), (Transport::Udp, Protocol::Dns));
    assert_eq!((report.state, report.authority.as_deref()), (ConnState::Closed, Some("api.example.org")));
    assert_eq!((report.received.carried, report.captured_bytes), (5_000, ANSWER.len() as u64));
    assert_eq!(report.losses.total_bytes(), 5_000 - ANSWER.len() as u64);
    let answer = report.dns.as_ref().unwrap();
    assert_eq!(answer.addresses, [("10.0.0.2".parse().unwrap(), 300)]);
    receive(&mut bench, b"no answer at all", 16);
    assert_eq!(bench.reports().len(), 1);
    assert_eq!(bench.tap.losses().bytes(Loss::Unparsed), 16);
}

#[test]
fn answers_over_tcp_are_read_in_pieces() {
    let mut bench = bench(true);
    bench.event(Event::Opened(Opened {
        conn: ConnId(1),
        time: bench.time(),
        pid: PID,
        transport: Transport::Tcp,
        local: inet("10.0.0.1:50000"),
        peer: inet("10.0.0.9:53"),
        role: Role::Client,
        joined_late: false,
    }));
    bench.skip(socket(1), Sent, 40, Skip::Unwanted);
    bench.pass(socket(1), Received, (ANSWER.len() as u16).to_be_bytes());
    bench.pass(socket(1), Received, &ANSWER[..20]);
    bench.pass(socket(1), Received, &ANSWER[20..]);
    bench.close(1);
    let report = bench.reports()[0];
    assert_eq!((report.conn.transport, report.conn.protocol, report.requests), (Transport::Tcp, Protocol::Dns, 1));
    assert_eq!(report.dns.as_ref().unwrap().question, "api.example.org");
    assert_eq!((report.captured_bytes, report.losses.is_empty()), (ANSWER.len() as u64 + 2, true));
    bench.open(2);
    bench.close(2);
    assert_eq!(bench.reports()[1].conn.domain.as_deref(), Some("api.example.org"));
}
